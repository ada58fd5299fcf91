"""Which backends run on which devices here, and by which interpreter."""

import importlib.util
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from fmnist import grid, machine
from fmnist.grid import Cell
from fmnist.options import PlanError, names
from fmnist.session import environments

PROBE_TIMEOUT_S = 300


def find(
    options: Mapping[str, Any], environ: Mapping[str, str], pythons: Mapping[str, str]
) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the (backend, device) pairs to run, and why others that are possible are not.

    Raises PlanError for one that was asked for and is not there.
    """
    asked_backends = grid.known("backend", names(options["backends"]), grid.BACKENDS)
    asked_devices = grid.known("device", names(options["devices"]), grid.DEVICES)
    has_gpu = bool(machine.gpus())
    places, absent = [], []
    for device in asked_devices or (("cpu", "gpu") if has_gpu else ("cpu",)):
        for backend in asked_backends or grid.BACKENDS:
            python = pythons.get(backend, sys.executable)
            reason = _why_absent(backend, device, environ, python, has_gpu=has_gpu)
            if reason is None:
                places.append((backend, device))
            elif device in asked_devices if _has(python, backend) else backend in asked_backends:
                raise PlanError(reason)
            else:
                absent.append(f"skipped: {reason}")
    if not places:
        raise PlanError("; ".join(absent))
    return places, absent


def wanted(
    options: Mapping[str, Any], environ: Mapping[str, str], pythons: Mapping[str, str]
) -> tuple[list[tuple[str, str]], list[str]]:
    """Return what `find` does, for other machines, whose devices this one need not have.

    The backends must be here too, since the others are held to their versions; the devices are
    those that were asked for, `cpu` if none was.
    """
    devices = grid.known("device", names(options["devices"]), grid.DEVICES) or ("cpu",)
    found, absent = find({**options, "devices": "cpu"}, environ, pythons)
    return [(backend, device) for device in devices for backend, _ in found], absent


def _why_absent(
    backend: str, device: str, environ: Mapping[str, str], python: str, *, has_gpu: bool
) -> str | None:
    """Return why a backend cannot run on a device, with the command that helps; None if it can."""
    command = grid.BACKENDS[backend].install[device]
    if not _has(python, backend):
        place = "here" if python == sys.executable else f"for {python}"
        return f"{backend} is not installed {place}: {command}"
    if device == "cpu":
        return None
    if not has_gpu:
        return (
            f"this machine shows no {device} (nvidia-smi finds no device); on one that does, "
            f"install a build for it: {command}"
        )
    if not _sees(backend, device, environ, python):
        return f"{backend} sees no {device} on this machine; install a build for it: {command}"
    return None


def _sees(backend: str, device: str, environ: Mapping[str, str], python: str) -> bool:
    """Ask Keras, in a process of its own, whether the backend has such a device."""
    code = "import sys, keras; sys.exit(not keras.distribution.list_devices(sys.argv[1]))"
    try:
        answer = subprocess.run(  # noqa: S603  # our own program
            [python, "-c", code, device],
            env=grid.env_for(Cell("none", backend, device), environ),
            capture_output=True,
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return answer.returncode == 0


def _has(python: str, backend: str) -> bool:
    """Tell whether an interpreter has the backend's package, without importing it."""
    if python == sys.executable:
        return installed(backend)
    code = "import importlib.util, sys; sys.exit(importlib.util.find_spec(sys.argv[1]) is None)"
    command = [python, "-c", code, grid.BACKENDS[backend].package]
    return subprocess.run(command, check=False).returncode == 0  # noqa: S603  # the user's own


def installed(backend: str) -> bool:
    """Tell whether the backend's package can be found, without importing it."""
    return importlib.util.find_spec(grid.BACKENDS[backend].package) is not None


def interpreters(
    named: Sequence[environments.Environment], pythons: Mapping[str, str], backends: Sequence[str]
) -> dict[tuple[str, str], str]:
    """Return the Python of each backend's workers, by backend and environment; builds them."""
    if named and pythons:
        raise PlanError("--env and --python both choose the interpreter: give one of them")
    if not named:
        return {(backend, ""): pythons.get(backend, sys.executable) for backend in backends}
    built = {e.name: environments.build(e, sorted(set(backends))) for e in named}
    return {(backend, name): python for backend in backends for name, python in built.items()}
