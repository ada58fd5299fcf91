"""What a session finds out about itself: its noise, where an epoch goes, whether the work is equal.

Each is a task of its own, with workers of its own, apart from every timing that gets compared.
"""

import dataclasses
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from fmnist import grid, parity
from fmnist.channel import Order, Ready
from fmnist.grid import Cell
from fmnist.measure import utc_now
from fmnist.record import Parity, Record, append, packed
from fmnist.session.launch import (
    CellRun,
    Observer,
    Program,
    WorkerFailureError,
    in_turn,
    terms_of,
    wait_for_host,
)
from fmnist.session.plan import Plan

STOP = Order(command="stop")
TRACE = Order(command="trace")


def variant(name: str) -> Order:
    """Return the order to run one variant of an epoch."""
    return Order(command="variant", variant=name)


def run_noise(plan: Plan, observer: Observer, program: Program = None) -> list[Record]:
    """Run the session's noise cell against itself, in pairs of processes; return their records."""
    pairs = range(plan.noise_pairs)
    return [_noise_pair(plan, observer, program, process) for process in pairs]


def _noise_pair(plan: Plan, observer: Observer, program: Program, process: int) -> Record:
    """Run one process against another of the same cell, in turn; return the record of both."""
    cell = plan.noise_cell
    if (measured := plan.measured_one(cell, "noise", process)) is not None:
        observer.found(measured)
        return measured
    plan.patience.wait(observer.waits)
    base, twin = (
        CellRun(plan, cell, plan.job(cell, "noise"), observer, process=process, role=role)
        for role in ("base", "twin")
    )
    rounds = 1 + plan.noise_rounds
    try:
        with ExitStack() as resources:
            for run in in_turn((base, twin), process):
                run.start(resources, program, rounds * (1 + len(grid.NOISE_VARIANTS)) + 1)
            for number in range(rounds):
                wait_for_host(plan, observer, [base, twin])
                _noise_round(base, twin, number, process)
                if twin.failure:
                    base.fail(f"its twin failed: {twin.failure}")
            for _ in range(rounds):  # last: an epoch right after it would be slower
                base.take(variant(grid.REFERENCE))
            twin.take(STOP)
            base.take(STOP)
    finally:
        beside_s = {name: twin.seconds_of(name) for name in grid.NOISE_VARIANTS}
        bases = [grid.base_of(spike) for spike in grid.SPIKES] + [grid.REFERENCE]
        record = base.keep(beside_s=beside_s | {name: base.seconds_of(name) for name in bases})
    return record


def _noise_round(base: CellRun, twin: CellRun, number: int, process: int) -> None:
    """Run each variant of the twin beside an epoch of the base that is its own.

    The two alternate strictly, through all rounds; which one begins changes with the process. An
    epoch that comes after another one of its own process is faster, by about 5 % on two cores:
    where that fell on one side more often, equals differed and a small spike was hidden.
    """
    for name in in_turn(grid.NOISE_VARIANTS, number):
        of_base = variant("epoch" if name == "twin" else grid.base_of(name))
        for run, order in in_turn(((base, of_base), (twin, variant(name))), process):
            run.take(order)


def run_breakdown(plan: Plan, cell: Cell, observer: Observer, program: Program = None) -> Record:
    """Run a cell's epoch whole and with one part after the other taken away, in turn."""
    if (measured := plan.measured_one(cell, "breakdown", 0)) is not None:
        observer.found(measured)
        return measured
    plan.patience.wait(observer.waits)
    run = CellRun(plan, cell, plan.job(cell, "breakdown"), observer)
    names = ("epoch", *grid.BREAKDOWN_VARIANTS)
    rounds = 1 + plan.preset.breakdown_rounds
    try:
        with ExitStack() as resources:
            run.start(resources, program, rounds * len(names) + 1)
            for number in range(rounds):
                wait_for_host(plan, observer, [run])
                for name in in_turn(names, number):
                    run.take(variant(name))
            run.take(STOP)
    finally:
        record = run.keep(beside_s={n: run.seconds_of(n) for n in grid.BREAKDOWN_VARIANTS})
    return record


def run_parity(
    plan: Plan, cells: Sequence[Cell], observer: Observer, program: Program = None
) -> list[Record]:
    """Have every pair of a group's cells do the same work; return what differed."""
    pairs = list(pairs_of(cells))
    seeds = range(plan.seed, plan.seed + plan.parity_seeds)
    return [_parity(plan, pair, seed, observer, program) for seed in seeds for pair in pairs]


