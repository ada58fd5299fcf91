"""Trains through the epoch gate with a turned clock and tells in which order things happened.

Run by test_train.py in a process of its own for each backend.
"""

import json
from collections.abc import Callable, Mapping

import keras
import numpy as np
import psutil

from fmnist import models
from fmnist.measure import Stopwatch
from fmnist.training import train, worker

EPOCHS_ALLOWED = 5
STOP_AFTER = 3


def losses_by_order(epochs: int) -> list[float]:
    """Return the loss of each epoch of a training in turns, which tells in which order it went.

    Each begins at the same weights, so its loss depends on the order alone.
    """
    images = np.random.default_rng(0).random((64, 4)).astype("float32")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile(loss="mse", optimizer=keras.optimizers.SGD(0.1))
    weights = model.get_weights()
    restart = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: model.set_weights(weights)  # noqa: ARG005  # Keras's signature
    )
    kept = keras.callbacks.History()
    train.fit_in_turns(
        model, images, images[:, :1], batch_size=8, epochs=epochs, callbacks=[restart, kept]
    )
    return [round(loss, 6) for loss in kept.history["loss"]]


def learned(fit: Callable[..., None]) -> list[float]:
    """Return the losses of a training with dropout whose generators are seeded."""
    worker.seed_generators(0)
    model = models.build("lenet_dropout")
    train.compile_model(model, models.card("lenet_dropout").recipe, steps=24)
    images = np.random.default_rng(0).random((64, 28, 28, 1), dtype=np.float32)
    labels = (np.arange(64) % 10).astype("int32")
    kept = keras.callbacks.History()
    fit(model, images, labels, batch_size=8, epochs=3, callbacks=[kept])
    return list(kept.history["loss"])


def threads_at_the_ends(fit: Callable[..., None], model: keras.Model) -> list[int]:
    """Return how many threads there are at the end of each epoch of a training."""
    counts: list[int] = []
    count = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda epoch, logs: counts.append(psutil.Process().num_threads())  # noqa: ARG005  # Keras's signature
    )
    images, labels = np.zeros((64, 28, 28, 1), "float32"), np.zeros(64, "int32")
    fit(model, images, labels, batch_size=32, epochs=3, callbacks=[count])
    return counts


def main() -> None:
    """Stop a training of five epochs after three, and print what happened."""
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
        # What the worker does here: an evaluation before the next epoch, which must not disturb it.
        train.evaluate(model, images, labels, 32)

    def go_on(has_ended: bool) -> bool:  # noqa: ARG001, FBT001
        happened.append("ask")
        return len(reported) < STOP_AFTER

    images = np.zeros((64, 28, 28, 1), "float32")
    labels = np.zeros(64, "int32")
    callbacks = [train.EpochClock(Stopwatch(clock, fence), report), train.EpochGate(go_on)]
    train.fit_in_turns(
        model, images, labels, batch_size=32, epochs=EPOCHS_ALLOWED, callbacks=callbacks
    )
    per_batch = [
        name
        for ours in (train.EpochClock, train.EpochGate)
        for name in ("on_batch_begin", "on_batch_end", "on_train_batch_begin", "on_train_batch_end")
        if getattr(ours, name) is not getattr(keras.callbacks.Callback, name)
    ]
    worker.seed_generators(0)
    orders = losses_by_order(3)
    threads = {
        fit.__name__: threads_at_the_ends(fit, model) for fit in (train.fit, train.fit_in_turns)
    }
    found = {
        "learned": {fit.__name__: learned(fit) for fit in (train.fit, train.fit_in_turns)},
        "orders": orders,
        "threads": threads,
        "happened": happened,
        "reported": reported,
        "per_batch_hooks": per_batch,
    }
    print("RESULT " + json.dumps(found))


if __name__ == "__main__":
    main()
