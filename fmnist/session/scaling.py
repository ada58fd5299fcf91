"""One training on several devices, beside the same on one. The parent's side.

Batch size is that of all replicas together. Strong scaling keeps it; weak scaling has it grow with
the replicas, so that each has as many images in a step as one device alone.
"""

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fmnist import grid, machine
from fmnist.channel import Job, Order
from fmnist.grid import Cell
from fmnist.options import PlanError, names
from fmnist.record import Record
from fmnist.session.launch import CellRun, Observer, Program, in_turn, orders, run_group
from fmnist.session.meeting import Meeting, MeetingError, parted
from fmnist.session.plan import Plan

KINDS = ("strong", "weak")
HIGHEST_PORT = 60_000


@dataclass(frozen=True)
class Hosts:
    """The machines that train one model together, and which of them this one is.

    Attributes:
        addresses: one `NAME:PORT` for each host: the first one's is where they meet, and each cell
            takes the next port of each. Raises PlanError for others.
        host: index of this machine in them.
        wait_s: how long the others are waited for.
    """

    addresses: tuple[str, ...]
    host: int
    wait_s: float

    def __post_init__(self) -> None:
        for address in self.addresses:
            name, _, port = address.rpartition(":")
            if not name or ":" in name or not port.isdigit() or not 0 < int(port) < HIGHEST_PORT:
                raise PlanError(
                    f"--hosts takes NAME:PORT,NAME:PORT..., with names or IPv4 addresses and ports "
                    f"below {HIGHEST_PORT:,}, got {address!r}"
                )
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
        """Return a job as this host's part of the session's cell of this number, from 1."""
        ports = tuple(f"{name}:{port + number}" for name, port in map(parted, self.addresses))
        return job.model_copy(update={"addresses": ports, "host": self.host, "wait_s": self.wait_s})


def groups(plan: Plan, hosts: int = 1) -> list[tuple[Cell, ...]]:
    """Return the cells of one device and of several that are run in turn, by what they share.

    Raises ValueError, saying what fits, for replicas over which a batch does not divide, and for
    batches that do not divide the sets.
    """
    replicas = [_count(text) for text in names(plan.options["replicas"])]
    kinds = grid.known("scaling", names(plan.options["scaling"]), KINDS)
    if not replicas:
        return []
    found = []
    for group in plan.groups:
        cells: dict[Cell, None] = {}
        for one in group:
            if one.mode == "stock" and one.xla == "auto":
                spread = [_spread(one, n, kind, hosts) for n in replicas for kind in kinds]
                cells |= dict.fromkeys([one, *spread] if hosts == 1 else spread)
        if not cells:
            raise PlanError("--replicas is for --modes stock and --xla auto: ask for these too")
        for cell in cells:
            sizes = plan.set_sizes(cell.model)
            grid.check_batch_size(cell.batch_size, [n for n in sizes if n])
            check_devices(plan, cell)
        found.append(tuple(cells))
    return found


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise PlanError(f"--replicas takes counts like 2,4, got {text!r}")
    return int(text)


def _spread(one: Cell, replicas: int, kind: str, hosts: int) -> Cell:
    """Return a cell on several devices."""
    batch_size = one.batch_size * (replicas if kind == "weak" else 1)
    return dataclasses.replace(one, replicas=replicas, hosts=hosts, batch_size=batch_size)


def check_devices(plan: Plan, cell: Cell) -> None:
    """Raise PlanError for more replicas than this machine has GPUs."""
    gpus = len(plan.machine["gpus"])
    if cell.device == "gpu" and cell.local_replicas > gpus:
        raise PlanError(
            f"--replicas: {cell.local_replicas} on this machine need as many GPUs, it has {gpus}"
        )


def run_scaling(plan: Plan, observer: Observer, program: Program = None) -> Iterator[Record]:
    """Run all groups on this host; yield each record once it is on the disk."""
    for group in groups(plan):
        yield from run_beside(plan, group, observer, program)


def run_beside(
    plan: Plan, cells: Sequence[Cell], observer: Observer, program: Program = None
) -> list[Record]:
    """Run cells of one device and of several in turn, process after process; return all records."""
    return [
        record
        for process in range(plan.processes)
        for record in run_group(
            plan, list(in_turn(cells, process)), observer, "scale", program, process
        )
    ]


def run_hosts(
    plan: Plan, hosts: Hosts, observer: Observer, program: Program = None
) -> Iterator[Record]:
    """Run this host's part of all cells, one after the other, as the other hosts do.

    Each host has a record of its own: the first one's is the session's.
    """
    cells = [cell for group in groups(plan, len(hosts.addresses)) for cell in group]
    parts = [(cell, process) for cell in cells for process in range(plan.processes)]
    with plan.begun():
        for number, (cell, process) in enumerate(parts, start=1):
            job = hosts.job_of(plan.job(cell, "scale"), number)
            run = CellRun(plan, cell, job, observer, process=process)
            have_met = True
            try:
                with Meeting(hosts.addresses, hosts.host, hosts.wait_s) as meeting:
                    shared = meeting.agree(_terms(plan, job, number), machine.identity())
                    run.job = job.model_copy(update={"share_a_machine": shared})
                    _run(run, orders(plan, cell, "scale"), meeting, program)
            except MeetingError as error:
                have_met = False
                left = f"; {n} cells after it were not run" if (n := len(parts) - number) else ""
                run.fail(f"{error}{left}")
            finally:
                record = run.keep()
            yield record
            if not have_met:
                return  # whoever did not come would be waited for again and again


def _terms(plan: Plan, job: Job, number: int) -> dict[str, Any]:
    """Return what must be equal on all hosts before any of them starts the worker of a cell."""
    own = {"host", "cpus", "data_folder", "data_found_by", "wait_s", "share_a_machine"}
    terms = job.model_dump(mode="json", exclude=own)
    packages = ("fmnist", "keras", "numpy", grid.BACKENDS[job.backend].package)
    versions = {name: _version(name) for name in packages}
    return {**terms, "cell": number, "commit": plan.commit, **versions}


def _version(package: str) -> str | None:
    """Return a package's version; None for one that is installed by another name."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _run(run: CellRun, steps: Sequence[Order], meeting: Meeting, program: Program) -> None:
    """Run this host's part of one cell, until it is over here or elsewhere."""
    meeting.watch(run.fail)
    with ExitStack() as resources:
        run.start(resources, program, len(steps))
        for order in steps:
            run.take(order)
        meeting.end(run.failure)
