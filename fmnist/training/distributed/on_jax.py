"""Several devices under JAX: Keras's own data parallelism over a mesh of them."""

import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial

import jax
import keras
import numpy as np

from fmnist.channel import Job
from fmnist.training import train
from fmnist.training.distributed.spread import Shards, Spread, too_few


class Devices(Spread):
    """See `Spread`. Hosts are joined by JAX's own service, on the first address."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        if job.addresses:
            jax.distributed.initialize(
                coordinator_address=job.addresses[0],
                num_processes=len(job.addresses),
                process_id=job.host,
                initialization_timeout=math.ceil(job.wait_s),
            )
        here = jax.local_devices(backend=job.device)
        if len(here) < job.local_replicas:
            raise too_few(job, len(here))
        chosen = [
            device
            for host in range(max(1, len(job.addresses)))
            for device in _of_host(job, host)[: job.local_replicas]
        ]
        self._distribution = keras.distribution.DataParallel(
            devices=[f"{device.platform}:{device.id}" for device in chosen],
            auto_shard_dataset=False,
        )

    def scope(self) -> AbstractContextManager[object]:
        """Return the scope of Keras's distribution."""
        scope: AbstractContextManager[object] = self._distribution.scope()
        return scope

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Lay Keras's distribution aside for a while."""
        current = keras.distribution.distribution()
        keras.distribution.set_distribution(None)
        try:
            yield
        finally:
            keras.distribution.set_distribution(current)

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
        """Train by Keras's `fit`: on the arrays, or on this host's part of them."""
        job, calls = self._job, list(callbacks)
        with self.scope():
            if not job.addresses:
                fit = partial(train.fit_in_turns, model)
                fit(images, labels, batch_size=batch_size, epochs=epochs, callbacks=calls)
                return
            part = Shards(
                images,
                labels,
                batch_size=batch_size,
                host=job.host,
                hosts=len(job.addresses),
                seed=job.seed,
            )
            train.fit_batches(model, part, epochs=epochs, callbacks=[*calls, part.beginning()])


def _of_host(job: Job, host: int) -> list[jax.Device]:
    """Return the devices of one host."""
    return [d for d in jax.devices(job.device) if d.process_index == host]
