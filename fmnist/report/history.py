"""One machine over time: how the time of a cell moved from session to session, and with what.

Sessions are not run side by side, so a ratio of two of them holds what the machine did meanwhile.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from fmnist import stats
from fmnist.record import Record, samples
from fmnist.report import columns
from fmnist.report.choose import good, machine_name, node_of
from fmnist.report.render import NOTHING, Table, with_interval
from fmnist.report.terms import accuracy_term, terms_of
from fmnist.report.trust import MARGIN, floor_of, noise_of
from fmnist.stats import Samples, Verdict

SESSIONS_FOR_A_CHANGEPOINT = stats.FEWEST_ROUNDS
"""With fewer, each session is compared with the one before it."""

COMMIT_DIGITS = 12
UNCHANGED = "nothing recorded"


class HistoryError(ValueError):
    """Records that are no history of one machine; the message says whose they are."""


@dataclass(frozen=True)
class Entry:
    """What one session measured of a cell: its records, and the session's noise.

    `noise` is the largest |ln ratio| of identical cells, infinite where it was not measured.
    """

    records: tuple[Record, ...]
    noise: float

    @property
    def first(self) -> Record:
        """The record whose terms stand for the session's."""
        return self.records[0]

    @property
    def samples(self) -> Samples:
        """Seconds: processes, then rounds."""
        return samples(self.records)


def of_one_machine(records: Iterable[Record], wanted: str | None = None) -> list[Record]:
    """Return the records of the only machine, or of the one whose name is or holds `wanted`.

    A machine's name is what it is made of, without the kernel, which may change over time. Raises
    HistoryError, naming the machines, unless exactly one is left.
    """
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(machine_name(record), []).append(record)
    text = (wanted or "").casefold()
    matching = [name for name in found if name.casefold() == text]
    matching = matching or [name for name in found if text in name.casefold()]
    if len(matching) == 1:
        return found[matching[0]]
    listed = "\n".join(f"  {name}" for name in found)
    if matching:
        raise HistoryError(
            f"these records are of {len(found)} machines, and a history is of one; choose it by "
            f"--machine with a part of its name that no other one has:\n{listed}"
        )
    raise HistoryError(f"no records of a machine {wanted!r}; there are:\n{listed}")


def tables(records: Iterable[Record]) -> list[Table]:
    """Return a table for each cell, with a row for each session, oldest first.

    Args:
        records: of one machine, as from `of_one_machine`.

    Raises:
        HistoryError: no cell was trained without failure.
    """
    histories = _histories(list(records))
    if not histories:
        raise HistoryError("no training record without a failure: no cell has a history here")
    verdicts = _verdicts(histories)
    return [
        _table(entries, [verdicts[n, i] for i in range(1, len(entries)) if _few(entries)])
        for n, entries in enumerate(histories)
    ]


def _histories(records: Sequence[Record]) -> list[list[Entry]]:
    """Return the entries of each cell in the order of time; other work is another cell."""
    sessions: dict[tuple[str, str], list[Record]] = {}
    for r in records:
        sessions.setdefault((r.session, node_of(r)), []).append(r)
    floors = {place: floor_of(noise_of(its)) for place, its in sessions.items()}
    cells: dict[tuple[Any, ...], dict[str, list[Record]]] = {}
    for r in sorted(good(records, "train"), key=lambda r: r.started_at):
        work = (r.cell, r.preset, r.dataset, r.train_images)
        cells.setdefault(work, {}).setdefault(r.session, []).append(r)
    return [
        [Entry(tuple(its), floors[s, node_of(its[0])]) for s, its in by_session.items()]
        for _, by_session in sorted(cells.items())
    ]


def _few(entries: Sequence[Entry]) -> bool:
    return len(entries) < SESSIONS_FOR_A_CHANGEPOINT


def _verdicts(histories: Sequence[Sequence[Entry]]) -> dict[tuple[int, int], Verdict]:
    """Return, by history and session of it, how that compares with the one before it.

    Only of histories that are too short for a changepoint. The cells that two sessions share are
    judged together: the more they are, the more strictly.
    """
    steps: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for number, entries in enumerate(histories):
        for i in range(1, len(entries) if _few(entries) else 0):
            sessions = (entries[i - 1].first.session, entries[i].first.session)
            steps.setdefault(sessions, []).append((number, i))
    found: dict[tuple[int, int], Verdict] = {}
    for places in steps.values():
        pairs = [(histories[number][i - 1], histories[number][i]) for number, i in places]
        noise = max(entry.noise for pair in pairs for entry in pair)
        comparisons = [
            stats.compare_apart(after.samples, before.samples, MARGIN) for before, after in pairs
        ]
        found |= zip(places, stats.verdicts(comparisons, noise, MARGIN), strict=True)
    return found


