"""What a session was for: what it is headed by, and in which order sessions are shown."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from fmnist import data
from fmnist.grid import PRESETS
from fmnist.record import Record, Task
from fmnist.report.choose import good, node_of
from fmnist.report.render import LONGEST_TEXT, inert, joined
from fmnist.report.reproduction import STUDY as REPRODUCTION

MEANINGLESS: Final = "smoke"


def _backends(records: Sequence[Record]) -> bool:
    return len({r.backend for r in good(records, "train")}) > 1


def _modes(records: Sequence[Record]) -> bool:
    return len({r.mode for r in good(records, "train")}) > 1


def _has(*tasks: Task) -> Callable[[Sequence[Record]], bool]:
    return lambda records: any(good(records, task) for task in tasks)


KINDS: Final[Mapping[str, Callable[[Sequence[Record]], bool]]] = {
    "backends side by side": _backends,
    "modes side by side": _modes,
    "one device and several": _has("scale"),
    "race to an accuracy": _has("race"),
    "times": _has("train", "startup", "overhead", "breakdown"),
    "what whole trainings learned": lambda records: REPRODUCTION in _studies(records),
    "study": lambda records: bool(_studies(records)),
    "how sure times are": _has("noise", "parity"),
}
"""By name, how it is told; the first that fits counts. What most people ask for comes first."""


def _studies(records: Sequence[Record]) -> list[str]:
    return sorted({r.study for r in good(records, "learn") if r.study})


def kind(records: Sequence[Record]) -> str:
    """Return the name of what a session was for: a key of `KINDS`; empty if all of it failed."""
    return next((name for name, fits in KINDS.items() if fits(records)), "")


def title(records: Sequence[Record]) -> str:
    """Return what a session is headed by: what it was for, its beginning, preset and data set."""
    first = records[0]
    name = kind(records)
    if name == "study":
        name = f"study {inert(joined(_studies(records)), LONGEST_TEXT)}"
    told = (name[:1].upper() + name[1:], f"{first.started_at:%Y-%m-%d %H:%M} UTC")
    return ", ".join(filter(None, (*told, f"preset {first.preset}", f"data set {first.dataset}")))


def rank(records: Sequence[Record]) -> tuple[Any, ...]:
    """Return what is larger for a session that is to be shown before others.

    Sessions on the real data come before those on the stand-in, and meaningless figures last; then
    counts what a session was for, as in `KINDS`; then sessions of more models come before those of
    fewer, larger presets before smaller ones, and newer sessions before older ones.
    """
    first = records[0]
    return (
        first.dataset != data.STAND_IN,
        first.preset != MEANINGLESS,
        -[*KINDS, ""].index(kind(records)),
        len({r.model for r in records if r.failure is None}),
        list(PRESETS).index(first.preset),
        max(r.started_at for r in records),
        first.session,
        node_of(first),
    )
