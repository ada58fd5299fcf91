"""Verdicts on cells that ran side by side in one session, held against its own noise."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fmnist import stats
from fmnist.record import Record, samples
from fmnist.report.choose import Rows
from fmnist.report.trust import MARGIN, floor_of, noise_of
from fmnist.stats import Estimate, Samples, Verdict


@dataclass(frozen=True)
class Judged:
    """A ratio of times, and the verdict; None where the session did not measure its noise."""

    ratio: Estimate
    verdict: Verdict | None


def judged(
    rows: Sequence[Rows],
    top: Callable[[Rows], Rows],
    bottom: Callable[[Rows], Rows],
    records: Sequence[Record],
) -> dict[int, Judged]:
    """Return, by the row's identity, what two parts of each row that has both say of each other.

    Args:
        rows: all that are judged together: the verdicts are corrected for their number.
        top: takes a row's records of the numerator.
        bottom: takes those of the denominator.
        records: of the session, its noise among them.
    """
    comparisons = {
        id(row): stats.compare_side_by_side(*pair, MARGIN)
        for row in rows
        if (pair := neighbours(top(row), bottom(row))) is not None
    }
    noise = noise_of(records)
    if noise is None or not comparisons:
        return {key: Judged(c.ratio, None) for key, c in comparisons.items()}
    verdicts = stats.verdicts(list(comparisons.values()), floor_of(noise), MARGIN)
    return {
        key: Judged(comparison.ratio, verdict)
        for (key, comparison), verdict in zip(comparisons.items(), verdicts, strict=True)
    }


def neighbours(tops: Rows, bottoms: Rows) -> tuple[Samples, Samples] | None:
    """Return the epochs of two cells, of the processes that ran side by side to the end."""
    sides = [{r.process: r for r in records} for records in (tops, bottoms)]
    common = [
        p
        for p, r in sides[0].items()
        if p in sides[1] and len(r.epoch_s) == len(sides[1][p].epoch_s)
    ]
    if not common:
        return None
    return samples(sides[0][p] for p in common), samples(sides[1][p] for p in common)