def _table(entries: Sequence[Entry], verdicts: Sequence[Verdict]) -> Table:
    """Return a cell's table; `verdicts` are on all entries but the first, if these are few."""
    changes = [NOTHING, *(changed(a.first, b.first) for a, b in pairwise(entries))]
    ratios = [NOTHING, *(_ratio(a, b) for a, b in pairwise(entries))]
    if _few(entries):
        marks = [NOTHING, *map(_named, verdicts, changes[1:])]
    else:
        new = changepoints([stats.nested_mean(entry.samples).value for entry in entries])
        marks = [f"new level: {c}" if i in new else NOTHING for i, c in enumerate(changes)]
    rows = [
        {
            "started at [UTC]": f"{entry.first.started_at:%Y-%m-%d %H:%M}",
            "session": entry.first.session,
            "changed since": change,
            "epoch [s]": columns.epoch(entry.records),
            "n": " + ".join(str(len(rounds)) for rounds in entry.samples),
            "ratio to the session before": ratio,
            "change": mark,
            "accuracy [%]": columns.accuracy(entry.records),
        }
        for entry, change, ratio, mark in zip(entries, changes, ratios, marks, strict=True)
    ]
    first = entries[0].first
    return Table(
        f"History of {first.cell.id}: {first.dataset}, preset {first.preset}, "
        f"{first.train_images:,} images",
        tuple(rows[0]),
        tuple(tuple(row.values()) for row in rows),
        _terms(entries),
    )


def _named(verdict: Verdict, change: str) -> str:
    """Return a verdict, with what changed in the terms where the time changed."""
    if verdict in (Verdict.FASTER, Verdict.SLOWER):
        return f"{verdict}: {change}"
    return str(verdict)


def _ratio(before: Entry, after: Entry) -> str:
    return with_interval(stats.ratio_apart(after.samples, before.samples))


def changepoints(levels: Sequence[float]) -> list[int]:
    """Return where new levels of positive times begin, in order, counted from 0.

    What came since the last change is tested as it grows, session by session, so a level that came
    and went is seen; a single test of the whole does not see it. As many tests find changes where
    there are none, each one found is tested again between its neighbours and kept if it still
    stands (as by Inclan and Tiao, Use of cumulative sums of squares for retrospective detection of
    changes of variance, JASA 89, 1994).
    """
    found = _changes_as_they_came(levels)
    confirmed = _confirmed(found, levels)
    while len(confirmed) < len(found):
        found, confirmed = confirmed, _confirmed(confirmed, levels)
    return confirmed


def _changes_as_they_came(levels: Sequence[float]) -> list[int]:
    found: list[int] = []
    start = 0
    for end in range(1, len(levels) + 1):
        new = stats.changepoint(levels[start:end]).changed_at
        if new is not None:
            start += new
            found.append(start)
    return found


def _confirmed(found: Sequence[int], levels: Sequence[float]) -> list[int]:
    """Return the changes that stand between their neighbours, moved to where they are clearest."""
    ends = (0, *found, len(levels))
    moved = {
        start + new
        for start, end in zip(ends, ends[2:], strict=False)
        if (new := stats.changepoint(levels[start:end]).changed_at) is not None
    }
    return sorted(moved)


def changed(before: Record, after: Record) -> str:
    """Return in which terms two records differ, like `keras 3.14.1 -> 3.15.1`."""
    ours, theirs = dict(_facts(before)), dict(_facts(after))
    differing = [
        f"{name} {ours.get(name, 'none')} -> {theirs.get(name, 'none')}"
        for name in {**ours, **theirs}
        if ours.get(name) != theirs.get(name)
    ]
    return ", ".join(differing) or UNCHANGED


def _facts(record: Record) -> Iterator[tuple[str, str]]:
    """Yield by name what may change from session to session on one machine."""
    yield from record.versions.items()
    yield from record.flags.items()
    commit, dirty, _ = (record.commit or "unknown").partition("-dirty")
    yield "commit", commit[:COMMIT_DIGITS] + dirty
    yield from _flat("threads", record.threads)
    yield from _flat("machine", record.machine)


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401  # what JSON holds
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{name} {key}", inner)
    else:
        yield name, str(value)


def _terms(entries: Sequence[Entry]) -> tuple[str, ...]:
    judged = (
        "change: where a new level of the sessions' times begins (changepoint test, "
        f"n={len(entries)} sessions)"
        if not _few(entries)
        else f"change: against the session before, same within {100 * MARGIN:g} %, a difference "
        "only beyond the noise of both sessions (cannot tell, where that was not measured), "
        "corrected for the cells that the two share (Benjamini-Hochberg); from "
        f"{SESSIONS_FOR_A_CHANGEPOINT} sessions on, changepoints are looked for"
    )
    return (
        "epoch: geometric mean of n steady epochs (+ by process) with its 95 % interval; ratio: "
        "this time over that of the session before, above 1 is slower; they did not run side by "
        "side",
        judged,
        accuracy_term([r for entry in entries for r in entry.records]),
        "terms of the first session; what changed since is in the rows",
        *terms_of(entries[0].records),
    )
