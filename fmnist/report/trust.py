"""How far a session's numbers can be trusted: what it measured of itself, and what that says.

Every verdict of the session is held against its noise.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from fmnist import stats
from fmnist.grid import NOISE_STEPS, SPIKES, Cell, base_of
from fmnist.record import Parity, Record, samples, unpacked
from fmnist.report.choose import good
from fmnist.stats import Estimate, Samples, Verdict

FEWEST_FOR_A_SPREAD = 3
MARGIN = 0.02
"""What counts as the same time: a ratio from 1 / 1.02 to 1.02."""


@dataclass(frozen=True)
class Noise:
    """A session's cell against itself, and against itself with known extra steps.

    Attributes:
        pairs: the session's records of task `noise`, at least one.
    """

    pairs: tuple[Record, ...]

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Which ones; of one of several machines, one for each group of cells that it ran."""
        return tuple(dict.fromkeys(pair.cell for pair in self.pairs))

    @cached_property
    def again(self) -> Estimate:
        """The A/A ratio of its processes."""
        return stats.nested_ratio(samples(self.pairs, "twin"), samples(self.pairs))

    @cached_property
    def spikes(self) -> dict[str, Estimate]:
        """By name (as in `grid.SPIKES`), the ratio that was found for the extra steps."""
        return {
            name: stats.nested_ratio(samples(self.pairs, name), samples(self.pairs, base_of(name)))
            for name in SPIKES
            if all({name, base_of(name)} <= pair.beside_s.keys() for pair in self.pairs)
        }

    @property
    def smallest_effect(self) -> float | None:
        """The smallest relative effect that such a comparison finds 95 % of the time.

        None with a single pair of processes.
        """
        return stats.smallest_effect(samples(self.pairs, "twin"), samples(self.pairs))

    @property
    def spread_in_turn(self) -> float | None:
        """Coefficient of variation of the ratio over pairs; None with fewer than three."""
        return _spread(samples(self.pairs, "twin"), samples(self.pairs))

    @property
    def spread_apart(self) -> float | None:
        """The same, each process held against the twin of the next pair.

        The two did not take turns. None with several cells, too.
        """
        if len(self.cells) > 1:
            return None
        twin = samples(self.pairs, "twin")
        return _spread(twin[1:] + twin[:1], samples(self.pairs))


def floor_of(noise: Noise | None) -> float:
    """Return the largest |ln ratio| that the A/A interval reaches; infinite where there is none."""
    return math.inf if noise is None else _reach(noise.again)


def _reach(again: Estimate) -> float:
    """Return the largest |ln ratio| in an A/A ratio's interval; infinite where there is none."""
    if again.low is None or again.high is None:
        return math.inf
    return max(abs(math.log(again.low)), abs(math.log(again.high)))


def noise_of(records: Sequence[Record]) -> Noise | None:
    """Return the noise of one session's records; None if it did not measure its own."""
    pairs = good(records, "noise")
    return Noise(tuple(pairs)) if pairs else None


def false_verdicts(records: Sequence[Record], alpha: float) -> int:
    """Return how many A/A pairs would have been called faster or slower, each on its own.

    Each pair of processes is taken for a session of one comparison, at the level alpha, held
    against the noise of the next pair. There is no cause for any: all are false.
    """
    pairs = good(records, "noise")
    found = 0
    for pair, other in zip(pairs, pairs[1:] + pairs[:1], strict=True):
        floor = _reach(stats.nested_ratio(samples([other], "twin"), samples([other])))
        comparison = stats.compare_side_by_side(samples([pair], "twin"), samples([pair]), MARGIN)
        (verdict,) = stats.verdicts([comparison], floor, MARGIN, alpha)
        found += verdict in (Verdict.FASTER, Verdict.SLOWER)
    return found


def found_share(records: Sequence[Record], spike: str, pairs: int, draws: int = 1_000) -> float:
    """Return in what share of smaller sessions a spike is found, by drawing them from this one.

    Args:
        records: of a session with many more noise pairs than are drawn.
        spike: a key of `grid.SPIKES`.
        pairs: of processes in a smaller session.
        draws: of such sessions, by a fixed seed.
    """
    measured = good(records, "noise")
    sides = zip(samples(measured, spike), samples(measured, base_of(spike)), strict=True)
    ratios = np.array([stats.paired_ratio(*pair).value for pair in sides])
    return stats.share_above_one(ratios[_drawn(len(ratios), pairs, draws)])


@cache
def _drawn(n: int, size: int, draws: int) -> np.ndarray:
    """Return so many draws of different numbers below n, (draws, size): the same at each call."""
    generator = np.random.default_rng(0)
    return np.array([generator.choice(n, size, replace=False) for _ in range(draws)])


def _spread(tops: Samples, bottoms: Samples) -> float | None:
    """Return the coefficient of variation of the ratios of processes; None for fewer than three."""
    if len(tops) < FEWEST_FOR_A_SPREAD:
        return None
    ratios = [
        stats.bare_mean(top) / stats.bare_mean(bottom)
        for top, bottom in zip(tops, bottoms, strict=True)
    ]
    return float(np.std(ratios, ddof=1) / np.mean(ratios))


def expected_ratio(spike: str) -> float:
    """Return by what a spike's extra steps lengthen the work of an epoch."""
    return 1 + NOISE_STEPS * SPIKES[spike] // 100 / NOISE_STEPS


def certificates(records: Sequence[Record]) -> dict[tuple[str, str], list[Record]]:
    """Return the parity records that have a certificate, by model and device, seed by seed."""
    found: dict[tuple[str, str], list[Record]] = {}
    for record in good(records, "parity"):
        if record.parity is not None and record.parity.between == "backend":
            found.setdefault((record.model, record.device), []).append(record)
    return found


def proofs(records: Sequence[Record]) -> dict[tuple[str, str, str], list[Record]]:
    """Return the certificates that tuned did what stock does, by model, backend and device."""
    found: dict[tuple[str, str, str], list[Record]] = {}
    for record in good(records, "parity"):
        if record.parity is not None and record.parity.between == "mode":
            place = (record.model, record.backend, record.device)
            found.setdefault(place, []).append(record)
    return found


def unequal(records: Sequence[Record]) -> set[tuple[str, str]]:
    """Return the (model, device) whose backends or modes did not do the same work."""
    return {
        (record.model, record.device)
        for record in good(records, "parity")
        if record.parity is not None and record.parity.exceeded
    }


def accuracy_differences(records: Sequence[Record]) -> list[float]:
    """Return, for each certificate, by how many points its second backend is more accurate."""
    pairs = map(_recognised, records)
    return [100 * float(theirs.mean() - ours.mean()) for ours, theirs in pairs]


def p_of_images(records: Sequence[Record]) -> list[float]:
    """Return, for each certificate, McNemar's p value of the images that one alone recognised."""
    return [stats.mcnemar(*_recognised(record)) for record in records]


def sides(certificate: Parity, record: Record) -> tuple[str, str]:
    """Return what the certificate's two sides are called, the record's own first."""
    return getattr(record, certificate.between), certificate.against


def _recognised(record: Record) -> tuple[np.ndarray, np.ndarray]:
    """Return which test images each side recognised, ours first, bool (n,) each."""
    if record.parity is None:
        raise ValueError(f"{record.cell.id}: a parity record without failure has a certificate")
    correct = record.parity.correct
    ours, theirs = (correct[name] for name in sides(record.parity, record))
    return unpacked(ours, record.test_images), unpacked(theirs, record.test_images)
