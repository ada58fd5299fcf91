"""`fmnist race`: how soon an accuracy is reached."""

from functools import partial
from typing import Any

import click

from fmnist import models
from fmnist.cli.errors import BadInput
from fmnist.cli.session import (
    OF_WHOLE_TRAININGS,
    carry_out,
    made_plan,
    some_of,
    with_options,
)
from fmnist.report.choose import sessions_of
from fmnist.session import plan
from fmnist.session import race as racing
from fmnist.studies.race_rules import FEWEST_SEEDS

RACE_OPTIONS = some_of(
    (*OF_WHOLE_TRAININGS, "models", "patience"),
    defaults={"preset": "full", "seeds": FEWEST_SEEDS},
    helps={
        "seeds": "fresh seeds of each entrant, each in a process of its own",
        "models": "comma-separated; default: the racers",
    },
)


@click.command()
@with_options(RACE_OPTIONS)
@click.option(
    "--target",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="SHARE",
    help="run the racers made for this accuracy, like 0.92; default: all racers",
)
@click.option(
    "--choose",
    is_flag=True,
    help="train on 80 % of the training set and read the rest, never the test set",
)
@click.option(
    "--vary",
    multiple=True,
    metavar="FIELD=A,B",
    help="with --choose: values of a recipe's field to try, like epochs=3,4; may be repeated",
)
def race(*, target: float | None, choose: bool, vary: tuple[str, ...], **options: Any) -> None:  # noqa: ANN401  # one for each of RACE_OPTIONS
    """Train entrants by fixed schedules, and say how soon each reaches which accuracy."""
    if target is not None and options["models"]:
        raise BadInput("--target chooses among the racers: leave out --models, or the target")
    if vary and not choose:
        raise BadInput("--vary is for --choose: a race is run by the recipes as they are")
    planned, starts = _planned(options, target, vary if choose else None)
    carry_out(planned, len(starts), partial(racing.run_race, planned, starts), sessions_of)


def _planned(
    options: dict[str, Any], target: float | None, varied: tuple[str, ...] | None
) -> tuple[plan.Plan, list[racing.Start]]:
    try:
        if not options["resume"] and not options["models"]:
            options["models"] = ",".join(models.racers(target))
        planned = made_plan(options)
        starts = racing.lineup(planned, planned.options["seeds"], varied)
        racing.check_resumed(planned, starts)
    except ValueError as error:
        raise BadInput(str(error)) from error
    return planned, starts
