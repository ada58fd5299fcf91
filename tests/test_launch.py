"""The parent: turns, and what records hold. Workers here are fake ones; bad ones: faults/."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from fmnist import record
from fmnist.grid import Cell
from fmnist.record import Record, Task
from fmnist.session import launch
from fmnist.session.plan import Plan

FAKE = Path(__file__).with_name("fake_worker.py")
MakePlan = Callable[..., Plan]


class Recorder:
    """An observer that writes down what it is told; may raise at a step, as Ctrl-C would."""

    def __init__(self, interrupt_after: int | None = None) -> None:
        self.steps: list[str] = []
        self.ended_ids: list[str] = []
        self.found_ids: list[str] = []
        self.steps_before_found = 0
        self.waited: list[tuple[float, float]] = []
        self._interrupt_after = interrupt_after

    def started(self, cell: Cell, task: Task, steps: int) -> None:
        """Keep still."""

    def stepped(self, cell: Cell, task: Task, step: str, seconds: float) -> None:  # noqa: ARG002
        """Write the step down."""
        self.steps.append(f"{cell.backend} {step} {seconds}")
        if len(self.steps) == self._interrupt_after:
            raise KeyboardInterrupt

    def ended(self, record: Record) -> None:
        """Write the cell down."""
        self.ended_ids.append(record.cell.id)

    def found(self, record: Record) -> None:
        """Write the cell down, and whether any was measured before it was told of."""
        self.found_ids.append(record.cell.id)
        self.steps_before_found = len(self.steps)

    def waits(self, share: float, left_s: float) -> None:
        """Write down that the session waits."""
        self.waited.append((share, left_s))


@pytest.fixture
def plan(make_plan: MakePlan) -> Plan:
    """One model on both backends, three epochs."""
    return make_plan(rounds=2, time_limit=20)


def fake(trace: Path, *behaviours: str) -> Sequence[str]:
    """Return the program of a fake worker with behaviours like `jax=kill`."""
    return (sys.executable, str(FAKE), str(trace), *behaviours)


def by_backend(records: Sequence[Record]) -> dict[str, Record]:
    """Return records by their backend."""
    return {record.backend: record for record in records}


def test_cells_take_turns_a_b_b_a(plan: Plan, trace: Path) -> None:
    """Epochs alternate and the order turns round every time, so that a drift falls on both."""
    launch.run_group(plan, plan.cells, Recorder(), program=fake(trace))

    a, b = (cell.backend for cell in plan.cells)
    epochs = [line.split()[0] for line in trace.read_text().splitlines() if "epoch" in line]
    assert epochs == [a, b, b, a, a, b]


def test_record_holds_what_the_worker_said(plan: Plan, trace: Path) -> None:
    """First epoch apart, steady rounds as told, accuracy of the last epoch, all on the disk."""
    observer = Recorder()
    records = launch.run_group(plan, plan.cells, observer, program=fake(trace))

    for got in records:
        assert got.failure is None
        assert (got.first_epoch_s, got.epoch_s) == (0.5, (1.0, 1.5))
        assert got.accuracy == pytest.approx(1 - 0.6 / 3)
        assert len(got.history) == 3
        assert len(got.predict_s) == plan.preset.predict_rounds
        assert got.dataset == "stand-in"
        assert got.peak_memory_bytes == record.PeakMemory(host=1_000_000)
        assert (got.forward_macs, got.train_flop_per_image) == ({"dense": 7_840}, 31_360)
        assert got.peaks is not None
        assert got.peaks.matmul_size == 1_024
    on_disk, damaged = record.read(plan.records_path)
    assert by_backend(on_disk) == by_backend(records)
    assert damaged == []
    assert sorted(observer.ended_ids) == sorted(r.cell.id for r in records)


def test_what_libraries_print_goes_to_the_cells_log(plan: Plan, trace: Path) -> None:
    """Standard output of a worker is kept as its log and is never taken for a message."""
    launch.run_group(plan, plan.cells, Recorder(), program=fake(trace))

    for cell in plan.cells:
        assert plan.log_path(cell, "train", "worker0").read_text() == "a library prints to stdout\n"


def test_worker_that_contradicts_itself_costs_its_own_cell(plan: Plan, trace: Path) -> None:
    """Answers of the right form that make no record are a failure, and the other cell is kept."""
    records = launch.run_group(plan, plan.cells, Recorder(), program=fake(trace, "jax=contradict"))

    assert by_backend(records)["tensorflow"].failure is None
    failure = by_backend(records)["jax"].failure
    assert failure is not None
    assert "the worker's answers make no record" in failure
    assert "3 bytes cannot say which" in failure
    assert by_backend(record.read(plan.records_path)[0]) == by_backend(records)


def test_starts_are_fresh_processes_in_turn(make_plan: MakePlan, trace: Path) -> None:
    """A start-up is one epoch of one batch in a process of its own."""
    plan = make_plan()
    records = launch.run_startups(plan, plan.cells, Recorder(), program=fake(trace))

    assert [r.task for r in records] == ["startup"] * len(records)
    assert len(records) == len(plan.cells) * plan.preset.startup_processes
    assert all(r.epoch_s == () and r.first_epoch_s for r in records)


def test_processes_turn_the_order_round(make_plan: MakePlan, trace: Path) -> None:
    """Three processes of each cell are three records each, and the side that begins alternates."""
    plan = make_plan(rounds=1, processes=3)
    records = list(launch.run_processes(plan, plan.cells, Recorder(), program=fake(trace)))

    a, b = (cell.backend for cell in plan.cells)
    assert [(r.backend, r.process) for r in records] == [
        *((a, 0), (b, 0)),
        *((b, 1), (a, 1)),
        *((a, 2), (b, 2)),
    ]


def test_peaks_are_measured_last_and_in_training_only(make_plan: MakePlan, trace: Path) -> None:
    """Nothing that is timed comes after the peaks; a start-up has none."""
    plan = make_plan(rounds=1, backends="jax")
    launch.run_group(plan, plan.cells, Recorder(), program=fake(trace))
    trained = trace.read_text().splitlines()
    launch.run_startups(plan, plan.cells, Recorder(), program=fake(trace))
    started = trace.read_text().splitlines()[len(trained) :]

    assert trained[-2:] == ["jax peaks", "jax stop"]
    assert started
    assert "jax peaks" not in started


def test_audit_fails_the_cell_and_keeps_its_times(plan: Plan, trace: Path) -> None:
    """A fence that lets the clock stop too early is a failed cell, with all that it measured."""
    records = launch.run_group(plan, plan.cells, Recorder(), program=fake(trace, "jax=early-clock"))

    failed = by_backend(records)["jax"]
    assert failed.failure is not None
    assert "the clock stops before the device is done" in failed.failure
    assert failed.epoch_s == (1.0, 1.5)
    assert by_backend(records)["tensorflow"].failure is None
