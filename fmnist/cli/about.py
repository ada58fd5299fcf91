"""The commands that say what there is: models, data, doctor."""

import sys
from contextlib import ExitStack
from pathlib import Path

import click
from rich.console import Console
from tabulate import tabulate

from fmnist import data, doctor, grid, models
from fmnist.cli.errors import FAILED_CELLS, BadInput
from fmnist.record import Record
from fmnist.report.limits import peaks_table
from fmnist.report.render import render


@click.command(name="models")
def models_command() -> None:
    """List the models: family, parameters, recipe, origin."""
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


@click.command(name="data")
@click.option("--data-dir", metavar="DIR", help="folder of the four IDX files, or stand-in")
def data_command(data_dir: str | None) -> None:
    """Say where the data comes from, and verify it."""
    try:
        source = data.locate(Path(data_dir) if data_dir else None)
        dataset = data.load(source)
    except data.DataError as error:
        raise BadInput(str(error)) from error
    click.echo(f"data set: {source.kind} ({source.found_by})")
    if source.folder is not None:
        click.echo(f"folder: {source.folder}")
        for name, published in data.FILES.items():
            click.echo(f"  {name}: MD5 {published.md5} as published")
    click.echo(
        f"{len(dataset.train_images):,} training and {len(dataset.test_images):,} test images, "
        f"{dataset.train_images.shape[1]}x{dataset.train_images.shape[2]}, ten classes: "
        + ", ".join(data.CLASS_NAMES)
    )


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
