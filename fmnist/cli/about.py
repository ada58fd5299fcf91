"""The commands that say what there is: models, doctor."""

import sys
from contextlib import ExitStack

import click
from rich.console import Console
from tabulate import tabulate

from fmnist import grid, models
from fmnist.cli import doctor
from fmnist.cli.errors import FAILED_CELLS, REASON_LENGTH, BadInput
from fmnist.cli.predict import installed_backend
from fmnist.lessons import ask, by_keras
from fmnist.record import Record
from fmnist.report.layers import layer_table
from fmnist.report.limits import peaks_table
from fmnist.report.render import inert, render


@click.command(name="models")
@click.argument("name", required=False)
def models_command(name: str | None) -> None:
    """List the models: family, parameters, recipe, origin; or the layers of one model."""
    if name is None:
        _list()
    else:
        _layers(name)


def _list() -> None:
    rows = [
        (
            card.name,
            card.family,
            f"{card.parameters:,}",
            card.recipe.epochs,
            card.recipe.batch_size,
            f"{card.recipe.validation_share:.0%}",
            card.origin,
        )
        for card in map(models.card, models.names())
    ]
    header = ("model", "family", "parameters", "epochs", "batch", "validation", "origin")
    right = ("left", "left", "right", "right", "right", "right", "left")
    click.echo(tabulate(rows, header, colalign=right))


def _layers(name: str) -> None:
    """Print a model's layers, as Keras builds them in a process of its own."""
    try:
        card = models.card(name)
        layers = by_keras.layers(name, installed_backend(None))
    except ValueError as error:
        raise BadInput(str(error)) from error
    except ask.NoAnswerError as error:
        raise click.ClickException(inert(str(error), REASON_LENGTH)) from error
    click.echo(render(layer_table(name, card.summary, layers), "text"))


@click.command(name="doctor")
@click.option("--peaks", is_flag=True, help="measure matrix products and memory bandwidth instead")
@click.option(
    "--precision",
    type=click.Choice(grid.PRECISIONS),
    help="with --peaks: what matrices are multiplied in; default: float32",
)
def doctor_command(*, peaks: bool, precision: str | None) -> None:
    """Say which backends and devices work here, and what would disturb a measurement."""
    if precision is not None and not peaks:
        raise BadInput("--precision is of what --peaks measures: give both")
    with ExitStack() as resources:
        healthy = _peaks(resources, precision or "float32") if peaks else _findings(resources)
    sys.exit(0 if healthy else FAILED_CELLS)


def _findings(resources: ExitStack) -> bool:
    """Print what is found, and return whether nothing is broken."""
    console = Console()
    healthy = True
    for finding in doctor.examine(resources):
        console.print(finding.line, highlight=False, markup=False, soft_wrap=True)
        healthy = healthy and not finding.broken
    return healthy


def _peaks(resources: ExitStack, precision: str) -> bool:
    """Print what each backend reaches on each device, and return whether nothing is broken."""
    found = list(doctor.peaks(resources, precision))
    records = [r for r in found if isinstance(r, Record)]
    findings = [f for f in found if isinstance(f, doctor.Finding)]
    if records:
        click.echo(render(peaks_table(records), "text"))
    for finding in findings:
        click.echo(finding.line)
    return not any(finding.broken for finding in findings)
