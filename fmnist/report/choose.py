"""Which records stand in one table."""

from collections.abc import Iterable, Sequence
from typing import Any

from fmnist import machine
from fmnist.record import Record, Task

Rows = Sequence[Record]
"""The records of one row: of one cell's processes, or of the same cell on each backend."""


def good(records: Iterable[Record], task: Task) -> list[Record]:
    """Return the records of a task that did not fail."""
    return [r for r in records if r.task == task and r.failure is None]


def sessions_of(records: Iterable[Record]) -> list[list[Record]]:
    """Return the records grouped by what may stand in one table, oldest first.

    A session that several machines shared is a group for each of them: no ratio is across machines.
    What failed or was interrupted, and was measured when the session was resumed, is left out.
    """
    groups: dict[tuple[str, ...], list[Record]] = {}
    # First what counts, by the order of the lines: a clock may have been set back in between.
    counting = _last_of_each(list(records))
    for record in sorted(counting, key=lambda r: (r.started_at, r.model, r.backend)):
        key = (*_of_session(record), machine.summary(record.machine))
        groups.setdefault(key, []).append(record)
    return list(groups.values())


def _of_session(record: Record) -> tuple[str, ...]:
    return record.session, record.dataset, record.preset


def _last_of_each(records: Sequence[Record]) -> list[Record]:
    """Return the records, those left out that a later one of the same process replaces.

    Schema 1 did not number the processes of starts: these all count.
    """

    def key(r: Record) -> tuple[Any, ...]:
        return *_of_session(r), r.cell, r.process, *row_of_task(r)

    last = {key(r): r for r in records}
    return [r for r in records if last[key(r)] is r or (r.task == "startup" and r.failure is None)]


def assembled(records: Iterable[Record]) -> list[list[Record]]:
    """Return what is shown as one: sessions, those of the same terms put together, oldest first.

    Sessions that agree in everything but their models are one run in parts, and each row is its
    newest one. A session that measured its own noise stays alone: that says nothing of another. So
    does a race: it is held against a reference of its own.
    """
    groups: list[list[list[Record]]] = []
    for session in sessions_of(records):
        fitting = (g for g in groups if _one_run(g[-1], session))
        group = next(fitting, None)
        if group is None:
            groups.append([session])
        else:
            group.append(session)
    return [_newest_rows(group) for group in groups]


def _one_run(ours: Sequence[Record], theirs: Sequence[Record]) -> bool:
    """Tell whether two sessions agree in terms and versions: none of known noise, and no race."""
    if any(r.task in ("noise", "race") for r in (*ours, *theirs)):
        return False
    if {r.study for r in ours} != {r.study for r in theirs}:
        return False
    versions = [
        {n: v for r in records for n, v in r.versions.items()} for records in (ours, theirs)
    ]
    return _common_terms(ours[0]) == _common_terms(theirs[0]) and all(
        versions[0].get(name, v) == v for name, v in versions[1].items()
    )


def _newest_rows(sessions: Sequence[Sequence[Record]]) -> list[Record]:
    """Return the records of several sessions, of each task's row those of the last session."""
    newest = {row_of_task(r): r.session for session in sessions for r in session}
    return [r for s in sessions for r in s if newest[row_of_task(r)] == r.session]


def row_of_task(record: Record) -> tuple[Any, ...]:
    """Return what says that a record is of the same row of the same task as another one.

    A model is learned by several recipes in one session, and by each backend in any; it is timed
    by one recipe, by all backends in turn.
    """
    if record.task == "learn":
        return (record.task, record.backend, *trained_key(record))
    return (record.task, *row_key(record))


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


def _common_terms(record: Record) -> tuple[Any, ...]:
    """Return what records must share, beside their versions, to stand in one table."""
    # What is learned over hours may be of several commits, which the terms name.
    commit = None if record.task == "learn" else record.commit
    return (record.dataset, record.preset, record.machine, commit, record.seed)


MAIN_MODES = ("stock", "tuned")
CELL_COLUMNS = ("device", "mode", "batch_size", "precision", "xla", "environment")
"""What says, beside model and backend, which cell a record is of."""


def row_key(record: Record) -> tuple[Any, ...]:
    """Return what must be equal for backends to stand side by side in a row."""
    return (record.model, *(getattr(record, name) for name in CELL_COLUMNS))


def trained_key(record: Record) -> tuple[Any, ...]:
    """Return what must be equal for backends and seeds of a whole training to be of one row."""
    images = (record.train_images, record.validation_images, record.test_images)
    return (*row_key(record), record.study, *images, record.recipe.model_dump_json())


def of_main_modes(records: Sequence[Record]) -> list[Record]:
    """Return the records of stock and tuned: knobs one by one and traps have their own tables.

    Where none is of those two, all.
    """
    main = [r for r in records if r.mode in MAIN_MODES]
    return main or list(records)


def backends_of(records: Iterable[Record]) -> list[str]:
    """Return the backends that ran, in the order of their columns."""
    return sorted({r.backend for r in records}, reverse=True)
