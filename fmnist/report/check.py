"""Whether a results file can be believed: what a session must hold beyond valid lines.

A line that contradicts itself is refused by `fmnist.record`. Here lines are held against each
other, against the models of this suite, and against what is possible. Files may be a stranger's.
"""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from fmnist import blueprint
from fmnist.grid import PRECISIONS
from fmnist.record import SCHEMA, Line, Record, read_lines, unpacked
from fmnist.report import tables
from fmnist.report.choose import node_of, row_key, row_of_task, sessions_of
from fmnist.report.render import joined, render

FASHION_MNIST_RELEASED = datetime(2017, 8, 25, tzinfo=UTC)
"""The day of its paper, arXiv:1708.07747."""

MOST_IMAGES: Mapping[str, int] = {"training": 60_000, "test": 10_000}
"""What Fashion-MNIST has by its paper, and the stand-in as well."""

CLOCK_STEP_S = 1.0
"""The starts of records are rounded down to this."""

MOST_OF_PEAK = 10
"""How many times a machine's measured peak no training reaches. A peak is one kernel, in one dtype,
measured in a moment, so training may come out above it; but not ten times."""

IMAGES_APART = 2
"""Accuracy and recognised images are of two passes, whose rounding may tip an image or two."""
SHARE_APART = 1 / 200
"""The same in reduced precision, of all images: where a logit keeps eight bits, the two largest are
often equal."""

FLOAT32_ROUNDING = 2 * float(np.finfo(np.float32).eps)
"""How far a share that a backend divided in float32 may lie from the true one, relative."""

Complaint = tuple[str, str]
"""What is wrong, and what it should be."""

Place = tuple[int, Complaint]
"""The number of a line, and the complaint about it."""


@dataclass(frozen=True)
class Finding:
    """What is wrong in a file, where, and what it should be."""

    path: Path
    line_number: int
    wrong: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.path}, line {self.line_number}: {self.wrong}; {self.remedy}"


@dataclass(frozen=True)
class Checked:
    """What was checked in a file, and what was found."""

    path: Path
    lines: tuple[Line, ...]
    findings: tuple[Finding, ...]

    @property
    def summary(self) -> str:
        """What was checked, in a sentence."""
        records = [line.record for line in self.lines]
        unsigned = sum(line.schema == 1 and not line.has_digest for line in self.lines)
        return (
            f"{self.path}: {len(records)} records, session {joined(r.session for r in records)}, "
            f"models {joined(sorted({r.model for r in records}))}: "
            f"{len(self.findings) or 'no'} finding{'' if len(self.findings) == 1 else 's'}"
            + (f" ({unsigned} lines of schema 1 have no digest to check)" if unsigned else "")
        )


def check(
    path: Path, parameters: Mapping[str, int], now: datetime, published: str | None = None
) -> Checked:
    """Return what can be said against a results file. Raises OSError if it is unreadable.

    Args:
        path: a file of records, one JSON line each.
        parameters: of every model of this suite, by name.
        now: with a timezone; no record may be younger.
        published: Markdown that must hold every table row that the records make.
    """
    lines, damaged = read_lines(path)
    due = f"a record of schema 1 to {SCHEMA} is due here"
    found: list[Place] = [(line.number, (line.reason, due)) for line in damaged]
    if not lines and not found:
        found.append((1, ("no record in this file", "a results file has a line for each")))
    for line in lines:
        found += [(line.number, complaint) for complaint in _of_line(line, parameters, now)]
    by_session: dict[str, list[Line]] = {}
    for line in lines:
        by_session.setdefault(line.record.session, []).append(line)
    for session in by_session.values():
        found += _of_session(session)
    if published is not None and not found:  # of records that hold nonsense no table can be made
        found += _unpublished(lines, published)
    findings = (Finding(path, number, *complaint) for number, complaint in sorted(found))
    return Checked(path, tuple(lines), tuple(findings))


def _of_line(line: Line, parameters: Mapping[str, int], now: datetime) -> Iterator[Complaint]:
    """Yield what is wrong with a record, whatever stands in the other lines."""
    if line.schema > 1 and not line.has_digest:
        yield "no digest", "from schema 2 on, a line ends with the digest of its content"
    record = line.record
    if not FASHION_MNIST_RELEASED <= record.started_at <= now:
        yield (
            f"started_at {record.started_at.isoformat()}",
            f"it lies between the release of Fashion-MNIST ({FASHION_MNIST_RELEASED:%Y-%m-%d}) "
            f"and now ({now.isoformat()})",
        )
    yield from _of_model(record, parameters)
    yield from _of_speed(record)
    too_many = list(_of_data_set(record))
    yield from too_many or _of_accuracy(record)


def _of_model(record: Record, parameters: Mapping[str, int]) -> Iterator[Complaint]:
    """Yield what does not fit the model of this name."""
    expected = parameters.get(record.model) or _described(record.model)
    if expected is None:
        yield f"unknown model {record.model!r}", f"there are: {', '.join(parameters)}"
    elif record.parameters is not None and record.parameters.total != expected:
        yield (
            f"{record.parameters.total:,} parameters",
            f"fmnist/models/{record.model}.py has {expected:,}"
            if record.model in parameters
            else f"the model of this name has {expected:,}",
        )


