"""A session over several machines: every record once, none mixed, whatever node dies."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner

from fmnist import grid, plan
from fmnist.cli import main
from fmnist.fleet.apart import environment
from fmnist.fleet.collect import FleetError, Landed, run_fleet
from fmnist.fleet.here import Here
from fmnist.fleet.on_slurm import OnSlurm, slurm
from fmnist.fleet.unit import Outcome, Unit, units_of
from fmnist.grid import Cell
from fmnist.options import PlanError
from fmnist.record import Record, read
from fmnist.report import tables
from fmnist.report.check import check
from fmnist.report.choose import sessions_of
from fmnist.report.render import render
from fmnist.session import run_session

TESTS = Path(__file__).parent
STUB = """#!/bin/sh
if [ "$1" = -m ]; then
    echo "$$" >>"{trace}.pids"
    exec "{python}" "{fake}" "{trace}" {behaviours} "$3"
fi
exec "{python}" "$@"  # to tell its versions
"""
TIMED = {"started_at", "machine", "process", "threads"}
TWO_MODELS = "softmax_regression,dense3"
PATIENCE_S = 120


class Unwatched:
    """An observer that looks away."""

    def started(self, cell: Cell, task: Any, steps: int) -> None:
        """Look away."""

    def stepped(self, cell: Cell, task: Any, step: str, seconds: float) -> None:
        """Look away."""

    def ended(self, record: Record) -> None:
        """Look away."""


@pytest.fixture
def fake_python(tmp_path: Path, trace: Path) -> Callable[..., Path]:
    """A function that writes an interpreter which starts fake workers with these behaviours."""

    def write(*behaviours: str) -> Path:
        path = tmp_path / "python"
        fake = TESTS / "fake_worker.py"
        path.write_text(
            STUB.format(
                trace=trace, python=sys.executable, fake=fake, behaviours=" ".join(behaviours)
            )
        )
        path.chmod(0o755)
        return path

    return write


@pytest.fixture
def make_fleet_plan(
    make_plan: Callable[..., plan.Plan], fake_python: Callable[..., Path]
) -> Callable[..., plan.Plan]:
    """A function that makes a small plan of a session with fake workers on some fleet."""

    def make(*behaviours: str, **own: object) -> plan.Plan:
        python = fake_python(*behaviours)
        defaults = {
            "ray": "auto",
            "models": TWO_MODELS,
            "rounds": 1,
            "python": [f"{name}={python}" for name in grid.BACKENDS],
        }
        return make_plan(**(defaults | own))

    return make


def told(records: Iterable[Record]) -> Counter[str]:
    """Return what records say but when and where they were measured, and how often each says so."""
    return Counter(
        json.dumps(r.model_dump(mode="json", exclude=TIMED), sort_keys=True) for r in records
    )


def keys(records: Iterable[Record]) -> Counter[tuple[Any, ...]]:
    """Return how often each cell, task and process was measured without failure."""
    return Counter((r.task, r.cell.id, r.process) for r in records if r.failure is None)


class Nodes:
    """A fleet of this machine under several names, one unit to each in turn."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names

    def outcomes(self, units: Iterable[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        """Yield what `Here` does, each unit as if it came from the next node."""
        for number, (unit, outcome) in enumerate(Here().outcomes(units)):
            name = self._names[number % len(self._names)]
            yield unit, outcome.model_copy(update={"node": name})

    def close(self) -> None:
        """Do nothing."""


def test_fleet_measures_what_a_session_does(make_fleet_plan: Callable[..., plan.Plan]) -> None:
    """Handed out and gathered, the records are those of a session on one machine, and name it."""
    apart = make_fleet_plan()
    together = make_fleet_plan(ray=None)
    together = dataclasses.replace(together, session=apart.session, results=together.results / "b")
    gathered = list(run_fleet(apart, Unwatched(), Here()))
    usual = [r for r in run_session(together, Unwatched()) if r.task != "noise"]

    assert told(r for r in gathered if r.task != "noise") == told(usual)
    assert {r.cell for r in gathered if r.task == "noise"} == {
        next(unit.noise_cell for unit in units_of(apart, {}) if cell in unit.cells)
        for cell in apart.cells
    }
    assert {r.machine["node"] for r in gathered} == {"node1"}
    assert read(apart.records_path) == (gathered, [])


def test_no_table_is_of_two_machines(make_fleet_plan: Callable[..., plan.Plan]) -> None:
    """Each table is of one node and says which; the file passes the check of a session."""
    planned = make_fleet_plan()
    records = list(run_fleet(planned, Unwatched(), Nodes(["x", "y"])))
    groups = sessions_of(records)

    assert [{r.machine["node"] for r in group} for group in groups] == [{"node1"}, {"node2"}]
    for group in groups:
        node = group[0].machine["node"]
        for table in tables.of_session(group):
            assert f", {node}" in render(table, "text")
    from datetime import UTC, datetime

    found = check(planned.records_path, {}, datetime.now(UTC), None).findings
    assert not [f for f in map(str, found) if "node" in f or "machine" in f]


@pytest.mark.parametrize(
    ("own", "reason"),
    [
        (
            {"versions": {"jax": {"jax": "0.9.1"}}},
            "it has jax .* for jax, the session was planned with 0.9.1: install the same there",
        ),
        ({"commit": "f" * 40}, "its suite is of commit .*, the session was planned with ffff"),
        ({"data_kind": "fashion-mnist"}, "it has data set stand-in .*: set FMNIST_DATA there"),
        ({"cells": (Cell("softmax_regression", "jax", "gpu"),)}, "it lacks jax on gpu"),
    ],
    ids=["versions", "commit", "data", "device"],
)
def test_other_terms_are_refused(
    make_fleet_plan: Callable[..., plan.Plan], own: dict[str, Any], reason: str
) -> None:
    """A node that would measure by other terms measures nothing, and every cell says why."""
    planned = make_fleet_plan(models="softmax_regression")
    (unit,) = units_of(planned, {})
    if "versions" in own:
        own = {"versions": {b: v | own["versions"].get(b, {}) for b, v in unit.versions.items()}}
    ((_, outcome),) = Here().outcomes([unit.model_copy(update=own)])
    planned.begin()
    records = Landed(planned).take(unit, outcome)

    assert outcome.lines == ()
    assert {r.cell for r in records} == set(unit.cells)
    for record in records:
        assert record.failure is not None
        assert record.failure.startswith("node1: ")
        assert re.search(reason, record.failure)
