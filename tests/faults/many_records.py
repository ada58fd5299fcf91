"""Writes a folder of many records, and measures the commands that read it.

Usage: python tests/faults/many_records.py [N ...] [--times N]; it prints, for each command and
size, the wall time and the most memory that its processes held. 100,000 records and the table that
is made of them take 1.2 GB of disk for a while.

The records are those of the published sessions of SOURCES, as other machines at other times would
have written them: each time is longer by the machine's factor and a round's own. A quarter of
the sessions has no training and no noise, so it is put together with the others of its machine.
"""

import argparse
import itertools
import math
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import psutil

from fmnist.record import Record, read, throughput

RAW = Path(__file__).parents[2] / "results" / "raw"
SOURCES = ("20261121-065136-a55e", "20261121-134140-0cdd")
MACHINES = 16
SHORT_SHARE = 0.25
"""Of the sessions: they have the tasks UNTRAINED only."""
UNTRAINED = ("startup", "parity", "breakdown")
APART = timedelta(minutes=7)
ROUND_SPREAD = 0.005
SESSION_SPREAD = 0.01
SIZES = (1_000, 10_000, 100_000)
LOOK_EVERY_S = 0.1
FMNIST = (sys.executable, "-m", "fmnist")
MIB = 2**20


@dataclass(frozen=True)
class Cost:
    """What a command took.

    Attributes:
        seconds: of wall time.
        processor_s: of processor time, of its processes together: what other programs take is not
            in it.
        peak_bytes: the most resident memory of its processes together, looked at in turn; pages
            that they share count for each.
        status: what it ended with.
    """

    seconds: float
    processor_s: float
    peak_bytes: int
    status: int


def write(folder: Path, n: int) -> int:
    """Write at least so many records into a new folder, a file for each session; return how many.

    All sessions are whole.
    """
    folder.mkdir()
    written = 0
    for number in itertools.count():
        session = f"many-{number:06}"
        lines = [record.to_json() for record in _session(number, session)]
        (folder / f"{session}.jsonl").write_text("\n".join([*lines, ""]), encoding="utf-8")
        written += len(lines)
        if written >= n:
            break
    return written


def _session(number: int, session: str) -> Iterator[Record]:
    """Yield the records of a session on one of the machines, earlier than the one it is made of."""
    draw = random.Random(number)  # noqa: S311  # no secret
    machine, short = number % MACHINES, draw.random() < SHORT_SHARE
    factor = (1 + machine / MACHINES) * math.exp(draw.gauss(0, SESSION_SPREAD))
    for record in _source(draw.choice(SOURCES)):
        if short and record.task not in UNTRAINED:
            continue
        yield _elsewhere(record, factor, draw).model_copy(
            update={
                "session": session,
                "started_at": record.started_at - APART * (1 + number // MACHINES),
                "machine": record.machine | {"cpu": f"Abacus {machine}"},
            }
        )


@cache
def _source(session: str) -> Sequence[Record]:
    records, damaged = read(RAW / f"{session}.jsonl")
    if damaged:
        raise ValueError("; ".join(map(str, damaged)))
    return records


def _elsewhere(record: Record, factor: float, draw: random.Random) -> Record:
    """Return a record with the epochs of another machine."""

    def slower(seconds: Sequence[float]) -> tuple[float, ...]:
        return tuple(s * factor * math.exp(draw.gauss(0, ROUND_SPREAD)) for s in seconds)

    epoch_s = slower(record.epoch_s)
    update: dict[str, Any] = {
        "epoch_s": epoch_s,
        "images_per_s": throughput(record.train_images, epoch_s),
        "beside_s": {name: slower(seconds) for name, seconds in record.beside_s.items()},
    }
    return record.model_copy(update=update)


def measured(command: Sequence[str]) -> Cost:
    """Run a command in a process of its own, what it prints into nothing."""
    start, before, peak_bytes = time.perf_counter(), _processor_s(), 0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        parent = psutil.Process(process.pid)
        while process.poll() is None:
            peak_bytes = max(peak_bytes, _resident_bytes(parent))
            with suppress(subprocess.TimeoutExpired):
                process.wait(LOOK_EVERY_S)
    seconds = time.perf_counter() - start
    return Cost(seconds, _processor_s() - before, peak_bytes, process.returncode)


def _processor_s() -> float:
    """Return the processor time of all processes that this one has started and seen end."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _resident_bytes(parent: psutil.Process) -> int:
    found = 0
    with suppress(psutil.NoSuchProcess):
        for process in (parent, *parent.children(recursive=True)):
            found += process.memory_info().rss
    return found


def commands(folder: Path) -> dict[str, list[str]]:
    """Return the commands that are measured, by name."""
    records, table = str(folder / "records"), str(folder / "table.csv")
    return {
        "report": [*FMNIST, "report", records],
        "check": [*FMNIST, "check", records],
        "export": [*FMNIST, "export", records, "--to", table],
    }


def main() -> int:
    """Measure each command at each size, print what it took, and return the status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=SIZES, metavar="N")
    parser.add_argument("--times", type=int, default=3, help="how often each command is run")
    arguments = parser.parse_args()
    failed = False
    for n in arguments.sizes:
        with tempfile.TemporaryDirectory() as folder:
            written = write(Path(folder) / "records", n)
            for name, command in commands(Path(folder)).items():
                costs = [measured(command) for _ in range(arguments.times)]
                seconds = [cost.seconds for cost in costs]
                print(
                    f"{name} of {written:,} records: {min(seconds):.1f} s at best, "
                    f"{max(seconds):.1f} s at worst of {len(costs)}; "
                    f"processors {min(cost.processor_s for cost in costs):.1f} s; "
                    f"{max(cost.peak_bytes for cost in costs) / MIB:,.0f} MiB at most",
                    flush=True,
                )
                failed |= any(cost.status for cost in costs)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
