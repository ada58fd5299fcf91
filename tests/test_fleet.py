"""A session over several machines: every record once, none mixed, whatever node dies."""

import dataclasses
import json
import os
import re
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import submitit
from click.testing import CliRunner
from test_launch import Recorder

from fmnist import grid
from fmnist.cli import main
from fmnist.fleet.apart import environment
from fmnist.fleet.collect import FleetStoppedError, Landed, run_fleet
from fmnist.fleet.here import Here
from fmnist.fleet.on_ray import taken
from fmnist.fleet.on_slurm import OnSlurm, slurm
from fmnist.fleet.unit import Outcome, Unit, plan_here, units_of
from fmnist.grid import Cell
from fmnist.machine import summary
from fmnist.measure import utc_now
from fmnist.options import OPTIONS, PlanError
from fmnist.record import Record, read
from fmnist.report import tables
from fmnist.report.check import check
from fmnist.report.choose import sessions_of
from fmnist.report.render import render
from fmnist.session import plan
from fmnist.session.launch import Unwatched
from fmnist.session.run import run_session

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


@pytest.mark.slow
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


@pytest.mark.slow
def test_no_table_is_of_two_machines(make_fleet_plan: Callable[..., plan.Plan]) -> None:
    """Each table is of one node and says which; the file passes the check of a session."""
    planned = make_fleet_plan()
    records = list(run_fleet(planned, Unwatched(), Nodes(["x", "y"])))
    groups = sessions_of(records)

    assert [{r.machine["node"] for r in group} for group in groups] == [{"node1"}, {"node2"}]
    for group in groups:
        for table in tables.of_session(group):
            assert f"{summary(group[0].machine)}" in " ".join(render(table, "text").split())
    found = check(planned.records_path, {}, utc_now(), None).findings
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
    make_plan: Callable[..., plan.Plan], tmp_path: Path, own: dict[str, Any], reason: str
) -> None:
    """A machine that would measure by other terms refuses, and says what to do there."""
    (unit,) = units_of(make_plan(ray="auto"), {})
    if "versions" in own:
        own = {
            "versions": unit.versions
            | {b: unit.versions[b] | v for b, v in own["versions"].items()}
        }

    with pytest.raises(PlanError, match=reason):
        plan_here(unit.model_copy(update=own), tmp_path / "node", {"PATH": os.environ["PATH"]})


def test_what_is_refused_fails_with_the_reason(
    make_plan: Callable[..., plan.Plan],
) -> None:
    """Each cell of a unit that no machine carried out has a record of that, until it is resumed."""
    planned = make_plan(ray="auto")
    (unit,) = units_of(planned, {})
    planned.begin()
    records = Landed(planned).take(unit, Outcome(refusal="it has jax 0.9.1", node="secret-host"))

    assert {r.cell for r in records} == set(unit.cells)
    assert {r.failure for r in records} == {"node1: it has jax 0.9.1"}
    assert "secret-host" not in planned.records_path.read_text()
    assert read(planned.records_path)[0] == records
    assert Landed(planned).done == set()


@pytest.mark.parametrize("lines", [(), ("{}",), ("garbage",)], ids=["none", "no record", "no JSON"])
def test_nonsense_costs_its_unit_alone(
    make_plan: Callable[..., plan.Plan], lines: tuple[str, ...]
) -> None:
    """What a node sends is held against the record; what is none fails the unit and no other."""
    planned = make_plan(ray="auto")
    (unit,) = units_of(planned, {})
    planned.begin()
    records = Landed(planned).take(unit, Outcome(lines=lines, node="x"))

    assert all("is no record of it" in str(r.failure) for r in records)


@pytest.mark.slow
def test_a_torn_note_is_a_unit_that_is_not_whole(
    make_fleet_plan: Callable[..., plan.Plan],
) -> None:
    """A crash between records and note has the unit's records set aside, and counted once."""
    planned = make_fleet_plan(models="softmax_regression")
    first = list(run_fleet(planned, Unwatched(), Here()))
    notes = planned.options_path.with_name("units.jsonl")
    notes.write_bytes(notes.read_bytes()[:20])

    again = list(run_fleet(planned, Unwatched(), Here()))
    records, _ = read(planned.records_path)
    assert keys(records) == keys(again) == keys(first)
    assert len(planned.options_path.with_name("aside.jsonl").read_text().splitlines()) == len(first)
    observer = Recorder()
    assert list(run_fleet(planned, observer, Here())) == []
    assert len(observer.found_ids) == len(first)


def test_notes_of_a_stranger_are_an_error(make_plan: Callable[..., plan.Plan]) -> None:
    """A folder whose notes are of something else is not gone on with, and the file is named."""
    planned = make_plan(ray="auto")
    planned.begin()
    planned.options_path.with_name("units.jsonl").write_text('{"unit": 1}\n')

    with pytest.raises(FleetStoppedError, match=r"units.jsonl does not say which units came back"):
        Landed(planned)


