"""An interrupted session: the options it began with, and what it measured."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fmnist import machine
from fmnist.grid import Cell
from fmnist.options import OPTIONS, PlanError
from fmnist.record import Record, Task, read


def options_path(results: Path, session: str) -> Path:
    """Return the file that keeps a session's options."""
    return results / "logs" / session / "options.json"


def options_of(resumed: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that an interrupted session began with.

    Raises PlanError if they are gone, or if another one was given now.
    """
    results = resumed.parent.parent
    path = options_path(results, resumed.stem)
    try:
        began: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise PlanError(
            f"--resume {resumed}: {path} cannot be read ({error}); a session is resumed where it "
            f"ran, by the file RESULTS/raw/SESSION.jsonl"
        ) from error
    for option in OPTIONS:
        value = given[option.name]
        left_out = value == (list(option.default) if option.multiple else option.default)
        if option.name != "resume" and not left_out and value != began.get(option.name):
            raise PlanError(
                f"{option.flag} was {began.get(option.name)!r} when the session began and is "
                f"{value!r} now: leave it out, a session is resumed by its own options"
            )
    return {**given, **began, "results": str(results)}


def measured(
    resumed: Path, facts: Mapping[str, Any], commit: str | None
) -> dict[tuple[Task, Cell, int], Record]:
    """Return what an interrupted session measured to the end.

    Raises PlanError for another machine or commit: their times are not of one session.
    """
    records, _ = read(resumed) if resumed.exists() else ([], [])
    for record in records:
        for what, then, now in (
            ("machine", machine.summary(record.machine), machine.summary(dict(facts))),
            ("commit", record.commit, commit),
        ):
            if then != now:
                raise PlanError(
                    f"--resume {resumed}: its {what} is {then}, now it is {now}: "
                    "start a new session"
                )
    return {(r.task, r.cell, r.process): r for r in records if r.failure is None}
