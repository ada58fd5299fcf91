"""One training on several devices, beside the same on one. The parent's side.

Batch size is that of all replicas together. Strong scaling keeps it; weak scaling has it grow with
the replicas, so that each has as many images in a step as one device alone.
"""

import dataclasses
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from fmnist import grid
from fmnist.channel import Job
from fmnist.grid import Cell
from fmnist.launch import CellRun, Observer, Program, in_turn, orders, run_group
from fmnist.options import PlanError, names
from fmnist.plan import Plan
from fmnist.record import Record

KINDS = ("strong", "weak")
LARGEST_PORT = 65_535


@dataclass(frozen=True)
class Hosts:
    """The machines that train one model together, and which of them this one is.

    Attributes:
        addresses: one `NAME:PORT` for each host; a session takes the ports from there upwards, one
            for each of its cells. Raises PlanError for others.
        host: index of this machine in them.
        wait_s: how long the others are waited for.
    """

    addresses: tuple[str, ...]
    host: int
    wait_s: float

    def __post_init__(self) -> None:
        for address in self.addresses:
            name, _, port = address.rpartition(":")
            if not name or not port.isdigit() or not 0 < int(port) < LARGEST_PORT:
                raise PlanError(f"--hosts takes NAME:PORT,NAME:PORT..., got {address!r}")
        if len(set(self.addresses)) < max(2, len(self.addresses)):
            raise PlanError(f"--hosts takes at least two addresses, all different: {self}")
        if not 0 <= self.host < len(self.addresses):
            raise PlanError(
                f"--host must be from 0 to {len(self.addresses) - 1}, as there are "
                f"{len(self.addresses)} --hosts; got {self.host}"
            )
        if self.wait_s <= 0:
            raise PlanError(f"--wait must be above 0 s, got {self.wait_s:g}")

    def __str__(self) -> str:
        return ",".join(self.addresses)

    def job_of(self, job: Job, number: int) -> Job:
        """Return a job as this host's part of the session's cell of this number, from 0."""
        parts = [address.rpartition(":") for address in self.addresses]
        ports = [f"{name}:{int(port) + number}" for name, _, port in parts]
        if any(int(port) + number > LARGEST_PORT for _, _, port in parts):
            raise PlanError(f"--hosts {self}: too few ports above it for cell {number + 1}")
        return job.model_copy(
            update={"addresses": tuple(ports), "host": self.host, "wait_s": self.wait_s}
        )


def groups(plan: Plan, hosts: int = 1) -> list[tuple[Cell, ...]]:
    """Return the cells of one device and of several that are run in turn, by what they share.

    Raises ValueError, saying what fits, for replicas over which a batch does not divide, and for
    batches that do not divide the sets.
    """
    replicas = [_count(text) for text in names(plan.options["replicas"])]
    kinds = grid.known("scaling", names(plan.options["scaling"]), KINDS)
    found = []
    for group in plan.groups:
        cells: dict[Cell, None] = {}
        for one in group:
            if one.mode == "stock" and one.xla == "auto":
                spread = [_spread(one, n, kind, hosts) for n in replicas for kind in kinds]
                cells |= dict.fromkeys([one, *spread] if hosts == 1 else spread)
        for cell in cells:
            sizes = plan.set_sizes(cell.model)
            grid.check_batch_size(cell.batch_size, [n for n in sizes if n])
            _check_devices(plan, cell)
        found.append(tuple(cells))
    return found if replicas else []


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise PlanError(f"--replicas takes counts like 2,4, got {text!r}")
    return int(text)


def _spread(one: Cell, replicas: int, kind: str, hosts: int) -> Cell:
    """Return a cell on several devices."""
    batch_size = one.batch_size * (replicas if kind == "weak" else 1)
    return dataclasses.replace(one, replicas=replicas, hosts=hosts, batch_size=batch_size)


def _check_devices(plan: Plan, cell: Cell) -> None:
    """Raise PlanError for more replicas than this machine has GPUs."""
    gpus = len(plan.machine["gpus"])
    if cell.device == "gpu" and cell.local_replicas > gpus:
        raise PlanError(
            f"--replicas: {cell.local_replicas} on this machine need as many GPUs, it has {gpus}"
        )


def run_scaling(plan: Plan, observer: Observer, program: Program = None) -> Iterator[Record]:
    """Run all groups on this host; yield each record once it is on the disk."""
    for group in groups(plan):
        for process in range(plan.processes):
            turned = list(in_turn(group, process))
            yield from run_group(plan, turned, observer, "scale", program, process)


def run_hosts(
    plan: Plan, hosts: Hosts, observer: Observer, program: Program = None
) -> Iterator[Record]:
    """Run this host's part of all cells, one after the other, as the other hosts do.

    Each host has a record of its own: the first one's is the session's.
    """
    cells = [cell for group in groups(plan, len(hosts.addresses)) for cell in group]
    with plan.begun():
        for number, (cell, process) in enumerate(
            (cell, process) for cell in cells for process in range(plan.processes)
        ):
            job = hosts.job_of(plan.job(cell, "scale"), number)
            yield _run(plan, cell, job, process, observer, program)


def _run(
    plan: Plan, cell: Cell, job: Job, process: int, observer: Observer, program: Program
) -> Record:
    """Run this host's part of one cell; return its record, which is on the disk by then."""
    run = CellRun(plan, cell, job, observer, process=process)
    steps = orders(plan, cell, "scale")
    with ExitStack() as resources:
        try:
            run.start(resources, program, len(steps))
            for order in steps:
                run.take(order)
        finally:
            record = run.keep()
    return record
