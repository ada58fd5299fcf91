"""What is handed out: a group of cells with all that decides how it is measured, and its outcome.

As a program (`python -m fmnist.fleet.unit FD`) it carries out the one unit that it is told over a
socket, and answers with the outcome.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from fmnist import bounds, grid
from fmnist.grid import Cell
from fmnist.options import FLEET_OPTIONS, PlanError
from fmnist.session import plan
from fmnist.session.launch import Unwatched
from fmnist.session.plan import Plan
from fmnist.session.run import run_session

OURS = ("keras", "numpy")
"""Packages that decide a measurement, beside those of the backend."""
TELL_VERSIONS = """\
import importlib.metadata, json, platform, sys
import fmnist
found = {"python": platform.python_version(), "fmnist": fmnist.__version__}
for name in sys.argv[1:]:
    try:
        found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        pass
print(json.dumps(found))
"""
NONE = "none"


class Unit(BaseModel):
    """A group of cells, and the terms of the session that it is of."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    session: str
    options: dict[str, Any]
    """Of the session; each machine makes its own plan by them."""
    cells: tuple[Cell, ...]
    """In the order in which they take turns."""
    noise_cell: Cell
    """The one of them that is run against itself."""
    budget_s: float | None
    """The group's part of the session's budget."""
    flags: dict[str, str]
    """Variables of the session's environment that can change a timing."""
    versions: dict[str, dict[str, str]]
    """By backend and environment, the version of each package."""
    commit: str | None
    data_kind: str

    @property
    def key(self) -> str:
        """What tells the unit from the others of its session."""
        return min(cell.id for cell in self.cells)

    @property
    def devices(self) -> frozenset[str]:
        """What its cells run on."""
        return frozenset(cell.device for cell in self.cells)

    @property
    def assigned(self) -> tuple[str, ...]:
        """The flags that are a scheduler's to set, not the session's: which GPU a unit has."""
        return ("CUDA_VISIBLE_DEVICES",) if "gpu" in self.devices else ()


class Outcome(BaseModel):
    """What came of a unit: its records as JSON lines, or why there is none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    lines: tuple[str, ...] = ()
    refusal: str | None = None
    """Why the machine would not do it, or why it was lost."""
    node: str = ""
    """The machine, by a name that its fleet tells it by; empty: none was at it to the end."""
    place: str = ""
    """Where a person finds that machine; it is in no record."""


def units_of(planned: Plan, environ: Mapping[str, str]) -> Iterator[Unit]:
    """Yield a unit for each group of a plan, in its order.

    `environ` is the one that the session was started in.
    """
    versions = versions_of(planned)
    flags = grid.flags_in(environ)
    wanted = planned.options["noise_cell"]
    for group in planned.groups:
        cells = {cell.id for cell in group}
        yield Unit(
            session=planned.session,
            options=_options_of(planned, group[0].model),
            cells=group,
            noise_cell=plan.noise_cell_of([group], wanted if wanted in cells else None),
            budget_s=None if planned.budget_s is None else planned.budget_s / len(planned.groups),
            flags=flags,
            versions=versions,
            commit=planned.commit,
            data_kind=planned.source.kind,
        )


def _options_of(planned: Plan, model: str) -> dict[str, Any]:
    """Return the options by which a node plans: those of the session, for one model, and local."""
    options = dict(planned.options)
    folder = options["data_dir"]
    if folder and planned.source.folder is not None:
        folder = str(Path(folder).absolute())
    own = {"models": model, "noise_cell": None, "data_dir": folder}
    return {**options, **own, **{option.name: option.default for option in FLEET_OPTIONS}}


def versions_of(planned: Plan) -> dict[str, dict[str, str]]:
    """Return, by backend and environment, the versions of what its workers import."""
    return {
        f"{backend} {environment}".strip(): _versions(python, backend)
        for (backend, environment), python in planned.interpreters.items()
    }


def _versions(python: str, backend: str) -> dict[str, str]:
    """Return the versions of Python, the suite, Keras, NumPy and a backend's own packages.

    Raises PlanError if the interpreter does not tell.
    """
    package = grid.BACKENDS[backend].package
    # The compiled part of a backend may be a package of its own: JAX's is.
    command = [python, "-c", TELL_VERSIONS, *OURS, package, f"{package}lib"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # the user's own
    try:
        found: dict[str, str] = json.loads(answer.stdout)
    except ValueError as error:
        raise PlanError(f"{python} does not tell its versions: {answer.stderr[-500:]}") from error
    return found


def carry_out(unit: Unit, environ: Mapping[str, str]) -> Outcome:
    """Run a unit's cells here, and return their records; or why this machine cannot.

    What else is written while they run is in a folder of its own, which is gone afterwards.
    """
    with tempfile.TemporaryDirectory(prefix="fmnist-") as folder:
        try:
            planned = plan_here(unit, Path(folder), environ)
        except ValueError as error:
            return Outcome(refusal=str(error))
        for _ in run_session(planned, Unwatched()):
            pass
        return Outcome(lines=tuple(planned.records_path.read_text().splitlines()))


def plan_here(unit: Unit, results: Path, environ: Mapping[str, str]) -> Plan:
    """Return this machine's plan for a unit: its own facts, processors, interpreters and data.

    Raises ValueError if the unit cannot be measured here as the session has it.
    """
    planned = plan.make(unit.options | {"results": str(results)}, environ)
    if problems := list(_differences(unit, planned)):
        raise PlanError("; ".join(problems))
    return replace(
        planned,
        session=unit.session,
        groups=(unit.cells,),
        noise_cell=unit.noise_cell,
        budget_s=unit.budget_s,
    )


def _differences(unit: Unit, planned: Plan) -> Iterator[str]:
    """Yield why a unit cannot be measured by the plan of this machine, and what to do."""
    ours = versions_of(planned)
    for place, wanted in unit.versions.items():
        found = ours.get(place, {})
        for package in {**wanted, **found}:
            here, there = found.get(package, NONE), wanted.get(package, NONE)
            if here != there:
                yield (
                    f"it has {package} {here} for {place}, the session was planned with {there}: "
                    "install the same there"
                )
    if planned.commit != unit.commit:
        yield (
            f"its suite is of commit {planned.commit or 'unknown'}, the session was planned with "
            f"{unit.commit or 'unknown'}: check the same out there"
        )
    if planned.source.kind != unit.data_kind:
        yield (
            f"it has data set {planned.source.kind} ({planned.source.found_by}), the session is of "
            f"{unit.data_kind}: set FMNIST_DATA there"
        )
    places = {(cell.backend, cell.device) for cell in planned.cells}
    missing = {(cell.backend, cell.device) for cell in unit.cells} - places
    if missing:
        absent = ", ".join(f"{backend} on {device}" for backend, device in sorted(missing))
        yield f"it lacks {absent}: {'; '.join(planned.notices)}"


def main(arguments: Sequence[str]) -> None:
    """Carry out the unit that comes over a socket, and answer with the outcome."""
    with socket.socket(fileno=int(arguments[0])) as end:
        bounds.bind(end)
        told = bytearray()
        while part := end.recv(2**16):
            told += part
        outcome = carry_out(Unit.model_validate_json(bytes(told)), os.environ)
        end.sendall(outcome.model_dump_json().encode())


if __name__ == "__main__":
    main(sys.argv[1:])
