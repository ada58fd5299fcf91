"""What a session will run: the options as data, checked whole before anything starts."""

import importlib.util
import json
import math
import os
import random
import secrets
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fmnist import data, grid, machine, models, standin
from fmnist.channel import Job
from fmnist.grid import Cell
from fmnist.measure import utc_now
from fmnist.record import Task

PROBE_TIMEOUT_S = 300
SMALLEST_SAMPLE = len(data.CLASS_NAMES)
SEEDS = 2**32


class PlanError(ValueError):
    """What was asked for cannot be run; the message says why and what to do."""


@dataclass(frozen=True)
class Option:
    """One option of a session, the same under pytest and on the command line."""

    name: str
    help: str
    default: Any = None
    type: type = str
    metavar: str | None = None

    @property
    def flag(self) -> str:
        """The option as typed."""
        return "--" + self.name.replace("_", "-")


OPTIONS = (
    Option(
        "preset",
        "how much is run; " + "; ".join(f"{k}: {v.summary}" for k, v in grid.PRESETS.items()),
        default="quick",
        metavar="|".join(grid.PRESETS),
    ),
    Option("backends", "comma-separated; default: all that are installed", metavar="A,B"),
    Option("devices", "comma-separated; default: cpu, and gpu where there is one", metavar="A,B"),
    Option("modes", "comma-separated", default="stock", metavar="A,B"),
    Option("models", "comma-separated; default: the preset's (see `fmnist models`)", metavar="A,B"),
    Option("batch_size", "images per step; must divide the sets", type=int, metavar="N"),
    Option("precision", ", ".join(grid.PRECISIONS), default="float32", metavar="NAME"),
    Option("rounds", "steady epochs after the first one", type=int, metavar="N"),
    Option(
        "data_dir",
        "folder of the four IDX files, or the word stand-in; default: search "
        "(pytest wants it with =)",
        metavar="DIR",
    ),
    Option(
        "results",
        "folder for records and logs (pytest wants it with =)",
        default="results",
        metavar="DIR",
    ),
    Option("seed", "of weights, batches and samples", default=0, type=int, metavar="N"),
    Option(
        "order_seed", "of the order of cells; default: drawn, and printed", type=int, metavar="N"
    ),
    Option("time_limit", "seconds of work allowed to one cell", type=float, metavar="S"),
)


@dataclass(frozen=True)
class Plan:
    """A session, checked: every cell in it can be expected to run."""

    session: str
    started_at: datetime
    preset_name: str
    groups: tuple[tuple[Cell, ...], ...]
    """Cells of one model, to be interleaved; groups and cells in the order in which they run."""
    epochs: Mapping[str, int]
    """Epochs by model, the first one included."""
    source: data.Source
    seed: int
    order_seed: int
    results: Path
    time_limit_s: float
    cpus: tuple[int, ...] | None
    machine: Mapping[str, Any]
    commit: str | None
    notices: tuple[str, ...]

    @property
    def preset(self) -> grid.Preset:
        """The preset's terms."""
        return grid.PRESETS[self.preset_name]

    @property
    def records_path(self) -> Path:
        """The file that the session's records are appended to."""
        return self.results / "raw" / f"{self.session}.jsonl"

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All cells in the order in which their groups run."""
        return tuple(cell for group in self.groups for cell in group)

    def log_path(self, cell: Cell, task: Task) -> Path:
        """Return where the cell's stdout and stderr are kept."""
        return self.results / "logs" / self.session / f"{task}-{cell.id}.log"

    def job(self, cell: Cell, task: Task) -> Job:
        """Return what the cell's worker is told for a task."""
        preset = self.preset
        train, validation, test = set_sizes(models.card(cell.model).recipe, preset)
        if task == "startup":
            # One batch, or as few as can show every class.
            train = test = cell.batch_size * math.ceil(SMALLEST_SAMPLE / cell.batch_size)
            validation = 0
        elif task == "overhead":
            train, validation = preset.overhead_images, 0
        epochs = {"train": self.epochs[cell.model], "startup": 1}
        return Job(
            task=task,
            model=cell.model,
            backend=cell.backend,
            device=cell.device,
            batch_size=cell.batch_size,
            precision=cell.precision,
            data_kind=self.source.kind,
            data_folder=str(self.source.folder) if self.source.folder else None,
            data_found_by=self.source.found_by,
            train_images=train + validation,
            validation_images=validation,
            test_images=test,
            seed=self.seed,
            epochs=epochs.get(task, 1 + preset.overhead_rounds),
            latency_calls=preset.latency_calls,
            cpus=self.cpus,
        )


