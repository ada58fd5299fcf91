"""Ray clusters that lose a node, and drivers of them that are killed: every record once."""

import signal
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from fleet import cluster, kill_a_node
from kills import aside
from sessions import FMNIST, PATIENCE_S, Site

NODES = 3
MODELS = "softmax_regression,dense3,dense_wide,lenet_dropout,leaky_cnn"
BETWEEN_LOOKS_S = 0.1
END_S = 60
"""How long a node's processes may take to be gone after the driver that they work for."""


@pytest.fixture(scope="module")
def made() -> Iterator[Any]:
    """A Ray cluster of several nodes on this machine."""
    with cluster(NODES) as found:
        yield found


@pytest.fixture
def site(tmp_path: Path, made: Any) -> Iterator[Site]:  # noqa: ANN401  # Ray's cluster
    """A session over the cluster, of five units."""
    options = (f"--models={MODELS}", f"--ray={made.address}")
    found = Site(tmp_path, tmp_path / "results", options=options, tells_versions=True)
    yield found
    assert psutil.wait_procs(found.workers(), timeout=END_S)[1] == []


def until(session: "subprocess.Popen[str]", is_so: Callable[[], bool]) -> None:
    """Return once something is so. Raises AssertionError if the session ends before."""
    while not is_so():
        with suppress(subprocess.TimeoutExpired):
            session.wait(BETWEEN_LOOKS_S)
            pytest.fail(session.stdout.read() if session.stdout else "it ended")


def has_landed(site: Site) -> bool:
    """Tell whether the first unit is in the session's file."""
    return bool(notes(site))


def notes(site: Site) -> list[str]:
    """Return the lines that tell of units that came back."""
    found = (site.results / "logs").glob("*/units.jsonl")
    return [line for path in found for line in path.read_text().splitlines()]


def check_whole(site: Site) -> None:
    """Raise AssertionError unless each cell of each model has each record once, from some node."""
    records = site.records()
    counted = Counter((r.task, r.cell, r.process) for r in records)
    trained = [r for r in records if r.task == "train"]
    assert set(counted.values()) == {1}
    assert {r.failure for r in records} == {None}
    assert {r.cell.model for r in trained} == set(MODELS.split(","))
    assert len(trained) == 2 * len(MODELS.split(","))
    assert Counter(r.task for r in records)["noise"] == len(MODELS.split(","))
    for model in MODELS.split(","):
        assert len({r.machine["node"] for r in records if r.model == model}) == 1
    assert len({r.machine["node"] for r in records}) >= 2
    assert site.left_over() == set()


@pytest.mark.slow
def test_a_node_that_dies(site: Site, made: Any) -> None:  # noqa: ANN401  # Ray's cluster
    """What a dead node was at is done by another one, and every record is there once."""
    with site.start() as session:
        until(session, lambda: has_landed(site))
        kill_a_node(made)
        said, _ = session.communicate(timeout=PATIENCE_S)
    made.add_node(num_cpus=1, resources={"fmnist": 1})

    assert session.returncode == 0, said
    check_whole(site)
    assert "node2: " in said


@pytest.mark.slow
def test_a_driver_that_is_killed(site: Site, made: Any) -> None:  # noqa: ANN401  # Ray's cluster
    """Its nodes stop working, and a resumed session runs what had not come back, and no more."""
    with site.start() as session:
        until(session, lambda: has_landed(site))
        session.send_signal(signal.SIGKILL)
    before = site.raw.read_bytes()
    assert psutil.wait_procs(site.workers(), timeout=END_S)[1] == []
    again = [*FMNIST, "run", f"--resume={site.raw}", f"--ray={made.address}", *site.pythons()]
    status, said = site.run(*again)

    assert status == 0, said
    check_whole(site)
    assert set(before.splitlines()) <= {*site.raw.read_bytes().splitlines(), *aside(site)}
    assert len(notes(site)) == len(MODELS.split(","))


@pytest.mark.slow
def test_a_node_that_refuses(site: Site, made: Any, real_data: Path) -> None:  # noqa: ANN401
    """A node with the stand-in gets no more units of Fashion-MNIST; the others do what it had."""
    other = made.add_node(num_cpus=1, resources={"fmnist": 4}, env_vars={"FMNIST_DATA": "stand-in"})
    environ = {"FMNIST_DATA": str(real_data)}
    site = replace(site, environ=environ)
    usual = [word for word in site.command() if word not in ("--data-dir", "stand-in")]
    status, said = site.run(*usual)
    made.remove_node(other)

    assert status == 0, said
    check_whole(site)
    assert {r.dataset for r in site.records()} == {"fashion-mnist"}
