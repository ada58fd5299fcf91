"""The same labels one-hot by our own code, by scikit-learn, and by Keras on each backend.

All 60,000 labels of a training set. Keras is timed in a process of its own.
"""

from collections.abc import Callable, Mapping

import numpy as np
from engine import ROUNDS_BY_HAND, Replayed, measured
from pytest_benchmark.fixture import BenchmarkFixture
from sklearn.preprocessing import OneHotEncoder

from fmnist import data
from fmnist.data import preprocess
from fmnist.lessons import by_keras

N_CLASSES = len(data.CLASS_NAMES)
LABELS = np.random.default_rng(0).integers(0, N_CLASSES, 60_000).astype(np.uint8)


def by_sklearn() -> np.ndarray:
    """Return them by scikit-learn."""
    encoder = OneHotEncoder(categories=[np.arange(N_CLASSES)], sparse_output=False)
    return np.asarray(encoder.fit_transform(LABELS[:, None]))


HERE: Mapping[str, Callable[[], np.ndarray]] = {
    "numpy": lambda: preprocess.one_hot(LABELS),
    "sklearn": by_sklearn,
}
"""By way, what does it in this process."""

GROUP = "one-hot: 60,000 labels"


def test_one_hot(way: str, benchmark: BenchmarkFixture, replayed: Replayed) -> None:
    """By whom they are encoded changes nothing."""
    if way in HERE:
        made = measured(benchmark, HERE[way])
    else:
        made, seconds = by_keras.timed_one_hot(LABELS, N_CLASSES, way, ROUNDS_BY_HAND)
        replayed(seconds)
    assert np.array_equal(made, preprocess.one_hot(LABELS))
