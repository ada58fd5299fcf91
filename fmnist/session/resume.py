"""An interrupted session: the options it began with, and what it measured."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from fmnist import files, machine
from fmnist.files import Hold
from fmnist.grid import Cell
from fmnist.options import FLEET_OPTIONS, OPTIONS, PlanError
from fmnist.record import Record, Task, raw_lines, read, read_lines

MAX_OPTIONS_BYTES = 1024 * 1024
STARTING = {
    "env": "no program is started",
    "python": "no program is started",
    "ray": "no cluster is given work",
    "slurm": "no cluster is given work",
}
"""By option that names what is installed, started or connected to, what must not come of it."""
CLUSTERS = ("ray", "slurm")


def options_path(results: Path, session: str) -> Path:
    """Return the file that keeps a session's options."""
    return results / "logs" / session / "options.json"


def options_of(resumed: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that an interrupted session began with.

    Raises PlanError if they are gone, if another one was given now, or if they name a program or a
    cluster: a folder of results may come from a stranger, so what it would start must be given
    again. A cluster may be another one by now.
    """
    results = resumed.parent.parent
    path = options_path(results, resumed.stem)
    try:
        began = _read(path)
    except (OSError, ValueError, RecursionError) as error:
        raise PlanError(
            f"--resume {resumed}: {path} cannot be read ({error}); a session is resumed where it "
            f"ran, by the file RESULTS/raw/SESSION.jsonl"
        ) from error
    moved = {name: given.get(name) for name in CLUSTERS}
    may_move = any(moved.values()) and any(began.get(name) for name in CLUSTERS)
    for option in (*OPTIONS, *FLEET_OPTIONS):
        if may_move and option.name in CLUSTERS:
            continue
        value = given.get(option.name, option.default)
        left_out = value == (list(option.default) if option.multiple else option.default)
        if option.name in STARTING and left_out and began.get(option.name):
            raise PlanError(
                f"{option.flag} was {began[option.name]!r} when the session began: give it again, "
                f"{STARTING[option.name]} because a file says so"
            )
        if option.name != "resume" and not left_out and value != began.get(option.name):
            raise PlanError(
                f"{option.flag} was {began.get(option.name)!r} when the session began and is "
                f"{value!r} now: leave it out, a session is resumed by its own options"
            )
    return {**given, **began, **(moved if may_move else {}), "results": str(results)}


def aside_path(results: Path, session: str) -> Path:
    """Return the file that keeps what was taken out of a session's records, as it was found."""
    return results / "logs" / session / "aside.jsonl"


def _read(path: Path) -> dict[str, Any]:
    """Return a file of options. Raises OSError, ValueError or RecursionError for another file."""
    with path.open("rb") as file:
        text = file.read(MAX_OPTIONS_BYTES + 1)
    if len(text) > MAX_OPTIONS_BYTES:
        raise ValueError(f"more than {MAX_OPTIONS_BYTES:,} bytes")
    began = json.loads(text)
    if not isinstance(began, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004  # what is caught
    kinds = {o.name: list if o.multiple else o.type for o in (*OPTIONS, *FLEET_OPTIONS)}
    for name, value in began.items():
        if name not in kinds or not (value is None or type(value) in (kinds[name], int)):
            raise ValueError(f"{name:.40} is {value!r:.40}, which is no option")
    return began


def hold(resumed: Path) -> Hold:
    """Return the session as this process's alone. Raises PlanError if another one is at it."""
    held = Hold()
    try:
        held.take(options_path(resumed.parent.parent, resumed.stem))
    except BlockingIOError:
        raise PlanError(
            f"--resume {resumed}: another process is running this session: wait until it has ended"
        ) from None
    return held


class Earlier(NamedTuple):
    """What an interrupted session measured to the end, and what a person should know of its file.

    `records` are by task, cell and process.
    """

    records: dict[tuple[Task, Cell, int], Record]
    notices: tuple[str, ...]


def measured(resumed: Path, facts: Mapping[str, Any] | None, commit: str | None) -> Earlier:
    """Return what an interrupted session measured, its file mended; it must be held.

    `facts` are of the machine that goes on with it; None where several do, which may be others.

    Raises PlanError for another machine or commit, whose times are not of one session, and for
    records that a newer version of the suite wrote.
    """
    if not resumed.exists():
        return Earlier({}, ())
    notices = [mended] if (mended := _mend_end(resumed)) else []
    records, damaged = read(resumed)
    for line in damaged:
        if line.is_newer:
            raise PlanError(f"--resume {line}")
        notices.append(f"left out, and its cell is measured again: {line}")
    for record in records:
        here = record.machine if facts is None else dict(facts)
        for what, then, now in (
            ("machine", machine.summary(record.machine), machine.summary(here)),
            ("commit", record.commit, commit),
        ):
            if then != now:
                raise PlanError(
                    f"--resume {resumed}: its {what} is {then}, now it is {now}: "
                    "start a new session"
                )
    done = {(r.task, r.cell, r.process): r for r in records if r.failure is None}
    return Earlier(done, tuple(notices))


def _mend_end(path: Path) -> str | None:
    """Take the end of a file that a crash left without its line end aside; say so, or None.

    A record that lacks nothing but the line end is kept.
    """
    content = path.read_bytes()
    whole, _, torn = content.rpartition(b"\n")
    if not torn:
        return None
    good, _ = read_lines(path)
    if good and good[-1].number == content.count(b"\n") + 1:
        files.replace(path, content + b"\n")
        return f"mended: the last line of {path} lacked its line end"
    aside = aside_path(path.parent.parent, path.stem)
    files.append_line(aside, torn)
    files.replace(path, whole + b"\n" if whole else b"")
    return f"mended: the torn last line of {path} ({len(torn):,} bytes) was moved to {aside}"


def set_aside(
    path: Path, done: Collection[tuple[Task, Cell, int]], *, failed_too: bool = False
) -> None:
    """Take records out of a session's file that are to be measured again, beside others.

    Those that failed stay, as what is measured again replaces them, unless `failed_too`. The lines
    are kept in the file of `aside_path` before they leave the other one.
    """
    numbers = {
        line.number
        for line in read_lines(path)[0]
        if (failed_too or line.record.failure is None)
        and (line.record.task, line.record.cell, line.record.process) in done
    }
    with path.open("rb") as file:
        lines = dict(enumerate(raw_lines(file), start=1))
    for number in sorted(numbers):
        files.append_line(aside_path(path.parent.parent, path.stem), lines.pop(number).rstrip())
    files.replace(path, b"".join(lines.values()))
