"""The data set: where it comes from, and the proof that it is what it says.

    --data-dir or FMNIST_DATA -> Keras's cache -> a download by Keras -> the stand-in

A folder that somebody named is used or is an error; only the search that nobody steered may end in
the stand-in, and then `Source.found_by` says why. Files count by their content (MD5 after
unpacking), so packing them again changes nothing, and a damaged or foreign file is never trained
on. Keras runs in a child process only: importing this module and loading the data start no
framework.
"""

import hashlib
import math
import os
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from fmnist.data import preprocess, standin

CLASS_NAMES: tuple[str, ...] = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


class Published(NamedTuple):
    """What one file holds: the MD5 of the unpacked content, and the shape of its bytes."""

    md5: str
    shape: tuple[int, ...]


FILES: Mapping[str, Published] = {
    "train-images-idx3-ubyte": Published("f4a8712d7a061bf5bd6d2ca38dc4d50a", (60_000, 28, 28)),
    "train-labels-idx1-ubyte": Published("9018921c3c673c538a1fc5bad174d6f9", (60_000,)),
    "t10k-images-idx3-ubyte": Published("8181f5470baa50b63fa0f6fddb340f0a", (10_000, 28, 28)),
    "t10k-labels-idx1-ubyte": Published("15d484375f8d13e6eb1aabb0c3f46965", (10_000,)),
}

STAND_IN: Final = "stand-in"
IN_KERAS_HOME = Path("datasets", "fashion-mnist")
GZIP_WBITS: Final = 16 + zlib.MAX_WBITS
GZIP_MAY_ADD_BYTES: Final = 64 * 1024
"""More than gzip adds to content that does not shrink, with the longest name in its header."""
CONNECTION_TIMEOUT_S = 20
DOWNLOAD_TIMEOUT_S = 600.0

# The socket default is the only time limit that Keras's download heeds.
_DOWNLOAD = f"""\
import socket
socket.setdefaulttimeout({CONNECTION_TIMEOUT_S})
import keras
keras.datasets.fashion_mnist.load_data()
"""


class DataError(ValueError):
    """The data cannot be used: names the file, what is wrong with it, and what to do."""


@dataclass(frozen=True)
class Source:
    """Where the data comes from.

    Attributes:
        kind: `fashion-mnist`, or `stand-in` for the drawn data set.
        folder: the folder of the four files; None for the stand-in.
        found_by: how the search ended, as a fragment of a sentence for people.
    """

    kind: Literal["fashion-mnist", "stand-in"]
    folder: Path | None
    found_by: str


@dataclass(frozen=True, eq=False)
class Dataset:
    """The 60,000 training and 10,000 test images with their labels, unscaled.

    Attributes:
        name: the `kind` of the source; belongs beside every number that the data leads to.
        train_images: uint8 (60000, 28, 28), from 0 (background) to 255; read-only if from files.
        train_labels: uint8 (60000,), indices into `CLASS_NAMES`.
        test_images: uint8 (10000, 28, 28).
        test_labels: uint8 (10000,).
    """

    name: Literal["fashion-mnist", "stand-in"]
    train_images: npt.NDArray[np.uint8]
    train_labels: npt.NDArray[np.uint8]
    test_images: npt.NDArray[np.uint8]
    test_labels: npt.NDArray[np.uint8]


def locate(data_dir: Path | None = None, environ: Mapping[str, str] = os.environ) -> Source:
    """Find the data; the content is checked later, by `load`.

    Args:
        data_dir: folder of the four files, gzipped or not, or the word `stand-in`; None to search.
        environ: FMNIST_DATA is asked next, with the same meaning (empty counts as unset), then
            KERAS_HOME. A download runs in this environment, for ten minutes at most.

    Returns:
        The first source that has all four files, or the stand-in with the reason.

    Raises:
        DataError: The folder that was named lacks some of the four files.
    """
    if data_dir is not None:
        return _named(data_dir, "--data-dir")
    if environ.get("FMNIST_DATA"):
        return _named(Path(environ["FMNIST_DATA"]), "FMNIST_DATA")
    home = Path(environ.get("KERAS_HOME") or "~/.keras").expanduser()
    cache = home / IN_KERAS_HOME
    if not _missing(cache):
        return Source("fashion-mnist", cache, "Keras's cache")
    failure = _download(home, environ)
    # Keras writes to the second folder when its home is read-only. Files that are there are used
    # even after a failure: a damaged one makes Keras fail too, and `load` then names it.
    for folder in (cache, Path(tempfile.gettempdir(), ".keras", IN_KERAS_HOME)):
        if not _missing(folder):
            return Source("fashion-mnist", folder, "downloaded")
    return Source(STAND_IN, None, f"no Fashion-MNIST at hand, and the download failed: {failure}")


