"""Estimates and their intervals."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from fmnist import stats
from fmnist.stats import Comparison, Equivalence, Estimate, Samples, Steadiness, Verdict

SECONDS = st.floats(min_value=1e-4, max_value=1e4)


def test_geometric_mean_of_known_values() -> None:
    """The geometric mean of 1, 2 and 4 is 2, inside its interval."""
    estimate = stats.geometric_mean([1, 2, 4])

    assert estimate.value == pytest.approx(2)
    assert estimate.low is not None
    assert estimate.high is not None
    assert estimate.low < 2 < estimate.high
    assert estimate.n == 3


@settings(deadline=None)
@given(st.lists(SECONDS, min_size=1, max_size=40))
def test_bare_mean_is_that_of_the_estimate(values: list[float]) -> None:
    """The mean without an interval is the mean with one, to the last digit."""
    assert stats.bare_mean(values) == stats.geometric_mean(values).value


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
    """Rounds without a partner are refused, with the rounds of each process."""
    with pytest.raises(ValueError, match=r"\[2\] and \[1\]"):
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


def test_processes_weigh_the_same() -> None:
    """The nested mean of processes at 2 s and 8 s is 4 s, however many rounds each had."""
    estimate = stats.nested_mean([[1.0, 4.0], [8.0, 8.0, 8.0]])

    assert estimate.value == pytest.approx(4)
    assert (estimate.n, estimate.processes) == (5, 2)


def test_more_rounds_do_not_make_more_processes() -> None:
    """Rounds that repeat what their process showed leave the interval as wide as it was."""
    few = stats.nested_mean([[1.0], [1.1], [1.3]])
    many = stats.nested_mean([[1.0] * 50, [1.1] * 50, [1.3] * 50])

    assert (many.low, many.high) == pytest.approx((few.low, few.high))


def test_one_process_speaks_by_its_rounds() -> None:
    """With one process the nested mean is that of its rounds, and says so."""
    rounds = [1.0, 1.1, 1.3]

    assert stats.nested_mean([rounds]) == stats.geometric_mean(rounds)
    assert stats.nested_mean([rounds]).processes == 1


@pytest.mark.parametrize("samples", [[], [[]], [[1.0], []], [[1.0], [math.nan]], [[math.inf]]])
def test_samples_without_times_are_refused(samples: list[list[float]]) -> None:
    """No process, no rounds, NaN and infinity are errors, not numbers."""
    with pytest.raises(ValueError, match="positive"):
        stats.nested_mean(samples)


@settings(deadline=None)
@given(st.lists(st.tuples(SECONDS, SECONDS), min_size=2, max_size=8))
def test_ratio_turned_round_is_the_inverse(pairs: list[tuple[float, float]]) -> None:
    """B against A is the inverse of A against B, interval included, side by side and apart."""
    a, b = ([[seconds] for seconds in side] for side in zip(*pairs, strict=True))
    for ratio in (stats.nested_ratio, stats.ratio_apart):
        forward, backward = ratio(a, b), ratio(b, a)

        assert forward.low is not None
        assert backward.high is not None
        assert math.log(forward.value) == pytest.approx(-math.log(backward.value), abs=1e-9)
        assert math.log(forward.low) == pytest.approx(-math.log(backward.high), abs=1e-6)


def test_sessions_apart_are_not_paired() -> None:
    """Rounds that drift together are close side by side, and far apart as two sessions."""
    drift = [[1.0], [2.0], [4.0]]
    slower = [[1.1], [2.2], [4.4]]

    assert stats.nested_ratio(slower, drift).low == pytest.approx(1.1)
    assert (stats.ratio_apart(slower, drift).low or 0) < 0.5


def test_sessions_apart_need_not_be_of_one_size() -> None:
    """Three processes against one: the counts are of the smaller side, the value of both."""
    ratio = stats.ratio_apart([[2.0, 2.2], [2.1, 2.0], [2.2, 2.1]], [[1.0, 1.1, 1.05]])

    assert ratio.value == pytest.approx(2, rel=0.05)
    assert (ratio.n, ratio.processes) == (3, 1)
    assert (ratio.low or 0) < ratio.value < (ratio.high or 0)


@pytest.mark.parametrize("level", [[[2.0], [2.0], [2.0]], [[2.0, 2.0, 2.0]]])
def test_side_without_spread_is_compared(level: list[list[float]]) -> None:
    """Against times that are all equal, the other side's spread alone makes the interval."""
    varied = [[1.0], [1.1], [1.2]]
    ratio = stats.ratio_apart(varied, level)
    alone = stats.nested_mean(varied)

    assert (ratio.low, ratio.high) == pytest.approx(((alone.low or 0) / 2, (alone.high or 0) / 2))
    assert stats.ratio_apart(level, level).low == 1
    assert stats.compare_apart(level, varied, 0.02).p_different == pytest.approx(0.005, abs=0.005)


