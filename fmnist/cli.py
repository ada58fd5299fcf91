"""The command `fmnist`: run, report, compare, check, history, publish, doctor, models, data."""

import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from tabulate import tabulate

import fmnist
from fmnist import data, doctor, grid, machine, models, plan
from fmnist.measure import utc_now
from fmnist.options import OPTIONS
from fmnist.progress import SessionProgress
from fmnist.record import Record, read
from fmnist.report import check as checking
from fmnist.report import compare as comparing
from fmnist.report import history as histories
from fmnist.report import publish as publishing
from fmnist.report import tables
from fmnist.report.choose import sessions_of
from fmnist.report.render import FORMATS, render
from fmnist.report.trust import MARGIN
from fmnist.session import run_session

FAILED_CELLS = 1
FINDINGS = 1
INTERRUPTED = 130
Function = TypeVar("Function", bound=Callable[..., Any])


class BadInput(click.ClickException):
    """What a person gave is wrong; the message says what and where. Exit status 2."""

    exit_code = 2


def session_options(function: Function) -> Function:
    """Give a command the options of a session, the same ones that pytest has."""
    for option in reversed(OPTIONS):
        function = click.option(
            option.flag,
            type=option.type,
            default=option.default,
            metavar=option.metavar,
            help=option.help,
            multiple=option.multiple,
            show_default=option.default not in (None, ()),
        )(function)
    return function


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(fmnist.__version__)
def main() -> None:
    """Keras 3 on TensorFlow and on JAX, timed side by side on Fashion-MNIST."""


@main.command()
@session_options
def run(**options: Any) -> None:  # noqa: ANN401  # one for each of OPTIONS
    """Run the cells that `pytest --benchmark-only` runs, by the same engine."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as tidy an end as by Ctrl-C
    console = Console()
    planned = _planned(options)
    for line in announcement(planned):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    records: list[Record] = []
    try:
        with SessionProgress(len(planned.cells) * planned.processes, console) as progress:
            records.extend(run_session(planned, progress))
    except KeyboardInterrupt:
        click.echo(f"interrupted; what was measured is in {planned.records_path}", err=True)
        sys.exit(INTERRUPTED)
    _print_tables(records, "text", None)
    click.echo(f"records: {planned.records_path}")
    if any(record.failure for record in records):
        sys.exit(FAILED_CELLS)


def announcement(planned: plan.Plan) -> list[str]:
    """Return what a person should read before a session runs: terms first, then warnings."""
    order = ", ".join(cell.id for cell in planned.cells)
    return [
        f"fmnist {fmnist.__version__}, session {planned.session}: preset {planned.preset_name}, "
        f"data set {planned.source.kind} ({planned.source.found_by})",
        f"machine: {machine.summary(dict(planned.machine))}",
        f"cells, in the order of --order-seed {planned.order_seed}: {order}",
        *[f"notice: {text}" for text in planned.notices],
        *[f"notice: {text}" for text in machine.disturbances()],
    ]


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="text")
@click.option("--against", type=click.Choice(list(grid.BACKENDS)), help="denominator of the ratios")
def report(files: tuple[Path, ...], form: str, against: str | None) -> None:
    """Print the tables of records files (or of all files in a folder)."""
    records, damaged = _records_in(files)
    _print_tables(records, form, against)
    _fail_if_damaged(damaged)


def _records_in(files: tuple[Path, ...]) -> tuple[list[Record], int]:
    """Return the good records of files or folders, and the number of damaged lines, each told."""
    records: list[Record] = []
    damaged = 0
    for path in _record_files(files):
        good, bad = read(path)
        records += good
        damaged += len(bad)
        for line in bad:
            click.echo(f"damaged: {line}", err=True)
    if not records:
        raise BadInput("no records in these files")
    return records, damaged


def _fail_if_damaged(lines: int) -> None:
    if lines:
        raise BadInput(f"{lines} damaged lines were left out, see above")


def _record_files(paths: tuple[Path, ...]) -> list[Path]:
    """Return the files, folders replaced by the records files in them."""
    return [f for p in paths for f in (sorted(p.glob("*.jsonl")) if p.is_dir() else [p])]


def _print_tables(records: list[Record], form: str, against: str | None) -> None:
    for session in sessions_of(records):
        for table in tables.of_session(session, against):
            click.echo(render(table, form))


def _limit(_context: click.Context, _parameter: click.Parameter, text: str | None) -> float | None:
    try:
        return None if text is None else comparing.limit_of(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@main.command()
@click.argument("before", type=click.Path(exists=True, path_type=Path))
@click.argument("after", type=click.Path(exists=True, path_type=Path))
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="text")
@click.option(
    "--margin",
    type=click.FloatRange(0, 100, min_open=True),
    default=100 * MARGIN,
    show_default=True,
    help="per cent within which times count as the same",
)
@click.option(
    "--fail-if",
    "limit",
    metavar="slower:P%",
    callback=_limit,
    help="exit status 1 if a cell is slower by more than P %, with its whole interval",
)
@click.option("--anyway", is_flag=True, help="compare different work too, and say so")
def compare(
    before: Path, after: Path, form: str, margin: float, limit: float | None, *, anyway: bool
) -> None:
    """Compare two sessions cell by cell, each a records file (or a folder with one session)."""
    try:
        old, new = (comparing.session_in(_record_files((p,)), str(p)) for p in (before, after))
        compared = comparing.compare(old, new, margin / 100, anyway=anyway)
    except (OSError, comparing.CompareError) as error:
        raise BadInput(str(error)) from error
    for table in comparing.tables_of(compared):
        click.echo(render(table, form))
    if limit is None:
        return
    if slower := comparing.slower_than(compared, limit):
        raise click.ClickException(f"slower by more than {100 * limit:g} %: {', '.join(slower)}")
    if undecided := comparing.undecided(compared):
        raise BadInput(f"--fail-if cannot be decided: {'; '.join(undecided)}")


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--published",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Markdown that must hold every table row that the records make",
)
def check(files: tuple[Path, ...], published: Path | None) -> None:
    """Check results files (or all files in a folder): valid, complete, plausible, derivable."""
    known = {name: models.card(name).parameters for name in models.names()}
    paths = _record_files(files)
    if not paths:
        raise BadInput("no records files in these folders")
    try:
        text = None if published is None else published.read_text(encoding="utf-8")
        checked = [checking.check(path, known, utc_now(), text) for path in paths]
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(str(error)) from error
    for file in checked:
        for finding in file.findings:
            click.echo(str(finding))
    for file in checked:
        click.echo(f"checked {file.summary}")
    sys.exit(FINDINGS if any(file.findings for file in checked) else 0)


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="text")
@click.option("--machine", "wanted", metavar="TEXT", help="the machine whose name holds this")
def history(files: tuple[Path, ...], form: str, wanted: str | None) -> None:
    """Print each cell's sessions on one machine in the order of time, and what changed."""
    records, damaged = _records_in(files)
    try:
        made = histories.tables(histories.of_one_machine(records, wanted))
    except histories.HistoryError as error:
        raise BadInput(str(error)) from error
    for table in made:
        click.echo(render(table, form))
    _fail_if_damaged(damaged)


