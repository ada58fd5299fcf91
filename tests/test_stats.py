"""Estimates and their intervals."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnist import stats

SECONDS = st.floats(min_value=1e-4, max_value=1e4)


def test_geometric_mean_of_known_values() -> None:
    """The geometric mean of 1, 2 and 4 is 2, inside its interval."""
    estimate = stats.geometric_mean([1, 2, 4])

    assert estimate.value == pytest.approx(2)
    assert estimate.low is not None
    assert estimate.high is not None
    assert estimate.low < 2 < estimate.high
    assert estimate.n == 3


def test_one_value_has_no_interval() -> None:
    """One round says nothing about spread: no interval is made up."""
    estimate = stats.geometric_mean([3.0])

    assert estimate.value == pytest.approx(3)
    assert (estimate.low, estimate.high, estimate.n) == (None, None, 1)


def test_equal_values_have_an_interval_of_no_width() -> None:
    """Rounds that all took the same time do not divide by zero."""
    estimate = stats.geometric_mean([0.5, 0.5, 0.5])

    assert estimate.low == estimate.value == estimate.high


@pytest.mark.parametrize("values", [[], [1.0, 0.0], [1.0, -2.0]])
def test_what_is_no_time_is_refused(values: list[float]) -> None:
    """No values, zero and negative times are errors, not numbers."""
    with pytest.raises(ValueError, match="positive"):
        stats.geometric_mean(values)


@settings(deadline=None)
@given(st.lists(st.tuples(SECONDS, SECONDS), min_size=1, max_size=20))
def test_ratio_agrees_with_the_times_beside_it(pairs: list[tuple[float, float]]) -> None:
    """The paired ratio is the quotient of the two geometric means that a table prints."""
    tops, bottoms = zip(*pairs, strict=True)
    ratio = stats.paired_ratio(tops, bottoms)

    quotient = stats.geometric_mean(tops).value / stats.geometric_mean(bottoms).value
    assert ratio.value == pytest.approx(quotient, rel=1e-9)


def test_pairs_keep_a_shared_drift_out_of_the_interval() -> None:
    """When a machine slows down for both, the ratio's interval stays narrow."""
    drift = [1, 2, 4, 8, 16]
    ratio = stats.paired_ratio([3.0 * d for d in drift], drift)

    assert ratio.value == pytest.approx(3)
    assert ratio.low == pytest.approx(3)


def test_unequal_pairs_are_refused() -> None:
    """Rounds without a partner cannot be paired silently."""
    with pytest.raises(ValueError, match="zip"):
        stats.paired_ratio([1.0, 2.0], [1.0])


def test_interval_covers_as_often_as_it_says() -> None:
    """Over 4,000 sessions of 5 skewed rounds, 95 % of the intervals hold the truth, within 1.5."""
    draws = np.random.default_rng(0).lognormal(mean=math.log(2), sigma=0.1, size=(4_000, 5))
    intervals = [stats.geometric_mean(list(rounds)) for rounds in draws]

    covered = np.mean([(e.low or 0) <= 2 <= (e.high or 0) for e in intervals])
    assert covered == pytest.approx(0.95, abs=0.015)


def test_accuracy_interval_is_the_known_one() -> None:
    """92.5 % of 10,000 images lies within about half a point: 1.96 standard errors of 0.26."""
    estimate = stats.proportion(0.925, 10_000)

    assert estimate.low == pytest.approx(0.925 - 1.96 * 0.00263, abs=2e-4)
    assert estimate.high == pytest.approx(0.925 + 1.96 * 0.00263, abs=2e-4)
