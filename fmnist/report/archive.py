"""Files of records, gone through as often as needed, with few records in memory at once.

Which sessions are shown as one is known only when every file was read. So all are read once, and
each session again when its turn has come.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import groupby
from pathlib import Path

from fmnist.record import DamagedLine, Line, Record, walk
from fmnist.report.choose import (
    Outline,
    newest_rows,
    outline,
    sessions_of,
    table_key,
    together,
)


class ChangedError(ValueError):
    """A file holds other records than a moment ago; the message names it."""


@dataclass(frozen=True)
class Stretch:
    """Lines of a file one after another, with no record of another session between them.

    Attributes:
        path: of the file.
        start: bytes before the first of the lines.
        last: bytes before the last one.
        size: how many records they hold.
        checksum: of all lines that hold one.
        number: of the first record among all records of all files, from 0.
    """

    path: Path
    start: int
    last: int
    size: int
    checksum: int
    number: int


@dataclass(frozen=True)
class Session:
    """A session without its records: where they are, when it began, and its outline.

    Attributes:
        stretches: in the order of files and lines.
        began: what sessions are sorted by: of equally old ones, the one that came first.
        outline: whether it is shown with others.
    """

    stretches: tuple[Stretch, ...]
    began: tuple[datetime, str, str, int]
    outline: Outline


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
        self._change: Callable[[Record], Record] = _itself
        self._held = {path: tuple(walk(path)) for path in self._paths if not path.is_file()}
        self.size = self.damaged = 0

    def changed(self, change: Callable[[Record], Record]) -> "Archive":
        """Return the archive of what is made of each record, of the same session."""
        other = copy(self)
        other._change = change  # noqa: SLF001  # of this class
        return other

    def __iter__(self) -> Iterator[Record]:
        """Yield every record, reading the files anew. Raises OSError if one is unreadable."""
        return (line.record for _, line in self._good())

    def runs(self) -> Iterator[list[Record]]:
        """Return what is shown as one, as `choose.assembled` would return it.

        All files are read before this returns, and a run's records again when it is asked for.
        Raises OSError if a file is unreadable, and ChangedError if one was changed in between.
        """
        sessions = self._sessions()
        runs = together(session.outline for session in sessions)
        return (newest_rows(self._counting(sessions[i]) for i in reversed(run)) for run in runs)

    def _good(self) -> Iterator[tuple[int, Line]]:
        """Yield the lines that hold records, each with the number of its file."""
        self.size = self.damaged = 0
        for number, path in enumerate(self._paths):
            for line in self._held[path] if path in self._held else walk(path):
                if isinstance(line, DamagedLine):
                    self.damaged += 1
                    self._tell(line)
                else:
                    self.size += 1
                    yield number, replace(line, record=self._change(line.record))
        self._tell = _nothing

    def _sessions(self) -> list[Session]:
        """Return every session, oldest first."""
        stretches: dict[tuple[str, ...], list[Stretch]] = {}
        sessions: dict[tuple[str, ...], Session] = {}
        before = 0
        for (_, key), numbered in groupby(self._good(), _file_and_session):
            lines = [line for _, line in numbered]
            first, last = lines[0], lines[-1]
            place = first.path, first.start, last.start
            stretch = Stretch(*place, len(lines), _checksum(lines), before)
            before += stretch.size
            if key not in sessions:
                sessions[key] = _session([stretch], [line.record for line in lines])
            stretches.setdefault(key, []).append(stretch)
        for key, of_session in stretches.items():
            if len(of_session) > 1:
                sessions[key] = _session(of_session, self._records_of(of_session))
        return sorted(sessions.values(), key=lambda session: session.began)

    def _counting(self, session: Session) -> list[Record]:
        """Return the records of a session as `choose.sessions_of` does."""
        (counting,) = sessions_of(self._records_of(session.stretches))
        return counting

    def _records_of(self, stretches: Iterable[Stretch]) -> list[Record]:
        found: list[Record] = []
        for stretch in stretches:
            lines = [line for line in self._between(stretch) if isinstance(line, Line)]
            if _checksum(lines) != stretch.checksum:
                raise ChangedError(f"{stretch.path} was changed while it was read: start again")
            found += [self._change(line.record) for line in lines]
        return found

    def _between(self, stretch: Stretch) -> Iterator[Line | DamagedLine]:
        path, start, last = stretch.path, stretch.start, stretch.last
        if path not in self._held:
            return walk(path, start, last + 1, were_checked=True)
        return (t for t in self._held[path] if isinstance(t, Line) and start <= t.start <= last)


def _checksum(lines: Iterable[Line]) -> int:
    return hash(tuple(line.checksum for line in lines))


def _itself(record: Record) -> Record:
    return record


def _nothing(_: DamagedLine) -> None:
    """Tell nobody: the line was told before."""


def _file_and_session(numbered: tuple[int, Line]) -> tuple[int, tuple[str, ...]]:
    number, line = numbered
    return number, table_key(line.record)


def _session(stretches: Sequence[Stretch], records: Sequence[Record]) -> Session:
    """Return what is kept of a session's records, which are in these stretches."""
    (counting,) = sessions_of(records)
    first = counting[0]
    place = next(i for i, record in enumerate(records) if record is first)
    numbers = [n for s in stretches for n in range(s.number, s.number + s.size)]
    began = (first.started_at, first.model, first.backend, numbers[place])
    return Session(tuple(stretches), began, outline(counting))