def test_flags_are_those_of_the_session() -> None:
    """What a scheduler sets for its jobs moves no timing, but for the GPUs that it assigns."""
    node = {"PATH": "/bin", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "3"}
    flags = {"XLA_FLAGS": "--x", "CUDA_VISIBLE_DEVICES": "0"}

    assert environment(node, flags, ()) == {"PATH": "/bin", **flags}
    assert environment(node, flags, ["CUDA_VISIBLE_DEVICES"]) == {
        "PATH": "/bin",
        "XLA_FLAGS": "--x",
        "CUDA_VISIBLE_DEVICES": "3",
    }


def test_the_budget_is_shared(make_plan: Callable[..., plan.Plan]) -> None:
    """Each unit has an equal part of the session's budget, and measures its own noise."""
    planned = make_plan(
        ray="auto", models=TWO_MODELS, budget="90s", noise_cell="dense3-jax-cpu-stock-b100-float32"
    )
    units = {unit.cells[0].model: unit for unit in units_of(planned, {})}

    assert {unit.budget_s for unit in units.values()} == {45.0}
    assert units["dense3"].noise_cell.backend == "jax"
    assert units["softmax_regression"].noise_cell.model == "softmax_regression"


def test_who_hands_out_needs_no_gpu(make_plan: Callable[..., plan.Plan]) -> None:
    """A session for the GPUs of others is planned on a machine that has none."""
    planned = make_plan(ray="auto", devices="cpu,gpu")

    assert {cell.device for cell in planned.cells} == {"cpu", "gpu"}
    assert {cell.backend for cell in planned.cells} == set(grid.BACKENDS)


@pytest.mark.parametrize(
    ("devices", "accelerator", "nodes", "expected"),
    [
        ("cpu", None, [{"CPU": 8.0}, {"CPU": 8.0}, {}], {"CPU": 8.0}),
        ("cpu", None, [{"CPU": 8.0, "fmnist": 1.0}, {"CPU": 2.0}], {"fmnist": 1.0}),
        ("gpu", None, [{"CPU": 8.0, "GPU": 4.0}], {"GPU": 1.0}),
        ("cpu,gpu", None, [{"CPU": 8.0, "GPU": 4.0}], {"CPU": 8.0, "GPU": 1.0}),
        ("gpu", "H100", [{"GPU": 4.0}], {"GPU": 1.0, "accelerator_type:H100": 0.001}),
    ],
    ids=["processors", "declared", "one GPU", "both", "type"],
)
def test_a_unit_takes_a_whole_node_or_gpu(
    make_plan: Callable[..., plan.Plan],
    devices: str,
    accelerator: str | None,
    nodes: list[dict[str, float]],
    expected: dict[str, float],
) -> None:
    """Nothing else of ours runs where a unit does: it takes all processors, or a GPU alone."""
    (unit,) = units_of(make_plan(ray="auto", devices=devices), {})

    assert taken(unit, accelerator, nodes) == expected


def test_unequal_nodes_have_to_be_declared(make_plan: Callable[..., plan.Plan]) -> None:
    """Where no number of processors is a whole node everywhere, a person says which nodes count."""
    (unit,) = units_of(make_plan(ray="auto"), {})

    with pytest.raises(FleetStoppedError, match="have 2 and 8 processors: declare which take unit"):
        taken(unit, None, [{"CPU": 8.0}, {"CPU": 2.0}])


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--ray=127.0.0.1:1"], "nothing answers there .*refused.*; `ray status`"),
        (["--ray=nobody.invalid:6379"], "nothing answers there"),
        (["--ray=here"], "must be HOST:PORT of a cluster's head, or auto, got here"),
        (["--ray=ray://127.0.0.1:1"], "Ray's client is not supported: run this on a machine of"),
        (["--ray=auto", "--slurm=cpu"], "--ray and --slurm both say where"),
        (["--accelerator=H100"], "--accelerator chooses among the nodes of --ray or --slurm"),
        (["--slurm=cpu"], "this machine has no Slurm .*run it on a login node"),
    ],
)
def test_a_cluster_that_cannot_be_had(
    options: dict[str, Any], words: list[str], complaint: str
) -> None:
    """It is an error at once that says what to do, with status 2; nothing is begun."""
    own = ["--models=softmax_regression", f"--results={options['results']}", "--data-dir=stand-in"]
    result = CliRunner().invoke(main, ["run", "--preset=smoke", *own, *words])

    assert result.exit_code == 2, result.output
    assert re.search(complaint, " ".join(result.output.split()))
    assert not Path(options["results"]).exists()


