"""Estimates, comparisons and verdicts: thin over SciPy.

Times are positive and skewed and are compared by ratio, so they are averaged as logarithms: the
geometric mean, with Student's t interval on the logs. The ratio of two geometric means is the
geometric mean of the ratios of pairs, so a table's ratio agrees with its times.

Rounds of one process are not independent, and two processes of the same cell differ by more than
their rounds explain. What is repeated is the process (Kalibera and Jones, Rigorous benchmarking in
reasonable time, ISMM 2013), so intervals and tests count processes. Where there is only one, they
count its rounds and speak of that process alone: `Estimate.processes` is 1.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final, Literal

import numpy as np
from scipy import linalg, special, stats

CONFIDENCE: Final = 0.95
FEWEST_ROUNDS: Final = 6
SHORTEST_NEW_LEVEL: Final = 2
"""A first round alone can be warming up; a last one alone is a disturbance."""
STEADY_AUTOCORRELATION: Final = 0.5
STEADY_SERIES: Final = 20_000
STEADY_SHARE: Final = 0.97
"""Not 0.95: skewed rounds are flagged more often than the normal ones that are drawn."""
NO_SPREAD: Final = 1e-12
"""Two logarithms that differ by less do so by rounding."""

Samples = Sequence[Sequence[float]]
"""Seconds of one cell: by process, then by round."""
Alternative = Literal["two-sided", "less", "greater"]


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; the interval is absent where n does not allow one.

    `n` counts rounds (pairs of rounds, for a ratio side by side). With one process the interval
    is about that process only; with more it is about such processes.
    """

    value: float
    low: float | None
    high: float | None
    n: int
    processes: int = 1


@dataclass(frozen=True)
class Comparison:
    """A ratio of times, the p value of its being 1, and that of its lying beyond a margin.

    `p_different` is two-sided. `p_equivalent` is of two one-sided tests (TOST; Schuirmann, 1987):
    small where the ratio lies inside the margin. Both are None where nothing can be tested.
    """

    ratio: Estimate
    p_different: float | None
    p_equivalent: float | None


class Verdict(StrEnum):
    """What a comparison says of its numerator."""

    FASTER = "faster"
    SLOWER = "slower"
    SAME = "same"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True)
class Steadiness:
    """Whether rounds keep one level.

    Certified: they were tested, and no change was found. Not certified, with `changed_at`: the
    index of the first round of a new level. Not certified, without: too few rounds to test.
    """

    certified: bool
    changed_at: int | None


@dataclass(frozen=True)
class Equivalence:
    """A mean difference, and the p value of its lying beyond a margin; None for one pair."""

    difference: Estimate
    p: float | None


def half_width(estimate: Estimate) -> float:
    """Return half the interval's width, relative (0.02 is 2 %); infinite where there is none."""
    if estimate.low is None or estimate.high is None:
        return math.inf
    return max(estimate.high / estimate.value, estimate.value / estimate.low) - 1


def widest(cells: Iterable[Samples]) -> float:
    """Return half the widest interval of the cells' means, relative; 0 for no cells."""
    return max((half_width(nested_mean(samples)) for samples in cells), default=0.0)


def geometric_mean(values: Sequence[float]) -> Estimate:
    """Return the geometric mean of positive values, with the t interval on their logarithms.

    The interval covers the rounds of the process that was run; it says nothing about another
    process, day or machine. Raises ValueError for no values or a value that is not positive.
    """
    return nested_mean([values])


def bare_mean(values: Sequence[float]) -> float:
    """Return the geometric mean alone, without its interval. It raises what that raises."""
    return math.exp(_mean(_logs([values])[0]))


def paired_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Estimate:
    """Return the geometric mean of the ratios of rounds that ran side by side.

    Neighbouring rounds drift together on a shared machine, so the pairs keep what they share out
    of the interval. Raises ValueError if the two lists differ in length.
    """
    return nested_ratio([numerators], [denominators])


def mean(values: Sequence[float]) -> Estimate:
    """Return the arithmetic mean of values of either sign, with Student's t interval.

    Raises ValueError for no values.
    """
    array = _values(values)
    low, high = _interval(array) or (None, None)
    return Estimate(float(np.mean(array)), low, high, len(array))


