"""Runs one session of at least 300 cells, and watches the process that leads it.

Usage: python tests/faults/soak.py [--real]; with fake workers it takes minutes, with `--real` about
an hour of both cores. It prints what it saw, and ends with status 1 if memory or open files grew,
or a worker is left.

Each model on each backend is a cell, and each of its processes is one more. The first 20 are left
out: until then the parent still meets code for the first time. Real workers train the dense nets
alone, which start soonest: what is watched is the process that leads them.
"""

import argparse
import itertools
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from sessions import FMNIST, OPTIONS, Site, counted

from fmnist import models

MODELS = tuple(models.suite())
REAL_MODELS = ("softmax_regression", "dense3", "dense_wide")
CELLS = 306
WARM_UP_CELLS = 20
MOST_GROWTH = 0.01
MOST_MORE_FILES = 0.5
"""One that is never closed adds 1; two soaks without any came to 0.0 and -0.1."""


@dataclass
class Watched:
    """What was seen of the parent each time that a cell had ended.

    Attributes:
        rss_bytes: its resident memory.
        n_files: its open files.
        processor_s: its own processor time until then.
        workers: every child that it was seen with.
        status: that it ended with.
    """

    rss_bytes: list[int] = field(default_factory=list)
    n_files: list[int] = field(default_factory=list)
    processor_s: list[float] = field(default_factory=list)
    workers: set[psutil.Process] = field(default_factory=set)
    status: int = 0

    def look(self, parent: psutil.Process) -> None:
        """Note what there is to be seen now."""
        self.rss_bytes.append(parent.memory_info().rss)
        self.n_files.append(parent.num_fds())
        times = parent.cpu_times()
        self.processor_s.append(times.user + times.system)
        self.workers.update(parent.children(recursive=True))

    @property
    def growth(self) -> float:
        """By how much memory grew from the end of the warm-up to the last cell, relative."""
        return self.rss_bytes[-1] / self.rss_bytes[WARM_UP_CELLS - 1] - 1

    @property
    def more_files(self) -> float:
        """How many more files were open in the last quarter than in the first one, by mean.

        The mean, as workers that start and end while we look have their pipes open or not: most
        and least differ by some without any leak.
        """
        quarter = max(1, len(self.n_files) // 4)
        return statistics.fmean(self.n_files[-quarter:]) - statistics.fmean(self.n_files[:quarter])

    @property
    def slow_down(self) -> float:
        """The parent's processor time for a cell, mean of the last quarter by the first one's.

        Its own time only: what workers take is theirs, and other programs' load is not in it.
        """
        after = self.processor_s[WARM_UP_CELLS - 1 :]
        costs = [b - a for a, b in itertools.pairwise(after)]
        quarter = max(1, len(costs) // 4)
        return statistics.fmean(costs[-quarter:]) / statistics.fmean(costs[:quarter])

    def left(self) -> list[psutil.Process]:
        """Return the workers that are still there."""
        # Numbers are given anew, and psutil cannot wait for one that is a thread's by now.
        running = [worker for worker in self.workers if worker.is_running()]
        return psutil.wait_procs(running, timeout=10)[1]


def soak(site: Site, command: Sequence[str]) -> Watched:
    """Run a session to its end and watch it; what was seen counts however it ends."""
    watched = Watched()
    with site.start(*command) as session:
        parent = psutil.Process(session.pid)
        said = []
        for line in session.stdout or ():
            said.append(line)
            if " train: " in line:
                watched.look(parent)
                if len(watched.rss_bytes) % WARM_UP_CELLS == 0:
                    cell, rss = len(watched.rss_bytes), watched.rss_bytes[-1]
                    print(f"cell {cell}: {rss:,} bytes", flush=True)
    watched.status = session.returncode
    if watched.status:
        print("".join(said[-40:]), file=sys.stderr)
    return watched


def options(names: Sequence[str]) -> list[str]:
    """Return the options of a session of these models on both backends, `CELLS` in all."""
    return [f"--models={','.join(names)}", f"--processes={CELLS // (2 * len(names))}"]


def main() -> int:
    """Run a session, print what was seen, and return the status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", action="store_true", help="real workers: about an hour")
    real = parser.parse_args().real
    with tempfile.TemporaryDirectory() as folder:
        names = REAL_MODELS if real else MODELS
        site = Site(Path(folder), Path(folder) / "results", options=options(names))
        by_keras = [*FMNIST, "run", *OPTIONS, *site.options, f"--results={site.results}"]
        watched = soak(site, by_keras if real else site.command())
        trained = sum(key.startswith("train ") for key in counted(site.records()))
    print(
        f"{trained} cells trained, {len(watched.workers)} workers seen, on {os.cpu_count()} "
        f"processors; {len(watched.left())} workers left\n"
        f"memory after cell {WARM_UP_CELLS}: {watched.rss_bytes[WARM_UP_CELLS - 1]:,} bytes, "
        f"after the last: {watched.rss_bytes[-1]:,} bytes ({watched.growth:+.2%})\n"
        f"open files, mean of the last quarter less that of the first: {watched.more_files:+.2f}\n"
        f"parent's processor time for a cell, last quarter by first: {watched.slow_down:.2f}"
    )
    grew = watched.growth >= MOST_GROWTH or watched.more_files >= MOST_MORE_FILES
    return int(grew or bool(watched.left()) or watched.status != 0)


if __name__ == "__main__":
    sys.exit(main())
