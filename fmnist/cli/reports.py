"""The commands that read records: report, compare, check, history, publish."""

import sys
from pathlib import Path

import click

from fmnist import grid, models
from fmnist.cli.errors import FINDINGS, BadInput
from fmnist.measure import utc_now
from fmnist.record import Record, read
from fmnist.report import check as checking
from fmnist.report import compare as comparing
from fmnist.report import history as histories
from fmnist.report import publish as publishing
from fmnist.report import tables
from fmnist.report.choose import sessions_of
from fmnist.report.render import FORMATS, render
from fmnist.report.trust import MARGIN


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="text")
@click.option("--against", type=click.Choice(list(grid.BACKENDS)), help="denominator of the ratios")
def report(files: tuple[Path, ...], form: str, against: str | None) -> None:
    """Print the tables of records files (or of all files in a folder)."""
    records, damaged = _records_in(files)
    print_tables(records, form, against)
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


def print_tables(records: list[Record], form: str, against: str | None) -> None:
    for session in sessions_of(records):
        for table in tables.of_session(session, against):
            click.echo(render(table, form))


def _limit(_context: click.Context, _parameter: click.Parameter, text: str | None) -> float | None:
    try:
        return None if text is None else comparing.limit_of(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


@click.command()
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


@click.command()
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


@click.command()
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


@click.command()
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
