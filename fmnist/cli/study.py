"""`fmnist study`: many models by one plan, to see what an idea, a parameter or a setting buys."""

from collections.abc import Sequence
from typing import Any, Final

import click

from fmnist import grid
from fmnist.cli.errors import BadInput
from fmnist.cli.session import (
    OF_WHOLE_TRAININGS,
    carry_out_learning,
    made_plan,
    some_of,
    with_options,
)
from fmnist.options import PlanError
from fmnist.session import learn, plan
from fmnist.studies import Entrant, ablation, parameters, tuning

SEEDS: Final = {ablation.NAME: 3, parameters.NAME: 3, tuning.NAME: 1}
"""By study, how often each model is trained unless another number is asked for."""
STUDY_OPTIONS = some_of(
    OF_WHOLE_TRAININGS,
    defaults={},
    helps={
        "seeds": "trainings of each model, each in a process of its own; default: "
        + ", ".join(f"{name} {seeds}" for name, seeds in SEEDS.items())
    },
)


@click.command()
@click.argument("name", type=click.Choice(list(SEEDS)))
@with_options(STUDY_OPTIONS)
@click.option(
    "--epochs", type=click.IntRange(min=2), help="of each training; default: the recipe's"
)
@click.option(
    "--trials", type=int, help=f"of the study tuning: points tried; default: {tuning.TRIALS}"
)
def study(*, name: str, epochs: int | None, trials: int | None, **options: Any) -> None:  # noqa: ANN401  # one for each of STUDY_OPTIONS
    """Train the models of a study by one plan, and say what each step is worth.

    ablation: from softmax regression to callbacks, one change at a time. parameters: dense against
    conv with equally many parameters. tuning: a search by the validation set alone.
    """
    if trials is not None and name != tuning.NAME:
        raise BadInput(f"--trials is for the study {tuning.NAME}: leave it out")
    try:
        planned, trainings = _planned(name, epochs, trials, options)
    except ValueError as error:
        raise BadInput(str(error)) from error
    carry_out_learning(planned, trainings)


def _planned(
    name: str, epochs: int | None, trials: int | None, options: dict[str, Any]
) -> tuple[plan.Plan, list[learn.Training]]:
    if options["resume"]:
        planned = made_plan(options)
        entrants = _entrants(name, epochs, trials, planned.seed)
    else:
        entrants = _entrants(name, epochs, trials, options["seed"])
        options["models"] = ",".join(dict.fromkeys(entrant.model for entrant in entrants))
        planned = made_plan(options)
    seeds = planned.options["seeds"]
    for entrant in entrants:
        sizes = plan.set_sizes(entrant.recipe, planned.preset.by_recipe())
        grid.check_batch_size(entrant.recipe.batch_size, sizes)
    trainings = learn.trainings(
        planned,
        [
            (cell, entrant.recipe)
            for entrant in entrants
            for cell in planned.cells
            if cell.model == entrant.model
        ],
        SEEDS[name] if seeds is None else seeds,
        name,
    )
    _check_resumed(planned, trainings, entrants)
    return planned, trainings


def _entrants(name: str, epochs: int | None, trials: int | None, seed: int) -> tuple[Entrant, ...]:
    if name == tuning.NAME:
        return tuning.entrants(tuning.TRIALS if trials is None else trials, seed, epochs)
    return ablation.ladder(epochs) if name == ablation.NAME else parameters.entrants(epochs)


def _check_resumed(
    planned: plan.Plan, trainings: Sequence[learn.Training], entrants: Sequence[Entrant]
) -> None:
    """Raise PlanError if what is resumed began as something else than what is asked for now."""
    wanted = {training.key for training in trainings}
    began = {learn.key_of(record) for record in planned.done.values()}
    absent = {entrant.model for entrant in entrants} - {cell.model for cell in planned.cells}
    if absent or began - wanted:
        raise PlanError(
            "--resume: the session began as another study, or with other --epochs or "
            "--trials: give the same again"
        )
