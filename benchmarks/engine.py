"""A session under pytest: trains a group of cells when the first of its tests asks for it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest
from overhead import run_overhead
from rich.console import Console

from fmnist import launch, plan, selfcheck
from fmnist.budget import Budget
from fmnist.grid import Cell
from fmnist.progress import SessionProgress
from fmnist.record import Record

Replay = Callable[[Sequence[float], Sequence[Record]], None]
"""Hands measured seconds, and the records that they stand in, to pytest-benchmark."""

PLAIN_MODELS = ("dense3",)
"""What the plain script trains: an epoch of 60,000 images takes about a second, so that a cost of
milliseconds shows."""

CELLS: Mapping[str, Callable[[plan.Plan], Sequence[Cell]]] = {
    "noise": lambda planned: [planned.noise_cell],
    "beside_plain": lambda planned: [
        c for c in planned.cells if c.model in PLAIN_MODELS and planned.preset.overhead_rounds
    ],
    "broken_down": lambda planned: planned.breakdown_cells,
    "parity": lambda planned: [
        ours for group in planned.groups for ours, _ in selfcheck.backend_pairs(group)
    ],
    "trained": lambda planned: planned.cells,
    "started": lambda planned: planned.cells,
}
"""By fixture, the cells that a benchmark with this fixture is run for."""


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
        self._records: dict[tuple[str, Cell], list[Record]] = {}
        self._wanted: dict[str, set[Cell]] = {name: set() for name in CELLS}
        self._budget: Budget | None = None
        self._progress: SessionProgress | None = None

    def expect(self, items: Sequence[pytest.Item]) -> None:
        """Take note of the cells that were asked for, by the fixtures: no other one is run."""
        for item in items:
            cell = cell_of(item)
            for name, cells in self._wanted.items():
                if cell is not None and name in getattr(item, "fixturenames", ()):
                    cells.add(cell)
        if self.plan.budget_s is not None:
            groups = len({cell.model for cell in self._wanted["trained"]})
            self._budget = Budget(self.plan.budget_s, self.plan.precision_target, groups)

    def records_for(self, fixture: str, cell: Cell) -> list[Record]:
        """Return the cell's records of a kind in CELLS; what they need is run if it was not yet."""
        if (fixture, cell) not in self._records:
            self.plan.begin()
            with self._shown() as progress:
                records = self._run(fixture, cell, progress)
            self.records += records
            for record in records:
                self._records.setdefault((fixture, record.cell), []).append(record)
        return self._records[fixture, cell]

    def _run(self, fixture: str, cell: Cell, progress: SessionProgress) -> list[Record]:
        """Run what a fixture's records come from: the cell, or all of its group that is wanted."""
        group = self._group(cell, fixture)
        if fixture == "trained":
            share = self._budget.next_share() if self._budget else None
            return launch.run_processes(self.plan, group, progress, share)
        if fixture == "started":
            return launch.run_startups(self.plan, group, progress)
        if fixture == "parity":
            whole = next(group for group in self.plan.groups if cell in group)
            return selfcheck.run_parity(self.plan, whole, progress)
        if fixture == "noise":
            return selfcheck.run_noise(self.plan, progress)
        if fixture == "broken_down":
            return [selfcheck.run_breakdown(self.plan, cell, progress)]
        return [run_overhead(self.plan, cell, progress)]

    def _group(self, cell: Cell, wanted: str) -> Sequence[Cell]:
        """Return the cells of the cell's group that were asked for."""
        group = next(group for group in self.plan.groups if cell in group)
        return [other for other in group if other in self._wanted[wanted]]

    @contextmanager
    def _shown(self) -> Iterator[SessionProgress]:
        """Show progress on the terminal itself, which pytest keeps from the tests."""
        capture = self._config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled():
            if self._progress is None:
                cells = len(self._wanted["trained"]) * self.plan.processes
                self._progress = SessionProgress(cells, Console())
            with self._progress:
                yield self._progress


def cell_of(item: pytest.Item) -> Cell | None:
    """Return the cell that a benchmark is one of; None where the session has none for it."""
    callspec = getattr(item, "callspec", None)
    cell = callspec.params.get("cell") if callspec else None
    return cell if isinstance(cell, Cell) else None