def load(source: Source) -> Dataset:
    """Read and verify the four files, or draw the stand-in: 60,000 and 10,000 images.

    Raises:
        DataError: A file is missing, damaged, or holds something else than Fashion-MNIST.
    """
    if source.folder is None:
        train = standin.draw("train", standin.TRAIN_IMAGES)
        return Dataset(source.kind, *train, *standin.draw("test", standin.TEST_IMAGES))
    named = source.found_by in ("--data-dir", "FMNIST_DATA")
    remedy = "put the published file there" + (
        "" if named else ", or delete it to download it again"
    )
    arrays = []
    for name in FILES:
        path = _path(source.folder, name)
        if path is None:
            raise DataError(f"{source.folder / name}.gz is missing: {remedy}")
        try:
            arrays.append(read_idx(path, FILES[name]))
        except DataError as error:
            raise DataError(f"{path} {error}: {remedy}") from error
    return Dataset(source.kind, *arrays)


def load_sample(source: Source, train_images: int, test_images: int, seed: int) -> Dataset:
    """Load as many images: a stratified random sample, or as many of the stand-in as are drawn.

    Args:
        source: as from `locate`.
        train_images: how many, up to 60,000.
        test_images: how many, up to 10,000.
        seed: decides the sample; the stand-in is its own and is drawn from the first image on.

    Raises:
        DataError: As `load`.
        ValueError: More images than there are, or fewer than there are classes.
    """
    if source.folder is None:
        train, test = standin.draw("train", train_images), standin.draw("test", test_images)
        return Dataset(source.kind, *train, *test)
    whole = load(source)
    return Dataset(
        source.kind,
        *preprocess.sample(whole.train_images, whole.train_labels, train_images, seed),
        *preprocess.sample(whole.test_images, whole.test_labels, test_images, seed),
    )


def read_idx(path: Path, published: Published) -> npt.NDArray[np.uint8]:
    """Read one IDX file, gzipped if its name ends in `.gz`, as read-only uint8 of its shape.

    Raises:
        DataError: What is wrong with the file, as a fragment that follows its name.
    """
    header = (0x800 + len(published.shape)).to_bytes(4) + b"".join(
        n.to_bytes(4) for n in published.shape
    )
    size = len(header) + math.prod(published.shape)
    content = _content(path, size + 1)
    if len(content) != size:
        found = f"more than {size:,}" if len(content) > size else f"{len(content):,}"
        raise DataError(f"holds {found} bytes where {size:,} were expected")
    if not content.startswith(header):
        start = content[: len(header)].hex(" ", 4)
        raise DataError(f"has the IDX header {start} where {header.hex(' ', 4)} was expected")
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if md5 != published.md5:
        raise DataError(
            f"is not Fashion-MNIST's: content MD5 {md5} where {published.md5} is expected"
        )
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(published.shape)


def _content(path: Path, limit: int) -> bytes:
    """Return the first `limit` bytes of the content: no more than that is read, or unpacked."""
    packed = path.suffix == ".gz"
    try:
        with path.open("rb") as file:
            content = file.read(limit + GZIP_MAY_ADD_BYTES if packed else limit)
    except OSError as error:
        raise DataError(f"cannot be read ({error.strerror})") from error
    return _unpacked(content, limit) if packed else content


def _unpacked(packed: bytes, limit: int) -> bytes:
    """Return the first `limit` bytes of a gzip stream, its checksum verified if they are all.

    One member, as gzip writes it: Python's own reader takes seconds over millions of empty ones.
    """
    stream = zlib.decompressobj(wbits=GZIP_WBITS)
    try:
        content = stream.decompress(packed, limit)
    except zlib.error as error:
        raise DataError(f"is damaged: its gzip stream does not unpack ({error})") from error
    if len(content) < limit and not stream.eof:
        raise DataError("is truncated: its gzip stream ends early")
    if stream.unused_data:
        raise DataError("is damaged: something follows its gzip stream")
    return content


def _named(folder: Path, found_by: str) -> Source:
    """Take the folder that was asked for, or explain what it lacks."""
    if folder == Path(STAND_IN):
        return Source(STAND_IN, None, "asked for")
    folder = folder.expanduser()
    if missing := _missing(folder):
        state = "lacks " + ", ".join(missing) if folder.is_dir() else "is not a folder"
        raise DataError(
            f"{folder} (from {found_by}) {state}: it must hold {', '.join(FILES)}, each as it is"
            f" or as .gz. Put them there, name another folder, or say `{STAND_IN}` for the drawn"
            " data set"
        )
    return Source("fashion-mnist", folder, found_by)


def _missing(folder: Path) -> list[str]:
    return [name for name in FILES if _path(folder, name) is None]


def _path(folder: Path, name: str) -> Path | None:
    for path in (folder / f"{name}.gz", folder / name):
        try:
            if path.is_file():
                return path
        except OSError:  # a folder that may not be searched has nothing to offer
            continue
    return None


def _download(home: Path, environ: Mapping[str, str]) -> str:
    """Let Keras fill its cache under `home`; return why that failed, or an empty string."""
    try:
        child = subprocess.run(  # noqa: S603 (fixed script, own interpreter)
            [sys.executable, "-P", "-c", _DOWNLOAD],
            env={**environ, "KERAS_HOME": str(home), "KERAS_BACKEND": "numpy"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=DOWNLOAD_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"not finished after {DOWNLOAD_TIMEOUT_S:g} s"
    if child.returncode == 0:
        return f"Keras reports success, but {home / IN_KERAS_HOME} lacks files"
    lines = child.stderr.strip().splitlines()
    return lines[-1] if lines else f"exit status {child.returncode}"
