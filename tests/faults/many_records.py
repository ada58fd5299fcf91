"""Writes a folder of many records, and measures the commands that read it.

Usage: python tests/faults/many_records.py [N ...] [--keep FOLDER]; it prints, for each command, the
wall time and the peak memory of a process of its own. 100,000 records take half a gigabyte of disk.

The records are those of the published sessions of SOURCES, as other machines at other times would
have written them: each time is longer by the machine's factor and a round's own. A quarter of
the sessions has no training and no noise, so it is put together with the others of its machine.
"""

import argparse
import itertools
import math
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

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
FMNIST = (sys.executable, "-m", "fmnist")
MIB = 2**20


@dataclass(frozen=True)
class Cost:
    """What a command took: wall seconds, and the most memory that it held."""

    seconds: float
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


def measured(command: Sequence[str], output: Path) -> Cost:
    """Run a command in a process of its own, its output into a file."""
    start = time.perf_counter()
    with output.open("wb") as file:
        process = subprocess.Popen(command, stdout=file)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    return Cost(time.perf_counter() - start, 1024 * usage.ru_maxrss, process.returncode)