def _described(model: str) -> int | None:
    """Return the parameters of a model that is described by its name; None for any other name."""
    try:
        return blueprint.parse(model).parameters
    except blueprint.BlueprintError:
        return None


def _of_speed(record: Record) -> Iterator[Complaint]:
    """Yield operations by the second that the record's own machine cannot reach."""
    if not (record.peaks and record.train_flop_per_image and record.images_per_s):
        return
    reached, peak = record.train_flop_per_image * record.images_per_s, record.peaks
    if reached > MOST_OF_PEAK * peak.matmul_flop_per_s:
        yield (
            f"train_flop_per_image {record.train_flop_per_image:,} at {record.images_per_s:,.0f} "
            f"images/s are {reached:.3g} FLOP/s",
            f"its own machine's fastest matrix product is {peak.matmul_flop_per_s:.3g} FLOP/s",
        )


def _of_data_set(record: Record) -> Iterator[Complaint]:
    """Yield the sets that hold more images than there are."""
    sizes = {
        "training": record.train_images + record.validation_images,
        "test": record.test_images,
    }
    for name, images in sizes.items():
        if images > MOST_IMAGES[name]:
            yield f"more than {MOST_IMAGES[name]:,} {name} images", "the data set has no more"


def _of_accuracy(record: Record) -> Iterator[Complaint]:
    """Yield accuracies that no number of images makes, and bits that say otherwise.

    The accuracy is that of the last epoch in the history, or the record would not have been read.
    """
    n = record.test_images
    for epoch, result in enumerate(record.history, start=1):
        images = round(result.test_accuracy * n)
        if not math.isclose(result.test_accuracy, images / n, rel_tol=FLOAT32_ROUNDING):
            yield (
                f"test_accuracy {result.test_accuracy!r} of epoch {epoch}",
                f"of {n:,} images, {images:,} are {images / n!r}",
            )
    if record.correct is not None and record.accuracy is not None:
        recognised, images = int(unpacked(record.correct, n).sum()), round(record.accuracy * n)
        reduced = record.precision != PRECISIONS[0]
        apart = max(IMAGES_APART, int(n * SHARE_APART)) if reduced else IMAGES_APART
        if abs(recognised - images) > apart:
            yield (
                f"correct counts {recognised:,} recognised images",
                f"the accuracy {record.accuracy!r} is {images:,} of {n:,}, and "
                f"the two differ by {apart} images at most",
            )


def _of_session(lines: Sequence[Line]) -> Iterator[Place]:
    """Yield what is wrong with the lines of one session, taken together."""
    yield from _contradictions(lines)
    yield from _doubled(lines)
    yield from _absent(lines)
    yield from _uncertified(lines)
    by_node: dict[str, list[Line]] = {}
    for line in lines:
        by_node.setdefault(node_of(line.record), []).append(line)
    for of_node in by_node.values():
        yield from _too_long(of_node)


def _contradictions(lines: Iterable[Line]) -> Iterator[Place]:
    """Yield lines that state another machine, commit, data set or version than one before."""
    stated: dict[str, tuple[int, Any]] = {}
    for line in lines:
        apart = []
        for fact, value in _facts(line.record):
            first, agreed = stated.setdefault(fact, (line.number, value))
            if value != agreed:
                apart.append(f"{fact} {value} (in line {first} {agreed})")
        if apart:
            yield (
                line.number,
                (
                    "; ".join(apart),
                    "a session has one machine (or several, each of a name), one commit, one data "
                    "set, and one version of each package for each backend",
                ),
            )


def _facts(record: Record) -> Iterator[tuple[str, Any]]:
    """Yield by name what is the same in every record of a session, or of one of its machines."""
    yield "commit", record.commit
    yield "data set", record.dataset
    node = node_of(record)
    for fact, value in record.machine.items():
        yield f"{node or 'machine'}'s {fact}", value
    place = f"{record.backend} {record.environment}".strip()
    for package, version in record.versions.items():
        yield f"{package} on {place}", version


def _doubled(lines: Iterable[Line]) -> Iterator[Place]:
    """Yield second records of what is measured once; a failure may be followed by a success."""
    first: dict[tuple[Any, ...], int] = {}
    for line in lines:
        r = line.record
        unnumbered = line.schema == 1 and r.task == "startup"  # its processes had no numbers yet
        if r.failure is not None or unnumbered:
            continue
        number = first.setdefault((r.cell, r.process, r.seed, *row_of_task(r)), line.number)
        if number != line.number:
            yield (
                line.number,
                (
                    f"a second {r.task} record of {r.cell.id}, process {r.process}, seed {r.seed}",
                    f"the first is in line {number}, and only one can be true",
                ),
            )


