"""Trains through the epoch gate with a turned clock and tells in which order things happened.

Run by test_train.py in a process of its own for each backend.
"""

import json
from collections.abc import Mapping

import keras
import numpy as np

from fmnist import models
from fmnist.measure import Stopwatch
from fmnist.training import train, worker

EPOCHS_ALLOWED = 5
STOP_AFTER = 3


def epochs_seen(epochs: int) -> list[list[float]]:
    """Return, for each epoch of a fit, a figure of every batch that tells which images it held."""
    seen: list[list[float]] = []

    class Tracker(keras.callbacks.Callback):  # type: ignore[misc]  # Keras publishes no types
        def on_epoch_begin(self, epoch: int, logs: object = None) -> None:  # noqa: ARG002
            seen.append([])

        def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002
            seen[-1].append(float((logs or {})["loss"]))

    # A model that cannot learn: with a rate of zero its running loss depends on the order alone.
    images = np.random.default_rng(0).random((64, 4)).astype("float32")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(loss="mse", optimizer=keras.optimizers.SGD(0.0))
    model.fit(images, images[:, :1], batch_size=8, epochs=epochs, verbose=0, callbacks=[Tracker()])
    return seen


def order_of_images(losses: list[float]) -> list[float]:
    """Return the losses as they can be compared."""
    return [round(loss, 6) for loss in losses]


def main() -> None:
    """Stop a `fit` of five epochs after three, and print what happened."""
    happened: list[str] = []
    reported: list[tuple[float, list[str]]] = []
    model = models.build("softmax_regression")
    train.compile_model(model, models.card("softmax_regression").recipe, steps=1)
    wait = train.fence_of(model)

    def fence() -> None:
        happened.append("fence")
        wait()

    def clock() -> float:
        happened.append("clock")
        return float(len(happened))

    def report(seconds: float, logs: Mapping[str, float]) -> None:
        happened.append("report")
        reported.append((seconds, sorted(logs)))
        # What the worker does here: an evaluation inside the fit, which must not disturb it.
        train.evaluate(model, images, labels, 32)

    def go_on(has_ended: bool) -> bool:  # noqa: ARG001, FBT001
        happened.append("ask")
        return len(reported) < STOP_AFTER

    images = np.zeros((64, 28, 28, 1), "float32")
    labels = np.zeros(64, "int32")
    callbacks = [train.EpochClock(Stopwatch(clock, fence), report), train.EpochGate(go_on)]
    train.fit(model, images, labels, batch_size=32, epochs=EPOCHS_ALLOWED, callbacks=callbacks)
    per_batch = [
        name
        for ours in (train.EpochClock, train.EpochGate)
        for name in ("on_batch_begin", "on_batch_end", "on_train_batch_begin", "on_train_batch_end")
        if getattr(ours, name) is not getattr(keras.callbacks.Callback, name)
    ]
    worker.seed_generators(0)
    orders = [order_of_images(seen) for seen in epochs_seen(3)]
    found = {
        "orders": orders,
        "happened": happened,
        "reported": reported,
        "per_batch_hooks": per_batch,
    }
    print("RESULT " + json.dumps(found))


if __name__ == "__main__":
    main()
