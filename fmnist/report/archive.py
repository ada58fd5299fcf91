"""Files of records, gone through as often as needed, with few records in memory at once.

Which sessions are shown as one is known only when every file was read. So all are read once, and
each session again when its turn has come. Of many records, several processes read.
"""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from typing import Final, Protocol, TypeVar

from fmnist.machine import usable_cpus
from fmnist.record import DamagedLine, Line, Record, walk
from fmnist.report.choose import (
    Outline,
    newest_rows,
    outline,
    sessions_of,
    table_key,
    together,
)

MANY_BYTES: Final = 2**25
"""Of records: from here on, starting other processes pays. They take a second to start."""
MOST_PROCESSES: Final = 8
AHEAD: Final = 4
"""How many tasks for each process are handed out before their turn has come."""

Key = tuple[str, ...]
"""What is equal in the records of one session."""
Change = Callable[[Record], Record]
T = TypeVar("T")
R = TypeVar("R")


class Mapper(Protocol):
    """What applies a function to each item, as `map` does, and keeps their order."""

    def __call__(self, function: Callable[[T], R], items: Iterable[T], /) -> Iterator[R]:
        """Yield the result for each item."""
        ...


class ChangedError(ValueError):
    """A file holds other records than a moment ago; the message names it."""


@dataclass(frozen=True)
class Stretch:
    """Lines of a file one after another, with no record of another session between them.

    Attributes:
        path: of the file.
        start: bytes before the first of the lines.
        last: bytes before the last one.
        checksum: of all lines that hold a record.
        places: of these records: the file's number, and theirs in the file.
    """

    path: Path
    start: int
    last: int
    checksum: int
    places: tuple[int, range]


@dataclass(frozen=True)
class Session:
    """A session without its records: where they are, when it began, and its outline.

    Attributes:
        stretches: in the order of files and lines.
        began: what sessions are sorted by: of equally old ones, the one that came first.
        outline: whether it is shown with others.
    """

    stretches: tuple[Stretch, ...]
    began: tuple[datetime, str, str, tuple[int, int]]
    outline: Outline


@dataclass(frozen=True)
class Index:
    """What a file holds, without its records.

    Attributes:
        sessions: stretch by stretch.
        damaged: the lines that hold no record.
        size: how many records there are.
    """

    sessions: tuple[tuple[Key, Session], ...]
    damaged: tuple[DamagedLine, ...]
    size: int


@dataclass(frozen=True)
class Reader:
    """Reads lines, and knows those that can be read once only.

    Attributes:
        change: what is made of each record; of the same session.
        held: by path, the lines of what is no regular file, such as a pipe.
    """

    change: Change
    held: Mapping[Path, Sequence[Line | DamagedLine]]

    def lines(self, path: Path) -> Iterable[Line | DamagedLine]:
        """Return the lines of a file. Raises OSError if it is unreadable."""
        return self.held[path] if path in self.held else walk(path)

    def index(self, numbered: tuple[int, Path]) -> Index:
        """Return what the file of a number holds. Raises OSError if it is unreadable."""
        number, path = numbered
        damaged: list[DamagedLine] = []
        sessions: list[tuple[Key, Session]] = []
        size = 0
        for key, grouped in groupby(_good(self.lines(path), damaged), _key):
            lines = list(grouped)
            places = (number, range(size, size + len(lines)))
            place = (path, lines[0].start, lines[-1].start, _checksum(lines), places)
            records = [self.change(line.record) for line in lines]
            sessions.append((key, _session([Stretch(*place)], records)))
            size += len(lines)
        return Index(tuple(sessions), tuple(damaged), size)

    def whole(self, stretches: Sequence[Stretch]) -> Session:
        """Return the session that is in these stretches. It raises what `run` raises."""
        return _session(stretches, self._records(stretches))

    def run(self, sessions: Sequence[Session]) -> list[Record]:
        """Return the records that are shown of the sessions of a run, given oldest first.

        Raises OSError if a file is unreadable, and ChangedError if it was changed.
        """
        newest_first = (self._records(session.stretches) for session in reversed(sessions))
        return newest_rows(sessions_of(records)[0] for records in newest_first)

    def made(self, make: Callable[[list[Record]], R], sessions: Sequence[Session]) -> R:
        """Return what is made of a run. It raises what `run` raises."""
        return make(self.run(sessions))

    def _records(self, stretches: Iterable[Stretch]) -> list[Record]:
        found: list[Record] = []
        for stretch in stretches:
            lines = [line for line in self._between(stretch) if isinstance(line, Line)]
            if _checksum(lines) != stretch.checksum:
                raise ChangedError(f"{stretch.path} was changed while it was read: start again")
            found += [self.change(line.record) for line in lines]
        return found

    def _between(self, stretch: Stretch) -> Iterator[Line | DamagedLine]:
        path, start, last = stretch.path, stretch.start, stretch.last
        if path not in self.held:
            return walk(path, start, last + 1, were_checked=True)
        return (t for t in self.held[path] if isinstance(t, Line) and start <= t.start <= last)


