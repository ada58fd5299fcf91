"""Files that are replaced whole or not at all."""

import os
import secrets
import stat
from pathlib import Path


def replace(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader finds the old content or the new one, never a part.

    The new content is written beside the file, brought to the disk, and renamed. A file that is
    replaced keeps its permissions; a new one has those of any new file. Folders above are made.

    Raises OSError, with the file as it was, where that cannot be done, and for a path that leads
    to anything but a regular file: a link would be lost, and a device must not become a file.
    """
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    permissions = _permissions(path)
    beside = path.with_name(f".{secrets.token_hex(8)}.tmp")  # as long as the path's name is not
    try:
        with beside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if permissions is not None:
            beside.chmod(permissions)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _permissions(path: Path) -> int | None:
    """Return the mode bits of a regular file, None if there is none. Raises OSError otherwise."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(mode):
        raise FileExistsError(f"{path} is no regular file: it is not replaced")
    return stat.S_IMODE(mode)
