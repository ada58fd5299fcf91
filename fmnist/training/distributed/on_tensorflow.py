"""Several devices under TensorFlow: its own strategies, with mirrored weights and summed gradients.

On one host Keras's `fit` trains. Across hosts it cannot (keras#20585): there Keras's own
`train_step` is run by the strategy, from a loop of ours.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from fmnist.channel import Job
from fmnist.training import train
from fmnist.training.distributed.spread import Spread, order_of, too_few
from fmnist.training.tuned.loops import Loop


class Devices(Spread):
    """See `Spread`. Hosts are joined by TensorFlow's collective operations, at an address each."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        _show_devices(job)
        if job.addresses:
            self._strategy = _joined(job)
            return
        names = [device.name for device in tf.config.list_logical_devices(job.device.upper())]
        if len(names) < job.replicas:
            raise too_few(job, len(names))
        self._strategy = tf.distribute.MirroredStrategy(names)

    def scope(self) -> AbstractContextManager[object]:
        """Return the strategy's scope."""
        scope: AbstractContextManager[object] = self._strategy.scope()
        return scope

    def alone(self) -> AbstractContextManager[object]:
        """Return nothing special: a model that was built outside the scope stays outside."""
        return nullcontext()

    def fit(
        self,
        model: keras.Model,
        images: np.ndarray,
        labels: np.ndarray,
        *,
        batch_size: int,
        epochs: int,
        callbacks: Sequence[keras.callbacks.Callback],
    ) -> None:
        """Train by Keras's `fit`; across hosts, by the same step in a loop of ours."""
        fit = (
            _AcrossHosts(model, self._strategy, self._job).fit
            if self._job.addresses
            else partial(train.fit_in_turns, model)
        )
        fit(images, labels, batch_size=batch_size, epochs=epochs, callbacks=list(callbacks))


class _AcrossHosts(Loop):
    """Runs Keras's `train_step` on every replica, each with its part of the batch."""

    summary = "Keras's train_step, run by the strategy"

    def __init__(self, model: keras.Model, strategy: Any, job: Job) -> None:  # noqa: ANN401  # TensorFlow publishes no types
        super().__init__(model)
        self._strategy, self._job = strategy, job
        self._epoch = -1

        def step(batch: tuple[Any, Any]) -> None:
            strategy.run(model.train_step, args=(batch,))

        # AutoGraph leaves Keras's own training function alone, too.
        self._step = tf.function(step, autograph=False)

    def order(self, n: int) -> np.ndarray:
        """Return the order of the next epoch, the same on all hosts."""
        self._epoch += 1
        return order_of(n, self._job.seed, self._epoch)

    def _begin(self, images: np.ndarray, labels: np.ndarray, batch_size: int) -> None:
        """Make metrics and the optimizer's variables on every replica, before a step would."""
        with self._strategy.scope():
            super()._begin(images, labels, batch_size)

    def _handed_over(self, images: np.ndarray, labels: np.ndarray) -> tuple[Any, Any]:
        return images, labels

    def _train(self, batches: np.ndarray, rest: np.ndarray) -> None:  # noqa: ARG002  # it is empty
        """Train on batches, (steps, batch size), which divide the set."""
        images, labels = self._set
        parts = batches.reshape(len(batches), self._job.replicas, -1)
        for step in parts:

            def part(
                context: tf.distribute.InputContext, step: np.ndarray = step
            ) -> tuple[Any, Any]:
                here = step[context.replica_id_in_sync_group]
                return tf.constant(images[here]), tf.constant(labels[here])

            self._step(self._strategy.experimental_distribute_values_from_function(part))


def _show_devices(job: Job) -> None:
    """Let TensorFlow see as many devices as this host has replicas; make them of a processor."""
    physical = tf.config.list_physical_devices(job.device.upper())
    if job.device != "cpu":
        tf.config.set_visible_devices(physical[: job.local_replicas], job.device.upper())
    elif job.local_replicas > 1:
        each = [tf.config.LogicalDeviceConfiguration() for _ in range(job.local_replicas)]
        tf.config.set_logical_device_configuration(physical[0], each)


def _joined(job: Job) -> Any:  # noqa: ANN401  # TensorFlow publishes no types
    """Return the strategy of all hosts. Raises RuntimeError as `Spread`."""
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": list(job.addresses)}),
        task_type="worker",
        task_id=job.host,
        rpc_layer="grpc",
    )
    options = tf.distribute.experimental.CommunicationOptions(timeout_seconds=job.wait_s)
    strategy = tf.distribute.MultiWorkerMirroredStrategy(resolver, options)
    if strategy.num_replicas_in_sync != job.replicas:
        raise too_few(job, strategy.num_replicas_in_sync // len(job.addresses))
    return strategy