def median(values: Sequence[float]) -> Estimate:
    """Return the median with its exact interval, which no outlier moves (of order statistics).

    The interval is absent below six values, where none reaches 95 %. Raises ValueError for none.
    """
    array = _values(values)
    interval = stats.quantile_test(array, p=0.5).confidence_interval(CONFIDENCE)
    ends = interval.low, interval.high  # type: ignore[attr-defined]  # scipy-stubs says float
    low, high = (float(end) if math.isfinite(end) else None for end in ends)
    return Estimate(float(np.median(array)), low, high, len(array))


def proportion(share: float, n: int) -> Estimate:
    """Return a share of n trials with Wilson's interval (an accuracy on n test images)."""
    interval = stats.binomtest(round(share * n), n).proportion_ci(CONFIDENCE, method="wilson")
    return Estimate(share, float(interval.low), float(interval.high), n)


def nested_mean(samples: Samples) -> Estimate:
    """Return the geometric mean over processes of their geometric means over rounds.

    The interval is Student's t on the process means. What the machine drifted by between the
    processes counts as a difference between them. Raises ValueError for no processes, no rounds
    or a time that is not positive.

    Why not the hierarchical bootstrap: simulated were processes that differ by 2 % and skewed,
    autocorrelated rounds that differ by 3 %, in 3, 5 and 10 processes. This interval held the
    truth in 95 to 96 % of 3,000 sessions, that of a ratio in 95 %. Of 2,000 sessions, percentiles
    of resamples did in 84, 88 and 93 %. The bootstrap of t did in 95 %, but was 40, 12 and 2 %
    wider, and divides by zero where it resamples one process only.
    """
    return _estimate(_logs(samples))


def nested_ratio(numerators: Samples, denominators: Samples) -> Estimate:
    """Return the ratio of two cells that ran side by side, round j of process i with its like.

    The interval is Student's t on the process means of the pairs, which share their drift. Raises
    ValueError, beside where `nested_mean` does, if rounds are without a partner.
    """
    return _estimate(_log_ratios(numerators, denominators))


def share_above_one(ratios: np.ndarray) -> float:
    """Return in what share of sessions the interval of the mean ratio lies above 1.

    Args:
        ratios: (sessions, processes), each process's own ratio side by side.
    """
    logs = np.log(ratios)
    low = logs.mean(axis=1)  # of equal values: there is no t test of those
    vary = np.ptp(logs, axis=1) >= NO_SPREAD
    test = stats.ttest_1samp(logs[vary], 0.0, axis=1)
    low[vary] = test.confidence_interval(CONFIDENCE).low
    return float(np.mean(low > 0))


def ratio_apart(numerators: Samples, denominators: Samples) -> Estimate:
    """Return the ratio of two cells that did not run side by side, such as of two sessions.

    The interval is Welch's, on the process means of each side; a side of one process enters with
    its rounds. `n` and `processes` are those of the side that has fewer. No statistics can tell
    what the machine did between the sessions: it stays in the ratio.
    """
    top, bottom = _replicates(_logs(numerators)), _replicates(_logs(denominators))
    difference = float(np.mean(top) - np.mean(bottom))
    n = min(sum(map(len, side)) for side in (numerators, denominators))
    processes = min(len(numerators), len(denominators))
    if min(len(top), len(bottom)) == 1:
        return _of_logs(difference, None, n, processes)
    if _level(top) and _level(bottom):
        return _of_logs(difference, (difference, difference), n, processes)
    interval = _welch(top, bottom).interval(CONFIDENCE)
    return _of_logs(difference, interval, n, processes)


def compare_side_by_side(numerators: Samples, denominators: Samples, margin: float) -> Comparison:
    """Return the comparison of two cells that ran side by side, as in `nested_ratio`.

    Args:
        numerators: seconds of the cell that the verdict will be about.
        denominators: seconds of the cell that it is compared with.
        margin: relative: 0.02 takes ratios from 1 / 1.02 to 1.02 for the same.
    """
    if _identical(numerators, denominators):
        return _of_itself(numerators)
    ratio = nested_ratio(numerators, denominators)
    logs = _replicates(_log_ratios(numerators, denominators))
    return _comparison(ratio, _Student(logs), margin)


def compare_apart(numerators: Samples, denominators: Samples, margin: float) -> Comparison:
    """Return the comparison of two cells that did not run side by side, as in `ratio_apart`."""
    if _identical(numerators, denominators):
        return _of_itself(numerators)
    ratio = ratio_apart(numerators, denominators)
    test = _welch(_replicates(_logs(numerators)), _replicates(_logs(denominators)))
    return _comparison(ratio, test, margin)


