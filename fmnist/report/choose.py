"""Which records stand in one table."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from fmnist import machine
from fmnist.record import Record, Task

Rows = Sequence[Record]
"""The records of one row: of one cell's processes, or of the same cell on each backend."""


class HasMode(Protocol):
    """A record, or whatever stands for records of one mode."""

    @property
    def mode(self) -> str:
        """The name of the mode."""
        ...


OfMode = TypeVar("OfMode", bound=HasMode)


def good(records: Iterable[Record], task: Task) -> list[Record]:
    """Return the records of a task that did not fail."""
    return [r for r in records if r.task == task and r.failure is None]


def sessions_of(records: Iterable[Record]) -> list[list[Record]]:
    """Return the records grouped by what may stand in one table, oldest first.

    What failed or was interrupted, and was measured when the session was resumed, is left out.
    """
    groups: dict[tuple[str, ...], list[Record]] = {}
    # First what counts, by the order of the lines: a clock may have been set back in between.
    counting = _last_of_each(list(records))
    for record in sorted(counting, key=lambda r: (r.started_at, r.model, r.backend)):
        groups.setdefault(table_key(record), []).append(record)
    return list(groups.values())


def table_key(record: Record) -> tuple[str, ...]:
    """Return what is equal in all records of a session that may stand in one table.

    Machines that shared a session are told apart: no ratio is across them.
    """
    return *session_key(record), machine.summary(record.machine)


def session_key(record: Record) -> tuple[str, str, str]:
    """Return what is equal in all records of a session, whatever machines shared it."""
    return record.session, record.dataset, record.preset


def _last_of_each(records: Sequence[Record]) -> list[Record]:
    """Return the records, those left out that a later one of the same process replaces.

    Schema 1 did not number the processes of starts: these all count.
    """

    def key(r: Record) -> tuple[Any, ...]:
        return *table_key(r), r.cell, r.process, *row_of_task(r)

    last = {key(r): r for r in records}
    return [r for r in records if last[key(r)] is r or (r.task == "startup" and r.failure is None)]


@dataclass(frozen=True)
class Outline:
    """What decides whether a session is shown together with others.

    Attributes:
        session: its name.
        terms: what is equal in sessions of one run, and can be looked up.
        machine: as in its first record; equal as well.
        versions: by package, its version; those that two sessions both name are equal.
        stays_alone: it measured its own noise, is a race, or held several devices against one.
    """

    session: str
    terms: tuple[Any, ...]
    machine: Mapping[str, Any]
    versions: Mapping[str, str]
    stays_alone: bool


def outline(session: Sequence[Record]) -> Outline:
    """Return the outline of a session, as from `sessions_of`."""
    first = session[0]
    # What is learned over hours may be of several commits, which the terms name.
    commit = None if first.task == "learn" else first.commit
    studies = frozenset(r.study for r in session)
    return Outline(
        first.session,
        (first.dataset, first.preset, commit, first.seed, studies),
        first.machine,
        {name: version for r in session for name, version in r.versions.items()},
        any(r.task in ("noise", "race", "scale") for r in session),
    )


def assembled(records: Iterable[Record]) -> list[list[Record]]:
    """Return what is shown as one: sessions, those of the same terms put together, oldest first.

    Sessions that agree in everything but their models are one run in parts, and each row is its
    newest one. A session that measured its own noise stays alone: that says nothing of another. So
    does a race, and one of several devices: they are held against references of their own.
    """
    sessions = sessions_of(records)
    runs = together([outline(session) for session in sessions])
    return [newest_rows(sessions[i] for i in reversed(run)) for run in runs]


def together(outlines: Iterable[Outline]) -> list[list[int]]:
    """Return which sessions are shown as one, as places in `outlines`, oldest first in both."""
    runs: list[list[int]] = []
    open_to_others: dict[tuple[Any, ...], list[tuple[Outline, list[int]]]] = {}
    for place, one in enumerate(outlines):
        alike = open_to_others.setdefault(one.terms, [])
        fitting = (i for i, (last, _) in enumerate(alike) if _one_run(last, one))
        found = None if one.stays_alone else next(fitting, None)
        run = [] if found is None else alike[found][1]
        run.append(place)
        if found is not None:
            alike[found] = one, run
            continue
        runs.append(run)
        if not one.stays_alone:
            alike.append((one, run))
    return runs


