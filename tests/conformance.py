"""Builds and trains the models named for a moment on the environment's backend; prints JSON.

Run by test_models.py in a process of its own for each backend.
"""

import json
import random
import sys

import keras
import numpy as np

from fmnist import models
from fmnist.data import preprocess, standin
from fmnist.record import Parameters
from fmnist.training import flops, train

STEPS = 20
BATCH_SIZE = 32


def seeded_weights(name: str) -> tuple[keras.Model, list[np.ndarray]]:
    """Return a model built from seed 0, and its weights."""
    random.seed(0)
    model = models.build(name)
    return model, [np.array(weight) for weight in model.get_weights()]


def examine(name: str) -> dict[str, object]:
    """Return what a model does on drawn images."""
    images, labels = standin.draw("train", BATCH_SIZE)
    x = preprocess.rescale(images)
    recipe = models.card(name).recipe
    one_hot = recipe.loss == "categorical_crossentropy"
    y = preprocess.one_hot(labels) if one_hot else labels.astype("int32")
    model, weights = seeded_weights(name)
    _, again = seeded_weights(name)
    train.compile_model(model, recipe, steps=STEPS)
    logits = train.predict(model, x, BATCH_SIZE)
    losses = [float(model.train_on_batch(x, y)[0]) for _ in range(STEPS)]
    counted: Parameters = train.count_parameters(model)
    return {
        "parameters": counted.model_dump(),
        "batch_statistics": train.has_batch_statistics(model),
        "forward_macs": list(flops.forward_macs(model).values()),
        "train_flop_per_image": flops.train_flop_per_image(model),
        "output_shape": list(model.output_shape),
        "input_shape": list(model.input_shape),
        "logits_are_probabilities": bool(np.allclose(logits.sum(axis=1), 1, atol=1e-3)),
        "same_seed_same_weights": all(map(np.array_equal, weights, again)),
        "finite": bool(np.isfinite(logits).all() and np.isfinite(losses).all()),
        "loss": [losses[0], losses[-1]],
        "jit_compile": bool(model.jit_compile),
    }


if __name__ == "__main__":
    print("RESULT " + json.dumps({name: examine(name) for name in sys.argv[1:]}))
