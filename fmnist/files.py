"""Files that are changed whole or not at all, that are there after a crash, or that are held."""

import fcntl
import os
import secrets
import signal
import stat
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

LAST_BYTES = 2_048
LAST_LINES = 5
"""Of a log, so much is told."""
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""By which a person ends a session."""


def replace(path: Path, content: str | bytes | Iterable[bytes]) -> None:
    """Write a file so that a reader finds the old content or the new one, never a part.

    The new content, whole or part by part as it comes, is written beside the file, brought to the
    disk, and renamed. A file that is replaced keeps its permissions; a new one has those of any new
    file. Folders above are made.

    Raises OSError, with the file as it was, where that cannot be done, and for a path that leads
    to anything but a regular file: a link would be lost, and a device must not become a file.
    """
    data = content.encode() if isinstance(content, str) else content
    parts = [data] if isinstance(data, bytes) else data
    path.parent.mkdir(parents=True, exist_ok=True)
    permissions = _permissions(path)
    beside = path.with_name(f".{secrets.token_hex(8)}.tmp")  # as long as the path's name is not
    try:
        with beside.open("xb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        if permissions is not None:
            beside.chmod(permissions)
        beside.replace(path)
        sync_folder(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def append_line(path: Path, line: bytes) -> None:
    """Append a whole line, and return once it and the file's name are on the disk.

    Folders above are made. Raises OSError where that cannot be done; a part of the line that was
    written until then is taken back.
    """
    content = line + b"\n"
    missing = [p for p in (path, *path.parents) if not p.exists()]
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab", buffering=0) as file:
        size = file.tell()
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        finally:
            if os.fstat(file.fileno()).st_size < size + len(content):
                file.truncate(size)
    for new in missing:
        sync_folder(new.parent)


def sync_folder(folder: Path) -> None:
    """Return once the names in a folder are on the disk: that of a new file is not by itself."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Let what ends a session wait until this is done: a line is written and noted, or neither."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ENDING_SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Hold:
    """A file that is this object's alone until it lets go, or the process ends.

    It is the system that holds it: however a process ends, nothing is left behind.
    """

    def __init__(self) -> None:
        self._let_go: weakref.finalize[..., Any] | None = None

    def take(self, path: Path) -> None:
        """Take a file, if none is held yet. Raises BlockingIOError if another one holds it."""
        if self._let_go is not None and self._let_go.alive:
            return
        descriptor = os.open(path, os.O_RDONLY)
        self._let_go = weakref.finalize(self, os.close, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self.let_go()
            raise

    def let_go(self) -> None:
        """Let another one take the file."""
        if self._let_go is not None:
            self._let_go()


def _permissions(path: Path) -> int | None:
    """Return the mode bits of a regular file, None if there is none. Raises OSError otherwise."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        raise FileExistsError(f"{path} is no regular file: it is not replaced")
    return stat.S_IMODE(mode)


def last_words(file: IO[bytes]) -> str:
    """Return the last lines of a log that is open for reading, as one; empty for an empty log."""
    file.seek(0, os.SEEK_END)
    file.seek(max(0, file.tell() - LAST_BYTES))
    lines = file.read().decode(errors="replace").strip().splitlines()
    return " / ".join(line.strip() for line in lines[-LAST_LINES:] if line.strip())
