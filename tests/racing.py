"""Uses what the race is made of on the backend of the environment; prints JSON.

Run by test_heat.py in a process of its own for each backend.
"""

import json
import random
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from fmnist import models
from fmnist.channel import Job
from fmnist.data import preprocess, standin
from fmnist.layers import BiasRelu, PatchConv2D, RandomMirror, RandomShift
from fmnist.training import heat, train
from fmnist.training.schedule import RiseAndFall

IMAGES, LABELS = standin.draw("train", 160)
X, Y = preprocess.rescale(IMAGES), preprocess.one_hot(LABELS)
RECIPE = models.card("racer_92").recipe.model_copy(update={"epochs": 2, "views": 5})


def bias_after_pool() -> float:
    """Return how far bias and ReLU after the pooling differ from those before it."""
    before = keras.Sequential(
        [keras.Input((28, 28, 1)), layers.Conv2D(4, 3, activation="relu"), layers.MaxPooling2D()]
    )
    after = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(4, 3, use_bias=False),
            layers.MaxPooling2D(),
            BiasRelu(),
        ]
    )
    weights = [before.get_weights()[0], np.linspace(-0.2, 0.2, 4)]
    before.set_weights(weights)
    after.set_weights(weights)
    return float(np.abs(train.predict(before, X, 80) - train.predict(after, X, 80)).max())


def shifts() -> dict[str, object]:
    """Return what the layer makes of one bright pixel in each of two images, call by call."""
    batch = np.zeros((2, 5, 5, 1), np.float32)
    batch[0, 2, 2], batch[1, 1, 3] = 1, 1
    layer = RandomShift(seed=3)
    seen = set()
    for _ in range(60):
        shifted = ops.convert_to_numpy(layer(batch, training=True))
        places = np.argwhere(shifted[..., 0])[:, 1:] - [[2, 2], [1, 3]]
        seen.add(tuple(map(tuple, places.tolist())))
    return {
        "offsets": sorted(seen),
        "at_test_time": bool((ops.convert_to_numpy(layer(batch)) == batch).all()),
        "at_the_border": float(
            ops.convert_to_numpy(layer(np.ones((1, 5, 5, 1), np.float32), training=True)).min()
        ),
    }


def mirrored() -> dict[str, object]:
    """Return how many of 400 images the layer mirrors, and whether the others stay as they are."""
    batch = np.tile(np.arange(6, dtype=np.float32).reshape(1, 2, 3, 1), (400, 1, 1, 1))
    layer = RandomMirror(seed=1)
    seen = ops.convert_to_numpy(layer(batch, training=True))
    turned = (seen == batch[:, :, ::-1]).all(axis=(1, 2, 3))
    return {
        "turned": int(turned.sum()),
        "others": bool((seen[~turned] == batch[~turned]).all()),
        "at_test_time": bool((ops.convert_to_numpy(layer(batch)) == batch).all()),
    }


def patches() -> dict[str, object]:
    """Return what filters of 3 x 3 become by images with horizontal stripes."""
    rows = np.random.default_rng(0).normal(size=(50, 12, 1, 1)).astype(np.float32)
    layer = PatchConv2D(20, 3, use_bias=False)
    layer.build((None, 12, 12, 1))
    rest = ops.convert_to_numpy(layer.kernel)[..., 18:]
    layer.adapt(np.broadcast_to(rows, (50, 12, 12, 1)))
    kernel = ops.convert_to_numpy(layer.kernel)
    plus, minus = kernel[..., :9].reshape(9, 9), kernel[..., 9:18].reshape(9, 9)
    return {
        "opposite": bool((plus == -minus).all()),
        "products": np.abs(plus.T @ plus - 2 * np.eye(9)).max().item(),
        "spread_along_stripes": [float(kernel[..., 0, i].std(axis=1).max()) for i in range(3)],
        "rest_kept": bool((kernel[..., 18:] == rest).all()),
    }


def restored() -> dict[str, object]:
    """Return whether a trained racer goes back to its beginning, and what training left alone."""
    model = models.build("racer_93_views")
    train.compile_model(model, RECIPE, steps=4)
    restore = train.restorer(model)
    before = [np.array(ops.convert_to_numpy(v)) for v in variables(model)]
    train.fit(model, X, Y, batch_size=80, epochs=2, callbacks=[])
    moved = [
        not np.array_equal(a, b) for a, b in zip(before, map(read, variables(model)), strict=True)
    ]
    restore()
    same = [np.array_equal(a, b) for a, b in zip(before, map(read, variables(model)), strict=True)]
    kept = [v for v, m in zip(variables(model), moved, strict=True) if not m]
    fixed = [v for layer in model.layers if not layer.trainable for v in layer.weights]
    return {
        "kept": len(kept),
        "fixed": [id(v) for v in kept] == [id(v) for v in fixed],
        "same": all(same),
        "n": len(before),
    }


def variables(model: keras.Model) -> list[keras.Variable]:
    """Return all that a training may move: weights, random states, and the optimizer's own."""
    own = [v for v in model.optimizer.variables if "learning_rate" not in v.path]
    return [*model.trainable_variables, *model.non_trainable_variables, *own]


def read(variable: keras.Variable) -> np.ndarray:
    """Return a variable's value."""
    return np.asarray(ops.convert_to_numpy(variable))


def compiled() -> dict[str, object]:
    """Return how the optimizer and the loss came out of a racer's recipe."""
    model = models.build("racer_92")
    train.compile_model(model, RECIPE, steps=100)
    schedule = RiseAndFall(peak=1.0, steps=100, rise_share=0.25)
    sure = np.eye(10, dtype=np.float32)[:1] * 100
    return {
        "rates": [float(schedule(step)) for step in (0, 25, 62.5, 100, 120)],
        "first_rate": float(ops.convert_to_numpy(model.optimizer.learning_rate)),
        "beta_2": model.optimizer.beta_2,
        "loss_of_being_sure": float(model.loss(np.eye(10, dtype=np.float32)[:1], sure)),
    }


def saved() -> float:
    """Return how far a racer differs from itself, saved and loaded."""
    model = models.build("racer_93_views")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "racer.keras"
        model.save(path)
        loaded = keras.saving.load_model(path)
    return float(np.abs(train.predict(model, X, 80) - train.predict(loaded, X, 80)).max())


def job() -> Job:
    """Return an entrant's job, in what of it counts here."""
    counting: dict[str, Any] = {"recipe": RECIPE, "role": "entrant", "seed": 0}
    return Job.model_construct(**counting)


def raced() -> dict[str, object]:
    """Return a whole training on drawn images, as the worker sends it."""
    random.seed(0)
    model = models.build("racer_92")
    train.compile_model(model, RECIPE, steps=2 * len(X) // 80)
    calls = []
    model.optimizer.build(model.trainable_variables)

    def predict(images: np.ndarray, batch_size: int) -> np.ndarray:
        calls.append(len(images))
        return train.predict(model, images, batch_size)

    done = heat.run(model, partial(train.fit, model), predict, (X, Y), (X[:100], Y[:100]), job())
    steps = int(ops.convert_to_numpy(model.optimizer.iterations))
    return {**done.model_dump(mode="json"), "steps": steps, "predicted": calls}


if __name__ == "__main__":
    found = {
        "bias_after_pool": bias_after_pool(),
        "shifts": shifts(),
        "mirrored": mirrored(),
        "patches": patches(),
        "restored": restored(),
        "compiled": compiled(),
        "saved": saved(),
        "raced": raced(),
    }
    print("RESULT " + json.dumps(found))
