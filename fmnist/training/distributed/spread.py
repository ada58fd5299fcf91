"""Where a model is trained that has several replicas. One adapter per backend; runs in a worker.

What is computed is what one device would compute on the whole batch, but for the order of sums,
dropout, and batch normalisation where a backend takes each replica's own mean (TensorFlow).
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager

import keras
import numpy as np

from fmnist.channel import Job


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
        self._seed = seed
        self.begin(0)

    def __len__(self) -> int:
        """Return the steps of an epoch."""
        return len(self._images) // self._batch_size

    def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Return this host's images and labels of one step."""
        here = self.indices()[step]
        return self._images[here], self._labels[here]

    def begin(self, epoch: int) -> None:
        """Draw the order of an epoch, counted from 0.

        Keras's own hook, `on_epoch_begin`, is called once more where a model is built by its first
        batch, and so not equally often on all backends.
        """
        self._order = order_of(len(self._images), self._seed, epoch)

    def beginning(self) -> keras.callbacks.Callback:
        """Return the callback that draws the order when an epoch begins."""
        return keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, _: self.begin(epoch))

    def indices(self) -> np.ndarray:
        """Return which images are this host's in each step of the epoch, (steps, images)."""
        whole = self._order[: len(self) * self._batch_size]
        return whole.reshape(len(self), self._batch_size)[:, self._part]


def order_of(n: int, seed: int, epoch: int) -> np.ndarray:
    """Return the order of n images in an epoch, the same on all hosts that have the seed."""
    return np.random.default_rng([seed, epoch]).permutation(n)


class Spread(ABC):
    """Several devices that train one model together. Made before a backend computes anything.

    Raises RuntimeError where there are too few devices, or other hosts cannot be reached.
    """

    def __init__(self, job: Job) -> None:
        self._job = job

    @property
    def shared_device(self) -> bool:
        """Whether replicas share a processor, so that their times say nothing of several."""
        job = self._job
        return job.share_a_machine or (job.device == "cpu" and job.local_replicas > 1)

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
        """Train as `train.fit_in_turns` does, on the part of each batch that is this host's."""


def spread_for(job: Job) -> Spread | None:
    """Return what trains on several devices by the job's backend; None for a job of one device.

    Raises RuntimeError as `Spread`.
    """
    if job.replicas == 1:
        return None
    adapter = importlib.import_module(f"fmnist.training.distributed.on_{job.backend}")
    made: Spread = adapter.Devices(job)
    return made


def too_few(job: Job, found: int) -> RuntimeError:
    """Return the error for a host that has fewer devices than replicas."""
    return RuntimeError(
        f"{job.local_replicas} replicas need as many devices of kind {job.device}; "
        f"{job.backend} sees {found}: ask for fewer --replicas"
    )