def make(options: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Plan:
    """Return the plan for options as in OPTIONS.

    Raises PlanError, UnknownNameError or DataError (each a ValueError that says what to do) before
    anything was started.
    """
    started_at = utc_now()
    notices = [*_check_environment(environ)]
    preset_name = grid.known("preset", [options["preset"]], grid.PRESETS)[0]
    preset = grid.PRESETS[preset_name]
    chosen = _names(options["models"]) or preset.models or models.names()
    grid.known("model", chosen, models.names())
    places, absent = _places(options, environ)
    if not 0 <= options["seed"] < SEEDS:
        raise PlanError(f"--seed must be from 0 to {SEEDS - 1}, got {options['seed']}")
    order_seed = options["order_seed"]
    order_seed = secrets.randbelow(10**6) if order_seed is None else order_seed
    groups = _groups(options, chosen, places, preset, order_seed)
    folder = Path(options["data_dir"]) if options["data_dir"] else None
    source = data.locate(folder, environ)
    if source.folder is not None:
        data.load(source)  # a damaged file is found here, before anything is trained
    return Plan(
        session=f"{started_at:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
        started_at=started_at,
        preset_name=preset_name,
        groups=groups,
        epochs={name: _epochs(name, options["rounds"], preset) for name in chosen},
        source=source,
        seed=options["seed"],
        order_seed=order_seed,
        results=Path(options["results"]),
        time_limit_s=_time_limit_s(options["time_limit"], preset),
        cpus=machine.usable_cpus(),
        machine=machine.facts(),
        commit=machine.commit(),
        notices=(*notices, *absent, *_data_notices(source)),
    )


def _names(text: str | None) -> tuple[str, ...]:
    """Return the names of a comma-separated list, without doubles."""
    return tuple(dict.fromkeys(name.strip() for name in (text or "").split(",") if name.strip()))


def _check_environment(environ: Mapping[str, str]) -> list[str]:
    """Return notices on what the environment sets and a cell overrules.

    Raises PlanError if it asks for a backend that the suite does not have.
    """
    wanted = environ.get("KERAS_BACKEND") or None  # Keras, too, takes an empty one for none
    if wanted is not None and wanted not in grid.BACKENDS:
        raise PlanError(
            f"KERAS_BACKEND={wanted} is set, but this suite has two backends, "
            f"{' and '.join(grid.BACKENDS)}: unset it; --backends chooses between them"
        )
    notices = [
        f"{name}={environ[name]} is not handed to workers: it would cut epochs short"
        for name in grid.TRUNCATING
        if name in environ
    ]
    if wanted is not None:
        notices.append(f"KERAS_BACKEND={wanted} is overruled: each cell sets its own backend")
    user = keras_json(environ)
    notices += [
        f"{name} {user[name]!r} of keras.json is overruled by the cell's terms: {value!r}"
        for name, value in grid.KERAS_CONFIGURATION.items()
        if user.get(name, value) != value
    ]
    if user.get("backend", "tensorflow") not in grid.BACKENDS:
        notices.append(
            f"backend {user['backend']!r} of keras.json is overruled by the cell's terms"
        )
    return notices


def keras_json(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the user's Keras configuration file; empty if there is none.

    Raises PlanError for a file that is no JSON object: Keras itself would ignore it silently.
    """
    home = environ.get("KERAS_HOME")
    path = (Path(home) if home else Path("~/.keras").expanduser()) / "keras.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise PlanError(f"{path}: {error}; mend it or delete it") from error
    if not isinstance(document, dict):
        raise PlanError(f"{path}: expected a JSON object; mend it or delete it")
    return document


def _places(
    options: Mapping[str, Any], environ: Mapping[str, str]
) -> tuple[list[tuple[str, str]], list[str]]:
    """Return the (backend, device) pairs to run, and why others that are possible are not.

    Raises PlanError for one that was asked for and is not there.
    """
    asked_backends = grid.known("backend", _names(options["backends"]), grid.BACKENDS)
    asked_devices = grid.known("device", _names(options["devices"]), grid.DEVICES)
    has_gpu = bool(machine.gpus())
    places, absent = [], []
    for device in asked_devices or (("cpu", "gpu") if has_gpu else ("cpu",)):
        for backend in asked_backends or grid.BACKENDS:
            reason = _why_absent(backend, device, environ, has_gpu=has_gpu)
            if reason is None:
                places.append((backend, device))
            elif device in asked_devices if installed(backend) else backend in asked_backends:
                raise PlanError(reason)
            else:
                absent.append(f"skipped: {reason}")
    if not places:
        raise PlanError("; ".join(absent))
    return places, absent


def _why_absent(
    backend: str, device: str, environ: Mapping[str, str], *, has_gpu: bool
) -> str | None:
    """Return why a backend cannot run on a device, with the command that helps; None if it can."""
    command = grid.BACKENDS[backend].install[device]
    if not installed(backend):
        return f"{backend} is not installed here: {command}"
    if device == "cpu":
        return None
    if not has_gpu:
        return (
            f"this machine shows no {device} (nvidia-smi finds no device); on one that does, "
            f"install a build for it: {command}"
        )
    if not _sees(backend, device, environ):
        return f"{backend} sees no {device} on this machine; install a build for it: {command}"
    return None


def _sees(backend: str, device: str, environ: Mapping[str, str]) -> bool:
    """Ask Keras, in a process of its own, whether the backend has such a device."""
    code = "import sys, keras; sys.exit(not keras.distribution.list_devices(sys.argv[1]))"
    try:
        answer = subprocess.run(  # noqa: S603  # our own program
            [sys.executable, "-c", code, device],
            env=grid.env_for(Cell("none", backend, device), environ),
            capture_output=True,
            timeout=PROBE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return answer.returncode == 0


def installed(backend: str) -> bool:
    """Tell whether the backend's package can be found, without importing it."""
    return importlib.util.find_spec(grid.BACKENDS[backend].package) is not None


def _groups(
    options: Mapping[str, Any],
    chosen: tuple[str, ...],
    places: list[tuple[str, str]],
    preset: grid.Preset,
    order_seed: int,
) -> tuple[tuple[Cell, ...], ...]:
    """Return one group of cells for each model, all in an order shuffled by the seed."""
    modes = _names(options["modes"]) or grid.MODES
    groups = []
    for name in chosen:
        recipe = models.card(name).recipe
        batch_size = options["batch_size"]
        if batch_size is None:
            batch_size = preset.batch_size or recipe.batch_size
        grid.check_batch_size(batch_size, [n for n in set_sizes(recipe, preset) if n])
        groups.append(
            [
                Cell(name, backend, device, mode, batch_size, options["precision"])
                for mode in modes
                for backend, device in places
            ]
        )
    order = random.Random(order_seed)  # noqa: S311  # an order, no secret
    order.shuffle(groups)
    for group in groups:
        order.shuffle(group)
    return tuple(tuple(group) for group in groups)


def set_sizes(recipe: models.Recipe, preset: grid.Preset) -> tuple[int, int, int]:
    """Return how many images the training, validation and test sets of a cell hold."""
    train = preset.train_images or standin.TRAIN_IMAGES
    validation = round(train * recipe.validation_share) if preset.validation else 0
    return train - validation, validation, preset.test_images or standin.TEST_IMAGES


def _epochs(name: str, rounds: int | None, preset: grid.Preset) -> int:
    """Return how many epochs a model trains: the first one and the rounds."""
    if rounds is not None and rounds < 1:
        raise PlanError(f"--rounds must be at least 1, got {rounds}")
    steady = rounds or preset.rounds
    return models.card(name).recipe.epochs if steady is None else 1 + steady


def _time_limit_s(wanted: float | None, preset: grid.Preset) -> float:
    if wanted is not None and wanted <= 0:
        raise PlanError(f"--time-limit must be above 0 s, got {wanted:g}")
    return preset.time_limit_s if wanted is None else wanted


def _data_notices(source: data.Source) -> list[str]:
    if source.kind == "stand-in":
        return [f"THE STAND-IN DATA SET IS USED, NOT FASHION-MNIST ({source.found_by})"]
    return []
