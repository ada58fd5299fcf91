"""Builds models from blueprints on the backend of the environment; prints JSON.

Run by test_blueprint.py in a process of its own for each backend.
"""

import json
import random

import keras
import numpy as np

from fmnist import models
from fmnist.data import standin
from fmnist.training import train

BLUEPRINTS = (
    "logits",
    "conv32-pool-drop25-conv64-pool-drop25-dense128-drop40",
    "conv4-norm-conv5-pool-drop25-dense16-norm-drop40-dense8-l2e4",
    "pool-dense12-norm-l2e3",
    "drop20",
)
STEPS = 20


def examine(name: str) -> dict[str, object]:
    """Return what is built by a blueprint, and what it learns of 32 drawn images."""
    random.seed(0)
    model = models.build(name)
    images, labels = standin.draw("train", 32)
    x, y = images[..., None] / np.float32(255), labels.astype("int32")
    train.compile_model(model, models.card(name).recipe, steps=STEPS)
    losses = [float(model.train_on_batch(x, y)[0]) for _ in range(STEPS)]
    kernels = [layer for layer in model.layers if hasattr(layer, "kernel")]
    return {
        "parameters": train.count_parameters(model).model_dump(),
        "shapes": [list(model.input_shape), list(model.output_shape)],
        "finite": bool(np.isfinite(losses).all()),
        "regularised": [layer.kernel_regularizer is not None for layer in kernels],
        "layers": layers_of(model),
    }


def layers_of(model: keras.Model) -> list[dict[str, object]]:
    """Return each layer's kind and settings, all but its name and the numbers in it."""
    return [
        {"kind": type(layer).__name__}
        | {k: v for k, v in layer.get_config().items() if k != "name"}
        for layer in model.layers
    ]


if __name__ == "__main__":
    found = {name: examine(name) for name in BLUEPRINTS}
    lenet = layers_of(models.build("lenet_dropout"))
    print("RESULT " + json.dumps({"blueprints": found, "lenet_dropout": lenet}))
