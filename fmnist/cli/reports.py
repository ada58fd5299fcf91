"""The commands that read records: report, compare, check, history, publish."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

import click
from rich.console import Console

from fmnist import grid, models
from fmnist.cli.errors import FINDINGS, BadInput
from fmnist.files import replace
from fmnist.measure import utc_now
from fmnist.record import Record
from fmnist.report import check as checking
from fmnist.report import compare as comparing
from fmnist.report import export as exporting
from fmnist.report import history as histories
from fmnist.report import schema, tables
from fmnist.report.anonymous import names_in, without
from fmnist.report.archive import Archive, ChangedError
from fmnist.report.learned import epoch_tables
from fmnist.report.render import FORMATS, render
from fmnist.report.terminal import compact
from fmnist.report.trust import MARGIN

NO_RECORDS = "no records in these files"
ANONYMOUS = click.option(
    "--anonymous", is_flag=True, help="leave out names of people and hosts, and paths"
)


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--format",
    "form",
    type=click.Choice(list(FORMATS)),
    help="every table in this form; default: text, in a terminal a summary",
)
@click.option("--against", type=click.Choice(list(grid.BACKENDS)), help="denominator of the ratios")
@click.option(
    "--html",
    "page_path",
    metavar="OUT.html",
    type=click.Path(dir_okay=False, path_type=Path),
    help="write all of it as one page for a browser instead",
)
@click.option(
    "--pictures",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="write the pictures there instead, as SVG and as PNG",
)
@click.option(
    "--epochs", is_flag=True, help="print what each epoch of each training achieved instead"
)
@ANONYMOUS
def report(  # noqa: PLR0913  # one argument for each option
    files: tuple[Path, ...],
    form: str | None,
    against: str | None,
    page_path: Path | None,
    pictures: Path | None,
    *,
    epochs: bool,
    anonymous: bool,
) -> None:
    """Print the tables of records files (or of all files in a folder)."""
    archive = _archive(files, anonymous=anonymous)
    try:
        if page_path is None and pictures is None and not epochs:
            _show(archive, form, against)
        else:
            runs = list(archive.runs())
            if page_path is not None:
                from fmnist.report.page import page

                write(page_path, page(runs, against))
            if pictures is not None:
                _draw(runs, against, pictures)
            if epochs:
                _show_epochs(runs, form or "text")
    except ChangedError as error:
        raise BadInput(str(error)) from error
    fail_if_damaged(archive.damaged)


def _draw(runs: Sequence[Sequence[Record]], against: str | None, folder: Path) -> None:
    """Write every picture of the runs."""
    from fmnist.report.pictures import plots

    for run in runs:
        for picture in plots.of_session(run, against):
            stem = plots.stem(run, picture.name)
            write(folder / f"{stem}.svg", plots.svg(picture))
            write(folder / f"{stem}.png", plots.png(picture))


def _show_epochs(runs: Sequence[Sequence[Record]], form: str) -> None:
    """Print the epochs of every training. Raises BadInput where there is none."""
    made = [table for run in runs for table in epoch_tables(run)]
    if not made:
        raise BadInput("no training in these files has a history of its epochs")
    for table in made:
        click.echo(render(table, form))


def _show(archive: Archive, form: str | None, against: str | None) -> None:
    """Print a summary of each run in a terminal, else every table; a run at a time is held."""
    if form is None and sys.stdout.isatty():
        console = Console()
        for run in archive.runs():
            console.print(compact(run, against))
    else:
        make = partial(tables.text_of_session, form=form or "text", against=against)
        for text in archive.made(make):
            click.echo(text, nl=False)
    if not archive.size:
        raise BadInput(NO_RECORDS)


def write(path: Path, content: str | bytes | Iterable[bytes]) -> None:
    """Replace a file whole, and say so."""
    try:
        replace(path, content)
    except OSError as error:
        raise BadInput(str(error)) from error
    click.echo(f"wrote {path}")


def records_in(files: tuple[Path, ...]) -> tuple[list[Record], int]:
    """Return the good records of files or folders, and the number of damaged lines, each told."""
    archive = _archive(files, anonymous=False)
    return list(archive), archive.damaged


def _archive(files: tuple[Path, ...], *, anonymous: bool) -> Archive:
    """Return the records of files or folders; their damaged lines are told when they are read."""
    archive = Archive(_record_files(files), lambda line: click.echo(f"damaged: {line}", err=True))
    if not anonymous:
        return archive
    return archive.changed(partial(without, names_in(archive)))


def fail_if_damaged(lines: int) -> None:
    """Raise BadInput if any line was damaged: what was printed is not of all records."""
    if lines:
        raise BadInput(f"{lines} damaged lines were left out, see above")


def _record_files(paths: tuple[Path, ...]) -> list[Path]:
    """Return the files, folders replaced by the records files in them."""
    return [f for p in paths for f in (sorted(p.glob("*.jsonl")) if p.is_dir() else [p])]


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
    summaries, found = [], False
    try:
        text = None if published is None else published.read_text(encoding="utf-8")
        for path in paths:
            file = checking.check(path, known, utc_now(), text)
            for finding in file.findings:
                click.echo(str(finding))
            found |= bool(file.findings)
            summaries.append(file.summary)
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(str(error)) from error
    for summary in summaries:
        click.echo(f"checked {summary}")
    sys.exit(FINDINGS if found else 0)


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="text")
@click.option("--machine", "wanted", metavar="TEXT", help="the machine whose name holds this")
def history(files: tuple[Path, ...], form: str, wanted: str | None) -> None:
    """Print each cell's sessions on one machine in the order of time, and what changed."""
    records, damaged = records_in(files)
    if not records:
        raise BadInput(NO_RECORDS)
    try:
        made = histories.tables(histories.of_one_machine(records, wanted))
    except histories.HistoryError as error:
        raise BadInput(str(error)) from error
    for table in made:
        click.echo(render(table, form))
    fail_if_damaged(damaged)


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--to",
    "target",
    required=True,
    metavar="OUT.csv|OUT.parquet",
    type=click.Path(dir_okay=False, path_type=Path),
)
@click.option(
    "--rows",
    type=click.Choice(["rounds", "records"]),
    default="rounds",
    show_default=True,
    help="what each row is: a timed round, or a record",
)
@ANONYMOUS
def export(files: tuple[Path, ...], target: Path, rows: str, *, anonymous: bool) -> None:
    """Write records as one plain table, for other programs."""
    if target.suffix not in (".csv", ".parquet"):
        raise BadInput(f"--to must end in .csv or .parquet, got {target}")
    archive = _archive(files, anonymous=anonymous)
    made = exporting.rounds(archive) if rows == "rounds" else exporting.per_record(archive)
    if target.suffix == ".csv":
        content: Iterable[bytes] = map(str.encode, exporting.csv_lines(made))
    else:
        try:
            content = exporting.parquet(made)
        except ValueError as error:
            raise BadInput(str(error)) from error
    write(target, _of_any(archive, content))
    fail_if_damaged(archive.damaged)


def _of_any(archive: Archive, content: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what is made of an archive. Raises BadInput at the end if that holds no record."""
    yield from content
    if not archive.size:
        raise BadInput(NO_RECORDS)


@click.command()
@click.option("--check", is_flag=True, help="write nothing; fail if a published file is stale")
@click.option(
    "--root", type=click.Path(path_type=Path), default=Path(), help="the project's folder"
)
def publish(*, check: bool, root: Path) -> None:
    """Make everything under results/ from results/raw, the README's tables, and docs/record.md."""
    from fmnist.report import publish as publishing

    try:
        wanted = publishing.files(root) | schema.pages(root)
        stale = publishing.stale(wanted)
        left_over = publishing.left_over(root, wanted)
    except (OSError, publishing.PublishError) as error:
        raise BadInput(str(error)) from error
    if check and (stale or left_over):
        named = ", ".join(map(str, (*stale, *left_over)))
        raise BadInput(f"not what the records in results/raw make: {named}; run `fmnist publish`")
    for path in stale:
        write(path, wanted[path])
    for path in left_over:
        path.unlink()
        click.echo(f"removed {path}")
    if not stale and not left_over:
        click.echo("every published file is what its records make")
