"""What models learn: whole trainings by recipe, seed after seed. The parent's side.

Each training is a process of its own and ends in a record of task `learn`, with a history of all
epochs and what the trained model makes of each test image, and in a saved model. Nothing here is
timed for a table: trainings may share the machine with other work.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from fmnist import models
from fmnist.channel import Job, Order
from fmnist.grid import Cell
from fmnist.models import Recipe
from fmnist.options import PlanError
from fmnist.record import Recipe as KeptRecipe
from fmnist.record import Record
from fmnist.session.launch import CellRun, Observer, Program, recipe_of
from fmnist.session.plan import Plan

Key = tuple[Cell, int, int, str, KeptRecipe]


@dataclass(frozen=True)
class Training:
    """One training in a process of its own.

    Attributes:
        cell: its batch size is that of the training.
        recipe: by which the model is trained.
        epochs: the most that are trained; fewer than the recipe's if it is cut.
        seed: of the split, the weights, dropout and, on JAX, the order of batches.
        process: which of the cell's trainings in the session this is, from 0.
        study: what it is a part of.
    """

    cell: Cell
    recipe: Recipe
    epochs: int
    seed: int
    process: int
    study: str

    @property
    def key(self) -> Key:
        """What tells it from the others of its session: `key_of` its record."""
        return self.cell, self.process, self.seed, self.study, recipe_of(self.recipe)

    def job(self, plan: Plan) -> Job:
        """Return what the worker is told."""
        held_out = self.recipe.validation_share
        job = plan.whole_training(self.cell, "learn", self.recipe, self.seed, held_out)
        path = plan.model_path(self.cell, self.process).absolute()
        return job.model_copy(update={"epochs": self.epochs, "model_path": str(path)})


def trainings(
    plan: Plan,
    entrants: Sequence[tuple[Cell, Recipe]],
    seeds: int,
    study: str,
    most_epochs: int | None = None,
) -> list[Training]:
    """Return the trainings of all entrants, seed after seed, so that a cut leaves whole seeds.

    Args:
        plan: of the session.
        entrants: cells with what they are trained by.
        seeds: trainings of each, from the plan's seed on. Raises PlanError for less than one.
        study: what the trainings are a part of.
        most_epochs: cuts recipes that have more; None: cuts none.
    """
    if seeds < 1:
        raise PlanError(f"--seeds must be at least 1, got {seeds}")
    processes: Counter[Cell] = Counter()
    found = []
    for seed in range(plan.seed, plan.seed + seeds):
        for entrant, recipe in entrants:
            cell = dataclasses.replace(entrant, batch_size=recipe.batch_size)
            epochs = min(recipe.epochs, most_epochs or recipe.epochs)
            found.append(Training(cell, recipe, epochs, seed, processes[cell], study))
            processes[cell] += 1
    return found


def by_own_recipe(plan: Plan) -> list[tuple[Cell, Recipe]]:
    """Return the plan's cells, each with its model's recipe."""
    return [(cell, models.card(cell.model).recipe) for cell in plan.cells]


def key_of(record: Record) -> Key:
    """Return what tells a training from the others of its session."""
    return record.cell, record.process, record.seed, record.study, record.recipe


def run_learning(
    plan: Plan, planned: Sequence[Training], observer: Observer, program: Program = None
) -> Iterator[Record]:
    """Run the trainings one after the other; yield each record once it is on the disk.

    What an earlier run of a resumed session has learned is yielded as it is.
    """
    done = {key_of(record): record for record in plan.done.values()}
    for training in planned:
        if training.key in done:
            observer.found(done[training.key])
    with plan.begun():
        for training in planned:
            yield done.get(training.key) or run(plan, training, observer, program)


def run(plan: Plan, training: Training, observer: Observer, program: Program = None) -> Record:
    """Run one training in a fresh process; return its record, which is on the disk by then."""
    epochs = training.epochs
    run = CellRun(plan, training.cell, training.job(plan), observer, process=training.process)
    try:
        with ExitStack() as resources:
            run.start(resources, program, steps=epochs + 2)
            for _ in range(epochs):
                run.take(Order(command="epoch"))
                if run.has_trained:
                    break
            run.take(Order(command="learned"))
            run.take(Order(command="stop"))
    finally:
        record = run.keep(
            seed=training.seed, recipe=recipe_of(training.recipe), study=training.study
        )
    return record