def verdicts(
    comparisons: Sequence[Comparison], noise: float, margin: float, alpha: float = 0.05
) -> list[Verdict]:
    """Return a verdict on each comparison of a session.

    Same: equivalent inside the margin, and the noise is below the margin. Faster or slower:
    different, not the same, and by more than the noise. Both are tested at `alpha`, with the p
    values adjusted for the number of comparisons (Benjamini and Hochberg, 1995). What is identical
    to the last digit is the same whatever the noise.

    Args:
        comparisons: of one session, all that are shown together.
        noise: the largest |ln ratio| in the interval of the session's A/A pair.
        margin: that of the comparisons.
        alpha: the level of the tests.

    With one process a side, what another process would show is unknown. The gate is then the
    noise and, on top of it, what one further pair of rounds may show (the prediction interval at
    1 - alpha). At a nominal 1 %, of 1,500 simulated pairs of equals with 6 and with 20 rounds,
    0.1 and 0.5 % were called different where processes differ by as much as rounds, 3 %; with
    the noise alone, 10 and 27 %. Where processes differ by 5 % and rounds by 1 %, it was still 3
    to 21 %: only more processes help. With five of them, it was 0.2 % at most of 1,200.
    """
    different = stats.false_discovery_control([_or_one(c.p_different) for c in comparisons])
    equivalent = stats.false_discovery_control([_or_one(c.p_equivalent) for c in comparisons])
    found = []
    for comparison, p_different, p_equivalent in zip(
        comparisons, different, equivalent, strict=True
    ):
        gate = noise + _unseen(comparison.ratio, alpha)
        same = p_equivalent < alpha and gate < math.log1p(margin)
        beyond = abs(math.log(comparison.ratio.value)) > gate
        found.append(_verdict(comparison.ratio, same=same, differs=p_different < alpha and beyond))
    return found


def smallest_effect(samples_a: Samples, samples_b: Samples, power: float = 0.95) -> float | None:
    """Return the smallest relative effect (0.02 is 2 %) that such a comparison finds.

    It is (t of 1 - alpha/2 + t of power) times the standard error of the mean over pairs of
    processes, with alpha 5 %: added to one side of a session, it is found in that session with
    just this power. Another session finds it less often, for its spread is another: with 3, 5 and
    10 processes in 72, 84 and 89 % of 3,000 simulated ones. None with fewer than two processes.
    """
    pairs = _replicates(_log_ratios(samples_a, samples_b))
    if len(samples_a) == 1:
        return None
    quantiles = special.stdtrit(len(pairs) - 1, [(1 + CONFIDENCE) / 2, power])
    return math.expm1(float(np.sum(quantiles) * stats.sem(pairs)))


def changepoint(rounds: Sequence[float]) -> Steadiness:
    """Return whether the rounds of one process keep one level, or where a new one begins.

    The test is the maximal two-sample t test over all places of a change (Hawkins, Testing a
    sequence of observations for a shift in location, JASA 72, 1977) on the logarithms. Its limit
    is not that of independent rounds, which neighbours are not, but is drawn from steady rounds
    with an autocorrelation of 0.5; the first 12 published cells of 9 rounds had -0.3 to 0.6.

    Of 20,000 simulated steady series of 6 to 40 rounds, at most 4 % were flagged with
    autocorrelations up to 0.5, and 8 % with 0.6. A shift of 4 standard deviations in 8 of 20
    rounds was found in 97 %. Six rounds show less: a first one that is slow by 8 standard
    deviations was found in 70 %, by 12 in 94 %.
    """
    logs = _replicates(_logs([rounds]))
    if len(logs) < FEWEST_ROUNDS:
        return Steadiness(certified=False, changed_at=None)
    if _level(logs):
        return Steadiness(certified=True, changed_at=None)
    explained = _explained(logs)
    largest = int(np.argmax(explained))
    if explained[largest] <= _steady_limit(len(logs)):
        return Steadiness(certified=True, changed_at=None)
    return Steadiness(certified=False, changed_at=1 + largest)


def equivalent(differences: Sequence[float], margin: float) -> Equivalence:
    """Return whether paired differences are zero on average, give or take the margin (TOST).

    Both are arithmetic, in the unit of what was subtracted: accuracies over seeds, for instance.
    Raises ValueError for no differences.
    """
    difference, values = mean(differences), _values(differences)
    if difference.low is None:
        return Equivalence(difference, None)
    if _level(values):
        return Equivalence(difference, float(abs(difference.value) >= margin))
    return Equivalence(difference, _tost(_Student(values), margin))


