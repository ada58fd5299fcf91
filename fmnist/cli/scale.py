"""`fmnist scale`: one model on several devices, of one host or of several."""

import dataclasses
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import click

from fmnist.cli.errors import BadInput
from fmnist.cli.session import OF_WHOLE_TRAININGS, carry_out, made_plan, some_of, with_options
from fmnist.options import PlanError, names
from fmnist.record import Record
from fmnist.report.choose import assembled
from fmnist.session import plan, scaling
from fmnist.session.progress import SessionProgress

SCALE_OPTIONS = some_of(
    (
        *(name for name in OF_WHOLE_TRAININGS if name not in ("modes", "seeds")),
        *("models", "recipe", "replicas", "scaling", "batch_size", "rounds", "processes"),
        "patience",
    ),
    defaults={},
    helps={"replicas": "comma-separated: devices that train one model; default: 2, or one a host"},
)


@click.command()
@with_options(SCALE_OPTIONS)
@click.option(
    "--hosts",
    metavar="NAME:PORT,NAME:PORT",
    help="machines that train one model together; start the same command on each",
)
@click.option("--host", type=int, metavar="I", help="which of --hosts this machine is, from 0")
@click.option(
    "--wait", default=60.0, show_default=True, metavar="S", help="how long other hosts may take"
)
def scale(*, hosts: str | None, host: int | None, wait: float, **options: Any) -> None:  # noqa: ANN401  # one for each of SCALE_OPTIONS
    """Train on several devices beside one: throughput, speed-up, efficiency."""
    measure: Callable[[SessionProgress], Iterator[Record]]
    try:
        if (hosts is None) != (host is None):
            raise PlanError("--hosts and --host come together: all machines, and which this one is")
        if hosts is not None and host is not None:
            part = scaling.Hosts(names(hosts), host, wait)
            planned = _across(part, options)
            groups = scaling.groups(planned, len(part.addresses))
            measure = partial(scaling.run_hosts, planned, part)
        else:
            options["replicas"] = options["replicas"] or ("" if options["resume"] else "2")
            planned = made_plan(options)
            groups = scaling.groups(planned)
            measure = partial(_measured, planned)
    except ValueError as error:
        raise BadInput(str(error)) from error
    carry_out(planned, sum(map(len, groups)) * planned.processes, measure, assembled)


def _measured(planned: plan.Plan, progress: SessionProgress) -> Iterator[Record]:
    with planned.begun():
        yield from scaling.run_scaling(planned, progress)


def _across(hosts: scaling.Hosts, options: dict[str, Any]) -> plan.Plan:
    """Return the plan of this host's part. Raises ValueError for what cannot be run."""
    if options["resume"]:
        raise PlanError("--resume is for sessions of one host: start this one anew on every host")
    if options["python"]:
        raise PlanError("--python: with --hosts, start the command itself by that interpreter")
    options["replicas"] = options["replicas"] or str(len(hosts.addresses))
    options["order_seed"] = options["order_seed"] or 0  # all hosts take the cells in one order
    planned = made_plan(options)
    # No option of a session: a file that has it is not resumed.
    planned = dataclasses.replace(planned, options={**planned.options, "hosts": str(hosts)})
    if not hosts.host:
        return planned
    # The first host's records are the session's: these would count a second time.
    return dataclasses.replace(planned, results=planned.results / "logs" / f"host{hosts.host}")