def pairs_of(cells: Sequence[Cell]) -> Iterator[tuple[Cell, Cell]]:
    """Yield the pairs that must do the same work: stock on two backends, and tuned beside stock."""
    yield from backend_pairs(cells)
    for tuned in cells:
        stock = dataclasses.replace(tuned, mode="stock")
        is_float32 = tuned.precision == "float32"  # what the tolerances are of
        if tuned.mode == "tuned" and is_float32 and stock in cells:
            yield tuned, stock


def backend_pairs(cells: Sequence[Cell]) -> Iterator[tuple[Cell, Cell]]:
    """Yield the pairs of stock cells that differ by their backend alone, each once."""
    order = list(grid.BACKENDS)
    terms = ("auto", "", "stock", "float32")
    usual = [c for c in cells if (c.xla, c.environment, c.mode, c.precision) == terms]
    for ours in usual:
        for theirs in usual:
            same = ours == dataclasses.replace(theirs, backend=ours.backend)
            if same and order.index(ours.backend) < order.index(theirs.backend):
                yield ours, theirs


class Followed(NamedTuple):
    """What one backend's worker left of the steps that it followed."""

    ready: Ready
    trace: parity.Trace
    recognised: np.ndarray


def _parity(
    plan: Plan, pair: tuple[Cell, Cell], seed: int, observer: Observer, program: Program
) -> Record:
    """Have both cells follow the same steps, one after the other; return the certificate."""
    if (measured := plan.measured_one(pair[0], "parity", seed - plan.seed)) is not None:
        observer.found(measured)
        return measured
    started_at = utc_now()
    job = plan.job(pair[0], "parity")
    failure, fields = None, {}
    try:
        plan.scratch_path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=plan.scratch_path) as folder:
            followed = [_follow(plan, cell, seed, Path(folder), observer, program) for cell in pair]
        fields = _certificate(pair, seed, job.steps, followed)
    except (WorkerFailureError, OSError, ValueError) as error:  # a trace may be anything
        failure = str(error)
    record = Record.model_validate(
        {
            **terms_of(plan, pair[0], "parity", started_at),
            "train_images": job.train_images,
            "test_images": job.test_images,
            "process": seed - plan.seed,
            **fields,
            "failure": failure,
        }
    )
    append(record, plan.records_path)
    observer.ended(record)
    return record


def _follow(
    plan: Plan, cell: Cell, seed: int, folder: Path, observer: Observer, program: Program
) -> Followed:
    """Return what the cell's worker traced. Raises WorkerFailureError, naming the backend."""
    path = folder / f"{cell.id}.npz"
    job = plan.job(cell, "parity").model_copy(update={"trace_path": str(path), "seed": seed})
    run = CellRun(plan, cell, job, observer, process=seed - plan.seed)
    with ExitStack() as resources:
        run.start(resources, program, steps=2)
        run.take(TRACE)
        run.take(STOP)
    if run.failure is not None or run.ready is None or run.traced is None:
        raise WorkerFailureError(f"{cell.backend}, {cell.mode}: {run.failure}")
    return Followed(run.ready, *parity.load(path, run.traced.weights_sha256))


def _certificate(
    pair: tuple[Cell, Cell], seed: int, steps: int, followed: Sequence[Followed]
) -> dict[str, Any]:
    """Return the fields of a parity record that was measured."""
    ours, theirs = followed
    between: Literal["backend", "mode"] = "backend" if pair[0].mode == pair[1].mode else "mode"
    names = [getattr(cell, between) for cell in pair]
    return {
        "parity": Parity(
            between=between,
            against=names[1],
            seed=seed,
            steps=steps,
            dither=parity.DITHER,
            weights_sha256=ours.trace.weights_sha256,
            differences=parity.differences(ours.trace, theirs.trace),
            tolerances=dict(parity.TOLERANCES),
            correct={name: packed(f.recognised) for name, f in zip(names, followed, strict=True)},
        ),
        "parameters": ours.ready.parameters,
        "versions": ours.ready.versions | theirs.ready.versions,
        "flags": theirs.ready.flags | ours.ready.flags,
        "tuning": ours.ready.tuning,
    }
