"""Where a model is trained that has several replicas. One adapter per backend; runs in a worker.

What is computed is what one device would compute on the whole batch, but for the order of sums,
dropout, and batch normalisation where a backend takes each replica's own mean (TensorFlow).
"""

import hashlib
import importlib
import importlib.metadata
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import count

import keras
import numpy as np

from fmnist.channel import Job

AGREED = ("fmnist", "keras", "numpy")
NOT_AGREED = ("host", "cpus", "data_folder", "data_found_by")
"""What may differ from host to host."""
LOOPBACK = ("localhost", "127.", "[::1]")


class Shards(keras.utils.PyDataset):  # type: ignore[misc]  # Keras publishes no types
    """One host's part of every batch: together, the hosts take each image once an epoch.

    The order of the images is drawn anew for every epoch, by the seed, the same on all hosts.

    Args:
        images: the whole training set, (n, 28, 28, 1).
        labels: to suit the loss, (n,) or (n, classes).
        batch_size: of all hosts together; the hosts divide it, and it divides n.
        host: which part is taken, from 0.
        hosts: how many parts there are.
        seed: of the order.
    """

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        *,
        batch_size: int,
        host: int,
        hosts: int,
        seed: int,
    ) -> None:
        super().__init__()
        self._images, self._labels = images, labels
        self._batch_size = batch_size
        self._part = slice(host * (batch_size // hosts), (host + 1) * (batch_size // hosts))
        self._orders = orders(len(images), seed)
        self._order = np.arange(len(images))  # until the first epoch begins

    def __len__(self) -> int:
        """Return the steps of an epoch."""
        return len(self._images) // self._batch_size

    def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return this host's images and labels of one step."""
        here = self.indices()[step]
        return self._images[here], self._labels[here]

    def on_epoch_begin(self) -> None:
        """Take the next epoch's order."""
        self._order = next(self._orders)

    def indices(self) -> np.ndarray:
        """Return which images are this host's in each step of the epoch, (steps, images)."""
        whole = self._order[: len(self) * self._batch_size]
        return whole.reshape(len(self), self._batch_size)[:, self._part]


def orders(n: int, seed: int) -> Iterator[np.ndarray]:
    """Yield an order of n images for every epoch, the same on all hosts that have the seed."""
    for epoch in count():
        yield np.random.default_rng([seed, epoch]).permutation(n)


class Spread(ABC):
    """Several devices that train one model together. Made before a backend computes anything.

    Raises RuntimeError where there are too few devices, where other hosts cannot be reached, or
    where they were told something else.
    """

    def __init__(self, job: Job) -> None:
        self._job = job

    @property
    def shared_device(self) -> bool:
        """Whether replicas share a processor, so that their times say nothing of several."""
        names = {name for name, _ in map(parted, self._job.addresses)}
        are_one_machine = len(names) < len(self._job.addresses) or any(
            name.startswith(LOOPBACK) for name in names
        )
        return are_one_machine or (self._job.device == "cpu" and self._job.local_replicas > 1)

    @abstractmethod
    def scope(self) -> AbstractContextManager[object]:
        """Return the context in which the model is built, compiled and trained."""

    @abstractmethod
    def alone(self) -> AbstractContextManager[object]:
        """Return the context, within the other one too, in which one device works for itself."""

    @abstractmethod
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
        """Train as `train.fit` does, on the part of each batch that is this host's."""


def spread_for(job: Job) -> Spread | None:
    """Return what trains on several devices by the job's backend; None for a job of one device.

    Raises RuntimeError as `Spread`.
    """
    if job.replicas == 1:
        return None
    adapter = importlib.import_module(f"fmnist.distributed.on_{job.backend}")
    made: Spread = adapter.Devices(job)
    return made


def parted(address: str) -> tuple[str, int]:
    """Return the name and the port of an address, `NAME:PORT`."""
    name, _, port = address.rpartition(":")
    return name, int(port)


def too_few(job: Job, found: int) -> RuntimeError:
    """Return the error for a host that has fewer devices than replicas."""
    return RuntimeError(
        f"{job.local_replicas} replicas need as many devices of kind {job.device}; "
        f"{job.backend} sees {found}: ask for fewer --replicas"
    )


def unreached(job: Job, error: Exception) -> RuntimeError:
    """Return the error for hosts that did not meet."""
    return RuntimeError(
        f"host {job.host} of {len(job.addresses)} did not meet the others at "
        f"{', '.join(job.addresses)} within {job.wait_s:g} s: start the same command on every "
        f"host, each with its own --host, and let these ports through ({error})"
    )


def agreement(job: Job) -> np.ndarray:
    """Return a digest, uint8 (32,), of what must be equal on all hosts: releases and the job."""
    packages = (*AGREED, job.backend)
    releases = {name: importlib.metadata.version(name) for name in packages}
    terms = job.model_dump(mode="json", exclude=set(NOT_AGREED))
    text = json.dumps([releases, terms], sort_keys=True)
    return np.frombuffer(hashlib.sha256(text.encode()).digest(), np.uint8)


def disagreement(job: Job, digests: np.ndarray) -> RuntimeError | None:
    """Return the error for hosts whose digests, (hosts, 32), are not all one; else None."""
    others = [i for i, digest in enumerate(digests) if (digest != digests[job.host]).any()]
    if not others:
        return None
    return RuntimeError(
        f"host {job.host} was told something else than host {', '.join(map(str, others))}: all "
        f"must have the same releases of {', '.join((*AGREED, job.backend))}, and be given the "
        "same options"
    )