@pytest.mark.parametrize("compare", [stats.compare_side_by_side, stats.compare_apart])
@pytest.mark.parametrize("samples", [[[1.0, 1.2], [1.4, 1.1]], [[1.0, 1.2]], [[1.0]]])
def test_what_is_compared_with_itself_is_the_same(
    compare: Callable[[Samples, Samples, float], Comparison], samples: Samples
) -> None:
    """Identical times are the same, whatever the noise, and from a single round on."""
    comparison = compare(samples, samples, 0.02)

    assert stats.verdicts([comparison], noise=0.5, margin=0.02) == [Verdict.SAME]


@pytest.mark.parametrize("compare", [stats.compare_side_by_side, stats.compare_apart])
def test_single_rounds_cannot_be_told(
    compare: Callable[[Samples, Samples, float], Comparison],
) -> None:
    """One round a side has a ratio and neither test nor verdict."""
    comparison = compare([[2.0]], [[1.0]], 0.02)

    assert comparison == Comparison(Estimate(2.0, None, None, 1), None, None)
    assert stats.verdicts([comparison], noise=0, margin=0.02) == [Verdict.CANNOT_TELL]


def test_constant_ratio_is_exact() -> None:
    """Ratios that do not vary are different, and equivalent just inside the margin."""
    inside = stats.compare_side_by_side([[1.01], [2.02]], [[1.0], [2.0]], 0.02)
    outside = stats.compare_side_by_side([[1.03], [2.06]], [[1.0], [2.0]], 0.02)

    assert (inside.p_different, inside.p_equivalent) == (0, 0)
    assert (outside.p_different, outside.p_equivalent) == (0, 1)


def test_p_values_agree_with_the_intervals() -> None:
    """A ratio whose 95 % interval ends at 1 has p = 0.05; at a margin's 90 % end, TOST has it."""
    a, b = [[1.0], [1.2], [1.1], [1.4]], [[1.0], [1.0], [1.1], [1.2]]
    ratio = stats.nested_ratio(a, b)
    to_the_end = [[seconds / (ratio.low or 0) for seconds in rounds] for rounds in a]
    logs = [math.log(x / y) for [x], [y] in zip(a, b, strict=True)]
    reached = math.expm1(stats.reached_margin(logs))

    assert stats.compare_side_by_side(to_the_end, b, 0.02).p_different == pytest.approx(0.05)
    assert stats.compare_side_by_side(a, b, reached).p_equivalent == pytest.approx(0.05)


def test_apart_is_welchs_test() -> None:
    """Apart, p is that of SciPy's unequal-variance t test on the logarithms."""
    a, b = [[1.0], [1.2], [1.1], [1.4]], [[1.0], [1.01], [1.02]]
    p = scipy_stats.ttest_ind(np.log(a), np.log(b), equal_var=False).pvalue

    assert stats.compare_apart(a, b, 0.02).p_different == pytest.approx(p.item())


def compared(value: float, p_different: float, p_equivalent: float = 1.0) -> Comparison:
    """Return a comparison of five processes, with a narrow interval."""
    return Comparison(
        Estimate(value, value / 1.001, value * 1.001, 30, 5), p_different, p_equivalent
    )


@pytest.mark.parametrize(
    ("comparison", "noise", "verdict"),
    [
        (compared(1.10, 0.001), 0.01, Verdict.SLOWER),
        (compared(0.90, 0.001), 0.01, Verdict.FASTER),
        (compared(1.10, 0.001), 0.10, Verdict.CANNOT_TELL),  # ln 1.1 is 0.095
        (compared(1.10, 0.051), 0.01, Verdict.CANNOT_TELL),
        (compared(1.01, 0.500, 0.001), 0.01, Verdict.SAME),
        (compared(1.01, 0.500, 0.001), 0.03, Verdict.CANNOT_TELL),
        (compared(1.01, 0.001, 0.001), 0.001, Verdict.SAME),  # different, and not by what matters
        (compared(1.01, 0.001, 0.200), 0.001, Verdict.SLOWER),
    ],
)
def test_verdicts_follow_the_tests_and_the_noise(
    comparison: Comparison, noise: float, verdict: Verdict
) -> None:
    """Faster and slower are beyond the noise; the same needs the noise below the margin."""
    assert stats.verdicts([comparison], noise, margin=0.02) == [verdict]


