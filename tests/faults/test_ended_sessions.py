"""Sessions that are interrupted or killed: what was measured is kept, and nothing goes on."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from kills import survive, unharmed
from sessions import FMNIST, OPTIONS, PATIENCE_S, Site, arguments, counted

from fmnist.record import read

LINUX = pytest.mark.skipif(
    sys.platform != "linux", reason="elsewhere a worker ends at its next message"
)
BETWEEN_LOOKS_S = 0.05
IN_EPOCH_2 = "jax epoch\njax epoch\n"
"""Stands in the trace once JAX was told to train its second epoch, TensorFlow's turns aside."""


@pytest.fixture(autouse=True)
def _signals_are_heard() -> Iterator[None]:
    """Undo what a shell does to background jobs, or nohup: what they start ignores signals."""
    interrupted = signal.signal(signal.SIGINT, signal.default_int_handler)
    hung_up = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGINT, interrupted)
    signal.signal(signal.SIGHUP, hung_up)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A session whose JAX worker hangs in its second epoch, so that it can be met there."""
    return Site(tmp_path, tmp_path / "results", behaviours=["jax=hang"])


def until(session: "subprocess.Popen[str]", is_so: Callable[[], bool]) -> None:
    """Return once something is so. Raises AssertionError if the session ends before."""
    while not is_so():
        with suppress(subprocess.TimeoutExpired):
            session.wait(BETWEEN_LOOKS_S)
            pytest.fail(session.stdout.read() if session.stdout else "it ended")


def in_epoch_2(site: Site) -> bool:
    """Tell whether the JAX worker hangs."""
    if not site.trace.exists():
        return False
    lines = site.trace.read_text().splitlines(keepends=True)
    return IN_EPOCH_2 in "".join(line for line in lines if line.startswith("jax"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_one_signal_is_a_tidy_end(site: Site, name: str) -> None:
    """After Ctrl-C, a kill or a hang-up the status is 130, the epochs are kept, and it goes on."""
    with site.start() as session:
        until(session, lambda: in_epoch_2(site))
        session.send_signal(signal.Signals[name])
        said, _ = session.communicate(timeout=PATIENCE_S)

    assert session.returncode == 130, said
    assert f"interrupted; what was measured is in {site.raw}; to go on: --resume" in said
    assert site.workers() == []
    assert site.left_over() == set()
    trained = [r for r in site.records() if r.task == "train"]
    assert [r.failure for r in trained] == ["interrupted", "interrupted"]
    assert [r.first_epoch_s for r in trained] == [0.5, 0.5]

    replace(site, behaviours=[]).python()  # what hung is mended
    status, said = site.resume()
    assert status == 0, said
    whole = Site(site.folder, site.folder / "whole")
    assert counted(site.records()) == unharmed(whole)[0]


@pytest.mark.slow
@LINUX
def test_second_interrupt_ends_at_once(site: Site) -> None:
    """Where the tidy end hangs, a second Ctrl-C is the end: status 130, no worker, no torn line.

    It hangs here because nobody reads what the session prints, and the pipe is full.
    """
    reading, writing = os.pipe()
    with site.start(stdout=writing) as session:
        until(session, lambda: in_epoch_2(site))
        fill(writing)
        session.send_signal(signal.SIGINT)
        until(session, lambda: any(r.failure == "interrupted" for r in read(site.raw)[0]))
        session.send_signal(signal.SIGINT)
        status = session.wait(PATIENCE_S)
    os.close(reading)
    os.close(writing)

    assert status == 130
    assert site.workers() == []
    assert site.records()[-1].failure == "interrupted"


def fill(pipe: int) -> None:
    """Write to a pipe until it holds no more, without waiting for who reads it."""
    filling = os.open(f"/proc/self/fd/{pipe}", os.O_WRONLY | os.O_NONBLOCK)
    with suppress(BlockingIOError):
        while os.write(filling, b"\n"):
            continue
    os.close(filling)


@pytest.mark.slow
def test_signal_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """A session under nohup goes on when its terminal goes."""
    site = Site(tmp_path, tmp_path / "results")
    with site.start("nohup", *site.command()) as session:
        until(session, site.trace.exists)
        session.send_signal(signal.SIGHUP)
        said, _ = session.communicate(timeout=PATIENCE_S)

    assert session.returncode == 0, said


@pytest.mark.slow
@LINUX
@pytest.mark.parametrize("behaviour", ["hang", "stop", "early-hang"])
def test_workers_end_with_their_parent(tmp_path: Path, behaviour: str) -> None:
    """A parent that is killed leaves no worker, be it in an epoch, stopped, or not ready yet."""
    site = Site(tmp_path, tmp_path / "results", behaviours=[f"jax={behaviour}"])
    with site.start() as session:
        if behaviour == "early-hang":
            until(session, lambda: any("early" in " ".join(arguments(p)) for p in site.workers()))
        else:
            until(session, lambda: in_epoch_2(site))
        workers = site.workers()
        session.kill()
        session.communicate(timeout=PATIENCE_S)

    assert workers
    assert psutil.wait_procs(workers, timeout=10)[1] == []


@pytest.mark.slow
@LINUX
def test_real_workers_end_with_their_parent(tmp_path: Path) -> None:
    """Keras, TensorFlow and JAX in the middle of their work are gone when the parent is killed."""
    site = Site(tmp_path, tmp_path / "results")
    command = [*FMNIST, "run", *OPTIONS, *site.options, "--rounds=100000"]
    with site.start(*command, f"--results={site.results}") as session:
        until(session, lambda: len(busy_children(session)) == 2)
        workers = busy_children(session)
        session.kill()
        session.communicate(timeout=PATIENCE_S)

    assert psutil.wait_procs(workers, timeout=10)[1] == []


def busy_children(session: "subprocess.Popen[str]") -> list[psutil.Process]:
    """Return the workers that train: their log says nothing, their memory is that of a backend."""
    children = psutil.Process(session.pid).children()
    return [c for c in children if c.is_running() and c.memory_info().rss > 200 * 2**20]


@pytest.mark.slow
def test_killed_sessions_lose_and_double_nothing(tmp_path: Path) -> None:
    """Killed at ten moments from first to last and resumed, a session is whole, and its own.

    `python tests/faults/kills.py 200` does so at 200 random moments.
    """
    expected, taken_s = unharmed(Site(tmp_path, tmp_path / "unharmed"))
    for tenth in range(10):
        site = Site(tmp_path, tmp_path / f"killed-{tenth}")
        survive(site, taken_s * tenth / 10, expected)


@pytest.mark.slow
def test_interrupt_ends_real_workers_and_keeps_the_records(tmp_path: Path) -> None:
    """After Ctrl-C in a real start-up no process is left, and the finished cells are on disk."""
    site = Site(tmp_path, tmp_path / "results")
    command = [*FMNIST, "run", *OPTIONS, *site.options, f"--results={site.results}"]
    with site.start(*command) as session:
        for line in session.stdout or ():
            if " startup: " in line:
                break
        until(session, lambda: psutil.Process(session.pid).children(recursive=True) != [])
        children = psutil.Process(session.pid).children(recursive=True)
        session.send_signal(signal.SIGINT)
        said, _ = session.communicate(timeout=PATIENCE_S)

    assert session.returncode == 130, said
    assert psutil.wait_procs(children, timeout=10)[1] == []
    assert [r.failure for r in site.records() if r.task == "train"] == [None, None]
