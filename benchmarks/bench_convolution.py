"""The same convolution by our own NumPy code, by SciPy, and by Keras on each backend.

32 filters of 3x3 over 100 images, as in the first layer of `lenet_dropout`. Keras is timed in a
process of its own: NumPy arrays go in, a NumPy array comes out.
"""

from collections.abc import Callable, Mapping

import numpy as np
from engine import ROUNDS_BY_HAND, Replayed, measured
from pytest_benchmark.fixture import BenchmarkFixture
from scipy import signal

from fmnist.data import standin
from fmnist.lessons import by_keras
from fmnist.lessons.by_keras import Convolution
from fmnist.lessons.convolution import relative_difference

FILTERS = 32
ROUNDING = 1e-5
CASE = Convolution(
    standin.draw("train", 100)[0][..., None] / 255,
    np.random.default_rng(0).standard_normal((3, 3, 1, FILTERS)),
)


def by_scipy() -> np.ndarray:
    """Return it by `scipy.signal`, filter by filter."""
    images, filters = CASE.inputs[..., 0], np.moveaxis(CASE.kernel[:, :, 0], -1, 0)
    return np.stack([signal.correlate(images, f[None], mode="valid") for f in filters], axis=-1)


HERE: Mapping[str, Callable[[], np.ndarray]] = {"numpy": CASE.by_hand, "scipy": by_scipy}
"""By way, what does it in this process."""

GROUP = "convolution: 100 images, 32 filters of 3x3"


def test_convolution(way: str, benchmark: BenchmarkFixture, replayed: Replayed) -> None:
    """By whom it is computed changes it by rounding only."""
    if way in HERE:
        made = measured(benchmark, HERE[way])
    else:
        made, seconds = by_keras.timed_convolution(CASE, way, ROUNDS_BY_HAND)
        replayed(seconds)
    assert relative_difference(made, CASE.by_hand()) <= ROUNDING
