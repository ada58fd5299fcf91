"""The knob `loop`: epochs compiled as far as the backend gains from it, by the model's own recipe.

One adapter per backend. What is computed is what Keras's `fit` computes: the compiled loss,
metrics and optimizer, every image once an epoch in a new order, the last batch whatever its size;
callbacks are called at the ends of epochs and of the training, with the same logs.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import takewhile
from typing import Any

import keras
import numpy as np

from fmnist.layers import PatchConv2D
from fmnist.training import train
from fmnist.training.tuned.layers import ONE_CHANNEL, MaxPooling2D, WinnersMaxPooling2D

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
        self._model = self._trained = model

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
        self._trained.reset_metrics()
        for _ in self.unwatched_steps(images, labels, batches):
            yield self._logs()
            self._trained.reset_metrics()

    def unwatched_steps(
        self, images: np.ndarray, labels: np.ndarray, batches: np.ndarray
    ) -> Iterator[None]:
        """Train batch by batch and do nothing else; a step that is yielded may not be done yet."""
        self._begin(images, labels, batches.shape[1])
        for batch in batches.astype(np.int32):
            self._prepare()
            self._train(batch[None], batch[:0])
            yield

    def _begin(self, images: np.ndarray, labels: np.ndarray, batch_size: int) -> None:
        """Hand the set to the device and make what the first step would make."""
        model = self._trained
        model.optimizer.build(model.trainable_variables)
        for metric in model.metrics:
            if not getattr(metric, "built", True):
                metric.build(labels[:1], self._model(images[:1], training=False))
        self._batch_size = batch_size
        self._set = self._handed_over(images, labels)

    def _prepare(self) -> None:  # noqa: B027  # a hook: most have nothing to prepare
        """Make what is made once for all epochs, inside the first one, unless it is made."""

    def _run(self, order: np.ndarray) -> dict[str, float]:
        """Train on the images once in this order; return the logs as `fit` does."""
        self._prepare()
        self._trained.reset_metrics()
        steps = len(order) // self._batch_size
        whole = order[: steps * self._batch_size].reshape(steps, self._batch_size)
        self._train(whole.astype(np.int32), order[whole.size :].astype(np.int32))
        return self._logs()

    def _logs(self) -> dict[str, float]:
        return {name: float(value) for name, value in self._trained.get_metrics_result().items()}

    @abstractmethod
    def _handed_over(self, images: np.ndarray, labels: np.ndarray) -> tuple[Any, Any]:
        """Return the set as the backend's arrays."""

    @abstractmethod
    def _train(self, batches: np.ndarray, rest: np.ndarray) -> None:
        """Train on batches, (steps, batch size), and on the images of the rest, if any."""


SAME_ALWAYS = (
    *(keras.layers.Rescaling, keras.layers.ReLU, keras.layers.LeakyReLU, keras.layers.Flatten),
    *(keras.layers.Conv2D, PatchConv2D, *ONE_CHANNEL.values()),
    *(keras.layers.MaxPooling2D, MaxPooling2D, WinnersMaxPooling2D),
)
"""Layers that make the same of an image in every epoch, if their weights are not trained."""


class TunedLoop(Loop):
    """What the adapters share: which models convolve on a CPU, and halves of a batch there.

    The first layers of a sequential model, if they hold weights and train none, are computed once
    in a `fit`, for all images, inside its first epoch: the rest is trained on what they made.

    `halves` is into how many parts a batch is cut where its size allows: two, or one.
    `prepared_at_once` is how many images the first layers are given at a time, as each backend is
    fastest.
    """

    prepared_at_once: int

    def __init__(self, model: keras.Model, device: str) -> None:
        super().__init__(model)
        self._convolves_on_cpu = device == "cpu" and any(
            isinstance(layer, train.CONV_LAYERS) for layer in train.leaves(model)
        )
        # Kernels of convolutions leave a part of two processors idle, which two halves fill.
        self.halves = 1
        if self._convolves_on_cpu and not train.has_batch_statistics(model):
            self.halves = 2
        self._fixed, self._trained = parted(model)

    def predict(self, images: np.ndarray, batch_size: int) -> np.ndarray:
        """Return the logits of images, (n, ...) to (n, 10), without the set-up of Keras's own."""
        made = self._computed(self._model, images, batch_size)
        return np.asarray(keras.ops.convert_to_numpy(made))

    def _begin(self, images: np.ndarray, labels: np.ndarray, batch_size: int) -> None:
        super()._begin(images, labels, batch_size)
        self._unprepared = None if self._fixed is None else images

    def _prepare(self) -> None:
        if self._unprepared is not None:
            made = self._computed(self._fixed, self._unprepared, self.prepared_at_once)
            self._set, self._unprepared = (made, self._set[1]), None

    def _computed(self, model: keras.Model, images: np.ndarray, batch_size: int) -> Any:  # noqa: ANN401  # an array of the backend
        """Return what a model makes of images, computed batch by batch; it may not be done yet."""
        starts = range(0, len(images), batch_size)
        return keras.ops.concatenate(
            [self._outputs(model, images[i : i + batch_size]) for i in starts]
        )

    def _summary(self, *parts: str) -> str:
        """Return in words what an adapter does, and what is done here."""
        fixed = [] if self._fixed is None else self._fixed.layers
        of_fixed = [f"the first {len(fixed)} layers once for all images"] if fixed else []
        return ", ".join([*filter(None, parts), *of_fixed])

    def _parts_of(self, size: int) -> int:
        """Return into how many parts a batch is cut, to be computed side by side."""
        return self.halves if size % self.halves == 0 else 1

    @abstractmethod
    def _outputs(self, model: keras.Model, images: np.ndarray) -> Any:  # noqa: ANN401  # an array
        """Return what a model makes of a batch, outside of training; it may not be done yet."""

    def _measure(self, loss: Any, labels: Any, outputs: Any) -> None:  # noqa: ANN401  # tensors
        """Tell the metrics of a batch: its loss, labels and outputs; as `train_step` does."""
        for metric in self._trained.metrics:
            if metric.name == "loss":
                metric.update_state(loss, sample_weight=labels.shape[0])
            else:
                metric.update_state(labels, outputs)


def parted(model: keras.Model) -> tuple["keras.Model | None", keras.Model]:
    """Return the first layers, as far as they are fixed, and what is trained after them.

    They are None, and the rest is the model itself, where it is not sequential, or where the first
    layers hold no weights: then there is little to save. The rest is compiled as the model is, and
    shares its optimizer.
    """
    row = model.layers if isinstance(model, keras.Sequential) else []
    fixed = list(takewhile(_is_fixed, row))
    if not any(layer.weights for layer in fixed) or len(fixed) == len(row):
        return None, model
    first = keras.Sequential([keras.Input(model.input_shape[1:]), *fixed])
    made = first.outputs[0]
    rest = keras.Sequential([keras.Input(made.shape[1:], dtype=made.dtype), *row[len(fixed) :]])
    train.compile_alike(rest, model)
    return first, rest


def _is_fixed(layer: keras.layers.Layer) -> bool:
    """Tell whether a layer makes the same of an image in every epoch."""
    return (
        type(layer) in SAME_ALWAYS
        and not layer.trainable_weights
        and getattr(layer, "activity_regularizer", None) is None
    )


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
