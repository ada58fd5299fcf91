"""What a session will run: the options as data, checked whole before anything starts."""

import json
import math
import os
import random
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from fmnist import data, files, grid, machine, models
from fmnist.channel import Job
from fmnist.data import standin
from fmnist.files import Hold
from fmnist.grid import Cell
from fmnist.measure import utc_now
from fmnist.options import (
    FLEET_OPTIONS,
    OPTIONS,
    PlanError,
    check_fleet,
    count,
    modes_of,
    names,
    seconds_of,
    share,
    time_limit_s,
)
from fmnist.record import Record, Task
from fmnist.session import environments, gpu_watch, places, resume
from fmnist.session.patience import Patience

SMALLEST_SAMPLE = len(data.CLASS_NAMES)
SEEDS = 2**32


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
    processes: int
    budget_s: float | None
    precision_target: float
    """Half an interval's width, relative: 0.02 is 2 %."""
    noise_cell: Cell
    """The cell that is run against itself."""
    noise_pairs: int
    noise_rounds: int
    parity_seeds: int
    source: data.Source
    seed: int
    order_seed: int
    results: Path
    time_limit_s: float
    cpus: tuple[int, ...] | None
    machine: Mapping[str, Any]
    commit: str | None
    notices: tuple[str, ...]
    interpreters: Mapping[tuple[str, str], str]
    """The Python of a worker, by backend and environment."""
    options: Mapping[str, Any]
    """As given, for a session that is resumed."""
    done: Mapping[tuple[Task, Cell, int], Record]
    """What an interrupted session has measured: by task, cell and process."""
    on_fleet: bool
    """Whether other machines do the work: then `machine` and `cpus` are not what is measured on."""
    nvml: ModuleType | None = None
    """The driver's library, where cells run on a GPU and it can be asked."""
    patience: Patience = field(default_factory=Patience, compare=False)
    """With the host of a virtual machine, before rounds."""
    hold: Hold = field(default_factory=Hold, compare=False)
    """On the session: no other process goes on with it as long as this one runs."""

    @property
    def preset(self) -> grid.Preset:
        """The preset's terms, those of `--recipe` in it."""
        return _terms(self.preset_name, self.options)

    @property
    def records_path(self) -> Path:
        """The file that the session's records are appended to."""
        return self.results / "raw" / f"{self.session}.jsonl"

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All cells in the order in which their groups run."""
        return tuple(cell for group in self.groups for cell in group)

    @property
    def breakdown_cells(self) -> tuple[Cell, ...]:
        """The cells whose epoch is taken apart."""
        wanted = self.preset.breakdown_models
        return tuple(
            cell
            for cell in self.cells
            if cell.mode == "stock" and (wanted is None or cell.model in wanted)
        )

    @property
    def tuned_cells(self) -> tuple[Cell, ...]:
        """The cells of models that are run in several modes, stock among them."""
        several = [group for group in self.groups if len({cell.mode for cell in group}) > 1]
        return tuple(cell for group in several for cell in group)

    @property
    def startup_cells(self) -> tuple[Cell, ...]:
        """The cells whose start is timed: those that somebody would start, no ablation."""
        return tuple(cell for cell in self.cells if cell.mode in ("stock", "tuned"))

    def program(self, cell: Cell) -> tuple[str, ...]:
        """Return the program of the cell's worker."""
        return (self.interpreters[cell.backend, cell.environment], "-m", "fmnist.training.worker")

    @property
    def options_path(self) -> Path:
        """The file that keeps the session's options for `--resume`."""
        return resume.options_path(self.results, self.session)

    @property
    def scratch_path(self) -> Path:
        """The folder for what workers leave for the parent, which is gone after each use."""
        return self.options_path.with_name("scratch")

    def begin(self) -> None:
        """Keep the options on the disk, so that the session can be resumed, and hold it.

        What a crash left in the scratch folder is removed. Raises OSError if the results folder
        cannot be written.
        """
        if not self.options_path.exists():
            files.replace(self.options_path, json.dumps(dict(self.options)))
        self.hold.take(self.options_path)
        if self.scratch_path.exists():
            shutil.rmtree(self.scratch_path)

    @contextmanager
    def begun(self) -> Iterator[None]:
        """Hold the session as `begin` does, until it is over."""
        self.begin()
        try:
            yield
        finally:
            self.hold.let_go()

    def measured(self, cells: Sequence[Cell], task: Task, process: int) -> list[Record] | None:
        """Return the records of cells that took turns, if an earlier run has all of them.

        If it has only some, these are set aside: all cells take turns anew, and count once.
        """
        found = [self.measured_one(cell, task, process) for cell in cells]
        records = [record for record in found if record is not None]
        if len(records) == len(cells):
            return records
        if records:
            resume.set_aside(self.records_path, {(task, r.cell, process) for r in records})
        return None

    def measured_one(self, cell: Cell, task: Task, process: int) -> Record | None:
        """Return the record of a cell that ran alone, if an earlier run has it."""
        return self.done.get((task, cell, process))

    def model_path(self, cell: Cell, process: int) -> Path:
        """Return where a trained model is kept."""
        return self.results / "models" / self.session / f"{cell.id}-{process}.keras"

    def log_path(self, cell: Cell, task: Task, name: str) -> Path:
        """Return where the stdout and stderr of one of the cell's processes are kept."""
        return self.results / "logs" / self.session / f"{task}-{cell.id}-{name}.log"

    def job(self, cell: Cell, task: Task) -> Job:
        """Return what the cell's worker is told for a task."""
        sizes = self._sizes(cell, task)
        steps = {"noise": grid.NOISE_STEPS, "breakdown": grid.BREAKDOWN_STEPS}
        steps |= {"parity": self.preset.parity_steps}
        epochs = {"overhead": 1 + self.preset.overhead_rounds}
        if task in ("train", "scale"):
            epochs = {task: self.epochs[cell.model]}
        return Job(
            task=task,
            model=cell.model,
            backend=cell.backend,
            device=cell.device,
            mode=cell.mode,
            batch_size=cell.batch_size,
            precision=cell.precision,
            data_kind=self.source.kind,
            data_folder=str(self.source.folder) if self.source.folder else None,
            data_found_by=self.source.found_by,
            xla=cell.xla,
            train_images=sizes.train + sizes.validation,
            validation_images=sizes.validation,
            test_images=sizes.test,
            seed=self.seed,
            epochs=epochs.get(task, 1),
            latency_calls=self.preset.latency_calls,
            steps=steps.get(task, grid.AUDIT_STEPS),
            recipe=models.card(cell.model).recipe,
            trace_path=None,
            cpus=self.cpus,
            replicas=cell.replicas,
        )

    def whole_training(
        self, cell: Cell, task: Task, recipe: models.Recipe, seed: int, held_out: float
    ) -> Job:
        """Return what the worker of a whole training by a recipe is told.

        `held_out` is the share of the training images that is kept out of it.
        """
        images = self.preset.train_images or standin.TRAIN_IMAGES
        own = {
            "recipe": recipe,
            "epochs": recipe.epochs,
            "seed": seed,
            "train_images": images,
            "validation_images": round(images * held_out),
        }
        return self.job(cell, task).model_copy(update=own)

    def set_sizes(self, model: str) -> "SetSizes":
        """Return how many images a model's sets hold in whole epochs."""
        return set_sizes(models.card(model).recipe, self.preset)

    def _sizes(self, cell: Cell, task: Task) -> "SetSizes":
        """Return how many images the sets of a task's worker hold."""
        whole = self.set_sizes(cell.model)
        # One batch, or as few as can show every class.
        few = cell.batch_size * math.ceil(SMALLEST_SAMPLE / cell.batch_size)
        longest = grid.NOISE_STEPS + grid.NOISE_STEPS * max(grid.SPIKES.values()) // 100
        train = {
            "startup": few,
            "overhead": self.preset.overhead_images,
            "noise": longest * cell.batch_size,
            "breakdown": grid.BREAKDOWN_STEPS * cell.batch_size,
            "parity": self.preset.parity_images,
        }
        if task in ("train", "race", "learn", "scale"):
            return whole
        test = whole.test if task in ("overhead", "parity") else few
        return SetSizes(min(train[task], standin.TRAIN_IMAGES), 0, test)