def test_one_p_of_many_counts_less() -> None:
    """One p value of 0.02 is slower on its own, and nothing as the smallest of twenty."""
    one, others = compared(1.1, 0.02), [compared(1.1, 0.5)] * 19

    assert stats.verdicts([one], 0, 0.02) == [Verdict.SLOWER]
    assert set(stats.verdicts([one, *others], 0, 0.02)) == {Verdict.CANNOT_TELL}


def test_no_comparisons_have_no_verdicts() -> None:
    """A session with nothing to compare is no error."""
    assert stats.verdicts([], noise=0.01, margin=0.02) == []


def test_one_process_needs_more_than_its_interval() -> None:
    """One process a side is slower only beyond what a single further pair of rounds may show."""
    level = [[1.0, 1.0, 1.0, 1.0]]
    near, far = (
        stats.compare_side_by_side([[r * rounds for rounds in (0.98, 1.0, 1.0, 1.02)]], level, 0.01)
        for r in (1.05, 1.10)
    )

    assert (near.p_different or 1) < 0.05
    assert stats.verdicts([near], noise=0, margin=0.01) == [Verdict.CANNOT_TELL]
    assert stats.verdicts([far], noise=0, margin=0.01) == [Verdict.SLOWER]


def test_smallest_effect_needs_two_processes() -> None:
    """One process shows nothing of what others would: no effect is named."""
    assert stats.smallest_effect([[1.0, 1.1]], [[1.0, 1.2]]) is None


def test_smallest_effect_shrinks_with_more_processes() -> None:
    """Twice as many processes with the same spread see smaller effects."""
    a, b = [[1.0], [1.1], [1.0], [1.1]], [[1.0]] * 4
    few, many = stats.smallest_effect(a, b), stats.smallest_effect(a * 2, b * 2)

    assert few is not None
    assert many is not None
    assert 0 < many < few / math.sqrt(2)


@pytest.mark.parametrize("rounds", [[1.0], [2.0, 1.0, 1.0, 1.0, 1.0]])
def test_few_rounds_are_neither_steady_nor_changed(rounds: list[float]) -> None:
    """Fewer than six rounds are not certified, and no change is claimed."""
    assert stats.changepoint(rounds) == Steadiness(certified=False, changed_at=None)


@pytest.mark.parametrize(
    ("rounds", "steadiness"),
    [
        ([1.0] * 6, Steadiness(certified=True, changed_at=None)),
        ([1.01, 1.0, 1.02, 1.0, 1.01, 1.02, 1.0], Steadiness(certified=True, changed_at=None)),
        ([2.0, 2.01, 1.0, 1.02, 1.01, 1.0, 1.01], Steadiness(certified=False, changed_at=2)),
        ([1.0, 1.02, 1.01, 1.0, 1.01, 2.0, 2.01], Steadiness(certified=False, changed_at=5)),
        ([2.0, 1.02, 1.01, 1.0, 1.01, 1.0, 1.01], Steadiness(certified=False, changed_at=1)),
        ([1.0, 1.02, 1.01, 2.0, 1.01, 1.0, 1.01], Steadiness(certified=True, changed_at=None)),
        ([1.0, 1.02, 1.01, 1.0, 1.01, 1.0, 2.00], Steadiness(certified=True, changed_at=None)),
    ],
    ids=["equal", "steady", "two warm up", "slowing down", "one warms up", "disturbed", "at last"],
)
def test_change_is_found_where_it_is(rounds: list[float], steadiness: Steadiness) -> None:
    """The first round of a new level is named; one slow round is none unless it is the first."""
    assert stats.changepoint(rounds) == steadiness
    assert stats.changepoint([1_000 * seconds for seconds in rounds]) == steadiness


def test_mean_is_of_values_of_either_sign() -> None:
    """The mean of -1, 0 and 4 is 1, inside an interval that is even on both sides."""
    estimate = stats.mean([-1.0, 0.0, 4.0])

    assert estimate.value == pytest.approx(1)
    assert estimate.low is not None
    assert estimate.high is not None
    assert (estimate.low + estimate.high) / 2 == pytest.approx(1)
    assert estimate.n == 3
    assert stats.mean([2.0]) == Estimate(2.0, None, None, 1)


def test_median_is_moved_by_no_outlier() -> None:
    """The interval of a median ends at order statistics: one huge value of ten changes nothing."""
    values = [float(i) for i in range(1, 11)]
    estimate = stats.median(values)

    assert (estimate.value, estimate.low, estimate.high) == (5.5, 2, 9)
    assert stats.median([*values[:-1], 1e9]) == estimate


