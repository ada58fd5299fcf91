"""pytest-benchmark's own JSON: its command reads it, and shows what the workers measured."""

import csv
import os
import subprocess
import sys
from pathlib import Path
from statistics import fmean

import pytest

from fmnist.record import Record, read

ROOT = Path(__file__).parent.parent


def run(*arguments: str, folder: Path) -> str:
    """Run a module of Python as a person would, on drawn images, and return what it printed."""
    environment = {n: v for n, v in os.environ.items() if not n.startswith("PYTEST_")}
    answer = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder,
        env=environment | {"FMNIST_DATA": "stand-in"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Record]]:
    """The JSON of a session that trained a model on both backends, and its records."""
    folder = tmp_path_factory.mktemp("session")
    run(
        *("pytest", "-p", "no:cacheprovider", "--benchmark-only", "-k", "test_epoch"),
        *("--preset", "smoke", "--models", "softmax_regression", "--rounds", "3"),
        *(f"--results={folder}", f"--benchmark-json={folder / 'b.json'}"),
        folder=ROOT,
    )
    (path,) = (folder / "raw").glob("*.jsonl")
    return folder / "b.json", read(path)[0]


@pytest.mark.slow
def test_compare_shows_the_measured_rounds(
    saved: tuple[Path, list[Record]], tmp_path: Path
) -> None:
    """`pytest-benchmark compare` has each cell's rounds, as many and as long as in its record."""
    path, records = saved
    columns = "min,max,mean,rounds"
    table = tmp_path / "compared.csv"
    run(
        *("pytest_benchmark", "compare", str(path), f"--csv={table}", f"--columns={columns}"),
        folder=tmp_path,
    )
    shown = {row["name"]: row for row in csv.DictReader(table.read_text().splitlines())}

    assert len(shown) == len(records) == 2
    for record in records:
        row = shown[f"benchmarks/bench_train.py::test_epoch[{record.cell.id}]"]
        assert int(row["rounds"]) == len(record.epoch_s) == 3
        assert float(row["min"]) == min(record.epoch_s)
        assert float(row["max"]) == max(record.epoch_s)
        assert float(row["mean"]) == pytest.approx(fmean(record.epoch_s), rel=1e-12)


@pytest.mark.slow
def test_two_sessions_are_compared_by_name(
    saved: tuple[Path, list[Record]], tmp_path: Path
) -> None:
    """Two files stand side by side under the names of their cells, backends apart."""
    path, records = saved
    other = tmp_path / "other.json"
    other.write_bytes(path.read_bytes())
    printed = run(
        *("pytest_benchmark", "compare", str(path), str(other), "--group-by=name"),
        folder=tmp_path,
    )

    for record in records:
        assert f"benchmark 'test_epoch[{record.cell.id}]': 2 tests" in printed
