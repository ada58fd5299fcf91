"""Hands a session's units out, and gathers what comes back in the session's one file of records."""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

from pydantic import BaseModel, ConfigDict, ValidationError

from fmnist import files
from fmnist.files import undisturbed
from fmnist.fleet.unit import Outcome, Unit, units_of
from fmnist.measure import utc_now
from fmnist.record import Record, append, read
from fmnist.session import resume
from fmnist.session.launch import Observer, terms_of
from fmnist.session.plan import Plan

UNITS = "units.jsonl"
"""Beside a session's options: a line for each unit that came back, and where from."""


class Note(BaseModel):
    """A unit that came back: which one, from which machine, and why it was refused, if it was."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    unit: str
    node: str
    """As records name the machine."""
    told_by: str
    """As its fleet tells it from others."""
    place: str
    """Where a person finds it."""
    refusal: str | None


class FleetError(ValueError):
    """Units cannot be handed out; the message says why and what to do."""


class FleetStoppedError(OSError):
    """Units can be handed out no longer; what has come back is on the disk."""


class Fleet(Protocol):
    """Machines that carry units out."""

    def outcomes(self, units: Iterable[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        """Yield every unit with its outcome, in the order in which they come back.

        Few more are taken than can be carried out at a time. A unit whose machine is lost is
        carried out anew, by another one. Raises FleetStoppedError when no machine is left.
        """

    def close(self) -> None:
        """Let go of the machines; units that are still out are given up."""


def run_fleet(planned: Plan, observer: Observer, fleet: Fleet) -> Iterator[Record]:
    """Have a fleet run all that the plan holds; yield each record once it is on the disk.

    None is kept here. The records of a unit are written together; those that an earlier run left
    of a unit that is not known to be whole are set aside, and it is carried out anew.
    """
    with planned.begun():
        landed = Landed(planned)
        for record in landed.set_rest_aside():
            observer.found(record)
        units = (u for u in units_of(planned, os.environ) if u.key not in landed.done)
        for unit, outcome in fleet.outcomes(units):
            for record in landed.take(unit, outcome):
                observer.ended(record)
                yield record


class Landed:
    """The units of a session that came back, and the machines that they came from.

    Machines are named `node1`, `node2` and so on in records, in the order in which they appeared.

    Attributes:
        done: keys of the units whose records are all in the session's file.
    """

    def __init__(self, planned: Plan) -> None:
        self.done: set[str] = set()
        self._planned = planned
        self._path = planned.options_path.with_name(UNITS)
        self._nodes: dict[str, str] = {}
        for note in self._mended():
            if note.node:
                self._nodes[note.told_by] = note.node
            if note.refusal is None:
                self.done.add(note.unit)

    def set_rest_aside(self) -> list[Record]:
        """Take the records of units that are not whole out of the file; return the others."""
        path = self._planned.records_path
        if not path.exists():
            return []
        of_whole = {
            group[0].model
            for group in self._planned.groups
            if min(cell.id for cell in group) in self.done
        }
        records, _ = read(path)
        rest = {(r.task, r.cell, r.process) for r in records if r.model not in of_whole}
        if rest:
            resume.set_aside(path, rest, failed_too=True)
        return [r for r in records if r.model in of_whole]

    def take(self, unit: Unit, outcome: Outcome) -> Sequence[Record]:
        """Write a unit's records to the disk, and note where they came from; return them."""
        node = self._name_of(outcome.node)
        refusal = outcome.refusal
        try:
            records = [] if refusal else list(_records_of(unit, outcome, node))
        except ValueError as error:
            records, refusal = [], f"what came back from {node} is no record of it: {error}"
        if refusal is not None:
            reason = f"{node}: {refusal}" if node else refusal
            records = failures(self._planned, unit, reason, node)
        note = Note(
            unit=unit.key,
            node=node,
            told_by=outcome.node,
            place=outcome.place,
            refusal=refusal,
        )
        with undisturbed():
            for record in records:
                append(record, self._planned.records_path)
            files.append_line(self._path, note.model_dump_json().encode())
        return records

    def _name_of(self, node: str) -> str:
        """Return a machine's name in records; empty for none."""
        if not node:
            return ""
        return self._nodes.setdefault(node, f"node{1 + len(set(self._nodes.values()))}")

    def _mended(self) -> list[Note]:
        """Return the notes of an earlier run, its file without the line that a crash left torn.

        Raises FleetStoppedError for a file of something else.
        """
        if not self._path.exists():
            return []
        content = self._path.read_bytes()
        whole, _, torn = content.rpartition(b"\n")
        if torn:
            files.replace(self._path, whole + b"\n" if whole else b"")
        try:
            return [Note.model_validate_json(line) for line in whole.splitlines()]
        except ValidationError as error:
            raise FleetStoppedError(
                f"{self._path} does not say which units came back: without it, all are run again"
            ) from error


def _records_of(unit: Unit, outcome: Outcome, node: str) -> Iterator[Record]:
    """Yield a unit's records, each with its machine's name. Raises ValueError for other ones."""
    if not outcome.lines:
        raise ValueError("there is none")
    for line in outcome.lines:
        record = Record.from_json(line)
        if record.session != unit.session or record.model != unit.cells[0].model:
            raise ValueError(f"it is of session {record.session}, {record.cell.id}")
        yield record.model_copy(update={"machine": {**record.machine, "node": node}})


def failures(planned: Plan, unit: Unit, reason: str, node: str) -> list[Record]:
    """Return a record for each cell of a unit that no machine carried out, with the reason."""
    made = []
    for cell in unit.cells:
        job = planned.job(cell, "train")
        fields = {
            **terms_of(planned, cell, "train", utc_now()),
            "machine": {"node": node} if node else {},
            "train_images": job.train_images - job.validation_images,
            "validation_images": job.validation_images,
            "test_images": job.test_images,
            "failure": reason,
        }
        made.append(Record.model_validate(fields))
    return made
