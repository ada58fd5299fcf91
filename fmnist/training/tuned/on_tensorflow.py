"""The knob `loop` on TensorFlow."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fmnist.training.tuned.loops import TunedLoop

FUSED_OPTIMIZERS = (
    *(keras.optimizers.SGD, keras.optimizers.Adam, keras.optimizers.AdamW),
    *(keras.optimizers.RMSprop, keras.optimizers.Nadam, keras.optimizers.Adamax),
    *(keras.optimizers.Adagrad, keras.optimizers.Adadelta),
)
"""Those whose update is elementwise arithmetic that XLA makes one pass of."""
BEYOND_A_WEIGHT = (
    *("clipnorm", "clipvalue", "global_clipnorm", "weight_decay", "use_ema"),
    *("gradient_accumulation_steps", "loss_scale_factor"),
)
"""What an optimizer does beside updating weight by weight, by the name of its setting."""


class EpochLoop(TunedLoop):
    """An epoch in one graph on TensorFlow: by XLA whole, or with XLA for the update alone.

    On a CPU, XLA is many times slower than TensorFlow's own kernels at convolutions, and many times
    faster at what is left: dense models are compiled whole, of others the optimizer's update. There
    two halves of a batch are computed side by side and their gradients are averaged, unless a layer
    would notice.
    """

    prepared_at_once = 1_000

    def __init__(self, model: keras.Model, device: str) -> None:
        super().__init__(model, device)
        in_kernels = self._convolves_on_cpu
        fused = in_kernels and type(model.optimizer) in FUSED_OPTIMIZERS
        apart = fused and _updates_weight_by_weight(model)
        self._apply = tf.function(self._applied, jit_compile=True) if fused else self._applied
        if apart:
            self._update = tf.function(self._updated, jit_compile=True)
            self._apply = self._applied_apart
        self._by_xla = not in_kernels
        self._forward: dict[keras.Model, Callable[[Any], Any]] = {}
        self._epochs: dict[tuple[Any, ...], Callable[..., None]] = {}
        self.summary = self._summary(
            "an epoch as one graph" if in_kernels else "an epoch compiled as one graph by XLA",
            "two half batches side by side" if self.halves > 1 else "",
            "the update by XLA" if fused else "",
            "that of the largest weights beside the backward pass" if apart else "",
        )

    def _outputs(self, model: keras.Model, images: np.ndarray) -> Any:  # noqa: ANN401  # a tensor
        if model not in self._forward:
            self._forward[model] = tf.function(
                partial(self._by_halves, model),
                input_signature=[tf.TensorSpec([None, *images.shape[1:]], images.dtype)],
            )
        return self._forward[model](images)

    def _by_halves(self, model: keras.Model, images: Any) -> Any:  # noqa: ANN401  # tensors
        """Return what a model makes of a batch of whatever size, two halves side by side."""
        if self.halves == 1:
            return model(images, training=False)
        n = tf.shape(images)[0]
        half = (n + 1) // 2  # an odd batch has its middle in both: no half is ever empty
        first, second = (model(x, training=False) for x in (images[:half], images[n - half :]))
        return tf.concat([first, second[2 * half - n :]], 0)

    def _handed_over(self, images: np.ndarray, labels: np.ndarray) -> tuple[Any, Any]:
        return tf.constant(images), tf.constant(labels)

    def _train(self, batches: np.ndarray, rest: np.ndarray) -> None:
        for part in (batches, rest[None]):
            if part.size:
                self._compiled(part.shape[1])(*self._set, tf.constant(part))

    def _compiled(self, size: int) -> Callable[..., None]:
        """Return the epoch for batches of a size, of however many images and steps."""
        specs = [tf.TensorSpec([None, *array.shape[1:]], array.dtype) for array in self._set]
        key = (size, *specs)
        if key not in self._epochs:
            signature = [*specs, tf.TensorSpec([None, size], tf.int32)]
            self._epochs[key] = tf.function(
                self._epoch, input_signature=signature, jit_compile=self._by_xla
            )
        return self._epochs[key]

    def _epoch(self, images: Any, labels: Any, batches: Any) -> None:  # noqa: ANN401  # tensors
        for step in tf.range(tf.shape(batches)[0]):
            batch = batches[step]
            self._stepped(tf.gather(images, batch), tf.gather(labels, batch), batches.shape[1])

    def _stepped(self, images: Any, labels: Any, size: int) -> None:  # noqa: ANN401  # tensors
        """Take one step, as Keras's `train_step` does."""
        n = self._parts_of(size)
        pairs = zip(tf.split(images, n), tf.split(labels, n), strict=True)
        parts = [self._gradients(*pair) for pair in pairs]
        losses, outputs, gradients = zip(*parts, strict=True)
        self._apply(gradients)
        self._measure(tf.add_n(losses) / n, labels, tf.concat(outputs, 0))

    def _gradients(self, images: Any, labels: Any) -> tuple[Any, Any, list[Any]]:  # noqa: ANN401  # tensors
        model = self._trained
        with tf.GradientTape() as tape:
            outputs = model(images, training=True)
            loss = model.compute_loss(x=images, y=labels, y_pred=outputs, training=True)
            scaled = model.optimizer.scale_loss(loss)
        variables = [variable.value for variable in model.trainable_variables]
        return loss, outputs, tape.gradient(scaled, variables)

    def _applied(self, parts: tuple[list[Any], ...]) -> None:
        """Update the weights by the mean of the parts' gradients, taken here to be fused too."""
        self._trained.optimizer.apply(_mean(parts), self._trained.trainable_variables)

    def _applied_apart(self, parts: tuple[list[Any], ...]) -> None:
        """Update as `_applied` does, the largest weights by a call of their own.

        They are a dense layer's as a rule, whose gradient is known before those of the convolutions
        are computed. Their update is bound by memory, and one thread at it left the other idle.
        """
        sizes = [math.prod(v.shape) for v in self._trained.trainable_variables]
        largest = sizes.index(max(sizes))
        for places in ((largest,), tuple(i for i in range(len(sizes)) if i != largest)):
            self._update([[part[i] for i in places] for part in parts], places)
        self._trained.optimizer.iterations.assign_add(1)

    def _updated(self, parts: list[list[Any]], places: tuple[int, ...]) -> None:
        """Update the weights at some places, all by the rate of this step."""
        optimizer, variables = self._trained.optimizer, self._trained.trainable_variables
        for place, gradient in zip(places, _mean(parts), strict=True):
            optimizer.update_step(gradient, variables[place], optimizer.learning_rate)


def _mean(parts: Sequence[list[Any]]) -> list[Any]:
    """Return the mean of the parts' gradients, weight by weight."""
    n = len(parts)
    return [tf.add_n(each) / n if n > 1 else each[0] for each in zip(*parts, strict=True)]


def _updates_weight_by_weight(model: keras.Model) -> bool:
    """Tell whether the optimizer's `update_step` is all that it does, and knows one weight alone.

    Nadam keeps a product for all weights beside it.
    """
    optimizer = model.optimizer
    return (
        type(optimizer) is not keras.optimizers.Nadam
        and not any(getattr(optimizer, name) for name in BEYOND_A_WEIGHT)
        and all(variable.constraint is None for variable in model.trainable_variables)
    )
