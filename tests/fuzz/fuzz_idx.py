"""The reader of IDX files: the published bytes or DataError, whatever the file holds.

An input's first byte says whether the rest is the file, or is gzipped to be the file.
"""

import gzip
import hashlib
import tempfile
from pathlib import Path

from fmnist.data import DataError, Published, read_idx

SHAPE = (3, 4, 5)
HEADER = b"\0\0\x08\x03" + b"".join(n.to_bytes(4) for n in SHAPE)
CONTENT = HEADER + bytes(range(60))
PUBLISHED = Published(hashlib.md5(CONTENT, usedforsecurity=False).hexdigest(), SHAPE)
_FOLDER = Path(tempfile.mkdtemp(prefix="fmnist-fuzz-"))


def one(data: bytes) -> None:
    """Read one file. Raises AssertionError for other bytes than the published ones."""
    how, rest = data[:1], data[1:]
    packed = how != b"\0"
    path = _FOLDER / f"file{'.gz' if packed else ''}"
    path.write_bytes(gzip.compress(rest, 1) if how == b"\2" else rest)
    try:
        read = read_idx(path, PUBLISHED)
    except DataError:
        return
    assert (read.shape, read.tobytes()) == (SHAPE, CONTENT[len(HEADER) :])


def corpus() -> dict[str, bytes]:
    """Return inputs to begin with."""
    packed = gzip.compress(CONTENT, mtime=0)
    return {
        "plain": b"\0" + CONTENT,
        "packed": b"\1" + packed,
        "to-pack": b"\2" + CONTENT,
        "truncated": b"\1" + packed[:-5],
        "wrong-checksum": b"\1" + packed[:-8] + bytes(8),
        "two-members": b"\1" + packed + packed,
        "named-member": b"\1" + packed[:3] + b"\x08" + packed[4:10] + b"name\0" + packed[10:],
        "other-shape": b"\2" + HEADER[:-4] + bytes(4) + CONTENT[len(HEADER) :],
        "longer": b"\2" + CONTENT + bytes(1_000),
        "empty": b"\1",
    }
