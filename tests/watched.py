"""Trains by a recipe's callbacks with validation figures of its own making; prints JSON.

Run by test_callbacks.py in a process of its own for each backend.
"""

import json
import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fmnist import models
from fmnist.training import train
from fmnist.training.tuned.loops import loop_for

MODEL = "conv2-pool-dense4"
RATE = 0.125


class Validated(keras.callbacks.Callback):  # type: ignore[misc]  # Keras publishes no types
    """Puts figures into the logs, as the suite's clock does, and keeps what an epoch began with."""

    def __init__(self, figures: Mapping[str, Sequence[float]], frozen_after: int | None) -> None:
        super().__init__()
        self.figures = figures
        self.frozen_after = frozen_after
        self.rates: list[float] = []
        self.weights: list[list[np.ndarray]] = []

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Note weights and rate of the epoch, then tell the callbacks behind."""
        assert logs is not None
        self.rates.append(float(self.model.optimizer.learning_rate))
        self.weights.append([np.array(weight) for weight in self.model.get_weights()])
        logs.update({name: values[epoch] for name, values in self.figures.items()})
        if epoch + 1 == self.frozen_after:
            self.model.optimizer.learning_rate = 0.0


def trained(
    loop: str,
    figures: Mapping[str, Sequence[float]],
    frozen_after: int | None = None,
    **own: Any,  # noqa: ANN401  # fields of a recipe
) -> dict[str, Any]:
    """Return what a training does whose validation figures are these, epoch by epoch.

    After the epoch `frozen_after`, from 1, the learning rate is 0.
    """
    base = models.card(MODEL).recipe.model_dump()
    recipe = models.Recipe(**base | {"optimizer": "sgd", "learning_rate": RATE, "epochs": 6} | own)
    random = np.random.default_rng(0)
    images = random.random((32, 28, 28, 1), dtype=np.float32)
    labels = (np.arange(32) % 10).astype("int32")
    model = models.build(MODEL)
    train.compile_model(model, recipe, steps=4 * recipe.epochs)
    tuned = loop_for(model, keras.backend.backend(), "cpu").fit
    fit = tuned if loop == "tuned" else partial(train.fit_in_turns, model)
    watching = Validated(figures, frozen_after)
    fit(
        images,
        labels,
        batch_size=8,
        epochs=recipe.epochs,
        callbacks=[watching, *train.callbacks_of(recipe)],
    )
    final = [np.array(weight) for weight in model.get_weights()]
    steps = [largest(a, b) for a, b in zip(watching.weights, watching.weights[1:], strict=False)]
    return {
        "epochs": len(watching.weights),
        "rates": watching.rates,
        "steps": steps,
        "final_is_epoch": [
            epoch + 1
            for epoch, weights in enumerate(watching.weights)
            if all(map(np.array_equal, weights, final))
        ],
    }


def largest(before: Sequence[np.ndarray], after: Sequence[np.ndarray]) -> float:
    """Return the largest change of any weight."""
    return max(float(np.abs(a - b).max()) for a, b in zip(before, after, strict=True))


def main() -> None:
    """Train in stock `fit` and in the tuned loop by each of the callbacks."""
    losses = [3.0, 1.0, 2.0, 2.0, 2.0, 2.0]
    accuracies = [0.1, 0.2, 0.3, 0.9, 0.4, 0.9]
    figures = {"val_loss": losses, "val_accuracy": accuracies}
    with tempfile.TemporaryDirectory() as folder:
        tempfile.tempdir = folder
        found = {
            loop: {
                "none": trained(loop, figures),
                "stop": trained(loop, figures, stop_after=2),
                "halve": trained(loop, figures, halve_after=2),
                "best": trained(loop, figures, keep_best=True),
                "both": trained(loop, figures, stop_after=3, keep_best=True),
                "frozen": trained(loop, figures, frozen_after=3),
            }
            for loop in ("stock", "tuned")
        }
        left = [str(path) for path in Path(folder).glob("fmnist-*")]
    print("RESULT " + json.dumps({"found": found, "left": left}))


if __name__ == "__main__":
    main()
