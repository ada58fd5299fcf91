"""A session under pytest: trains a group of cells when the first of its tests asks for it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import pytest
from overhead import run_overhead
from pytest_benchmark.fixture import BenchmarkFixture
from rich.console import Console

from fmnist import models
from fmnist.grid import Cell
from fmnist.record import Record
from fmnist.report.reproduction import FEWEST_SEEDS as FEWEST_TO_JUDGE
from fmnist.report.reproduction import STUDY
from fmnist.session import launch, learn, plan, race, scaling, selfcheck
from fmnist.session.budget import Budget, Share
from fmnist.session.launch import Observer
from fmnist.session.learn import Training
from fmnist.session.progress import SessionProgress
from fmnist.session.race import Start
from fmnist.session.run import budget_of
from fmnist.studies.race_rules import FEWEST_SEEDS

Replay = Callable[[Sequence[float], Sequence[Record]], None]
"""Hands measured seconds, and the records that they stand in, to pytest-benchmark."""

PLAIN_MODELS = ("dense3",)
"""What the plain script trains: an epoch of 60,000 images takes about a second, so that a cost of
milliseconds shows."""


Replayed = Callable[[Sequence[float]], None]
"""Hands seconds that another process measured to pytest-benchmark."""

ROUNDS_BY_HAND = 20
"""Of what takes milliseconds and is no epoch."""


def measured(benchmark: BenchmarkFixture, call: Callable[[], np.ndarray]) -> np.ndarray:
    """Have pytest-benchmark time a call in this process, and return what it returns."""
    made: np.ndarray = benchmark.pedantic(call, rounds=ROUNDS_BY_HAND, warmup_rounds=1)  # type: ignore[no-untyped-call]  # it publishes none
    return made


class Kind(NamedTuple):
    """What a fixture's records come from: the cells that it has, and what is run for one of them.

    A run may yield records of other cells too, which are kept for their own tests.
    """

    cells: Callable[[plan.Plan], Sequence[Cell]]
    run: Callable[["Engine", Cell, Observer], list[Record]]


KINDS: Mapping[str, Kind] = {
    "noise": Kind(
        lambda planned: [planned.noise_cell],
        lambda engine, _, observer: selfcheck.run_noise(engine.plan, observer),
    ),
    "beside_plain": Kind(
        lambda planned: [
            c for c in planned.cells if c.model in PLAIN_MODELS and planned.preset.overhead_rounds
        ],
        lambda engine, cell, observer: [run_overhead(engine.plan, cell, observer)],
    ),
    "broken_down": Kind(
        lambda planned: planned.breakdown_cells,
        lambda engine, cell, observer: [selfcheck.run_breakdown(engine.plan, cell, observer)],
    ),
    "parity": Kind(
        lambda planned: [ours for group in planned.groups for ours, _ in selfcheck.pairs_of(group)],
        lambda engine, cell, observer: selfcheck.run_parity(
            engine.plan, engine.group_of(cell), observer
        ),
    ),
    "tuned": Kind(
        lambda planned: planned.tuned_cells,
        lambda engine, cell, _: engine.records_for("trained", cell),
    ),
    "trained": Kind(
        lambda planned: planned.cells,
        lambda engine, cell, observer: list(
            launch.run_processes(
                engine.plan, engine.wanted_beside(cell, "trained"), observer, engine.next_share()
            )
        ),
    ),
    "started": Kind(
        lambda planned: planned.startup_cells,
        lambda engine, cell, observer: launch.run_startups(
            engine.plan, engine.wanted_beside(cell, "started"), observer
        ),
    ),
    "scaled": Kind(
        lambda planned: [cell for group in scaling.groups(planned) for cell in group],
        lambda engine, cell, observer: engine.scale(cell, observer),
    ),
    "raced": Kind(
        lambda planned: [c for c in planned.cells if models.card(c.model).tier is not None],
        lambda engine, _, observer: engine.race(observer),
    ),
    "learned": Kind(
        lambda planned: planned.cells if planned.options["recipe"] else (),
        lambda engine, _, observer: engine.learn(observer),
    ),
}
"""By fixture."""


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
        self.plan: plan.Plan = planned
        self.clock = ReplayClock()
        self.records: list[Record] = []
        self._config = config
        self._records: dict[tuple[str, Cell], list[Record]] = {}
        self._wanted: dict[str, set[Cell]] = {name: set() for name in KINDS}
        self._budget: Budget | None = None
        self._progress: SessionProgress | None = None

    def expect(self, items: Sequence[pytest.Item]) -> None:
        """Take note of the cells that were asked for, by the fixtures: no other one is run."""
        for item in items:
            cell = cell_of(item)
            for name, cells in self._wanted.items():
                if cell is not None and name in getattr(item, "fixturenames", ()):
                    cells.add(cell)
        groups = {tuple(self.group_of(cell)) for cell in self._wanted["trained"]}
        self._budget = budget_of(self.plan, len(groups))

    def records_for(self, fixture: str, cell: Cell) -> list[Record]:
        """Return the cell's records of a kind in KINDS; what they need is run if it was not yet."""
        if (fixture, cell) not in self._records:
            self.plan.begin()
            with self._shown() as progress:
                records = KINDS[fixture].run(self, cell, progress)
            self.records += records
            for record in records:
                self._records.setdefault((fixture, record.cell), []).append(record)
        return self._records[fixture, cell]

    def group_of(self, cell: Cell) -> Sequence[Cell]:
        """Return the cells that the plan runs in turn with this one, itself among them."""
        return next(group for group in self.plan.groups if cell in group)

    def wanted_beside(self, cell: Cell, fixture: str) -> Sequence[Cell]:
        """Return those of its group that tests with this fixture asked for."""
        return [other for other in self.group_of(cell) if other in self._wanted[fixture]]

    def race(self, observer: Observer) -> list[Record]:
        """Run all entrants that tests asked for in one race; return all its records."""
        return list(race.run_race(self.plan, self._starts(), observer))

    def _starts(self) -> Sequence[Start]:
        """Return the trainings of the race that tests asked for; none if they did not."""
        wanted = self._wanted["raced"]
        if not wanted:
            return []
        starts = race.lineup(self.plan, self.plan.options["seeds"] or FEWEST_SEEDS)
        return [s for s in starts if s.role == "reference" or s.cell in wanted]

    def learn(self, observer: Observer) -> list[Record]:
        """Train by recipe, over seeds, all cells that tests asked it for; return the records."""
        return list(learn.run_learning(self.plan, self._trainings(), observer))

    def _trainings(self) -> Sequence[Training]:
        """Return the trainings by recipe that tests asked for; none if they did not."""
        wanted = self._wanted["learned"]
        seeds = self.plan.options["seeds"] or FEWEST_TO_JUDGE
        trainings = learn.trainings(self.plan, learn.by_own_recipe(self.plan), seeds, STUDY)
        return [training for training in trainings if training.cell in wanted]

    def scale(self, cell: Cell, observer: Observer) -> list[Record]:
        """Run the cells beside this one, itself too, on one device and more, that tests want."""
        group = next(group for group in scaling.groups(self.plan) if cell in group)
        wanted = [other for other in group if other in self._wanted["scaled"]]
        return scaling.run_beside(self.plan, wanted, observer)

    def _counted(self) -> int:
        """Return how many records tests asked for of those by which progress is reckoned."""
        in_turn = len(self._wanted["trained"]) + len(self._wanted["scaled"])
        return in_turn * self.plan.processes + len(self._starts()) + len(self._trainings())

    def next_share(self) -> Share | None:
        """Return what the next group may use of the session's budget, where it has one."""
        return self._budget.next_share() if self._budget else None

    @contextmanager
    def _shown(self) -> Iterator[SessionProgress]:
        """Show progress on the terminal itself, which pytest keeps from the tests."""
        capture = self._config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled():
            if self._progress is None:
                self._progress = SessionProgress(self._counted(), Console())
            with self._progress:
                yield self._progress


def cell_of(item: pytest.Item) -> Cell | None:
    """Return the cell that a benchmark is one of; None where the session has none for it."""
    callspec = getattr(item, "callspec", None)
    cell = callspec.params.get("cell") if callspec else None
    return cell if isinstance(cell, Cell) else None