def reached_margin(differences: Sequence[float]) -> float:
    """Return the smallest margin within which the differences are `equivalent` at 5 %.

    It is as far as their 90 % interval reaches; infinite for a single difference.
    """
    interval = _interval(_values(differences), 2 * CONFIDENCE - 1)
    return math.inf if interval is None else max(map(abs, interval))


def mcnemar(a: np.ndarray, b: np.ndarray) -> float:
    """Return the exact two-sided p value of McNemar's test (1947).

    Args:
        a: which of n trials one side got right, bool (n,).
        b: which of the same trials the other side got right, bool (n,).

    Raises ValueError if the two are not of the same trials.
    """
    if a.shape != b.shape:
        raise ValueError(f"McNemar's test needs the same trials, got {a.shape} and {b.shape}")
    only_a, only_b = int(np.sum(a & ~b)), int(np.sum(b & ~a))
    if only_a + only_b == 0:
        return 1.0
    return float(stats.binomtest(only_a, only_a + only_b).pvalue)


def _logs(samples: Samples) -> list[np.ndarray]:
    """Return the logarithms of the times, by process. Raises ValueError, see `nested_mean`."""
    if not samples:
        raise ValueError("a geometric mean needs positive values, but there is no process")
    for i, rounds in enumerate(samples):
        if not (len(rounds) and all(0 < seconds < math.inf for seconds in rounds)):
            raise ValueError(
                f"a geometric mean needs positive values, but process {i} has {list(rounds)}"
            )
    return [np.log(rounds) for rounds in samples]


def _log_ratios(numerators: Samples, denominators: Samples) -> list[np.ndarray]:
    """Return the logarithms of the ratios of rounds side by side, by process."""
    tops, bottoms = _logs(numerators), _logs(denominators)
    shapes = [list(map(len, side)) for side in (tops, bottoms)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"side by side every round has a partner, but the rounds by process are {shapes[0]} "
            f"and {shapes[1]}; leave out those without one, or compare the two apart"
        )
    return [top - bottom for top, bottom in zip(tops, bottoms, strict=True)]


def _replicates(logs: Sequence[np.ndarray]) -> np.ndarray:
    """Return what is repeated independently: process means, or the rounds of a single process."""
    return logs[0] if len(logs) == 1 else np.array([_mean(rounds) for rounds in logs])


def _mean(values: np.ndarray) -> float:
    """Return `np.mean` of values (n,), whose checks take most of the time of a few values."""
    return float(values.sum() / len(values))


def _estimate(logs: Sequence[np.ndarray]) -> Estimate:
    values = _replicates(logs)
    return _of_logs(_mean(values), _interval(values), sum(map(len, logs)), len(logs))


def _of_logs(log: float, interval: tuple[float, float] | None, n: int, processes: int) -> Estimate:
    low, high = (None, None) if interval is None else map(math.exp, interval)
    return Estimate(math.exp(log), low, high, n, processes)


def _interval(values: np.ndarray, confidence: float = CONFIDENCE) -> tuple[float, float] | None:
    """Return Student's t interval of a mean, or None for a single value."""
    if len(values) == 1:
        return None
    if _level(values):
        value = _mean(values)
        return value, value
    return _Student(values).interval(confidence)


def _level(values: np.ndarray) -> bool:
    """Tell whether values are equal but for rounding: there is no t test of those."""
    return bool(values.max() - values.min() < NO_SPREAD)


@dataclass(frozen=True)
class _Student:
    """Student's t test of a mean.

    On SciPy's distribution and not on its `ttest_1samp`, whose checks of the input take most of the
    time of a page: that makes thousands of such intervals. A test holds the two equal.
    """

    values: np.ndarray

    def p(self, value: float, alternative: Alternative) -> float:
        t = (_mean(self.values) - value) / self._error
        if alternative == "two-sided":
            return float(2 * special.stdtr(self._freedom, -abs(t)))
        return float(special.stdtr(self._freedom, t if alternative == "less" else -t))

    def interval(self, confidence: float) -> tuple[float, float]:
        mean = _mean(self.values)
        reach = self._error * float(special.stdtrit(self._freedom, (1 + confidence) / 2))
        return mean - reach, mean + reach

    @property
    def _freedom(self) -> int:
        return len(self.values) - 1

    @property
    def _error(self) -> float:
        return float(self.values.std(ddof=1)) / math.sqrt(len(self.values))