def make(options: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Plan:
    """Return the plan for options as in OPTIONS; those of FLEET_OPTIONS may be left out.

    Raises PlanError, UnknownNameError or DataError (each a ValueError that says what to do) before
    anything was started.
    """
    options = {o.name: o.default for o in FLEET_OPTIONS} | dict(options)
    options = {
        o.name: list(v) if o.multiple else v
        for o in (*OPTIONS, *FLEET_OPTIONS)
        for v in [options[o.name]]
    }
    resumed = None if options["resume"] is None else Path(options["resume"])
    if resumed is not None:
        options = resume.options_of(resumed, options)
    on_fleet = check_fleet(options)
    hold = Hold() if resumed is None else resume.hold(resumed)
    started_at = utc_now()
    notices = [*_check_environment(environ)]
    preset_name = grid.known("preset", [options["preset"]], grid.PRESETS)[0]
    preset = _terms(preset_name, options)
    chosen = names(options["models"]) or preset.models or models.suite()
    models.check(chosen)
    named = environments.parse(options["env"])
    pythons = environments.parse_pythons(options["python"], grid.BACKENDS)
    look = places.wanted if on_fleet else places.find
    found, absent = look(options, environ, pythons)
    if not 0 <= options["seed"] < SEEDS:
        raise PlanError(f"--seed must be from 0 to {SEEDS - 1}, got {options['seed']}")
    count("rounds", options, 1)
    order_seed = options["order_seed"]
    order_seed = secrets.randbelow(10**6) if order_seed is None else order_seed
    facts, commit = machine.facts(), machine.commit()
    groups = _groups(options, chosen, found, preset, order_seed)
    folder = Path(options["data_dir"]) if options["data_dir"] else None
    source = data.locate(folder, environ)
    if source.folder is not None:
        data.load(source)  # a damaged file is found here, before anything is trained
    earlier = resume.Earlier({}, ())
    if resumed:
        earlier = resume.measured(resumed, None if on_fleet else facts, commit)
    on_gpu = not on_fleet and any(cell.device == "gpu" for group in groups for cell in group)
    nvml = gpu_watch.driver() if on_gpu else None
    unwatched = (
        [f"GPUs are not watched while they are timed: {nvml}"] if isinstance(nvml, str) else []
    )
    return Plan(
        session=resumed.stem if resumed else f"{started_at:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}",
        started_at=started_at,
        preset_name=preset_name,
        groups=groups,
        epochs={name: _epochs(name, options["rounds"], preset) for name in chosen},
        processes=count("processes", options, 1),
        budget_s=seconds_of("budget", options["budget"]),
        precision_target=share(options["precision_target"]),
        noise_cell=noise_cell_of(groups, options["noise_cell"]),
        noise_pairs=count("noise_pairs", options, preset.noise_pairs),
        noise_rounds=count("noise_rounds", options, preset.noise_rounds),
        parity_seeds=count("seeds", options, preset.parity_seeds),
        source=source,
        seed=options["seed"],
        order_seed=order_seed,
        results=Path(options["results"]),
        time_limit_s=time_limit_s(options["time_limit"], preset),
        cpus=machine.usable_cpus(),
        machine=facts,
        commit=commit,
        notices=(*notices, *absent, *_data_notices(source), *unwatched, *earlier.notices),
        interpreters=places.interpreters(named, pythons, [backend for backend, _ in found]),
        options={**options, "order_seed": order_seed, "resume": None},
        done=earlier.records,
        nvml=None if isinstance(nvml, str) else nvml,
        on_fleet=on_fleet,
        hold=hold,
        patience=Patience(seconds_of("patience", options["patience"]) or 0.0),
    )


def _terms(preset_name: str, options: Mapping[str, Any]) -> grid.Preset:
    """Return a preset's terms, and what `--recipe` makes of them."""
    preset = grid.PRESETS[preset_name]
    return preset.by_recipe() if options["recipe"] else preset


def noise_cell_of(groups: Sequence[Sequence[Cell]], wanted: str | None) -> Cell:
    """Return the cell of this name, else the cheapest one, so that it can be run often.

    Raises UnknownNameError if no cell of the groups has the name.
    """
    cells = {cell.id: cell for group in groups for cell in group}
    if wanted is not None:
        return cells[grid.known("cell in --noise-cell", [wanted], cells)[0]]
    usual = [
        cell
        for cell in cells.values()
        if (cell.xla, cell.mode, cell.precision) == ("auto", "stock", "float32")
    ] or list(cells.values())
    backends = list(grid.BACKENDS)
    return min(
        usual,
        key=lambda c: (models.card(c.model).parameters, backends.index(c.backend), c.device),
    )


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
    except (OSError, ValueError, RecursionError) as error:
        raise PlanError(f"{path}: {error}; mend it or delete it") from error
    if not isinstance(document, dict):
        raise PlanError(f"{path}: expected a JSON object; mend it or delete it")
    return document


def _groups(
    options: Mapping[str, Any],
    chosen: tuple[str, ...],
    places: list[tuple[str, str]],
    preset: grid.Preset,
    order_seed: int,
) -> tuple[tuple[Cell, ...], ...]:
    """Return one group of cells for each model, all in an order shuffled by the seed."""
    precisions = grid.known("precision", names(options["precision"]), grid.PRECISIONS)
    modes = modes_of(names(options["modes"]))
    environment_names = [e.name for e in environments.parse(options["env"])] or [""]
    xla = grid.known("xla", names(options["xla"]) or ("auto",), grid.XLA)
    groups = []
    for name in chosen:
        recipe = models.card(name).recipe
        batch_size = options["batch_size"]
        if batch_size is None:
            batch_size = preset.batch_size or recipe.batch_size
        grid.check_batch_size(batch_size, [n for n in set_sizes(recipe, preset) if n])
        groups.append(
            [
                Cell(
                    *(name, backend, device, mode, batch_size),
                    *(precision, compiled, environment),
                )
                for environment in environment_names
                for mode in modes
                for precision in precisions
                for compiled in xla
                if compiled == "auto" or mode == "stock"
                for backend, device in places
            ]
        )
    order = random.Random(order_seed)  # noqa: S311  # an order, no secret
    order.shuffle(groups)
    for group in groups:
        order.shuffle(group)
    return tuple(tuple(group) for group in groups)


class SetSizes(NamedTuple):
    """Images in each set."""

    train: int
    validation: int
    test: int


def set_sizes(recipe: models.Recipe, preset: grid.Preset) -> SetSizes:
    """Return how many images the training, validation and test sets of a cell hold."""
    train = preset.train_images or standin.TRAIN_IMAGES
    validation = round(train * recipe.validation_share) if preset.validation else 0
    return SetSizes(train - validation, validation, preset.test_images or standin.TEST_IMAGES)


def _epochs(name: str, rounds: int | None, preset: grid.Preset) -> int:
    """Return how many epochs a model trains: the first one and the rounds."""
    steady = preset.rounds if rounds is None else rounds
    return models.card(name).recipe.epochs if steady is None else 1 + steady


def _data_notices(source: data.Source) -> list[str]:
    if source.kind == "stand-in":
        return [f"THE STAND-IN DATA SET IS USED, NOT FASHION-MNIST ({source.found_by})"]
    return []
