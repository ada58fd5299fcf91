"""Kills sessions at random moments, and goes on with each.

Usage: python tests/faults/kills.py [N]; it prints a line for each kill that was survived, and what
all of them took. Any loss, double or orphan is an AssertionError.
"""

import multiprocessing
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import psutil
from sessions import PATIENCE_S, Site, counted

from fmnist.cli import main

FORK = multiprocessing.get_context("fork")
KILLS = 200
END_S = 5
"""How long a worker may take to be gone after its parent: it is the system that kills it."""


class Survived(NamedTuple):
    """What a kill left, and how long a resumed session took to measure again.

    Attributes:
        moment_s: seconds from the session's first line to the kill.
        records: that were on the disk then.
        recovery_s: from the start of the command `--resume` until the first new record or, where
            nothing more is to be measured, the tables; None where the session was resumed in a
            fork of this process, which has imported the suite already.
        recovery_processor_s: processor time of that command until then.
    """

    moment_s: float
    records: int
    recovery_s: float | None
    recovery_processor_s: float | None


class Forked:
    """A session in a fork of this process: a process of its own, without the imports.

    Attributes:
        said: what it prints.
        process: itself.
    """

    def __init__(self, arguments: Sequence[str]) -> None:
        reading, writing = os.pipe()
        self.process = FORK.Process(target=run_in, args=(writing, arguments))
        self.process.start()
        os.close(writing)
        self.said = os.fdopen(reading, encoding="utf-8")


def run_in(writing: int, arguments: Sequence[str]) -> None:
    """Run a command of the suite in this process, what it says going to a pipe."""
    os.dup2(writing, sys.stdout.fileno())
    os.dup2(writing, sys.stderr.fileno())
    sys.stdout = os.fdopen(sys.stdout.fileno(), "w", buffering=1, encoding="utf-8")
    main.main(list(arguments))


def unharmed(site: Site) -> tuple[Counter[str], float]:
    """Return what counts in a session that nobody harms, and its seconds from its first line."""
    session = Forked(site.arguments())
    session.said.readline()
    began = time.perf_counter()
    said = session.said.read()
    taken_s = time.perf_counter() - began
    session.said.close()
    session.process.join(PATIENCE_S)
    assert session.process.exitcode == 0, said
    return counted(site.records()), taken_s


def kill(site: Site, moment_s: float) -> None:
    """Kill a session so long after its first line; its workers end as well."""
    session = Forked(site.arguments())
    session.said.readline()
    session.process.join(moment_s)
    session.process.kill()
    session.process.join()
    session.said.close()
    assert psutil.wait_procs(site.workers(), timeout=END_S)[1] == []


def survive(
    site: Site, moment_s: float, expected: Counter[str], *, timed: bool = False
) -> Survived:
    """Kill a session, go on with it, and hold it against another that nobody harmed.

    Raises AssertionError if a record is lost, doubled or torn, or a process or file is left.
    """
    kill(site, moment_s)
    options = list((site.results / "logs").glob("*/options.json"))
    if not options:  # it was killed before it began: there is nothing to go on with
        assert not (site.results / "raw").exists()
        shutil.rmtree(site.results, ignore_errors=True)
    before = site.raw.read_bytes() if (site.results / "raw").exists() else b""
    resumed = [f"--resume={site.results}/raw/{path.parent.name}.jsonl" for path in options]
    arguments = ["run", *resumed, *site.pythons()] if options else site.arguments()
    recovery = resume_by_command(site, arguments) if timed else resume_by_fork(arguments)
    keys = Counter((r.task, r.cell, r.process) for r in site.records() if r.failure is None)
    assert counted(site.records()) == expected
    assert set(keys.values()) == {1}
    assert set(before.splitlines()) <= {*site.raw.read_bytes().splitlines(), *aside(site)}
    assert site.workers() == []
    assert site.left_over() == set()
    return Survived(moment_s, before.count(b"\n"), *recovery)


def resume_by_fork(arguments: Sequence[str]) -> tuple[None, None]:
    """Go on with a session, to its end."""
    session = Forked(arguments)
    said = session.said.read()
    session.said.close()
    session.process.join(PATIENCE_S)
    assert session.process.exitcode == 0, said
    return None, None


def resume_by_command(site: Site, arguments: Sequence[str]) -> tuple[float, float]:
    """Go on with a session, to its end; return the seconds until it measured, by both clocks."""
    began = time.perf_counter()
    with site.start(sys.executable, "-m", "fmnist", *arguments) as session:
        assert session.stdout is not None
        said: list[str] = []
        for line in session.stdout:
            said.append(line)
            if line.startswith(("[", "The noise of this session")):
                break
        recovery_s = time.perf_counter() - began
        times = psutil.Process(session.pid).cpu_times()
        said.append(session.stdout.read())
        assert session.wait(PATIENCE_S) == 0, "".join(said)
    return recovery_s, times.user + times.system


def aside(site: Site) -> list[bytes]:
    """Return the lines that a resumed session moved out of its records."""
    paths = (site.results / "logs").glob("*/aside.jsonl")
    return [line for path in paths for line in path.read_bytes().splitlines()]


def kill_many(kills: int) -> None:
    """Kill so many sessions, each in a folder of its own; every tenth is resumed by the command."""
    survived: list[Survived] = []
    moments = random.Random(kills)  # noqa: S311  # moments, no secret
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder), Path(folder) / "unharmed")
        expected, taken_s = unharmed(site)
        for number in range(kills):
            site = Site(Path(folder), Path(folder) / f"killed-{number}")
            moment_s = moments.uniform(0, taken_s)
            survived.append(survive(site, moment_s, expected, timed=number % 10 == 0))
            print(number + 1, survived[-1], flush=True)
    print(f"{kills} kills at random moments of {taken_s:.2f} s: nothing lost, nothing doubled")
    for name in ("recovery_s", "recovery_processor_s"):
        found = [value for one in survived if (value := getattr(one, name)) is not None]
        print(f"{name}: median {statistics.median(found):.2f}, largest {max(found):.2f}")


if __name__ == "__main__":
    kill_many(int(sys.argv[1]) if len(sys.argv) > 1 else KILLS)
