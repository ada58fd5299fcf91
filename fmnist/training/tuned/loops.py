"""The knob `loop`: epochs compiled as far as the backend gains from it, by the model's own recipe.

One adapter per backend. What is computed is what Keras's `fit` computes: the compiled loss,
metrics and optimizer, every image once an epoch in a new order, the last batch whatever its size;
callbacks are called at the ends of epochs and of the training, with the same logs.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from fmnist.training import train

HOOKS_OF_BATCHES = (
    *("on_train_batch_begin", "on_train_batch_end"),
    *("on_batch_begin", "on_batch_end"),  # what the first two were called before
)


class Loop(ABC):
    """Trains a compiled model, and says how in `summary`.

    What is compiled is kept, so a second `fit` compiles nothing.
    """

    summary: str

    def __init__(self, model: keras.Model) -> None:
        self._model = model

    def fit(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        *,
        batch_size: int,
        epochs: int,
        callbacks: Sequence[keras.callbacks.Callback],
    ) -> keras.callbacks.History:
        """Train as Keras's `fit` does, with hooks of epochs and of the training alone.

        Args:
            images: (n, ...) float32.
            labels: (n,) or (n, classes), to suit the loss.
            batch_size: images per step; the last step takes what is left.
            epochs: at most; a callback may end it by `stop_training`.
            callbacks: may not define hooks of single batches. Raises ValueError if one does.
        """
        _refuse_hooks_of_batches(callbacks)
        calls = keras.callbacks.CallbackList(
            list(callbacks), add_history=True, model=self._model, epochs=epochs
        )
        self._begin(images, labels, batch_size)
        self._model.stop_training = False
        logs: dict[str, float] = {}
        calls.on_train_begin()
        for epoch in range(epochs):
            calls.on_epoch_begin(epoch)
            logs = self._run(self.order(len(images)))
            calls.on_epoch_end(epoch, logs)
            if self._model.stop_training:
                break
        calls.on_train_end(logs)
        return self._model.history

    def predict(self, images: np.ndarray, batch_size: int) -> np.ndarray:
        """Return the logits of images, (n, ...) to (n, 10), as Keras's `predict` does."""
        return train.predict(self._model, images, batch_size)

    def order(self, n: int) -> np.ndarray:
        """Return the order in which the next epoch takes n images."""
        return np.random.permutation(n)  # noqa: NPY002  # as Keras shuffles

    def steps(
        self, images: np.ndarray, labels: np.ndarray, batches: np.ndarray
    ) -> Iterator[dict[str, float]]:
        """Train batch by batch, each waited for; yield the logs of each step.

        `batches` holds indices into the images, (steps, batch size).
        """
        self._model.reset_metrics()
        for _ in self.unwatched_steps(images, labels, batches):
            yield self._logs()
            self._model.reset_metrics()

    def unwatched_steps(
        self, images: np.ndarray, labels: np.ndarray, batches: np.ndarray
    ) -> Iterator[None]:
        """Train batch by batch and do nothing else; a step that is yielded may not be done yet."""
        self._begin(images, labels, batches.shape[1])
        for batch in batches.astype(np.int32):
            self._train(batch[None], batch[:0])
            yield

    def _begin(self, images: np.ndarray, labels: np.ndarray, batch_size: int) -> None:
        """Hand the set to the device and make what the first step would make."""
        model = self._model
        model.optimizer.build(model.trainable_variables)
        for metric in model.metrics:
            if not getattr(metric, "built", True):
                metric.build(labels[:1], model(images[:1], training=False))
        self._batch_size = batch_size
        self._set = self._handed_over(images, labels)

    def _run(self, order: np.ndarray) -> dict[str, float]:
        """Train on the images once in this order; return the logs as `fit` does."""
        self._model.reset_metrics()
        steps = len(order) // self._batch_size
        whole = order[: steps * self._batch_size].reshape(steps, self._batch_size)
        self._train(whole.astype(np.int32), order[whole.size :].astype(np.int32))
        return self._logs()

    def _logs(self) -> dict[str, float]:
        return {name: float(value) for name, value in self._model.get_metrics_result().items()}

    @abstractmethod
    def _handed_over(self, images: np.ndarray, labels: np.ndarray) -> tuple[Any, Any]:
        """Return the set as the backend's arrays."""

    @abstractmethod
    def _train(self, batches: np.ndarray, rest: np.ndarray) -> None:
        """Train on batches, (steps, batch size), and on the images of the rest, if any."""


class TunedLoop(Loop):
    """What the adapters share: which models convolve on a CPU, and halves of a batch there.

    `halves` is into how many parts a batch is cut where its size allows: two, or one.
    """

    def __init__(self, model: keras.Model, device: str) -> None:
        super().__init__(model)
        self._convolves_on_cpu = device == "cpu" and any(
            isinstance(layer, train.CONV_LAYERS) for layer in train.leaves(model)
        )
        # Kernels of convolutions leave a part of two processors idle, which two halves fill.
        self.halves = 1
        if self._convolves_on_cpu and not train.has_batch_statistics(model):
            self.halves = 2

    def _parts_of(self, size: int) -> int:
        """Return into how many parts a batch is cut, to be computed side by side."""
        return self.halves if size % self.halves == 0 else 1

    def _measure(self, loss: Any, labels: Any, outputs: Any) -> None:  # noqa: ANN401  # tensors
        """Tell the metrics of a batch: its loss, labels and outputs; as `train_step` does."""
        for metric in self._model.metrics:
            if metric.name == "loss":
                metric.update_state(loss, sample_weight=labels.shape[0])
            else:
                metric.update_state(labels, outputs)


def loop_for(model: keras.Model, backend: str, device: str) -> TunedLoop:
    """Return the backend's loop for a compiled model; its module alone starts the backend."""
    adapter = importlib.import_module(f"fmnist.training.tuned.on_{backend}")
    loop: TunedLoop = adapter.EpochLoop(model, device)
    return loop


def _refuse_hooks_of_batches(callbacks: Sequence[keras.callbacks.Callback]) -> None:
    """Raise ValueError, naming it, if a callback wants to be called at every batch."""
    base = keras.callbacks.Callback
    for callback in callbacks:
        for hook in HOOKS_OF_BATCHES:
            # A LambdaCallback has its hooks on the instance, where they are plain functions.
            if getattr(getattr(callback, hook), "__func__", None) is not getattr(base, hook):
                raise ValueError(
                    f"{type(callback).__name__}.{hook}: a tuned loop does not stop at batches; "
                    f"run this callback in mode stock"
                )
