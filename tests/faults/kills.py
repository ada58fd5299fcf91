"""Kills sessions at random moments, and goes on with each.

Usage: python tests/faults/kills.py [N]; it prints a line for each kill that was survived, and what
all of them took. Any loss, double or orphan is an AssertionError.
"""

import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import psutil
from sessions import FMNIST, PATIENCE_S, Site, counted

KILLS = 200
END_S = 5
"""How long a worker may take to be gone after its parent: it is the system that kills it."""


class Survived(NamedTuple):
    """What a kill left, and how long a resumed session took to measure again.

    Attributes:
        records: that were on the disk when the session was killed.
        orphans: workers that were there when it was; all of them ended.
        recovery_s: from the start of `--resume` until the first new record or, where there is
            nothing more to measure, the tables.
    """

    moment_s: float
    records: int
    orphans: int
    recovery_s: float


def unharmed(site: Site) -> tuple[Counter[str], float]:
    """Return what counts in a session that nobody harms, and its seconds from its first line."""
    with site.start() as session:
        assert session.stdout is not None
        session.stdout.readline()
        began = time.perf_counter()
        session.stdout.read()
        taken_s = time.perf_counter() - began
    assert session.returncode == 0
    return counted(site.records()), taken_s


def survive(site: Site, moment_s: float, expected: Counter[str]) -> Survived:
    """Kill a session so long after its first line, go on with it, and hold it against another.

    Raises AssertionError if a record is lost, doubled or torn, or a process or file is left.
    """
    with site.start() as session:
        assert session.stdout is not None
        session.stdout.readline()
        try:
            session.wait(moment_s)
        except subprocess.TimeoutExpired:
            session.send_signal(signal.SIGKILL)
        session.wait()
    workers = site.workers()
    assert psutil.wait_procs(workers, timeout=END_S)[1] == []
    options = list((site.results / "logs").glob("*/options.json"))
    if not options:  # it was killed before it began: there is nothing to go on with
        assert not (site.results / "raw").exists()
        shutil.rmtree(site.results, ignore_errors=True)
    before = site.raw.read_bytes() if (site.results / "raw").exists() else b""
    command = [
        *(*FMNIST, "run"),
        *(f"--resume={site.results}/raw/{path.parent.name}.jsonl" for path in options),
    ]
    began = time.perf_counter()
    with site.start(*(command if options else site.command())) as resumed:
        assert resumed.stdout is not None
        said = []
        for line in resumed.stdout:
            said.append(line)
            if line.startswith(("[", "The noise of this session")):
                break
        recovery_s = time.perf_counter() - began
        said.append(resumed.stdout.read())
        assert resumed.wait(PATIENCE_S) == 0, "".join(said)
    records = site.records()
    keys = Counter((r.task, r.cell, r.process) for r in records if r.failure is None)
    assert counted(records) == expected
    assert set(keys.values()) == {1}
    kept = set(site.raw.read_bytes().splitlines()) | set(aside(site))
    assert set(before.splitlines()) <= kept
    assert site.workers() == []
    assert site.left_over() == set()
    return Survived(moment_s, before.count(b"\n"), len(workers), recovery_s)


def aside(site: Site) -> list[bytes]:
    """Return the lines that a resumed session moved out of its records."""
    paths = (site.results / "logs").glob("*/aside.jsonl")
    return [line for path in paths for line in path.read_bytes().splitlines()]


def main(kills: int) -> None:
    """Kill so many sessions, each in a folder of its own."""
    survived: list[Survived] = []
    moments = random.Random(kills)  # noqa: S311  # moments, no secret
    with tempfile.TemporaryDirectory() as folder:
        site = Site(Path(folder), Path(folder) / "unharmed")
        expected, taken_s = unharmed(site)
        for number in range(kills):
            site = Site(Path(folder), Path(folder) / f"killed-{number}")
            one = survive(site, moments.uniform(0, taken_s), expected)
            survived.append(one)
            print(number + 1, *(f"{name}={value:.3g}" for name, value in one._asdict().items()))
    recoveries = [one.recovery_s for one in survived]
    print(
        f"{kills} kills at random moments of {taken_s:.2f} s survived, "
        f"{sum(one.orphans > 0 for one in survived)} of them with workers running; "
        f"recovery: median {statistics.median(recoveries):.2f} s, longest {max(recoveries):.2f} s"
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else KILLS)
