"""Runs a session of many cells that do nothing over a Ray cluster, and kills one of its nodes.

Usage: python tests/faults/fleet.py [--units N] [--nodes N]; the nodes are of this machine. It
prints whether every record is there once, what handing out costs beside the same units without Ray,
and the driver's memory. With the default of 104 units of ten cells it takes some ten minutes of two
cores.

The workers are `tests/fake_worker.py`. A unit is ten cells of one model and batch size: five modes
that are neither proved nor taken apart, on both backends. Its noise is two more workers.
"""

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
from ray.cluster_utils import Cluster
from sessions import Site

from fmnist import grid, models
from fmnist.fleet.collect import Fleet, run_fleet
from fmnist.fleet.here import Here
from fmnist.fleet.on_ray import OnRay
from fmnist.grid import Cell
from fmnist.options import OPTIONS
from fmnist.record import Task, read
from fmnist.session import plan
from fmnist.session.launch import Unwatched
from fmnist.session.plan import Plan

UNITS = 104
NODES = 4
MODES = ("environment", "layers", "loop", "environment+layers", "steps_per_execution")
BATCH_SIZES = (1, 2, 4, 5, 10, 20, 25, 50, 100, 125, 250, 500)
PAIRS = 8
"""Of a unit on a Ray cluster of one node, and the same without Ray, in turn."""


@contextmanager
def cluster(nodes: int) -> Iterator[Any]:
    """A Ray cluster of this machine: a head that takes no units, and so many nodes that do.

    No dashboard is started, and nothing is reported to anybody.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    head = {"num_cpus": 0, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(nodes):
            made.add_node(num_cpus=1, resources={"fmnist": 1})
        yield made
    finally:
        made.shutdown()  # type: ignore[no-untyped-call]  # Ray types it not


def kill_a_node(made: Any) -> None:  # noqa: ANN401  # Ray's cluster
    """Kill all processes of one node, as when its machine loses power."""
    made.remove_node(next(iter(made.worker_nodes)), allow_graceful=False)


def many(folder: Path, units: int, first: int = 0) -> Plan:
    """Return a plan of so many units of ten cells each, with fake workers."""
    folder.mkdir()
    site = Site(folder, folder / "results", tells_versions=True)
    python = site.python()
    own = {
        "preset": "smoke",
        "models": ",".join(models.suite()),
        "rounds": 1,
        "ray": "auto",
        "data_dir": "stand-in",
        "results": str(site.results),
        "python": [f"{name}={python}" for name in grid.BACKENDS],
    }
    planned = plan.make({option.name: option.default for option in OPTIONS} | own)
    shapes = itertools.islice(itertools.product(BATCH_SIZES, models.suite()), first, first + units)
    groups = tuple(
        tuple(
            Cell(model, backend, "cpu", mode, batch_size)
            for mode in MODES
            for backend in grid.BACKENDS
        )
        for batch_size, model in shapes
    )
    return replace(planned, groups=groups, noise_cell=groups[0][0])


def timed(planned: Plan, fleet: Fleet, after: Callable[[int], None] = lambda _: None) -> float:
    """Run a plan on a fleet, and return its seconds for a cell; `after` is told of each cell."""
    began = time.perf_counter()
    cells = 0
    for record in run_fleet(planned, Unwatched(), fleet):
        if record.task == "train":
            cells += 1
            after(cells)
    return (time.perf_counter() - began) / cells


def side_by_side(planned: Plan) -> list[float]:
    """Return by how many seconds for a cell each unit takes longer by Ray than without it."""
    found = []
    with cluster(1) as made:
        fleets: list[Fleet] = [OnRay(made.address), Here()]
        for number, group in enumerate(planned.groups):
            one = [replace(planned, groups=(group,), session=f"{number}-{i}") for i in (0, 1)]
            seconds = {i: timed(one[i], fleets[i]) for i in ((0, 1), (1, 0))[number % 2]}
            found.append(seconds[0] - seconds[1])
        fleets[0].close()
    return found


def told(seconds: list[float]) -> str:
    """Return the median of some seconds, and all that they range over."""
    median = statistics.median(seconds)
    return (
        f"median {median:+.3f}, from {min(seconds):+.3f} to {max(seconds):+.3f} (n={len(seconds)})"
    )


def expected(planned: Plan) -> Counter[tuple[Task, Cell, int]]:
    """Return the keys of the records that a plan of `many` makes."""
    found: Counter[tuple[Task, Cell, int]] = Counter(("train", c, 0) for c in planned.cells)
    noise = (plan.noise_cell_of([group], None) for group in planned.groups)
    found.update(("noise", cell, 0) for cell in noise)
    return found


def main() -> int:
    """Run the session, print what was seen, and return the status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--units", type=int, default=UNITS)
    parser.add_argument("--nodes", type=int, default=NODES)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        planned = many(Path(folder) / "fleet", arguments.units)
        wanted, total = expected(planned), len(planned.cells)
        memory: dict[int, int] = {}

        with cluster(arguments.nodes) as made:

            def after(cells: int) -> None:
                if cells in (total // 10, total):
                    memory[cells] = psutil.Process().memory_info().rss
                if cells == total // 4:
                    kill_a_node(made)

            fleet = OnRay(made.address)
            on_nodes = timed(planned, fleet, after)
            fleet.close()
        records, damaged = read(planned.records_path)
        found = Counter((r.task, r.cell, r.process) for r in records if r.failure is None)
        by_node = Counter(r.machine["node"] for r in records if r.task == "train")
        pairs = side_by_side(many(Path(folder) / "pairs", PAIRS))
    missing, doubled = wanted - found, found - wanted
    begun, last = memory[total // 10], memory[total]
    print(
        f"{total} cells in {arguments.units} units over {arguments.nodes} nodes, one killed after "
        f"{total // 4} cells; {os.cpu_count()} processors\n"
        f"records expected {wanted.total()}, found {found.total()}, missing {missing.total()}, "
        f"doubled {doubled.total()}, failed {sum(r.failure is not None for r in records)}, "
        f"damaged {len(damaged)}\n"
        f"cells by node: {dict(sorted(by_node.items()))}\n"
        f"wall time for a cell on all nodes: {on_nodes:.3f} s\n"
        f"a unit alone on one Ray node, less the same without Ray, in turn, seconds for a cell: "
        f"{told(pairs)}\n"
        f"driver's memory after {total // 10} cells {begun:,} bytes, after {total} {last:,} bytes "
        f"({last / begun - 1:+.2%})"
    )
    return int(found != wanted or bool(damaged))


if __name__ == "__main__":
    sys.exit(main())