@main.command()
@click.option("--check", is_flag=True, help="write nothing; fail if a published file is stale")
@click.option(
    "--root", type=click.Path(path_type=Path), default=Path(), help="the project's folder"
)
def publish(*, check: bool, root: Path) -> None:
    """Make results/README.md and the README's table from results/raw."""
    try:
        wanted = publishing.pages(root)
        stale = publishing.stale(wanted)
        if check and stale:
            named = ", ".join(map(str, stale))
            raise BadInput(
                f"not what the records in results/raw make: {named}; run `fmnist publish`"
            )
        for path in stale:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
            click.echo(f"wrote {path}")
    except (OSError, publishing.PublishError) as error:
        raise BadInput(str(error)) from error
    if not stale:
        click.echo("every published file is what its records make")


@main.command(name="models")
def list_models() -> None:
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


@main.command(name="data")
@click.option("--data-dir", metavar="DIR", help="folder of the four IDX files, or stand-in")
def show_data(data_dir: str | None) -> None:
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


@main.command(name="doctor")
def run_doctor() -> None:
    """Say which backends and devices work here, and what would disturb a measurement."""
    console = Console()
    healthy = True
    with ExitStack() as resources:
        for finding in doctor.examine(resources):
            console.print(finding.line, highlight=False, markup=False, soft_wrap=True)
            healthy = healthy and not finding.broken
    sys.exit(0 if healthy else FAILED_CELLS)


def _planned(options: dict[str, Any]) -> plan.Plan:
    try:
        return plan.make(options, os.environ)
    except ValueError as error:
        raise BadInput(str(error)) from error
