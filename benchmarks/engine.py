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

TRAINED = ("bench_train", "bench_predict")
"""The files whose benchmarks want their cells trained."""

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
        self._trained: dict[Cell, Record] = {}
        self._started: dict[Cell, list[Record]] = {}
        self._overhead: dict[Cell, Record] = {}
        self._wanted: set[Cell] = set()
        self._progress: SessionProgress | None = None

    def expect(self, items: Sequence[pytest.Item]) -> None:
        """Take note of the cells whose training was asked for: no other one is run."""
        for item in items:
            cell = cell_of(item)
            if cell is not None and item.path.stem in TRAINED:
                self._wanted.add(cell)

    def trained(self, cell: Cell) -> Record:
        """Return the cell's training record; its group is run if it was not yet."""
        if cell not in self._trained:
            group = [c for c in self._group(cell) if c in self._wanted]
            with self._shown() as progress:
                self._keep(self._trained, launch.run_group(self.plan, group, progress))
        return self._trained[cell]

    def started(self, cell: Cell) -> list[Record]:
        """Return the records of the cell's fresh starts; its group's are run if not yet."""
        if cell not in self._started:
            with self._shown() as progress:
                records = launch.run_startups(self.plan, self._group(cell), progress)
            self.records += records
            for record in records:
                self._started.setdefault(record.cell, []).append(record)
        return self._started[cell]

    def overhead(self, cell: Cell) -> Record:
        """Return the record of the cell beside a plain Keras script."""
        if cell not in self._overhead:
            with self._shown() as progress:
                self._keep(self._overhead, [run_overhead(self.plan, cell, progress)])
        return self._overhead[cell]

    def _group(self, cell: Cell) -> Sequence[Cell]:
        return next(group for group in self.plan.groups if cell in group)

    def _keep(self, where: dict[Cell, Record], records: Sequence[Record]) -> None:
        self.records += records
        where.update({record.cell: record for record in records})

    @contextmanager
    def _shown(self) -> Iterator[SessionProgress]:
        """Show progress on the terminal itself, which pytest keeps from the tests."""
        capture = self._config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled():
            if self._progress is None:
                self._progress = SessionProgress(len(self._wanted), Console())
            with self._progress:
                yield self._progress


def cell_of(item: pytest.Item) -> Cell | None:
    """Return the cell that a benchmark is one of; None where the session has none for it."""
    callspec = getattr(item, "callspec", None)
    cell = callspec.params.get("cell") if callspec else None
    return cell if isinstance(cell, Cell) else None
