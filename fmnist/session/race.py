"""The race: how soon an entrant reaches an accuracy. The parent's side: who starts, and when.

Entrants are trained by fixed schedules, each seed in a fresh process, the seeds of all entrants in
turn. Two trainings of the reference, before the first and after the last, give the seconds that
all are held against. Choosing is a race of its own: other seeds, 80 % of the training set to
train on, and the rest to read; the test set is not read in it.
"""

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from fmnist import grid, models
from fmnist.channel import Job, Order
from fmnist.grid import Cell
from fmnist.models import Recipe
from fmnist.options import PlanError, names
from fmnist.record import RaceRole, Record
from fmnist.session.launch import CellRun, Observer, Program, in_turn, recipe_of
from fmnist.session.plan import Plan
from fmnist.studies.race_rules import (
    CHOOSING_SEED,
    HELD_OUT_SHARE,
    REFERENCE_BACKEND,
    REFERENCE_EPOCHS,
    REFERENCE_MODEL,
)


@dataclass(frozen=True)
class Start:
    """One training in the race, in a process of its own."""

    cell: Cell
    role: RaceRole
    recipe: Recipe
    seed: int
    process: int

    def job(self, plan: Plan) -> Job:
        """Return what the worker is told."""
        held_out = 0.0 if self.role == "entrant" else HELD_OUT_SHARE
        job = plan.whole_training(self.cell, "race", self.recipe, self.seed, held_out)
        return job.model_copy(update={"role": self.role})


def lineup(plan: Plan, seeds: int, varied: Sequence[str] | None = None) -> list[Start]:
    """Return all trainings of a race, in the order in which they run.

    Args:
        plan: whose cells are the entrants.
        seeds: of each entrant, at least 1.
        varied: to choose and not to race: what of the recipes is tried, as `FIELD=VALUE,VALUE`,
            in all combinations; empty: the recipes as they are.

    Raises:
        PlanError: Too few seeds, or one kept for choosing; a field or value that no recipe has.
        ValueError: A batch size does not divide the sets.
    """
    if plan.seed >= CHOOSING_SEED:
        raise PlanError(f"--seed must be below {CHOOSING_SEED}, where choosing begins: {plan.seed}")
    if not 1 <= seeds < CHOOSING_SEED - plan.seed:
        raise PlanError(f"--seeds must be from 1 to {CHOOSING_SEED - plan.seed - 1}, got {seeds}")
    choosing = varied is not None
    first_seed = plan.seed + CHOOSING_SEED if choosing else plan.seed
    entrants = [(c, recipe) for c in plan.cells for recipe in variants(c, varied or ())]
    trainings: list[tuple[Cell, RaceRole, Recipe, int]] = [
        (
            dataclasses.replace(cell, batch_size=recipe.batch_size),
            "choosing" if choosing else "entrant",
            recipe,
            first_seed + number,
        )
        for number in range(seeds)
        for cell, recipe in in_turn(entrants, number)
    ]
    if not choosing:
        trainings = [*references(plan, first_seed), *trainings, *references(plan, first_seed + 1)]
    processes: Counter[Cell] = Counter()
    starts = []
    for training in trainings:
        starts.append(Start(*training, process=processes[training[0]]))
        processes[training[0]] += 1
        check_batch_size(plan, starts[-1])
    return starts


def check_batch_size(plan: Plan, start: Start) -> None:
    """Raise ValueError if a last batch would be smaller: compiled inside the clock.

    That of a race is held to it too when the recipe is being chosen: it is what it is chosen for.
    """
    job = start.job(plan)
    trained = job.train_images - job.validation_images
    grid.check_batch_size(job.batch_size, [trained, job.train_images, job.test_images])


def variants(cell: Cell, varied: Sequence[str]) -> list[Recipe]:
    """Return the recipes of a cell's model with its own batch size, in all that is varied."""
    own = models.card(cell.model).recipe.model_dump() | {"batch_size": cell.batch_size}
    choices: list[list[tuple[str, Any]]] = []
    for text in varied:
        name, _, values = text.partition("=")
        grid.known("field of a recipe in --vary", [name], own)
        choices.append([(name, _value(v)) for v in names(values)])
    try:
        found = [Recipe(**(own | dict(choice))) for choice in itertools.product(*choices)]
    except ValueError as error:
        raise PlanError(f"--vary {' --vary '.join(varied)}: {error}") from error
    if any(recipe.watches for recipe in found):
        raise PlanError(
            f"{cell.model}: stop_after, halve_after and keep_best watch a validation set; a race "
            "is run by fixed schedules, without one"
        )
    return found


def _value(text: str) -> str | int | None:
    """Return a value as a recipe takes it, which turns what else is a number into one."""
    if text == "none":
        return None
    return int(text) if text.isdigit() else text


def references(plan: Plan, seed: int) -> list[tuple[Cell, RaceRole, Recipe, int]]:
    """Return the training that all are held against, on each device where its backend runs."""
    places = dict.fromkeys((cell.backend, cell.device) for cell in plan.cells)
    recipe = models.card(REFERENCE_MODEL).recipe.model_copy(update={"epochs": REFERENCE_EPOCHS})
    return [
        (
            Cell(REFERENCE_MODEL, backend, device, batch_size=recipe.batch_size),
            "reference",
            recipe,
            seed,
        )
        for backend, device in places
        if backend == REFERENCE_BACKEND
    ]


def run_race(
    plan: Plan, starts: Sequence[Start], observer: Observer, program: Program = None
) -> Iterator[Record]:
    """Run all trainings, one after the other; yield each record once it is on the disk.

    What an earlier run of a resumed race has measured is yielded as it is.
    """
    done = measured(plan)
    found = [done.get((s.cell, s.process, s.role, s.seed)) for s in starts]
    for earlier in filter(None, found):
        observer.found(earlier)
    with plan.begun():
        for start, record in zip(starts, found, strict=True):
            yield record or run(plan, start, observer, program)


def measured(plan: Plan) -> Mapping[tuple[Cell, int, RaceRole, int], Record]:
    """Return what the race has measured to the end already, by cell, process, role and seed."""
    return {
        (r.cell, r.process, r.race.role, r.seed): r
        for r in plan.done.values()
        if r.race is not None
    }


def check_resumed(plan: Plan, starts: Sequence[Start]) -> None:
    """Raise PlanError if what is resumed was to choose, and this is to race, or the reverse."""
    began, wanted = (
        {role == "choosing" for role in roles}
        for roles in ((role for _, _, role, _ in measured(plan)), (s.role for s in starts))
    )
    if began - wanted:
        raise PlanError("--resume: a session that chooses goes on with --choose, a race without")


def run(plan: Plan, start: Start, observer: Observer, program: Program = None) -> Record:
    """Run one training in a fresh process; return its record, which is on the disk by then."""
    plan.patience.wait(observer.waits)
    run = CellRun(plan, start.cell, start.job(plan), observer, process=start.process)
    try:
        with ExitStack() as resources:
            run.start(resources, program, steps=2)
            run.take(Order(command="race"))
            run.take(Order(command="stop"))
    finally:
        record = run.keep(seed=start.seed, recipe=recipe_of(start.recipe))
    return record
