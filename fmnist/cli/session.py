"""`fmnist run`: the session that pytest runs, without pytest."""

import dataclasses
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from functools import partial
from types import FrameType
from typing import Any, NoReturn, TypeVar

import click
import psutil
from click.core import ParameterSource
from rich.console import Console

import fmnist
from fmnist import machine
from fmnist.cli.errors import FAILED_CELLS, INTERRUPTED, BadInput, StoppedError
from fmnist.files import ENDING_SIGNALS
from fmnist.fleet.collect import Fleet, run_fleet
from fmnist.fleet.on_ray import OnRay
from fmnist.fleet.on_slurm import slurm
from fmnist.options import FLEET_OPTIONS, OPTIONS, Option
from fmnist.record import Record, read
from fmnist.report.choose import assembled
from fmnist.report.tables import text_of_session
from fmnist.session import learn, plan, scaling
from fmnist.session.progress import SessionProgress
from fmnist.session.run import run_session

OF_WHOLE_TRAININGS = (
    *("preset", "backends", "devices", "modes", "python", "precision", "seeds"),
    *("data_dir", "results", "seed", "order_seed", "time_limit", "resume"),
)
"""The options of a session that a command has too which trains models to their end."""

Function = TypeVar("Function", bound=Callable[..., Any])


def with_options(options: Sequence[Option]) -> Callable[[Function], Function]:
    """Give a command these options, as data; those of a session are the ones that pytest has."""

    def given(function: Function) -> Function:
        for option in reversed(options):
            function = click.option(
                option.flag,
                type=option.type,
                default=option.default,
                metavar=option.metavar,
                help=option.help,
                multiple=option.multiple,
                is_flag=option.is_flag,
                show_default=option.default not in (None, (), False),
            )(function)
        return function

    return given


@click.command()
@with_options((*OPTIONS, *FLEET_OPTIONS))
def run(**options: Any) -> None:  # noqa: ANN401  # one for each of the options
    """Run the cells that `pytest --benchmark-only` runs, by the same engine."""
    planned = _planned(options)
    try:
        on_several = sum(map(len, scaling.groups(planned)))
        cells = (len(planned.cells) + on_several) * planned.processes
        chosen = _fleet(planned) if planned.on_fleet else None
    except ValueError as error:
        raise BadInput(str(error)) from error
    if chosen is None:
        carry_out(planned, cells, partial(run_session, planned), assembled)
        return
    with closing(chosen) as fleet:
        carry_out(planned, cells, partial(run_fleet, planned, fleet=fleet), assembled)


def _fleet(planned: plan.Plan) -> Fleet:
    """Return the machines that the options of a session name. Raises FleetError."""
    options = planned.options
    if options["ray"]:
        return OnRay(options["ray"], options["accelerator"])
    return slurm(planned, options["slurm"], options["accelerator"])


def carry_out(
    planned: plan.Plan,
    cells: int,
    measure: Callable[[SessionProgress], Iterator[Record]],
    arrange: Callable[[Sequence[Record]], list[list[Record]]],
) -> None:
    """Run a session, print its tables, and exit with the status that says how it went.

    Args:
        planned: what the records are of.
        cells: how many records the progress counts to.
        measure: yields each record once it is on the disk.
        arrange: puts records together that stand in one table.
    """
    hear(_end_tidily)
    console = Console()
    for line in announcement(planned):
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    has_failed = False
    try:
        with SessionProgress(cells, console) as progress:
            for record in measure(progress):  # none is kept: they are on the disk
                has_failed = has_failed or record.failure is not None
    except KeyboardInterrupt:
        click.echo(f"interrupted; {_left_by(planned)}", err=True)
        sys.exit(INTERRUPTED)
    except OSError as error:
        raise StoppedError(f"the session stopped: {error}; {_left_by(planned)}") from error
    for run in arrange(read(planned.records_path)[0]):
        click.echo(text_of_session(run, "text"), nl=False)
    click.echo(f"records: {planned.records_path}")
    if has_failed:
        sys.exit(FAILED_CELLS)


def carry_out_learning(planned: plan.Plan, trainings: Sequence[learn.Training]) -> None:
    """Carry out whole trainings of which nothing is timed for a table."""
    measure = partial(learn.run_learning, planned, trainings)
    carry_out(planned, len(trainings), measure, assembled)


def hear(handler: Callable[[int, FrameType | None], None]) -> None:
    """Have signals that end a session handled so; one that is ignored (`nohup`) stays ignored."""
    for number in ENDING_SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _end_tidily(_number: int, _frame: FrameType | None) -> NoReturn:
    """Have the records of what was measured written; the next signal ends all at once."""
    hear(_end_at_once)
    raise KeyboardInterrupt


def _end_at_once(_number: int, _frame: FrameType | None) -> NoReturn:
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            child.kill()
    os._exit(INTERRUPTED)


def _left_by(planned: plan.Plan) -> str:
    """Return what a session that ended early leaves, and how to go on with it."""
    path = planned.records_path
    if not path.exists():
        return "nothing was measured"
    if "hosts" in planned.options:
        return f"what was measured is in {path}; a session of several hosts is started anew"
    return f"what was measured is in {path}; to go on: --resume {path}"


def announcement(planned: plan.Plan) -> list[str]:
    """Return what a person should read before a session runs: terms first, then warnings."""
    order = ", ".join(cell.id for cell in planned.cells)
    where = f"machine: {machine.summary(dict(planned.machine))}"
    disturbances = machine.disturbances()
    if planned.on_fleet:
        where, disturbances = "machines: those of the cluster, this one only hands out", []
    return [
        f"fmnist {fmnist.__version__}, session {planned.session}: preset {planned.preset_name}, "
        f"data set {planned.source.kind} ({planned.source.found_by})",
        where,
        f"cells, in the order of --order-seed {planned.order_seed}: {order}",
        *[f"notice: {text}" for text in planned.notices],
        *[f"notice: {text}" for text in disturbances],
    ]


def made_plan(options: dict[str, Any]) -> plan.Plan:
    """Return the plan of a command that has some of OPTIONS, with defaults of its own.

    A session that is resumed goes on by its own options: what was not typed is left out. Raises
    ValueError saying what is wrong.
    """
    if options["resume"]:
        options = {name: value for name, value in options.items() if _typed(name)}
    return plan.make({option.name: option.default for option in OPTIONS} | options, os.environ)


def _typed(name: str) -> bool:
    """Tell whether an option was given on the command line."""
    source = click.get_current_context().get_parameter_source(name)
    return source is ParameterSource.COMMANDLINE


def some_of(
    shared: Sequence[str], defaults: Mapping[str, Any], helps: Mapping[str, str]
) -> tuple[Option, ...]:
    """Return the options of these names, with defaults and help of a command's own."""
    return tuple(
        dataclasses.replace(
            option,
            default=defaults.get(option.name, option.default),
            help=helps.get(option.name, option.help),
        )
        for option in OPTIONS
        if option.name in shared
    )


def _planned(options: dict[str, Any]) -> plan.Plan:
    try:
        return plan.make(options, os.environ)
    except ValueError as error:
        raise BadInput(str(error)) from error