class Archive:
    """The records of files, in the order of files and lines.

    Attributes:
        size: how many records the last reading found.
        damaged: how many damaged lines it found.
    """

    def __init__(self, paths: Iterable[Path], tell: Callable[[DamagedLine], object]) -> None:
        """Take files. What is no regular file, such as a pipe, is read at once, and held.

        Args:
            paths: of the files.
            tell: is called with each damaged line that the first reading finds.
        """
        self._paths = tuple(paths)
        self._tell = tell
        held = {path: tuple(walk(path)) for path in self._paths if not path.is_file()}
        self._reader = Reader(_itself, held)
        self.size = self.damaged = 0

    def changed(self, change: Change) -> "Archive":
        """Return the archive of what is made of each record, of the same session."""
        other = copy(self)
        other._reader = Reader(change, self._reader.held)  # noqa: SLF001  # of this class
        return other

    def __iter__(self) -> Iterator[Record]:
        """Yield every record, reading the files anew. Raises OSError if one is unreadable."""
        self.size = self.damaged = 0
        for path in self._paths:
            for line in self._reader.lines(path):
                if isinstance(line, DamagedLine):
                    self.damaged += 1
                    self._tell(line)
                else:
                    self.size += 1
                    yield self._reader.change(line.record)
        self._tell = _nothing

    def runs(self) -> Iterator[list[Record]]:
        """Yield what is shown as one, as `choose.assembled` would return it.

        All files are read at first, and a run's records again when it is asked for. Raises OSError
        if a file is unreadable, and ChangedError if one was changed in between.
        """
        return map(self._reader.run, self._parts(map))

    def made(self, make: Callable[[list[Record]], R]) -> Iterator[R]:
        """Yield what is made of each of `runs`; of many records, in several processes.

        Args:
            make: it, its result and what it holds can be pickled.
        """
        with self._processes() as mapped:
            yield from mapped(partial(self._reader.made, make), self._parts(mapped))

    @contextmanager
    def _processes(self) -> Iterator[Mapper]:
        """Yield what maps in other processes where that is worth while, else in this one."""
        processes = min(MOST_PROCESSES, len(usable_cpus() or range(os.cpu_count() or 1)))
        n_bytes = sum(path.stat().st_size for path in self._paths)
        if processes == 1 or n_bytes < MANY_BYTES or self._reader.held:
            yield map
            return
        context = get_context("spawn")  # threads of libraries do not survive a fork
        with ProcessPoolExecutor(processes, context, _left_to_the_parent) as pool:
            yield partial(_in_order, pool, AHEAD * processes)

    def _parts(self, mapped: Mapper) -> list[list[Session]]:
        """Return the sessions of each run, all oldest first."""
        found: dict[Key, list[Session]] = {}
        self.size = self.damaged = 0
        for index in mapped(self._reader.index, enumerate(self._paths)):
            for key, session in index.sessions:
                found.setdefault(key, []).append(session)
            for line in index.damaged:
                self._tell(line)
            self.size += index.size
            self.damaged += len(index.damaged)
        self._tell = _nothing
        alone = [parts[0] for parts in found.values() if len(parts) == 1]
        split = [
            [stretch for part in parts for stretch in part.stretches]
            for parts in found.values()
            if len(parts) > 1
        ]
        sessions = [*alone, *mapped(self._reader.whole, split)]
        sessions.sort(key=lambda session: session.began)
        runs = together(session.outline for session in sessions)
        return [[sessions[i] for i in run] for run in runs]


def _in_order(
    pool: ProcessPoolExecutor, ahead: int, function: Callable[[T], R], items: Iterable[T]
) -> Iterator[R]:
    """Yield the result for each item in their order, with so many on their way at most."""
    waiting: deque[Future[R]] = deque()
    for item in items:
        waiting.append(pool.submit(function, item))
        if len(waiting) == ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _left_to_the_parent() -> None:
    """Let the parent alone be interrupted, which ends its processes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _itself(record: Record) -> Record:
    return record


def _nothing(_: DamagedLine) -> None:
    """Tell nobody: the line was told before."""


def _key(line: Line) -> Key:
    return table_key(line.record)


def _good(lines: Iterable[Line | DamagedLine], damaged: list[DamagedLine]) -> Iterator[Line]:
    """Yield the lines that hold records, and put the others into a list."""
    for line in lines:
        if isinstance(line, DamagedLine):
            damaged.append(line)
        else:
            yield line


def _checksum(lines: Iterable[Line]) -> int:
    return hash(tuple(line.checksum for line in lines))


def _session(stretches: Sequence[Stretch], records: Sequence[Record]) -> Session:
    """Return what is kept of a session's records, which are in these stretches."""
    (counting,) = sessions_of(records)
    first = counting[0]
    index = next(i for i, record in enumerate(records) if record is first)
    places = [(file, n) for file, numbers in (s.places for s in stretches) for n in numbers]
    began = (first.started_at, first.model, first.backend, places[index])
    return Session(tuple(stretches), began, outline(counting))
