"""Enough, and no more: how many processes of a group fit into a session's budget of time."""

from collections.abc import Sequence

from fmnist import stats
from fmnist.measure import Allowance
from fmnist.record import Record, by_cell, samples

FEWEST_PROCESSES = 3
"""An interval over fewer is wide for want of degrees of freedom: it decides nothing."""


class Budget:
    """Seconds for the training of all groups. What one group leaves, the later ones have.

    Args:
        limit_s: for all groups together.
        target: half the width of an interval that is narrow enough, relative.
        groups: how many there will be.
    """

    def __init__(self, limit_s: float, target: float, groups: int) -> None:
        self._allowance = Allowance(limit_s)
        self._target = target
        self._groups_left = groups

    def next_share(self) -> "Share":
        """Return what the next group may use, from now on."""
        self._allowance.run()
        share_s = self._allowance.left_s / max(1, self._groups_left)
        self._groups_left -= 1
        return Share(share_s, self._target)


class Share:
    """One group's part of the budget, used up from the moment it is made."""

    def __init__(self, limit_s: float, target: float) -> None:
        self._allowance = Allowance(limit_s)
        self._allowance.run()
        self._target = target

    @property
    def left_s(self) -> float:
        """Seconds left."""
        return self._allowance.left_s

    def allows_another(self, records: Sequence[Record]) -> bool:
        """Tell whether another process of each cell is needed, and can be expected to fit."""
        processes = 1 + max((record.process for record in records), default=-1)
        if processes == 0:
            return True
        if processes >= FEWEST_PROCESSES and precision(records) <= self._target:
            return False
        used_s = self._allowance.limit_s - self.left_s
        return used_s / processes < self.left_s


def precision(records: Sequence[Record]) -> float:
    """Return half the widest interval of the cells' epochs, relative; infinite where one has none.

    Cells that failed are left out: more processes would not mend them.
    """
    cells = by_cell(r for r in records if r.failure is None).values()
    return stats.widest(map(samples, cells))
