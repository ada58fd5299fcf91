"""What works on this machine: each backend on each device, tried by really training there."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from fmnist import data, grid, machine
from fmnist.options import OPTIONS, PlanError
from fmnist.record import Record, Task
from fmnist.session import launch, places, plan

PROBE_MODEL = "softmax_regression"


@dataclass(frozen=True)
class Finding:
    """One line for a person; `broken` if it keeps a backend from running."""

    line: str
    broken: bool = False


def examine(resources: ExitStack) -> Iterator[Finding]:
    """Yield what is found about machine, configuration, data, backends and disturbances."""
    yield Finding(f"machine: {machine.summary(machine.facts())}")
    try:
        user = plan.keras_json(os.environ)
        yield Finding(f"keras.json: {user or 'none'} (a cell's own terms overrule it)")
        source = data.locate()
        data.load(source)
        yield Finding(f"data set: {source.kind} ({source.found_by})")
    except (PlanError, data.DataError) as error:
        yield Finding(f"broken: {error}", broken=True)
    folder = Path(resources.enter_context(tempfile.TemporaryDirectory()))
    for backend, facts in grid.BACKENDS.items():
        if not places.installed(backend):
            yield Finding(f"{backend}: not installed: {facts.install['cpu']}")
            continue
        yield from (_try(backend, device, folder) for device in _devices())
    troubles = machine.disturbances()
    yield from (Finding(f"would disturb a measurement: {trouble}") for trouble in troubles)
    if not troubles:
        yield Finding("nothing found that would disturb a measurement")


def peaks(resources: ExitStack, precision: str) -> Iterator[Record | Finding]:
    """Yield for each backend and device a record with the peaks there, or why there is none.

    Args:
        resources: hold what is written meanwhile.
        precision: Keras's dtype policy, one of `grid.PRECISIONS`.
    """
    folder = Path(resources.enter_context(tempfile.TemporaryDirectory()))
    for backend in filter(places.installed, grid.BACKENDS):
        for device in _devices():
            try:
                record = _record(backend, device, folder, "train", precision)
            except PlanError as error:
                yield Finding(f"{backend} on {device}: cannot be used: {error}")
                continue
            if record.failure is None:
                yield record
            else:
                yield Finding(f"{backend} on {device}: BROKEN: {record.failure}", broken=True)


def _devices() -> tuple[str, ...]:
    return grid.DEVICES if machine.gpus() else ("cpu",)


def _record(
    backend: str, device: str, folder: Path, task: Task, precision: str = "float32"
) -> Record:
    """Return the record of a worker as any other, on drawn images. Raises PlanError."""
    options = {option.name: option.default for option in OPTIONS} | {
        "preset": "smoke",
        "backends": backend,
        "devices": device,
        "models": PROBE_MODEL,
        "precision": precision,
        "data_dir": data.STAND_IN,
        "results": str(folder),
    }
    environ = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    planned = plan.make(options, environ)
    return launch.run_group(planned, planned.cells, launch.Unwatched(), task)[0]


def _try(backend: str, device: str, folder: Path) -> Finding:
    """Train one batch there."""
    try:
        record = _record(backend, device, folder, "startup")
    except PlanError as error:
        return Finding(f"{backend} on {device}: cannot be used: {error}")
    if record.failure is not None:
        return Finding(f"{backend} on {device}: BROKEN: {record.failure}", broken=True)
    versions = ", ".join(f"{name} {version}" for name, version in record.versions.items())
    xla = "on" if record.jit_compile else "off"
    return Finding(
        f"{backend} on {device}: works ({record.device_name}; XLA {xla}; {versions}; "
        f"import {record.import_s:.3g} s)"
    )
