"""Estimates with their intervals: thin over SciPy.

Times are positive and skewed and are compared by ratio, so they are averaged as logarithms: the
geometric mean, with Student's t interval on the logs. The ratio of two geometric means is the
geometric mean of the ratios of pairs, so a table's ratio agrees with its times.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; the interval is absent where n does not allow one."""

    value: float
    low: float | None
    high: float | None
    n: int


def geometric_mean(values: Sequence[float]) -> Estimate:
    """Return the geometric mean of positive values, with the t interval on their logarithms.

    The interval covers the rounds of the processes that were run; it says nothing about another
    day or machine. Raises ValueError for no values or a value that is not positive.
    """
    if not values or min(values) <= 0:
        raise ValueError(f"a geometric mean needs positive values, got {list(values)}")
    logs = np.log(values)
    mean = math.exp(float(np.mean(logs)))
    if len(values) == 1:
        return Estimate(mean, None, None, 1)
    if math.isclose(float(np.ptp(logs)), 0.0, abs_tol=1e-12):
        return Estimate(mean, mean, mean, len(values))
    interval = stats.ttest_1samp(logs, 0.0).confidence_interval(CONFIDENCE)
    return Estimate(mean, math.exp(interval.low), math.exp(interval.high), len(values))


def paired_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Estimate:
    """Return the geometric mean of the ratios of rounds that ran side by side.

    Neighbouring rounds drift together on a shared machine, so the pairs keep what they share out
    of the interval. Raises ValueError if the two lists differ in length.
    """
    ratios = [a / b for a, b in zip(numerators, denominators, strict=True)]
    return geometric_mean(ratios)


def proportion(share: float, n: int) -> Estimate:
    """Return a share of n trials with Wilson's interval (an accuracy on n test images)."""
    interval = stats.binomtest(round(share * n), n).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(share, float(interval.low), float(interval.high), n)
