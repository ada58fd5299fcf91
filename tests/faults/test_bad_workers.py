"""Workers that crash, hang, flood or talk nonsense: each costs its own cell, and leaves nothing."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from sessions import FMNIST, OPTIONS, Site, arguments
from test_launch import Recorder, by_backend, fake

from fmnist import bounds, record
from fmnist.session import launch
from fmnist.session.plan import Plan

MakePlan = Callable[..., Plan]


@pytest.fixture
def plan(make_plan: MakePlan) -> Plan:
    """One model on both backends, three epochs."""
    return make_plan(rounds=2, time_limit=60)


def failure_of(plan: Plan, trace: Path, behaviour: str) -> str:
    """Run both backends, JAX misbehaving, and return its failure.

    Whatever it did, TensorFlow's cell is complete, each cell has one record on the disk, the one
    that is returned, no process goes on and no log is long.
    """
    records = launch.run_group(
        plan, plan.cells, Recorder(), program=fake(trace, f"jax={behaviour}")
    )

    assert by_backend(records)["tensorflow"].failure is None
    on_disk, damaged = record.read(plan.records_path)
    assert damaged == []
    assert len(on_disk) == len(records)
    assert by_backend(on_disk) == by_backend(records)
    assert [p for p in psutil.process_iter() if str(trace) in arguments(p)] == []
    assert {p.suffix for p in plan.results.rglob("*") if p.is_file()} == {".jsonl", ".log"}
    for cell in plan.cells:
        log = plan.log_path(cell, "train", "worker0")
        assert log.stat().st_size <= launch.LONGEST_LOG_BYTES
    return by_backend(records)["jax"].failure or ""


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        ("kill", "in epoch 2: killed by SIGKILL, as the system does when memory runs out"),
        ("segv", "in epoch 2: killed by SIGSEGV"),
        ("crash", "in epoch 2: .*exit status 1; its log ends: .*CUDA_ERROR_NO_DEVICE"),
        ("memory", "in epoch 2: .*exit status 1; its log ends: .*MemoryError"),
        ("exit", "in epoch 2: .*exit status 1; its log ends: .*out of luck"),
        ("half", "in epoch 2: .*exit status 3"),
        ("garbage", "in epoch 2: not a message: .*Epoch 1/3"),
        ("order", "in epoch 2: the worker sent an order"),
        ("wrong", "in epoch 2: expected EpochDone"),
        ("early-kill", "before its first epoch: killed by SIGKILL"),
        ("early-segv", "before its first epoch: killed by SIGSEGV"),
        ("early-exit", "before its first epoch: .*out of luck"),
        ("early-garbage", "before its first epoch: not a message"),
        ("early-half", "before its first epoch: .*exit status 3"),
    ],
)
def test_failing_worker_costs_its_own_cell(
    plan: Plan, trace: Path, behaviour: str, reason: str
) -> None:
    """A worker that dies or talks nonsense is a record with its reason; the other goes on."""
    failure = failure_of(plan, trace, behaviour)

    assert re.match(reason, failure), failure


@pytest.mark.slow
@pytest.mark.parametrize("behaviour", ["hang", "stop", "drip", "spawn", "early-hang", "early-drip"])
def test_worker_without_an_end_is_ended_by_its_time_limit(
    make_plan: MakePlan, trace: Path, behaviour: str
) -> None:
    """A worker that hangs, is stopped, or dribbles half a message is killed with all it started."""
    plan = make_plan(rounds=2, time_limit=5)
    place = "before its first epoch" if behaviour.startswith("early-") else "in epoch 2"

    failure = failure_of(plan, trace, behaviour)
    assert failure.startswith(f"{place}: its time limit of 5 s is used up")


@pytest.mark.skipif(sys.platform != "linux", reason="its fake worker reads /proc")
def test_worker_that_is_stopped_and_continued_is_measured(plan: Plan, trace: Path) -> None:
    """A worker that is stopped in an epoch, and continued, loses nothing but time."""
    assert failure_of(plan, trace, "stop-and-go") == ""


@pytest.mark.slow
def test_flood_fails_the_cell_and_not_the_disk(plan: Plan, trace: Path) -> None:
    """Of a gigabyte printed, a quarter reaches the disk and a megabyte stays there."""
    failure = failure_of(plan, trace, "flood")

    assert failure.startswith(f"in epoch 2: it printed more than {bounds.MOST_FILE_BYTES:,} bytes")


@pytest.mark.slow
def test_flood_that_looks_for_no_error_is_cut(plan: Plan, trace: Path) -> None:
    """Where a library prints a gigabyte and goes on, so does its cell; its log is cut."""
    assert failure_of(plan, trace, "flood-on") == ""
    (cell,) = [cell for cell in plan.cells if cell.backend == "jax"]
    log = plan.log_path(cell, "train", "worker0").read_text()
    assert log.startswith("a library prints to stdout\n")
    assert re.search(r"\n\.\.\. here 267,386,880 bytes or more are left out \.\.\.\n", log)


def test_what_a_failed_cell_measured_is_kept(plan: Plan, trace: Path) -> None:
    """The epoch before the crash is in the record."""
    failure_of(plan, trace, "kill")

    died = by_backend(record.read(plan.records_path)[0])["jax"]
    assert died.first_epoch_s == 0.5
    assert died.epoch_s == ()
    assert len(died.history) == 1


def test_interruption_keeps_what_was_measured(plan: Plan, trace: Path) -> None:
    """Ctrl-C ends every child, and the epochs before it are on the disk, marked."""
    before = psutil.Process().children(recursive=True)  # of an earlier test, in any order of tests
    with pytest.raises(KeyboardInterrupt):
        launch.run_group(plan, plan.cells, Recorder(interrupt_after=3), program=fake(trace))

    records, damaged = record.read(plan.records_path)
    assert damaged == []
    assert [r.failure for r in records] == ["interrupted", "interrupted"]
    assert sorted(1 + len(r.epoch_s) for r in records) == [1, 2]
    assert psutil.Process().children(recursive=True) == before


@pytest.mark.slow
def test_session_of_failing_workers_says_so(tmp_path: Path) -> None:
    """The command goes on to the end, prints the reason, and its exit status is 1."""
    site = Site(tmp_path, tmp_path / "results", behaviours=["jax=crash"])
    status, said = site.run()

    assert status == 1, said
    assert "train: FAILED in epoch 2: " in said
    assert site.workers() == []
    assert site.left_over() == set()
    failed = [(r.backend, r.task) for r in site.records() if r.failure is not None]
    assert failed == [("jax", "train")]


@pytest.mark.slow
def test_keras_that_cannot_be_imported_is_the_reason(tmp_path: Path) -> None:
    """A real worker whose Keras is broken is a record that ends with the error of the import."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "keras.py").write_text("raise ImportError('no such library')\n")
    python_path = f"{tmp_path / 'broken'}:{Path(record.__file__).parents[1]}"
    site = Site(tmp_path, tmp_path / "results", environ={"PYTHONPATH": python_path})
    status, said = site.run(
        *(*FMNIST, "run", *OPTIONS, *site.options, "--backends=jax", f"--results={site.results}")
    )

    assert status == 1, said
    for got in site.records():
        assert got.failure is not None
        assert "before its first epoch: " in got.failure
        assert "ImportError: no such library" in got.failure


def test_log_of_a_crash_is_utf_8_whatever_was_printed(plan: Plan, trace: Path) -> None:
    """The reason can be written as JSON even where a worker printed bytes that are no text."""
    program = [sys.executable, "-c", "import os; os.write(1, bytes(range(128, 256)))"]
    records = launch.run_group(plan, plan.cells, Recorder(), program=program)

    assert not trace.exists()
    for got in records:
        assert json.loads(got.to_json())["failure"] == got.failure
        assert str(got.failure).startswith("before its first epoch: ")


def test_program_that_cannot_be_started_is_the_reason(plan: Plan, tmp_path: Path) -> None:
    """An interpreter that went away while the session ran is named in the record."""
    records = launch.run_group(plan, plan.cells, Recorder(), program=[str(tmp_path / "gone")])

    for got in records:
        assert got.failure is not None
        assert str(tmp_path / "gone") in got.failure


def test_worker_without_a_parent_does_not_begin() -> None:
    """A worker whose parent went before it could ask to be told of that ends at once."""
    program = (
        "import socket\nfrom fmnist import bounds\n"
        "ours, theirs = socket.socketpair()\nours.close()\nbounds.bind(theirs)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )

    assert (answer.returncode, answer.stderr) == (1, "the parent is gone\n")