@pytest.mark.slow
def test_another_service_is_no_cluster(options: dict[str, Any]) -> None:
    """What listens but is no Ray cluster is an error after half a minute: Ray would take two."""
    own = ["--models=softmax_regression", f"--results={options['results']}", "--data-dir=stand-in"]
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        result = CliRunner().invoke(main, ["run", "--preset=smoke", *own, f"--ray={address}"])

    assert result.exit_code == 2
    assert "no Ray cluster answers there in 30 s" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("module", "flag", "extra"), [("ray", "--ray=auto", "ray"), ("submitit", "--slurm=p", "slurm")]
)
def test_what_is_not_installed(tmp_path: Path, module: str, flag: str, extra: str) -> None:
    """Without the extra, the error has the command that installs it."""
    code = f"import sys; sys.modules[{module!r}] = None; from fmnist.cli import main; main()"
    own = ["--models=softmax_regression", f"--results={tmp_path}", "--data-dir=stand-in"]
    answer = subprocess.run(
        [sys.executable, "-c", code, "run", "--preset=smoke", *own, flag],
        capture_output=True,
        text=True,
        check=False,
    )

    assert answer.returncode == 2
    assert f'pip install "fmnist[{extra}]"' in answer.stderr


@pytest.mark.parametrize("fleet", ["ray", "slurm"])
def test_a_strangers_folder_gives_no_cluster_work(
    make_plan: Callable[..., plan.Plan], fleet: str
) -> None:
    """To resume a session of a cluster, the cluster is given again; it may be another one."""
    planned = make_plan(**{fleet: "given"})
    planned.begin()
    planned.hold.let_go()
    left_out = {option.name: option.default for option in OPTIONS} | {
        "resume": str(planned.records_path)
    }
    environ = {"PATH": os.environ["PATH"]}

    with pytest.raises(PlanError, match=f"--{fleet} was 'given' .*: give it again, no cluster is"):
        plan.make(left_out, environ)
    resumed = plan.make(left_out | {"ray": "other:6379"}, environ)
    assert resumed.session == planned.session
    assert resumed.options["ray"] == "other:6379"
    assert not resumed.options["slurm"]


def test_a_local_session_is_not_resumed_by_others(
    make_plan: Callable[..., plan.Plan],
) -> None:
    """What one machine began is not mixed with what others measure."""
    planned = make_plan()
    planned.begin()
    planned.hold.let_go()
    left_out = {option.name: option.default for option in OPTIONS}
    resumed = left_out | {"resume": str(planned.records_path), "ray": "auto"}

    with pytest.raises(PlanError, match=r"--ray was None when the session began .* leave it out"):
        plan.make(resumed, {"PATH": os.environ["PATH"]})


@pytest.mark.slow
def test_jobs_of_submitit(make_fleet_plan: Callable[..., plan.Plan], tmp_path: Path) -> None:
    """Through submitit's executor for this machine, the records are those of any fleet."""
    planned = make_fleet_plan(ray=None, slurm="cpu")
    executor = submitit.LocalExecutor(folder=tmp_path / "jobs")
    executor.update_parameters(timeout_min=10)
    fleet = OnSlurm(executor)
    records = list(run_fleet(planned, Unwatched(), fleet))
    fleet.close()

    assert {r.failure for r in records} == {None}
    assert {r.cell for r in records if r.task == "train"} == set(planned.cells)
    assert set(keys(records).values()) == {1}
    assert {r.flags.get("CUDA_VISIBLE_DEVICES") for r in records} == {None}  # submitit sets it


SBATCH = """#!{python}
# Runs an array's jobs one after the other, as Slurm would on a node each.
import os, pathlib, re, subprocess, sys
text = pathlib.Path(sys.argv[1]).read_text()
print("Submitted batch job 7", flush=True)
pathlib.Path({seen!r}).write_text(text)
jobs = int(re.search(r"--array=0-(\\d+)", text)[1]) + 1
for job in range(jobs):
    told = {{"SLURM_JOB_ID": f"{{8 + job}}", "SLURM_ARRAY_JOB_ID": "7"}}
    told["SLURM_ARRAY_TASK_ID"] = str(job)
    quiet = {{"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}}
    subprocess.Popen(["bash", sys.argv[1]], env=os.environ | told, **quiet)
"""


@pytest.mark.slow
def test_jobs_of_slurm(
    make_fleet_plan: Callable[..., plan.Plan], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm is given one array of jobs that have a node each, by a script that it understands.

    There is no Slurm here: its `sbatch` is a program that runs what it is given.
    """
    folder, seen = tmp_path / "bin", tmp_path / "script"
    folder.mkdir()
    programs = {"sbatch": SBATCH.format(python=sys.executable, seen=str(seen)), "srun": ""}
    programs["sacct"] = "#!/bin/sh\n"
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    planned = make_fleet_plan(ray=None, slurm="cpu", time_limit=300.0)
    fleet = slurm(planned, "cpu", None)
    records = list(run_fleet(planned, Unwatched(), fleet))
    fleet.close()

    assert {r.failure for r in records} == {None}
    assert {r.cell for r in records if r.task == "train"} == set(planned.cells)
    script = seen.read_text()
    for line in (
        *("--array=0-1%2", "--exclusive", "--partition=cpu", "--time=11"),
        f"--job-name=fmnist-{planned.session}",
    ):
        assert f"#SBATCH {line}\n" in script
    assert "srun" not in script
