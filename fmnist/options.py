"""The options of a session as data, the same under pytest and on the command line; their values."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fmnist import grid


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
    multiple: bool = False

    @property
    def is_flag(self) -> bool:
        """Whether it is typed without a value."""
        return self.type is bool

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
    Option(
        "modes",
        "comma-separated: stock, tuned, the knobs "
        f"{', '.join(grid.KNOBS)} (several with +), or {' and '.join(grid.NAMED_MODES)} for "
        "several modes at once",
        default="stock",
        metavar="A,B",
    ),
    Option(
        "xla",
        f"comma-separated: {', '.join(grid.XLA)}; auto is what Keras chooses on each backend, "
        f"auto,on adds rows in which all have it",
        default="auto",
        metavar="A,B",
    ),
    Option("models", "comma-separated; default: the preset's (see `fmnist models`)", metavar="A,B"),
    Option(
        "recipe",
        "train each model by its recipe (epochs, batch size, validation share) on the preset's "
        "images; `full` does",
        default=False,
        type=bool,
    ),
    Option(
        "replicas",
        "comma-separated: devices that train one model together, each on its part of every batch; "
        "measured beside one device",
        metavar="A,B",
    ),
    Option(
        "scaling",
        "comma-separated, of --replicas: strong keeps the batch, weak has it grow with the devices",
        default="strong",
        metavar="A,B",
    ),
    Option("batch_size", "images per step; must divide the sets", type=int, metavar="N"),
    Option(
        "env",
        'packages that cells run with, like old="keras==3.14.1"; built by uv; may be repeated',
        default=(),
        metavar="NAME=REQUIREMENTS",
        multiple=True,
    ),
    Option(
        "python",
        "the interpreter of one backend's workers; may be repeated",
        default=(),
        metavar="BACKEND=PATH",
        multiple=True,
    ),
    Option(
        "precision",
        f"comma-separated: {', '.join(grid.PRECISIONS)}",
        default="float32",
        metavar="A,B",
    ),
    Option("rounds", "steady epochs after the first one", type=int, metavar="N"),
    Option("processes", "fresh processes for each cell", default=1, type=int, metavar="N"),
    Option(
        "budget",
        "time for training, like 90s, 10m, 2h: as many processes for each cell as fit into it, "
        "until the intervals are narrow enough",
        metavar="TIME",
    ),
    Option(
        "precision_target",
        "per cent: with --budget, how narrow (half an interval) is enough",
        default=2.0,
        type=float,
        metavar="P",
    ),
    Option(
        "patience",
        "time like 10m to wait in, in all, while the host of a virtual machine withholds processor "
        "time (Linux); default: never wait",
        metavar="TIME",
    ),
    Option(
        "noise_pairs",
        "pairs of processes in which one cell is run against itself",
        type=int,
        metavar="N",
    ),
    Option("noise_rounds", "rounds of each such pair", type=int, metavar="N"),
    Option(
        "noise_cell",
        "the cell that this is done with, as the session names its cells; default: the cheapest",
        metavar="CELL",
    ),
    Option("seeds", "of weights and batches for the parity certificate", type=int, metavar="N"),
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
    Option(
        "resume",
        "records file of a session that was interrupted: go on with it, by its own options "
        "(pytest wants it with =)",
        metavar="FILE",
    ),
)

FLEET_OPTIONS = (
    Option(
        "ray",
        "hand the groups of cells out over a Ray cluster: HOST:PORT of its head, or auto for the "
        "one that this machine is in",
        metavar="ADDRESS",
    ),
    Option(
        "slurm",
        "hand the groups of cells out as jobs of Slurm, each on a node of its own",
        metavar="PARTITION",
    ),
    Option(
        "accelerator",
        "with --ray or --slurm: the type of GPU to run on, as the cluster calls it",
        metavar="TYPE",
    ),
)
"""Of `fmnist run` alone: where a session's groups are carried out, if not here."""


def check_fleet(options: Mapping[str, Any]) -> bool:
    """Tell whether other machines do the work. Raises PlanError if it is not clear which."""
    if options["ray"] and options["slurm"]:
        raise PlanError("--ray and --slurm both say where the work is done: give one of them")
    on_fleet = bool(options["ray"] or options["slurm"])
    if on_fleet and options["replicas"]:
        raise PlanError("--replicas is not for --ray or --slurm: run `fmnist scale` on the machine")
    if options["accelerator"] and not on_fleet:
        raise PlanError("--accelerator chooses among the nodes of --ray or --slurm: give one too")
    return on_fleet


def names(text: str | None) -> tuple[str, ...]:
    """Return the names of a comma-separated list, without doubles."""
    return tuple(dict.fromkeys(name.strip() for name in (text or "").split(",") if name.strip()))


def modes_of(wanted: Sequence[str]) -> tuple[str, ...]:
    """Return the modes of a `--modes`, those with a name for several of them spelt out."""
    spelt = [mode for name in wanted for mode in grid.NAMED_MODES.get(name, (name,))]
    choices = (*grid.MODES, *grid.NAMED_MODES)
    return tuple(dict.fromkeys(grid.known("mode", spelt, choices))) or ("stock",)


def count(name: str, options: Mapping[str, Any], default: int) -> int:
    """Return an option's count, or the default where none was given."""
    found: int = default if options[name] is None else options[name]
    if found < 1:
        raise PlanError(f"--{name.replace('_', '-')} must be at least 1, got {found}")
    return found


def seconds_of(name: str, text: str | None) -> float | None:
    """Return the seconds of an option's time like `90s`, `10m` or `1.5h`; None if it was not given.

    Raises PlanError for what is no such time.
    """
    if text is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text.strip())
    seconds = float(match[1]) * {"s": 1, "m": 60, "h": 3_600}[match[2]] if match else 0.0
    if not seconds:
        raise PlanError(f"--{name} must be a time like 90s, 10m or 2h, got {text!r}")
    return seconds


def share(percent: float) -> float:
    """Return a share of a --precision-target in per cent."""
    if not 0 < percent < 100:  # noqa: PLR2004  # per cent
        raise PlanError(f"--precision-target must be between 0 and 100 per cent, got {percent:g}")
    return percent / 100


def time_limit_s(wanted: float | None, preset: grid.Preset) -> float:
    """Return the seconds of work allowed to one cell."""
    if wanted is not None and wanted <= 0:
        raise PlanError(f"--time-limit must be above 0 s, got {wanted:g}")
    return preset.time_limit_s if wanted is None else wanted
