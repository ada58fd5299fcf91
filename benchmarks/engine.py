"""A session under pytest: trains a group of cells when the first of its tests asks for it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from overhead import run_overhead
from rich.console import Console

from fmnist import launch, plan
from fmnist.grid import Cell
from fmnist.progress import SessionProgress
from fmnist.record import Record

Replay = Callable[[Sequence[float], Record], None]
"""Hands measured seconds, and the record that they stand in, to pytest-benchmark."""


class ReplayClock:
    """A clock that stands at zero until it is told how many seconds went by."""

    def __init__(self) -> None:
        self._now_s = 0.0

    def __call__(self) -> float:
        """Return the seconds since the last reset: the timer that pytest-benchmark reads."""
        return self._now_s

    def reset(self) -> None:
        """Go back to zero, so that the next difference is exact."""
        self._now_s = 0.0

    def advance(self, seconds: float) -> None:
        """Let seconds go by."""
        self._now_s += seconds


class Engine:
    """A session under pytest: runs what the collected tests need, once, when first asked."""

    def __init__(self, planned: plan.Plan, config: pytest.Config) -> None:
        self.plan = planned
        self.clock = ReplayClock()
        self.records: list[Record] = []
        self._config = config
        self._trained: dict[Cell, list[Record]] = {}
        self._started: dict[Cell, list[Record]] = {}
        self._beside_plain: dict[Cell, list[Record]] = {}
        self._wanted: dict[str, set[Cell]] = {"trained": set(), "started": set()}
        self._progress: SessionProgress | None = None

    def expect(self, items: Sequence[pytest.Item]) -> None:
        """Take note of the cells that were asked for, by the fixtures: no other one is run."""
        for item in items:
            cell = cell_of(item)
            for name, cells in self._wanted.items():
                if cell is not None and name in getattr(item, "fixturenames", ()):
                    cells.add(cell)

    def trained(self, cell: Cell) -> Record:
        """Return the cell's training record; its group is run if it was not yet."""
        if cell not in self._trained:
            with self._shown() as progress:
                group = self._group(cell, "trained")
                self._keep(self._trained, launch.run_group(self.plan, group, progress))
        return self._trained[cell][0]

    def started(self, cell: Cell) -> list[Record]:
        """Return the records of the cell's fresh starts; its group's are run if not yet."""
        if cell not in self._started:
            with self._shown() as progress:
                group = self._group(cell, "started")
                self._keep(self._started, launch.run_startups(self.plan, group, progress))
        return self._started[cell]

    def beside_plain(self, cell: Cell) -> Record:
        """Return the record of the cell in turn with a plain Keras script."""
        if cell not in self._beside_plain:
            with self._shown() as progress:
                self._keep(self._beside_plain, [run_overhead(self.plan, cell, progress)])
        return self._beside_plain[cell][0]

    def _group(self, cell: Cell, wanted: str) -> Sequence[Cell]:
        """Return the cells of the cell's group that were asked for."""
        group = next(group for group in self.plan.groups if cell in group)
        return [other for other in group if other in self._wanted[wanted]]

    def _keep(self, where: dict[Cell, list[Record]], records: Sequence[Record]) -> None:
        self.records += records
        for record in records:
            where.setdefault(record.cell, []).append(record)

    @contextmanager
    def _shown(self) -> Iterator[SessionProgress]:
        """Show progress on the terminal itself, which pytest keeps from the tests."""
        capture = self._config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled():
            if self._progress is None:
                self._progress = SessionProgress(len(self._wanted["trained"]), Console())
            with self._progress:
                yield self._progress


def cell_of(item: pytest.Item) -> Cell | None:
    """Return the cell that a benchmark is one of; None where the session has none for it."""
    callspec = getattr(item, "callspec", None)
    cell = callspec.params.get("cell") if callspec else None
    return cell if isinstance(cell, Cell) else None