def _absent(lines: Iterable[Line]) -> Iterator[Place]:
    """Yield cells of a model that lack a record which the session has for other backends."""
    places: dict[tuple[str, str], None] = {}
    found: dict[tuple[Any, ...], list[Line]] = {}
    for line in lines:
        r = line.record
        places[r.backend, r.device] = None
        if r.task in ("train", "startup"):
            found.setdefault((r.task, *row_key(r)), []).append(line)
    for rows in found.values():
        cell, task = rows[0].record.cell, rows[0].record.task
        measured = {(line.record.backend, line.record.process) for line in rows}
        processes = {process for _, process in measured}
        for backend in [b for b, device in places if device == cell.device]:
            for process in sorted(processes | set(range(len(processes)))):
                if (backend, process) not in measured:
                    yield (
                        rows[0].number,
                        (
                            f"no {task} record of {replace(cell, backend=backend).id}, "
                            f"process {process}",
                            "each backend and process of a session has one for every model, with "
                            "the reason if it failed",
                        ),
                    )


def _uncertified(lines: Sequence[Line]) -> Iterator[Place]:
    """Yield what a session of schema 2 must prove about itself and does not."""
    trained = [line for line in lines if line.record.task == "train"]
    if not trained or all(line.schema == 1 for line in lines):
        return
    session = f"session {trained[0].record.session}"
    if not any(line.record.task == "noise" for line in lines):
        yield (
            trained[0].number,
            (
                f"{session} has no noise record",
                "from schema 2 on, a cell is run against itself: without it no difference counts",
            ),
        )
    proofs = [line for line in lines if line.record.task == "parity"]
    certified = {row_key(line.record) for line in proofs}
    proved = {line.record.cell for line in proofs}
    backends: dict[tuple[Any, ...], dict[str, Line]] = {}
    for line in trained:
        r = line.record
        usual = (r.xla, r.environment, r.precision) == ("auto", "", "float32")
        if usual and r.mode == "tuned" and r.cell not in proved:
            yield (
                line.number,
                (f"{session} has no parity record of {r.cell.id}", "tuned is proved against stock"),
            )
        if usual and r.mode == "stock" and row_key(r) not in certified:
            backends.setdefault(row_key(r), {})[r.backend] = line
    for rows in [list(b.values()) for b in backends.values() if len(b) > 1]:
        yield (
            rows[0].number,
            (
                f"{session} has no parity record of {rows[0].record.model}",
                "from schema 2 on, two backends are shown to do the same work",
            ),
        )


def _too_long(lines: Sequence[Line]) -> Iterator[Place]:
    """Yield the last record of a session's machine that measured more seconds than have passed.

    There, one worker computes at a time, and a group of workers ends before the next one starts. So
    all but the last group fits between the first start and the last.
    """
    last = max(lines, key=lambda line: (line.record.started_at, line.number))
    first = min(line.record.started_at for line in lines)
    group = [line.record for line in lines if _group(line.record) == _group(last.record)]
    passed_s = (last.record.started_at - first).total_seconds() + CLOCK_STEP_S
    possible_s = passed_s + math.fsum(map(_measured_s, group))
    measured_s = math.fsum(_measured_s(line.record) for line in lines)
    if measured_s > possible_s:
        yield (
            last.number,
            (
                f"epochs, evaluations and predictions of session {last.record.session} add up to "
                f"{measured_s:,.0f} s",
                f"from its first start to the end of its last records {possible_s:,.0f} s passed",
            ),
        )


def _group(record: Record) -> tuple[Any, ...]:
    """Return what records share whose workers ran in turn."""
    return (record.task, record.model, record.process)


def _measured_s(record: Record) -> float:
    """Return the seconds of a record's epochs, evaluations and predictions, one after another."""
    once = (record.first_epoch_s or 0.0, record.evaluate_s or 0.0)
    beside = (seconds for rounds in record.beside_s.values() for seconds in rounds)
    return math.fsum([*once, *record.epoch_s, *beside, *record.predict_s, *record.latency_s])


def _unpublished(lines: Iterable[Line], published: str) -> Iterator[Place]:
    """Yield the table rows that the records make and that the published text does not hold."""
    first: dict[str, int] = {}
    for line in lines:
        first.setdefault(line.record.session, line.number)
    there = set(_rows(published))
    for session in sessions_of(line.record for line in lines):
        for table in tables.of_session(session):
            for row in _rows(render(table, "markdown")):
                if row not in there:
                    yield (
                        first[session[0].session],
                        (
                            f"the row {' | '.join(row)} of {table.title!r} is not published",
                            "published tables are made from records: run `fmnist publish`",
                        ),
                    )


def _rows(text: str) -> list[tuple[str, ...]]:
    """Return the cells of every table row in Markdown, headers too, the rules under them not."""
    lines = [line.strip() for line in text.splitlines()]
    return [
        tuple(cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip("|")))
        for line in lines
        if line.startswith("|") and set(line) - set("|-: ")
    ]
