"""Asks Keras on one backend for the facts of test_facts.py; prints them as JSON after RESULT."""

import json
from typing import Any

import keras
import numpy as np

IMAGES = np.arange(32.0, dtype="float32").reshape(8, 4) / 32
LABELS = np.arange(8) % 3


class Batches(keras.callbacks.Callback):  # type: ignore[misc]  # Keras is untyped
    """A callback with a hook for each batch."""

    def on_train_batch_end(self, batch: int, logs: object = None) -> None:
        """Do nothing: that it is there is enough."""


class Epochs(keras.callbacks.Callback):  # type: ignore[misc]  # Keras is untyped
    """A callback with a hook for each epoch."""

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        """Do nothing."""


def model() -> Any:  # noqa: ANN401  # a Keras model
    """Return a small model whose weights come from a seed."""
    keras.utils.set_random_seed(3)
    made = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    made.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return made


def trained() -> list[float]:
    """Return the weights after two epochs of four shuffled batches."""
    made = model()
    made.fit(IMAGES, LABELS, batch_size=2, epochs=2, verbose=0)
    kernel: list[float] = made.get_weights()[0].ravel().tolist()
    return kernel


def dispatched(callback: Any) -> bool:  # noqa: ANN401  # a Keras callback
    """Tell whether training goes on without waiting for a callback's logs."""
    return bool(keras.callbacks.CallbackList([callback], model=model())._async_train)  # noqa: SLF001


facts = {
    "jit_compile": model().jit_compile,
    "initial": model().get_weights()[0].ravel().tolist(),
    "trained": [trained(), trained()],
    "dispatched": [dispatched(Epochs()), dispatched(Batches())],
}
print("RESULT", json.dumps(facts))
