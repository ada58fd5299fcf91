"""How far a session's numbers can be trusted: what it measured of itself, and what that says.

Every verdict of the session is held against its noise.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

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
        cells: which ones; of one of several machines, one for each group of cells that it ran.
        again: the A/A ratio of its processes.
        spikes: by name (as in `grid.SPIKES`), the ratio that was found for the extra steps.
        smallest_effect: the smallest relative effect that such a comparison finds 95 % of the
            time; None with a single pair of processes.
        spread_in_turn: coefficient of variation of the ratio over pairs of processes.
        spread_apart: the same, each process held against the twin of the next pair, which did not
            take turns with it; both None with fewer than three pairs, this one with several
            cells.
    """

    cells: tuple[Cell, ...]
    again: Estimate
    spikes: dict[str, Estimate]
    smallest_effect: float | None
    spread_in_turn: float | None
    spread_apart: float | None


def floor_of(noise: Noise | None) -> float:
    """Return the largest |ln ratio| that the A/A interval reaches; infinite where there is none."""
    if noise is None or noise.again.low is None or noise.again.high is None:
        return math.inf
    return max(abs(math.log(noise.again.low)), abs(math.log(noise.again.high)))


def noise_of(records: Sequence[Record]) -> Noise | None:
    """Return the noise of one session's records; None if it did not measure its own."""
    pairs = good(records, "noise")
    if not pairs:
        return None
    base, twin = samples(pairs), samples(pairs, "twin")
    cells = tuple(dict.fromkeys(pair.cell for pair in pairs))
    return Noise(
        cells=cells,
        again=stats.nested_ratio(twin, base),
        spikes={
            name: stats.nested_ratio(samples(pairs, name), samples(pairs, base_of(name)))
            for name in SPIKES
            if all({name, base_of(name)} <= pair.beside_s.keys() for pair in pairs)
        },
        smallest_effect=stats.smallest_effect(twin, base),
        spread_in_turn=_spread(twin, base),
        spread_apart=_spread(twin[1:] + twin[:1], base) if len(cells) == 1 else None,
    )


def false_verdicts(records: Sequence[Record], alpha: float) -> int:
    """Return how many A/A pairs would have been called faster or slower, each on its own.

    Each pair of processes is taken for a session of one comparison, at the level alpha, held
    against the noise of the next pair. There is no cause for any: all are false.
    """
    pairs = good(records, "noise")
    found = 0
    for pair, other in zip(pairs, pairs[1:] + pairs[:1], strict=True):
        floor = floor_of(noise_of([other]))
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
    generator, measured = np.random.default_rng(0), good(records, "noise")
    sides = zip(samples(measured, spike), samples(measured, base_of(spike)), strict=True)
    ratios = np.array([stats.paired_ratio(*pair).value for pair in sides])
    drawn = [generator.choice(len(ratios), pairs, replace=False) for _ in range(draws)]
    return stats.share_above_one(ratios[np.array(drawn)])


def _spread(tops: Samples, bottoms: Samples) -> float | None:
    """Return the coefficient of variation of the ratios of processes; None for fewer than three."""
    if len(tops) < FEWEST_FOR_A_SPREAD:
        return None
    ratios = [
        stats.geometric_mean(top).value / stats.geometric_mean(bottom).value
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