@dataclass(frozen=True)
class _Welch:
    """Welch's t test of the difference of two means."""

    a: np.ndarray
    b: np.ndarray

    def p(self, difference: float, alternative: Alternative) -> float:
        moved = self.a - difference
        test = stats.ttest_ind(moved, self.b, equal_var=False, alternative=alternative)
        return float(test.pvalue)

    def interval(self, confidence: float) -> tuple[float, float]:
        test = stats.ttest_ind(self.a, self.b, equal_var=False)
        interval = test.confidence_interval(confidence)
        return float(interval.low), float(interval.high)


def _welch(a: np.ndarray, b: np.ndarray) -> _Student | _Welch:
    """Return Welch's test; against a side without spread it is Student's of the other side."""
    if _level(b):
        return _Student(a - np.mean(b))
    if _level(a):
        return _Student(np.mean(a) - b)
    return _Welch(a, b)


def _tost(test: _Student | _Welch, margin: float) -> float:
    """Return the p value of two one-sided tests against a margin on either side."""
    return max(test.p(-margin, "greater"), test.p(margin, "less"))


def _comparison(ratio: Estimate, test: _Student | _Welch, margin: float) -> Comparison:
    """Return the comparison whose logarithms `test` asks about."""
    if ratio.low is None:
        return Comparison(ratio, None, None)
    reach = math.log1p(margin)
    if ratio.low == ratio.high:
        log_ratio = abs(math.log(ratio.value))
        return Comparison(ratio, float(log_ratio < NO_SPREAD), float(log_ratio >= reach))
    return Comparison(ratio, test.p(0.0, "two-sided"), _tost(test, reach))


def _identical(numerators: Samples, denominators: Samples) -> bool:
    """Tell whether both are the same measurement: no other one has all of its digits."""
    return list(map(list, numerators)) == list(map(list, denominators))


def _of_itself(samples: Samples) -> Comparison:
    logs = _logs(samples)
    return Comparison(Estimate(1.0, 1.0, 1.0, sum(map(len, logs)), len(logs)), 1.0, 0.0)


def _or_one(p: float | None) -> float:
    return 1.0 if p is None else p


def _unseen(ratio: Estimate, alpha: float) -> float:
    """Return the |ln ratio| that one further pair of rounds may show by chance.

    That of a single process stands in for what other processes would show; with more of them,
    the test itself knows, and this is 0.
    """
    if ratio.processes > 1 or ratio.low is None or ratio.high is None:
        return 0.0
    half_width = math.log(ratio.high / ratio.low) / 2
    as_tested = special.stdtrit(ratio.n - 1, (1 + CONFIDENCE) / 2)
    as_asked = special.stdtrit(ratio.n - 1, 1 - alpha / 2)
    return half_width * math.sqrt(ratio.n + 1) * float(as_asked / as_tested)


def _verdict(ratio: Estimate, *, same: bool, differs: bool) -> Verdict:
    if same or ratio.low == ratio.high == 1.0:
        return Verdict.SAME
    if not differs:
        return Verdict.CANNOT_TELL
    return Verdict.SLOWER if ratio.value > 1 else Verdict.FASTER


def _values(values: Sequence[float]) -> np.ndarray:
    if not values:
        raise ValueError("an average needs at least one value, got none")
    return np.asarray(values, float)


def _explained(series: np.ndarray) -> np.ndarray:
    """Return the share of the variance that a change at each place explains.

    It grows with |t| of the two-sample test, and needs no test for each place.

    Args:
        series: (..., n), not constant.

    Returns:
        (..., n - SHORTEST_NEW_LEVEL): the first is for a change at index 1.
    """
    n = series.shape[-1]
    before = np.arange(1, n - SHORTEST_NEW_LEVEL + 1)
    centred = series - np.mean(series, axis=-1, keepdims=True)
    sums = np.cumsum(centred, axis=-1)[..., before - 1]
    between = n * sums**2 / (before * (n - before))
    return np.asarray(between / np.sum(centred**2, axis=-1, keepdims=True))


@cache
def _steady_limit(n: int) -> float:
    """Return what the best change explains in STEADY_SHARE of drawn steady series at most."""
    covariance = linalg.toeplitz(STEADY_AUTOCORRELATION ** np.arange(n))
    drawn = np.random.default_rng(0).multivariate_normal(
        np.zeros(n), covariance, STEADY_SERIES, method="cholesky"
    )
    return float(np.quantile(np.max(_explained(drawn), axis=-1), STEADY_SHARE))
