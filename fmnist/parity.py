"""The same work: weights and batches from one NumPy source, and how far two backends differ.

A worker of each backend follows the same steps and leaves a trace; the parent compares the two.
Nothing here starts a framework.
"""

import hashlib
import math
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

COMPARED_STEPS = (1, 20)
TOLERANCES: Mapping[str, float] = {
    "outputs": 1e-5,
    "first_loss": 1e-5,
    "update_1": 5e-2,
    "update_20": 0.15,
    "loss_20": 5e-2,
    "losses": 6e-2,
}
"""What may differ, relative. The first two are one pass forward: rounding alone. Then Adam divides
each gradient by its size, so weights whose gradient is nothing but rounding step either way, and it
grows with the steps: of many batches one is far off, but all together are not. Allowed is about
two to three times what one backend differs from itself when its starting weights are changed in
their last bit: docs/trust.md."""

DITHER = 1 / 255
"""One grey level: how much brighter a pixel may be made."""


@dataclass(frozen=True)
class Trace:
    """What one backend did.

    Attributes:
        weights_sha256: of the weights that it started from.
        outputs: (batch size, 10) logits of the first batch before any step.
        losses: (steps,) of each batch, before its step.
        updates: by step, what all weights together had moved, (parameters,).
    """

    weights_sha256: str
    outputs: np.ndarray
    losses: np.ndarray
    updates: Mapping[int, np.ndarray]

    def save(self, path: Path, recognised: np.ndarray) -> None:
        """Write the trace, and which test images were recognised, bool (n,), to a .npz file."""
        moved = {f"update_{step}": update for step, update in self.updates.items()}
        arrays = {"outputs": self.outputs, "losses": self.losses, "recognised": recognised}
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays, **moved)


def load(path: Path, weights_sha256: str) -> tuple[Trace, np.ndarray]:
    """Return a saved trace, and which test images were recognised. Raises OSError, ValueError."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            updates = {step: file[f"update_{step}"] for step in COMPARED_STEPS}
            trace = Trace(weights_sha256, file["outputs"], file["losses"], updates)
            return trace, file["recognised"]
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
        raise ValueError(f"{path} is no whole trace: {error}") from error


def initial_weights(shapes: Sequence[tuple[str, tuple[int, ...]]], seed: int) -> list[np.ndarray]:
    """Return float32 weights for (name, shape) pairs, as Keras starts them but from NumPy.

    Kernels by Glorot and Bengio (2010), uniform; scales and variances one, all else zero.
    """
    generator = np.random.default_rng(seed)
    weights = []
    for name, shape in shapes:
        if name == "kernel":
            receptive = math.prod(shape[:-2])
            limit = math.sqrt(6 / (receptive * (shape[-2] + shape[-1])))
            weights.append(generator.uniform(-limit, limit, shape).astype(np.float32))
        else:
            value = 1.0 if name in ("gamma", "moving_variance") else 0.0
            weights.append(np.full(shape, value, np.float32))
    return weights


def batches(images: int, batch_size: int, steps: int, seed: int) -> np.ndarray:
    """Return the images of each step as indices, (steps, batch size); every epoch reshuffled."""
    generator = np.random.default_rng(seed)
    epochs = math.ceil(steps * batch_size / images)
    order = np.concatenate([generator.permutation(images) for _ in range(epochs)])
    return order[: steps * batch_size].reshape(steps, batch_size)


def dithered(images: np.ndarray, seed: int) -> np.ndarray:
    """Return float32 images, (n, 28, 28, 1), each pixel brighter by less than one grey level.

    Where pixels are equal, as in the empty background, so are the neighbours that a pooling
    chooses among, and with a bias of zero what comes before an activation is exactly its kink:
    there each backend takes a derivative of its own (LeakyReLU at 0: TensorFlow the slope, JAX 1).
    Both are right, so the work is compared where only one is.
    """
    generator = np.random.default_rng(seed)
    return images + generator.uniform(0, DITHER, images.shape).astype(np.float32)


def sha256(weights: Sequence[np.ndarray]) -> str:
    """Return the digest of the weights' bytes, in order."""
    digest = hashlib.sha256()
    for weight in weights:
        digest.update(np.ascontiguousarray(weight).tobytes())
    return digest.hexdigest()


def update(before: Sequence[np.ndarray], after: Sequence[np.ndarray]) -> np.ndarray:
    """Return what weights moved by, as one vector."""
    moved = [np.ravel(np.asarray(b) - a) for a, b in zip(before, after, strict=True)]
    return np.concatenate(moved).astype(np.float32)


def differences(ours: Trace, theirs: Trace) -> dict[str, float]:
    """Return how far two traces differ, by the keys of TOLERANCES; each relative to ours.

    Outputs, updates and losses: the length of the difference of two vectors by the length of ours;
    `first_loss`: of the first batch; `loss_20`: the largest of the first 20 batches. Raises
    ValueError if the two did not start from the same weights.
    """
    if ours.weights_sha256 != theirs.weights_sha256:
        raise ValueError("the backends started from different weights: nothing can be compared")
    curve = np.abs(ours.losses - theirs.losses) / np.abs(ours.losses)
    return {
        "outputs": _distance(ours.outputs, theirs.outputs),
        "first_loss": float(curve[0]),
        **{
            f"update_{step}": _distance(ours.updates[step], theirs.updates[step])
            for step in COMPARED_STEPS
        },
        "loss_20": float(curve[: COMPARED_STEPS[-1]].max()),
        "losses": _distance(ours.losses, theirs.losses),
    }


def _distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(np.linalg.norm(ours - theirs) / np.linalg.norm(ours))