def _one_run(ours: Outline, theirs: Outline) -> bool:
    """Tell whether two sessions of the same terms agree in machine and versions."""
    return ours.machine == theirs.machine and all(
        ours.versions.get(name, version) == version for name, version in theirs.versions.items()
    )


_FAILED = -1


def newest_rows(newest_first: Iterable[Sequence[Record]]) -> list[Record]:
    """Return the records of the sessions of a run, of each task's row those of the last session.

    Oldest first, as in each of them. A session is let go before the next one is asked for. A whole
    training replaces those of as many epochs and those that failed; one that failed, no others.
    """
    taken: set[tuple[Any, ...]] = set()
    kept: list[list[Record]] = []
    for session in newest_first:
        rows = [(row_of_task(r), _ended(r)) for r in session]
        kept.append([r for r, row in zip(session, rows, strict=True) if row not in taken])
        taken.update(rows)
        taken.update((row, _FAILED) for row, _ in rows)
    return [r for session in reversed(kept) for r in session]


def _ended(record: Record) -> int:
    """Return how a whole training ended: after how many epochs, or `_FAILED`; else 0."""
    if record.task == "learn" and record.failure is not None:
        return _FAILED
    return epochs_given(record) or 0


def row_of_task(record: Record) -> tuple[Any, ...]:
    """Return what says that a record is of the same row of the same task as another one.

    A model is learned by several recipes in one session, and by each backend in any; it is timed
    by one recipe, by all backends in turn.
    """
    if record.task == "learn":
        return (record.task, record.backend, *_work_of_training(record))
    return (record.task, *row_key(record))


def epochs_given(record: Record) -> int | None:
    """Return how many epochs a whole training had; None if it failed, or could end by itself."""
    if record.task != "learn" or record.failure is not None or record.recipe.stop_after is not None:
        return None
    return len(record.history)


def machine_name(record: Record) -> str:
    """Return what a record's machine is made of, without the kernel, which changes over time.

    Nor is it told which one of a session's several machines it was: in another session, the same
    name is another one's.
    """
    lasting = {n: fact for n, fact in record.machine.items() if n not in ("kernel", "node")}
    return machine.summary(lasting)


def node_of(record: Record) -> str:
    """Return which of its session's machines a record is of; empty where there was one."""
    return str(record.machine.get("node") or "")


def placed_name(record: Record) -> str:
    """Return `machine_name`, and which of its session's machines it was."""
    return ", ".join(filter(None, (machine_name(record), node_of(record))))


MAIN_MODES = ("stock", "tuned")
CELL_COLUMNS = (
    *("device", "mode", "batch_size", "precision", "xla", "environment"),
    *("replicas", "hosts"),
)
"""What says, beside model and backend, which cell a record is of."""


def row_key(record: Record) -> tuple[Any, ...]:
    """Return what must be equal for backends to stand side by side in a row."""
    return (record.model, *(getattr(record, name) for name in CELL_COLUMNS))


def epochs_of(record: Record) -> int:
    """Return how many epochs a whole training had; its recipe's where `epochs_given` tells none."""
    return epochs_given(record) or record.recipe.epochs


def was_cut(record: Record) -> bool:
    """Tell whether a whole training had fewer epochs than its recipe."""
    return epochs_of(record) < record.recipe.epochs


def trained_key(record: Record) -> tuple[Any, ...]:
    """Return what must be equal for backends and seeds of a whole training to be of one row.

    Those that `--epochs` cut are rows of their own.
    """
    return (*_work_of_training(record), epochs_given(record) or 0)


def _work_of_training(record: Record) -> tuple[Any, ...]:
    images = (record.train_images, record.validation_images, record.test_images)
    return (*row_key(record), record.study, *images, record.recipe.model_dump_json())


def of_main_modes(items: Sequence[OfMode]) -> list[OfMode]:
    """Return what is of stock and tuned: knobs one by one and traps have their own tables.

    Where none is of those two, all.
    """
    main = [item for item in items if item.mode in MAIN_MODES]
    return main or list(items)


def backends_of(records: Iterable[Record]) -> list[str]:
    """Return the backends that ran, in the order of their columns."""
    return sorted({r.backend for r in records}, reverse=True)
