"""The knob `loop` on JAX."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from fmnist.training.tuned.loops import TunedLoop

State = tuple[list[Any], ...]


class EpochLoop(TunedLoop):
    """Keras's own training step on JAX: an epoch of them in one `scan`, or one by one.

    A convolution inside a loop is slow on a CPU: XLA rewrites it to its fast path only outside
    (jax-ml/jax#12868). There the steps are called one after the other, and in each two halves of
    the batch are computed side by side, unless a layer would notice.
    """

    prepared_at_once = 200

    def __init__(self, model: keras.Model, device: str) -> None:
        super().__init__(model, device)
        one_by_one = self._convolves_on_cpu
        self.summary = self._summary(
            "a compiled step" if one_by_one else "an epoch compiled as one scan",
            "two half batches side by side" if self.halves > 1 else "",
        )
        self._forward: dict[keras.Model, Callable[..., Any]] = {}
        self._take = jax.jit(lambda images, labels, batch: (images[batch], labels[batch]))
        self._step = jax.jit(self._stepped, donate_argnums=0)
        self._scan = None if one_by_one else jax.jit(self._scanned, donate_argnums=0)

    def _outputs(self, model: keras.Model, images: np.ndarray) -> Any:  # noqa: ANN401  # an array
        def outputs(trained: list[Any], others: list[Any], images: Any) -> Any:  # noqa: ANN401  # arrays
            return model.stateless_call(trained, others, images, training=False)[0]

        if model not in self._forward:
            self._forward[model] = jax.jit(outputs)
        variables = model.trainable_variables, model.non_trainable_variables
        return self._forward[model](*([v.value for v in part] for part in variables), images)

    def _handed_over(self, images: np.ndarray, labels: np.ndarray) -> tuple[Any, Any]:
        return jax.device_put(images), jax.device_put(labels)

    def _stepped(self, state: State, images: Any, labels: Any) -> State:  # noqa: ANN401  # arrays
        if (n := self._parts_of(len(images))) > 1:
            return self._stepped_by_parts(state, images, labels, n)
        _, state = self._trained.train_step(state, (images, labels))
        return tuple(list(part) for part in state)

    def _stepped_by_parts(self, state: State, images: Any, labels: Any, n: int) -> State:  # noqa: ANN401  # arrays
        """Take one step, as Keras's `train_step` does, by the mean of n parts' gradients."""
        trained, others, optimizer, metrics = state
        gradients_of = jax.value_and_grad(self._trained.compute_loss_and_updates, has_aux=True)
        parts = []
        for x, y in zip(jnp.split(images, n), jnp.split(labels, n), strict=True):
            # What a part changes, such as the seeds of dropout, the next one begins with.
            (_, aux), gradients = gradients_of(
                *(trained, others, metrics, x, y, None),
                training=True,
                optimizer_variables=optimizer,
            )
            loss, outputs, others, metrics = aux
            parts.append((loss, outputs, gradients))
        losses, outputs, gradients = zip(*parts, strict=True)
        mean = [sum(each) / n for each in zip(*gradients, strict=True)]
        trained, optimizer = self._trained.optimizer.stateless_apply(optimizer, mean, trained)
        variables = self._trained.metrics_variables
        with keras.StatelessScope(zip(variables, metrics, strict=True)) as scope:
            self._measure(sum(losses) / n, labels, jnp.concatenate(outputs))
        measured = [scope.get_current_value(variable) for variable in variables]
        return list(trained), list(others), list(optimizer), measured

    def _scanned(self, state: State, images: Any, labels: Any, batches: Any) -> State:  # noqa: ANN401  # arrays
        def step(state: State, batch: Any) -> tuple[State, None]:  # noqa: ANN401  # an array
            return self._stepped(state, images[batch], labels[batch]), None

        state, _ = jax.lax.scan(step, state, batches)
        return state

    def _train(self, batches: np.ndarray, rest: np.ndarray) -> None:
        variables = (
            self._trained.trainable_variables,
            self._trained.non_trainable_variables,
            self._trained.optimizer.variables,
            self._trained.metrics_variables,
        )
        state: State = tuple([variable.value for variable in part] for part in variables)
        if self._scan is not None and len(batches):
            state = self._scan(state, *self._set, batches)
            batches = batches[:0]
        for batch in [*batches, *([rest] if len(rest) else [])]:
            state = self._step(state, *self._take(*self._set, batch))
        for part, values in zip(variables, state, strict=True):
            for variable, value in zip(part, values, strict=True):
                variable.assign(value)
