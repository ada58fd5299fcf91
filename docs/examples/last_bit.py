"""By how much a backend differs from itself, where rounding or its work was changed on purpose.

KERAS_BACKEND=jax python docs/examples/last_bit.py MODEL SEED

What the certificate of preset `full` allows (`fmnist.parity.TOLERANCES`) rests on this.
"""

import sys
from collections.abc import Iterator, Mapping
from functools import partial

import keras
import numpy as np

from fmnist import data, models, parity
from fmnist.data import preprocess, standin
from fmnist.grid import PRESETS
from fmnist.training import train

FULL = PRESETS["full"]
LAST_BIT = {"last bit up": np.inf, "last bit down": -np.inf}
"""Which way each weight is nudged before the first step."""
RATES = {"1.5 times the learning rate": 1.5, "half the learning rate": 0.5}
OTHER_BATCHES = "other batches"
AFTER = parity.COMPARED_STEPS[-1]
"""The step after which rate and batches are changed."""


def changed_steps(
    change: str, model: keras.Model, images: np.ndarray, labels: np.ndarray, batches: np.ndarray
) -> Iterator[Mapping[str, float]]:
    """Train as `train.steps` does, but for the change; yield the logs of each step."""
    if change in LAST_BIT:
        towards = np.float32(LAST_BIT[change])
        model.set_weights([np.nextafter(weight, towards) for weight in model.get_weights()])
    yield from train.steps(model, images, labels, batches[:AFTER])
    if change in RATES:
        model.optimizer.learning_rate = RATES[change] * float(model.optimizer.learning_rate)
    shift = AFTER if change == OTHER_BATCHES else 0
    yield from train.steps(model, images, labels, batches[AFTER - shift : len(batches) - shift])


def main(name: str, seed: int) -> None:
    """Print for each change how far the certificate's figures are from those without it."""
    recipe = models.card(name).recipe
    drawn = data.load_sample(data.locate(), FULL.parity_images, standin.TEST_IMAGES, seed)
    images = parity.dithered(preprocess.rescale(drawn.train_images), seed)
    labels = preprocess.for_loss(drawn.train_labels, recipe.loss)
    batches = parity.batches(len(images), recipe.batch_size, FULL.parity_steps, seed)

    def trace(change: str) -> parity.Trace:
        model = models.build(name)
        train.compile_model(model, recipe, "auto", steps=len(batches))
        taken = partial(changed_steps, change, model)
        return train.follow(model, images, labels, seed, batches, taken)

    unchanged = trace("")
    print(f"{name}, {keras.backend.backend()}, seed {seed}, data set {drawn.name}")
    for change in (*LAST_BIT, OTHER_BATCHES, *RATES):
        found = parity.differences(unchanged, trace(change))
        shown = ("update_20", "loss_20", "losses")
        told = ", ".join(f"{key.replace('_', ' ')} {100 * found[key]:.2g} %" for key in shown)
        print(f"{change}: {told}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
