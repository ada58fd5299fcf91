"""What intervals, tests and verdicts do on simulated machines, counted over many sessions.

The machines drift, their rounds are autocorrelated and skewed to the right, and processes differ.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from scipy import signal

from fmnist import stats
from fmnist.stats import Estimate, Samples, Verdict

SETTLING = 20
SHAPES = [(3, 10), (5, 6), (10, 3)]
CALLS = {Verdict.FASTER, Verdict.SLOWER}


@dataclass(frozen=True)
class Machine:
    """What a machine does to times, as standard deviations of logarithms (0.02 is 2 %)."""

    processes: float = 0.02
    rounds: float = 0.03
    autocorrelation: float = 0.5
    drift: float = 0.05


def skewed(rng: np.random.Generator, size: tuple[int, ...]) -> np.ndarray:
    """Return draws of mean 0, variance 1 and skewness 1."""
    return (rng.gamma(4.0, size=size) - 4) / 2


def rounds_of(
    rng: np.random.Generator, size: tuple[int, ...], autocorrelation: float
) -> np.ndarray:
    """Return steady series along the last axis, of variance 1: AR(1), skewed innovations."""
    drawn = skewed(rng, (*size[:-1], size[-1] + SETTLING))
    scale = math.sqrt(1 - autocorrelation**2)
    return np.asarray(signal.lfilter([scale], [1, -autocorrelation], drawn))[..., SETTLING:]


def drift(rng: np.random.Generator, size: tuple[int, int, int, int]) -> np.ndarray:
    """Return a random walk through the session, its cells in turn as A B B A, of variance 1."""
    sessions, cells, processes, rounds = size
    walk = np.cumsum(rng.normal(size=(sessions, processes * rounds * cells)), axis=-1)
    walk -= np.mean(walk, axis=-1, keepdims=True)
    walk /= math.sqrt(walk.shape[-1] / 6)
    in_turn = walk.reshape(sessions, processes, rounds, cells)
    in_turn[:, :, 1::2] = in_turn[:, :, 1::2, ::-1].copy()
    return np.moveaxis(in_turn, -1, 1)


def simulated(
    seed: int, size: tuple[int, int, int, int], machine: Machine = Machine()
) -> np.ndarray:
    """Return seconds (sessions, cells, processes, rounds) of cells that all take one second."""
    rng = np.random.default_rng(seed)
    logs = (
        machine.processes * skewed(rng, (*size[:-1], 1))
        + machine.rounds * rounds_of(rng, size, machine.autocorrelation)
        + machine.drift * drift(rng, size)
    )
    return np.exp(logs)


def covered(estimates: Sequence[Estimate], truth: float = 1.0) -> float:
    """Return the share of intervals that hold the truth."""
    return float(np.mean([(e.low or math.inf) <= truth <= (e.high or 0) for e in estimates]))


@pytest.mark.parametrize(("processes", "rounds"), SHAPES)
def test_interval_of_a_mean_covers(processes: int, rounds: int) -> None:
    """Over 1,000 sessions, 93 to 97 % of the intervals of a mean hold the truth."""
    sessions = simulated(1, (1_000, 1, processes, rounds), Machine(drift=0.01)).tolist()

    share = covered([stats.nested_mean(cell) for [cell] in sessions])
    assert share == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize(("processes", "rounds"), SHAPES)
def test_interval_of_a_ratio_covers(processes: int, rounds: int) -> None:
    """Over 1,000 sessions that drift by 5 %, 93 to 97 % of the ratios' intervals hold the truth."""
    sessions = simulated(2, (1_000, 2, processes, rounds)).tolist()

    share = covered([stats.nested_ratio(a, b) for a, b in sessions])
    assert share == pytest.approx(0.95, abs=0.02)


@pytest.mark.parametrize(("processes", "rounds"), SHAPES)
def test_interval_of_two_sessions_covers(processes: int, rounds: int) -> None:
    """Two sessions without a drift between them: 93 to 98 % of 1,000 intervals hold the truth."""
    sessions = simulated(3, (1_000, 2, processes, rounds), Machine(drift=0)).tolist()

    share = covered([stats.ratio_apart(a, b) for a, b in sessions])
    assert 0.93 <= share <= 0.98