def test_median_of_five_has_no_interval() -> None:
    """Below six values no pair of order statistics holds the median with 95 %."""
    assert stats.median([1.0, 2.0, 3.0, 4.0, 5.0]) == Estimate(3.0, None, None, 5)


def test_equivalence_is_of_the_mean_difference() -> None:
    """Differences around 0.1 points lie within 0.3 points, and not within 0.1."""
    differences = [0.0, 0.001, 0.002, 0.001]
    wide, tight = stats.equivalent(differences, 0.003), stats.equivalent(differences, 0.001)

    assert wide.difference.value == pytest.approx(0.001)
    assert (wide.difference.low or 0) < 0.001 < (wide.difference.high or 0)
    assert (wide.p or 1) < 0.05
    assert tight.p == pytest.approx(0.5)


def test_one_difference_reaches_no_margin() -> None:
    """A single seed has no interval, no p value and no margin."""
    single = stats.equivalent([0.001], 0.003)

    assert single == Equivalence(Estimate(0.001, None, None, 1), None)
    assert stats.reached_margin([0.001]) == math.inf


def test_equal_differences_are_exact() -> None:
    """Seeds that all differ by the same reach that margin."""
    assert stats.equivalent([0.001, 0.001], 0.002).p == 0
    assert stats.equivalent([0.001, 0.001], 0.0005).p == 1
    assert stats.reached_margin([-0.001, -0.001]) == pytest.approx(0.001)


@pytest.mark.parametrize(
    "function",
    [lambda d: stats.equivalent(d, 0.1), stats.reached_margin, stats.mean, stats.median],
)
def test_average_of_nothing_is_refused(function: Callable[[list[float]], object]) -> None:
    """No values are an error, not an average of nothing."""
    with pytest.raises(ValueError, match="at least one value"):
        function([])


@settings(deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=20, unique=True))
def test_reached_margin_is_where_equivalence_ends(differences: list[float]) -> None:
    """At the margin that is reached, the test of equivalence has p = 0.05."""
    assume(np.ptp(differences) > 1e-6)
    margin = stats.reached_margin(differences)

    assert stats.equivalent(differences, margin).p == pytest.approx(0.05, rel=1e-6)


def test_mcnemar_counts_what_only_one_got_right() -> None:
    """9 trials that only A got right and 1 that only B did: p is 22 of 1,024."""
    a = np.array([True] * 9 + [False] + [True] * 90)
    b = np.array([False] * 9 + [True] + [True] * 90)

    assert stats.mcnemar(a, b) == pytest.approx(22 / 1_024)
    assert stats.mcnemar(a, b) == stats.mcnemar(b, a)


def test_mcnemar_of_the_same_answers_is_one() -> None:
    """Two that are right and wrong together do not differ."""
    assert stats.mcnemar(np.array([True, False]), np.array([True, False])) == 1


def test_mcnemar_needs_the_same_trials() -> None:
    """Answers to 3 and to 2 images are refused with both numbers."""
    with pytest.raises(ValueError, match=r"\(3,\) and \(2,\)"):
        stats.mcnemar(np.ones(3, bool), np.ones(2, bool))


@settings(deadline=None)
@given(st.lists(SECONDS, min_size=2, max_size=20), st.floats(0.5, 2))
def test_intervals_and_p_values_are_scipy_s(values: list[float], factor: float) -> None:
    """The mean's interval and both kinds of p value are those of SciPy's own t test."""
    logs = np.log(values)
    assume(np.ptp(logs) > 1e-6)
    theirs = scipy_stats.ttest_1samp(logs, 0.0)
    interval = theirs.confidence_interval(0.95)
    estimate = stats.geometric_mean(values)
    compared = stats.compare_side_by_side([[v] for v in values], [[1.0]] * len(values), factor)

    assert estimate.low == pytest.approx(math.exp(interval.low), rel=1e-6)
    assert estimate.high == pytest.approx(math.exp(interval.high), rel=1e-6)
    assert compared.p_different == pytest.approx(theirs.pvalue, rel=1e-6, abs=1e-12)
    bound = math.log1p(factor)
    outside = (
        scipy_stats.ttest_1samp(logs, -bound, alternative="greater").pvalue,
        scipy_stats.ttest_1samp(logs, bound, alternative="less").pvalue,
    )
    assert compared.p_equivalent == pytest.approx(max(outside), rel=1e-6, abs=1e-12)
