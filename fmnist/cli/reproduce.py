"""`fmnist reproduce`: the models of the five projects, trained again and held against claims."""

from typing import Any

import click

from fmnist.cli.errors import BadInput
from fmnist.cli.session import (
    OF_WHOLE_TRAININGS,
    carry_out_learning,
    made_plan,
    some_of,
    with_options,
)
from fmnist.report.reproduction import FEWEST_SEEDS, STUDY
from fmnist.session import learn, plan
from fmnist.studies import claims

REPRODUCE_OPTIONS = some_of(
    OF_WHOLE_TRAININGS,
    defaults={"preset": "full", "seeds": FEWEST_SEEDS},
    helps={"seeds": "trainings of each model, each in a process of its own"},
)


@click.command()
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@with_options(REPRODUCE_OPTIONS)
@click.option(
    "--epochs",
    type=click.IntRange(min=2),
    help="cut recipes that have more, and say so; with --resume: give the same again",
)
def reproduce(*, keys: tuple[str, ...], epochs: int | None, **options: Any) -> None:  # noqa: ANN401  # one for each of REPRODUCE_OPTIONS
    """Train the models of projects by their own recipes; set what was published beside it.

    KEY is imagerecognition, uta, tutorial, conv_8_24_48 or dense_then_conv; default: all.
    """
    try:
        planned, trainings = _planned(keys, epochs, options)
    except ValueError as error:
        raise BadInput(str(error)) from error
    carry_out_learning(planned, trainings)


def _planned(
    keys: tuple[str, ...], epochs: int | None, options: dict[str, Any]
) -> tuple[plan.Plan, list[learn.Training]]:
    if options["resume"] and keys:
        raise BadInput(
            "--resume goes on with the projects that the session began with: leave KEY out"
        )
    if not options["resume"]:
        chosen = [name for key in keys or claims.PROJECTS for name in claims.models_of(key)]
        options["models"] = ",".join(chosen)
    planned = made_plan(options)
    entrants = learn.by_own_recipe(planned)
    return planned, learn.trainings(planned, entrants, planned.options["seeds"], STUDY, epochs)