def bootstrapped(rng: np.random.Generator, logs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return means and their standard errors of 999 hierarchical resamples.

    Args:
        rng: draws processes first, and of each of them rounds.
        logs: (processes, rounds).
    """
    processes, rounds = logs.shape
    which = rng.integers(processes, size=(999, processes, 1))
    drawn = np.mean(logs[which, rng.integers(rounds, size=(999, processes, rounds))], axis=-1)
    return np.mean(drawn, axis=-1), np.std(drawn, axis=-1, ddof=1) / math.sqrt(processes)


Interval = Callable[[np.random.Generator, np.ndarray], tuple[float, float]]


def percentile_interval(rng: np.random.Generator, logs: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of the hierarchical percentile bootstrap."""
    means, _ = bootstrapped(rng, logs)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def studentised_interval(rng: np.random.Generator, logs: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval of the hierarchical bootstrap of t."""
    means, errors = bootstrapped(rng, logs)
    mean, error = np.mean(logs), np.std(np.mean(logs, axis=-1), ddof=1) / math.sqrt(len(logs))
    low, high = np.quantile((means - mean) / errors, [0.025, 0.975])
    return float(mean - high * error), float(mean - low * error)


def printed_interval(_: np.random.Generator, logs: np.ndarray) -> tuple[float, float]:
    """Return the 95 % interval that is printed."""
    estimate = stats.nested_mean(np.exp(logs).tolist())
    return math.log(estimate.low or 0), math.log(estimate.high or 0)


def coverage_and_width(interval: Interval, sessions: np.ndarray) -> tuple[float, float]:
    """Return the share of intervals that hold 0, and their median width.

    Args:
        interval: the method.
        sessions: logarithms (sessions, processes, rounds).
    """
    rng = np.random.default_rng(4)
    low, high = np.array([interval(rng, logs) for logs in sessions]).T
    return float(np.mean((low <= 0) & (high >= 0))), float(np.median(high - low))


def log_ratios(size: tuple[int, int, int, int]) -> np.ndarray:
    """Return logarithms of ratios (sessions, processes, rounds) of two cells side by side."""
    logs = np.log(simulated(5, size))
    return np.asarray(logs[:, 0] - logs[:, 1])


@pytest.mark.slow
@pytest.mark.parametrize(("processes", "rounds"), [(3, 10), (5, 6)])
def test_percentile_bootstrap_covers_too_seldom(processes: int, rounds: int) -> None:
    """Why intervals are Student's: of 2,000 by percentiles, below 90 % hold the truth."""
    share, _ = coverage_and_width(percentile_interval, log_ratios((2_000, 2, processes, rounds)))

    assert share < 0.9


@pytest.mark.slow
@pytest.mark.parametrize(
    ("processes", "rounds", "wider"), [(3, 10, 1.3), (5, 6, 1.1), (10, 3, 1.0)]
)
def test_bootstrap_of_t_is_wider(processes: int, rounds: int, wider: float) -> None:
    """Why they are not the bootstrap's of t: it covers no better and is wider (2,000 sessions)."""
    pairs = log_ratios((2_000, 2, processes, rounds))
    share, width = coverage_and_width(studentised_interval, pairs)
    printed_share, printed_width = coverage_and_width(printed_interval, pairs)

    assert share == pytest.approx(printed_share, abs=0.02)
    assert width > wider * printed_width


def noise_of(pair: Sequence[Samples]) -> float:
    """Return the largest |ln ratio| in the interval of a session's A/A pair."""
    again = stats.nested_ratio(*pair)
    return max(abs(math.log(again.low or 0)), abs(math.log(again.high or 0)))


def called(machine: Machine, processes: int, rounds: int, sessions: int = 400) -> float:
    """Return the share of verdicts at 1 % that call equals different: 3 pairs in each session.

    A fourth pair of equals is the session's A/A.
    """
    found: list[Verdict] = []
    for session in simulated(6, (sessions, 8, processes, rounds), machine).tolist():
        again, *pairs = zip(session[::2], session[1::2], strict=True)
        compared = [stats.compare_side_by_side(a, b, 0.02) for a, b in pairs]
        found += stats.verdicts(compared, noise_of(again), margin=0.02, alpha=0.01)
    return float(np.mean([verdict in CALLS for verdict in found]))


@pytest.mark.parametrize(
    ("machine", "processes", "rounds"),
    [
        (Machine(), 5, 6),
        (Machine(), 1, 6),
        (Machine(processes=0.03), 1, 20),
    ],
)
def test_equals_are_seldom_called_different(machine: Machine, processes: int, rounds: int) -> None:
    """At the nominal 1 %, at most 1 % of 1,200 verdicts on equals are faster or slower."""
    assert called(machine, processes, rounds) <= 0.01


def test_one_process_errs_where_processes_differ_most() -> None:
    """Processes differ by 5 %, rounds by 1 %: of 600 verdicts, five a side hold 1 %, one not."""
    unlike = Machine(processes=0.05, rounds=0.01)

    assert 0.02 < called(unlike, 1, 20, sessions=200) < 0.25
    assert called(unlike, 5, 6, sessions=200) <= 0.01


def test_verdicts_are_corrected_for_their_number() -> None:
    """With 10 pairs of equals and no noise, at most 8 % of 100 sessions have a false verdict."""
    wrong = 0
    for session in simulated(9, (100, 20, 5, 3)).tolist():
        pairs = zip(session[::2], session[1::2], strict=True)
        compared = [stats.compare_side_by_side(a, b, 0.02) for a, b in pairs]
        wrong += bool(CALLS & set(stats.verdicts(compared, noise=0, margin=0.02)))

    assert wrong / 100 <= 0.08


def test_what_differs_by_the_margin_is_seldom_called_the_same() -> None:
    """Of 600 pairs that differ by just the margin of 2 %, at most 6 % are called the same."""
    quiet = Machine(processes=0.005, rounds=0.01, drift=0.01)
    sessions = simulated(10, (600, 2, 5, 6), quiet) * [[[[1.02]], [[1.0]]]]
    compared = [stats.compare_side_by_side(a, b, 0.02) for a, b in sessions.tolist()]
    found = [stats.verdicts([comparison], 0.005, 0.02)[0] for comparison in compared]

    assert np.mean([verdict is Verdict.SAME for verdict in found]) <= 0.06


def found_slower(numerators: Samples, denominators: Samples) -> bool:
    """Tell whether a comparison finds, at 5 %, that the numerator is slower."""
    comparison = stats.compare_side_by_side(numerators, denominators, 0.02)
    return (comparison.p_different or 0) < 0.05 and comparison.ratio.value > 1


@pytest.mark.parametrize("processes", [3, 10])
def test_smallest_effect_is_found(processes: int) -> None:
    """An effect of the smallest size is found in 95 % of 600 sessions, give or take 3."""
    found = []
    for a, b in simulated(11, (600, 2, processes, 4)).tolist():
        effect = stats.smallest_effect(a, b)
        assert effect is not None
        spiked = [[seconds * (1 + effect) for seconds in rounds] for rounds in a]
        found.append(found_slower(spiked, b))

    assert np.mean(found) == pytest.approx(0.95, abs=0.03)


def test_smallest_effect_is_found_by_other_sessions() -> None:
    """What a session of 10 processes says it can see, another one finds in 85 % of 600."""
    found = []
    for a, b, other_a, other_b in simulated(12, (600, 4, 10, 4)).tolist():
        effect = stats.smallest_effect(a, b)
        assert effect is not None
        spiked = [[seconds * (1 + effect) for seconds in rounds] for rounds in other_a]
        found.append(found_slower(spiked, other_b))

    assert np.mean(found) >= 0.85


def flagged(series: np.ndarray) -> float:
    """Return the share of series (n, rounds) of logarithms in which a change is found."""
    changes = [stats.changepoint(rounds).changed_at for rounds in np.exp(series).tolist()]
    return float(np.mean([change is not None for change in changes]))


@pytest.mark.parametrize("rounds", [5, 6, 8, 12, 20])
@pytest.mark.parametrize("autocorrelation", [0.0, 0.3, 0.5])
def test_steady_rounds_are_seldom_flagged(rounds: int, autocorrelation: float) -> None:
    """Of 3,000 series of steady rounds, skewed and autocorrelated, at most 5 % are flagged."""
    rng = np.random.default_rng(13)

    assert flagged(0.03 * rounds_of(rng, (3_000, rounds), autocorrelation)) <= 0.05


@pytest.mark.parametrize("autocorrelation", [0.0, 0.3, 0.5])
def test_a_shift_is_found(autocorrelation: float) -> None:
    """A shift of 4 standard deviations in 8 of 20 rounds is found in 90 % of 2,000 series."""
    series = rounds_of(np.random.default_rng(14), (2_000, 20), autocorrelation)
    series[:, :8] += 4

    assert flagged(0.03 * series) >= 0.9
