"""The benchmarks under pytest: real processes, on drawn images."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fmnist import grid
from fmnist.record import read

ROOT = Path(__file__).parent.parent
LEFT_TO_SLOW_TESTS = " and ".join(
    f"not {name}"
    for name in ("noise", "reference", "breakdown", "parity", "convolution", "one_hot")
)


def run_pytest(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on the project in a process of its own, as a person would."""
    environment = {n: v for n, v in os.environ.items() if not n.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments],
        cwd=ROOT,
        env=environment | {"FMNIST_DATA": "stand-in"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, dict[str, Any], Path]:
    """What a session printed, pytest-benchmark's JSON, and the folder of its records."""
    folder = tmp_path_factory.mktemp("session")
    answer = run_pytest(
        *("--benchmark-only", "--preset", "smoke", "--models", "dense3", "--order-seed", "3"),
        *("-k", LEFT_TO_SLOW_TESTS),
        *(f"--results={folder}", f"--benchmark-json={folder / 'b.json'}"),
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout, json.loads((folder / "b.json").read_text()), folder


def test_pytest_benchmark_holds_the_seconds_that_the_child_measured(
    session: tuple[str, dict[str, Any], Path],
) -> None:
    """Each round in pytest-benchmark's JSON is, digit for digit, an epoch of the record."""
    _, document, folder = session
    (path,) = (folder / "raw").glob("*.jsonl")
    records, _ = read(path)
    for made in (r for r in records if r.task == "train"):
        name = f"test_epoch[{made.cell.id}]"
        (found,) = [b for b in document["benchmarks"] if b["name"] == name]
        assert found["stats"]["data"] == list(made.epoch_s)
        assert found["extra_info"]["accuracy"] == made.accuracy
        assert found["extra_info"]["parameters"]["total"] == 109_386


def test_every_benchmark_ran_on_both_backends(session: tuple[str, dict[str, Any], Path]) -> None:
    """Training, prediction, start-up and overhead for each backend."""
    _, document, _ = session
    ran = {re.sub(r"\[dense3-(\w+)-.*", r" \1", b["name"]) for b in document["benchmarks"]}

    kinds = "epoch first_epoch predict latency import build first_step".split()
    kinds += ["overhead_suite", "overhead_plain_script"]
    assert ran == {f"test_{kind} {b}" for kind in kinds for b in ("tensorflow", "jax")}


def test_machine_facts_are_in_the_json(session: tuple[str, dict[str, Any], Path]) -> None:
    """pytest-benchmark's machine_info carries the suite's facts."""
    _, document, _ = session

    assert document["machine_info"]["fmnist"]["memory_bytes"] > 0


def test_our_tables_come_after_theirs(session: tuple[str, dict[str, Any], Path]) -> None:
    """The order of cells is printed with its seed first, and our table comes last."""
    printed, _, _ = session

    assert "in the order of --order-seed 3: dense3-" in printed
    assert "STAND-IN" in printed
    theirs, ours = printed.index("benchmark 'epoch: dense3'"), printed.index("jax / tensorflow")
    assert theirs < ours


def test_saved_sessions_can_be_compared(
    session: tuple[str, dict[str, Any], Path],
) -> None:
    """`pytest-benchmark compare` reads the JSON and groups it as it groups its own."""
    _, _, folder = session
    answer = subprocess.run(
        [sys.executable, "-m", "pytest_benchmark", "compare", str(folder / "b.json")],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )

    assert answer.returncode == 0, answer.stderr
    assert "test_epoch[dense3-jax" in answer.stdout


@pytest.mark.slow
def test_selection_runs_only_what_was_asked_for(tmp_path: Path) -> None:
    """With -k for one benchmark of one backend, no other cell is trained."""
    answer = run_pytest(
        *("--benchmark-only", "--preset", "smoke", "--models", "softmax_regression"),
        *(f"--results={tmp_path}", "-k", "test_epoch and jax"),
    )

    assert answer.returncode == 0, answer.stdout
    (path,) = (tmp_path / "raw").glob("*.jsonl")
    assert [(r.backend, r.task) for r in read(path)[0]] == [("jax", "train")]


@pytest.mark.slow
def test_convolution_and_encoding_are_timed_every_way(tmp_path: Path) -> None:
    """By our own code, a library and Keras on each backend: equal, and each with its rounds."""
    answer = run_pytest(
        *("--benchmark-only", "--preset", "smoke", "--models", "softmax_regression"),
        *("-k", "convolution or one_hot", f"--benchmark-json={tmp_path / 'b.json'}"),
        f"--results={tmp_path}",
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    found = json.loads((tmp_path / "b.json").read_text())["benchmarks"]

    assert {b["name"] for b in found} == {
        *(f"test_convolution[{way}]" for way in ("numpy", "scipy", *grid.BACKENDS)),
        *(f"test_one_hot[{way}]" for way in ("numpy", "sklearn", *grid.BACKENDS)),
    }
    assert {b["stats"]["rounds"] for b in found} == {20}


@pytest.mark.slow
def test_recipes_are_trained_where_they_are_asked_for(tmp_path: Path) -> None:
    """With --recipe, bench_reproduce counts each seed that it trained; without, it has no cell."""
    options = ("--benchmark-only", "--preset", "smoke", "--models", "dense3", "-k", "reproduce")
    asked = run_pytest(*options, "--recipe", "--seeds", "2", f"--results={tmp_path}")
    without = run_pytest(*options, f"--results={tmp_path}")
    (path,) = (tmp_path / "raw").glob("*.jsonl")
    records, _ = read(path)

    assert asked.returncode == 0, asked.stdout + asked.stderr
    assert {(r.task, r.seed, len(r.history)) for r in records} == {("learn", s, 10) for s in (0, 1)}
    assert "[4/4] " in asked.stdout  # two seeds on each backend
    assert "no tests ran" in without.stdout or "deselected" in without.stdout


@pytest.mark.slow
def test_racers_race(tmp_path: Path) -> None:
    """Each seed of a named racer is a round, counted as it ends, and the leaderboard is printed."""
    answer = run_pytest(
        *("--benchmark-only", "--preset", "smoke", "--models", "racer_92", "--seeds", "2"),
        *(f"--results={tmp_path}", "-k", "time_to_accuracy and tensorflow"),
    )

    assert answer.returncode == 0, answer.stdout
    assert "[4/4] " in answer.stdout
    assert "Race: time to accuracy" in answer.stdout
    (path,) = (tmp_path / "raw").glob("*.jsonl")
    assert [r.race.role for r in read(path)[0] if r.race is not None] == [
        *("reference", "entrant", "entrant", "reference")
    ]


def test_failed_cell_fails_its_tests_and_keeps_its_record(tmp_path: Path) -> None:
    """A cell out of time is a failed test with the reason, and a record on the disk."""
    answer = run_pytest(
        *("--benchmark-only", "--preset", "smoke", "--models", "softmax_regression"),
        *(f"--results={tmp_path}", "-k", "test_epoch and jax", "--time-limit", "0.05"),
    )

    assert answer.returncode == 1
    assert "time limit of 0.05 s is used up" in answer.stdout
    (path,) = (tmp_path / "raw").glob("*.jsonl")
    assert read(path)[0][0].failure is not None


def test_bad_option_is_a_usage_error() -> None:
    """An unknown model ends the session before it starts, with what there is."""
    answer = run_pytest("--benchmark-only", "--models", "mixer")

    assert answer.returncode == pytest.ExitCode.USAGE_ERROR
    assert "unknown model 'mixer'; there are: " in answer.stdout + answer.stderr


def test_plain_pytest_runs_no_benchmark() -> None:
    """Without --benchmark-only the tests are collected, and nothing of benchmarks/."""
    answer = run_pytest("--collect-only", "-q")

    assert answer.returncode == 0
    assert "tests/test_grid.py::" in answer.stdout
    assert "bench_" not in answer.stdout


def test_collect_only_lists_what_a_session_would_run(tmp_path: Path) -> None:
    """With --collect-only every benchmark that the options ask for is named, and none is run."""
    answer = run_pytest(
        *("--benchmark-only", "--collect-only", "-q", "--preset", "smoke"),
        *("--models", "dense3", "--backends", "jax", f"--results={tmp_path}"),
    )

    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "::test_epoch[dense3-jax-cpu-stock-b100-float32]" in answer.stdout
    assert "tensorflow-cpu" not in answer.stdout
    assert list(tmp_path.iterdir()) == []
