"""Environments of a cell: what is understood, and that workers really run in them."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from test_launch import Recorder

from fmnist.options import PlanError
from fmnist.report.environment_table import environments as environment_table
from fmnist.session import environments, launch
from fmnist.session.environments import BuildError, Environment
from fmnist.session.plan import Plan

MakePlan = Callable[..., Plan]
OLD = "keras==3.14.0"


def test_requirements_are_separated_by_spaces() -> None:
    """A name, and as many requirements as pip takes; their order makes no other environment."""
    found = environments.parse(["new=keras", "old=keras==3.14.0 jax<0.10"])

    assert found == [
        Environment("new", ("keras",)),
        Environment("old", ("jax<0.10", "keras==3.14.0")),
    ]


def test_uv_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without uv nothing can be built: the error has the command that installs it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # noqa: ARG005
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    with pytest.raises(BuildError, match=r'pip install -e "\.\[environments\]"'):
        environments.build(Environment("old", (OLD,)), ["jax"])


def test_environment_is_built_from_a_checkout_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An installed suite has no project file to install again: the error names what it missed."""
    monkeypatch.setattr("fmnist.machine.CHECKOUT", tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    with pytest.raises(BuildError, match=r"from its checkout, and .*\.toml cannot be read"):
        environments.build(Environment("old", (OLD,)), ["jax"])


def test_interpreter_and_environment_exclude_each_other(make_plan: MakePlan) -> None:
    """Both say by what workers run: the error asks for one of them."""
    with pytest.raises(PlanError, match="give one of them"):
        make_plan(env=["new=keras"], python=[f"jax={sys.executable}"])


def test_environments_of_a_cell_form_one_group(
    make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each backend has a cell for each environment, all in one group, each with its interpreter."""
    monkeypatch.setattr(environments, "build", lambda e, backends: f"/{e.name}/{len(backends)}")
    made = make_plan(env=[f"old={OLD}", "new=keras"])
    (group,) = made.groups

    assert sorted((cell.backend, cell.environment) for cell in group) == [
        *(("jax", "new"), ("jax", "old")),
        *(("tensorflow", "new"), ("tensorflow", "old")),
    ]
    assert {made.program(c)[0] for c in group if c.environment == "old"} == {"/old/2"}


@pytest.mark.slow
def test_workers_run_in_their_environment(make_plan: MakePlan) -> None:
    """Two versions of Keras, built by uv, train the same cell in turn and stand side by side."""
    plan = make_plan(backends="jax", env=[f"old={OLD}", "new=keras"], rounds=2)
    records = list(launch.run_processes(plan, plan.cells, Recorder()))

    assert [r.failure for r in records] == [None, None]
    versions = {r.environment: r.versions["keras"] for r in records}
    assert versions["old"] == "3.14.0" != versions["new"]
    table = environment_table(records)
    assert table is not None
    assert "new / old time" in table.header


@pytest.mark.slow
def test_environment_that_cannot_be_built_is_refused(make_plan: MakePlan) -> None:
    """A version that does not exist is an error that names it, before anything is trained."""
    with pytest.raises(BuildError, match="keras==1999"):
        make_plan(backends="jax", env=["never=keras==1999"])
