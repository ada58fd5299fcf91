"""The data set is found where the order says, and nothing but the published content is accepted."""

import gzip
import hashlib
import re
import subprocess
import sys
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnist import data
from fmnist.data import standin

IMAGES, LABELS, TEST_IMAGES, TEST_LABELS = data.FILES
SHAPES = dict(zip(data.FILES, [(6, 28, 28), (6,), (3, 28, 28), (3,)], strict=True))


def idx(shape: tuple[int, ...]) -> bytes:
    """Return an IDX file of bytes that count upwards."""
    body = np.arange(np.prod(shape)).astype(np.uint8).tobytes()
    return b"\0\0\x08" + bytes([len(shape)]) + b"".join(n.to_bytes(4) for n in shape) + body


def fill(folder: Path) -> Path:
    """Put four small sound files, two of them gzipped, into a new folder."""
    folder.mkdir(parents=True)
    for name, shape in SHAPES.items():
        if name.startswith("train"):
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(shape)))
        else:
            (folder / name).write_bytes(idx(shape))
    return folder


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Publish four small files instead of the real ones, and put them into a folder."""
    files = {
        name: data.Published(hashlib.md5(idx(shape), usedforsecurity=False).hexdigest(), shape)
        for name, shape in SHAPES.items()
    }
    monkeypatch.setattr(data, "FILES", files)
    return fill(tmp_path / "small")


@pytest.fixture
def no_keras(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """Return an environment with an empty cache; fail if a child process is started."""

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("a download was started")

    monkeypatch.setattr(subprocess, "run", refuse)
    return {"KERAS_HOME": str(tmp_path / "no-keras")}


@pytest.fixture
def fake_keras(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], dict[str, str]]:
    """Return how to get an environment whose `keras` runs the given code to download."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def environment(code: str) -> dict[str, str]:
        package = tmp_path / "packages" / "keras"
        (package / "datasets").mkdir(parents=True)
        (package / "__init__.py").write_text("from . import datasets\n")
        (package / "datasets" / "__init__.py").write_text("from . import fashion_mnist\n")
        lines = "".join(f"    {line}\n" for line in code.splitlines())
        (package / "datasets" / "fashion_mnist.py").write_text(f"def load_data():\n{lines}")
        return {
            "KERAS_HOME": str(tmp_path / "keras-home"),
            "PYTHONPATH": str(package.parent),
            "READY": str(tmp_path / "small"),
        }

    return environment


def test_classes_are_in_the_published_order() -> None:
    """Label 0 is a T-shirt and label 9 an ankle boot, ten in all."""
    assert len(set(data.CLASS_NAMES)) == 10
    assert data.CLASS_NAMES[0] == "T-shirt/top"
    assert data.CLASS_NAMES[6] == "Shirt"
    assert data.CLASS_NAMES[9] == "Ankle boot"


def test_real_files_are_accepted_and_balanced(real_data: Path) -> None:
    """The published files load, and each class has 6,000 and 1,000 images."""
    dataset = data.load(data.locate(real_data, {}))
    assert dataset.name == "fashion-mnist"
    assert dataset.train_images.shape == (60_000, 28, 28)
    assert dataset.test_images.shape == (10_000, 28, 28)
    assert dataset.train_images.dtype == dataset.train_labels.dtype == np.uint8
    assert np.bincount(dataset.train_labels).tolist() == [6_000] * 10
    assert np.bincount(dataset.test_labels).tolist() == [1_000] * 10


def test_one_flipped_bit_in_the_real_images_is_found(real_data: Path, tmp_path: Path) -> None:
    """A soundly gzipped file that differs in one bit is refused by its MD5."""
    for file in real_data.iterdir():
        (tmp_path / file.name).symlink_to(file)
    content = bytearray(gzip.decompress((real_data / f"{TEST_IMAGES}.gz").read_bytes()))
    content[5_000_000] ^= 1
    damaged = tmp_path / f"{TEST_IMAGES}.gz"
    damaged.unlink()
    damaged.write_bytes(gzip.compress(content, 1))
    with pytest.raises(data.DataError, match=f"{damaged}.*MD5 .* where 8181f547.* is expected"):
        data.load(data.locate(tmp_path, {}))


def test_swapped_real_labels_are_found(real_data: Path, tmp_path: Path) -> None:
    """Test labels in the place of the training labels are refused."""
    for file in real_data.iterdir():
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / f"{LABELS}.gz").unlink()
    (tmp_path / f"{LABELS}.gz").symlink_to(real_data / f"{TEST_LABELS}.gz")
    with pytest.raises(data.DataError, match="holds 10,008 bytes where 60,008 were expected"):
        data.load(data.locate(tmp_path, {}))


def test_files_may_be_gzipped_or_not(small: Path) -> None:
    """Two gzipped and two unpacked files load, byte for byte."""
    dataset = data.load(data.locate(small, {}))
    assert dataset.train_images.tobytes() == idx(SHAPES[IMAGES])[16:]
    assert dataset.train_labels.tolist() == [0, 1, 2, 3, 4, 5]
    assert dataset.test_images.shape == (3, 28, 28)
    assert dataset.test_labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        (f"{IMAGES}.gz", b"", "is truncated"),
        (f"{IMAGES}.gz", b"not gzip at all", "does not unpack"),
        (f"{IMAGES}.gz", gzip.compress(idx((6, 28, 28)))[:-9], "is truncated"),
        (f"{IMAGES}.gz", gzip.compress(idx((6, 28, 28)))[:-1], "is truncated"),
        (f"{IMAGES}.gz", gzip.compress(idx((6, 28, 28)))[:-8] + bytes(8), "does not unpack"),
        (f"{IMAGES}.gz", gzip.compress(b"")[:10] + b"\xff" * 99, "does not unpack"),
        (f"{IMAGES}.gz", gzip.compress(idx((6, 28, 28))) + b"x", "something follows"),
        (f"{IMAGES}.gz", gzip.compress(b"") * 100_000, "something follows"),
        (f"{IMAGES}.gz", gzip.compress(idx((5, 28, 28))), "holds 3,936 bytes where 4,720"),
        (f"{IMAGES}.gz", gzip.compress(idx((3, 28, 56))), "has the IDX header .* was expected"),
        (f"{IMAGES}.gz", gzip.compress(idx((7, 28, 28))), "holds more than 4,720 bytes"),
        (f"{LABELS}.gz", gzip.compress(idx((6,))[:-1] + b"\x09"), "content MD5 .* is expected"),
        (TEST_LABELS, b"", "holds 0 bytes where 11 were expected"),
        (TEST_LABELS, gzip.compress(idx((3,))), "holds more than 11 bytes"),
        (TEST_LABELS, b"\0\0\x0d" + idx((3,))[3:], "has the IDX header 00000d01 .* 00000801"),
        (TEST_LABELS, idx((3,))[:-1] + b"\x09", "content MD5 .* is expected"),
    ],
)
def test_a_bad_file_is_named(small: Path, name: str, content: bytes, complaint: str) -> None:
    """The error says which file, what is wrong with it, and what to do."""
    (small / name).write_bytes(content)
    with pytest.raises(data.DataError, match=complaint) as error:
        data.load(data.locate(small, {}))
    assert str(error.value).startswith(str(small / name))
    assert "put the published file there" in str(error.value)
    assert "download" not in str(error.value)


def test_a_bomb_is_not_unpacked(small: Path) -> None:
    """Of 256 MiB of zeros in a megabyte no more is unpacked than the file should hold."""
    bomb = small / f"{IMAGES}.gz"
    with gzip.open(bomb, "wb", compresslevel=1) as stream:
        for _ in range(256):
            stream.write(bytes(1 << 20))
    tracemalloc.start()
    try:
        with pytest.raises(data.DataError, match=r"holds more than 4,720 bytes"):
            data.load(data.locate(small, {}))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


def test_a_file_that_vanished_is_named(small: Path) -> None:
    """A file that is deleted between search and loading is a clear error, too."""
    source = data.locate(small, {})
    (small / TEST_IMAGES).unlink()
    with pytest.raises(data.DataError, match=f"{small / TEST_IMAGES}.gz is missing: put the"):
        data.load(source)


def test_a_folder_in_the_place_of_a_file_counts_as_missing(small: Path) -> None:
    """Only files are files."""
    (small / TEST_IMAGES).unlink()
    (small / TEST_IMAGES).mkdir()
    with pytest.raises(data.DataError, match=f"lacks {TEST_IMAGES}:"):
        data.locate(small, {})


@settings(deadline=None)
@given(content=st.binary(max_size=64), suffix=st.sampled_from(["", ".gz"]))
def test_any_bytes_are_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, suffix: str
) -> None:
    """Whatever a file holds, reading it as labels raises DataError and nothing else."""
    path = tmp_path_factory.getbasetemp() / f"arbitrary{suffix}"
    path.write_bytes(content)
    with pytest.raises(data.DataError):
        data.read_idx(path, data.FILES[LABELS])


@settings(deadline=None)
@given(body=st.binary(min_size=3, max_size=3))
def test_only_the_published_body_passes(
    tmp_path_factory: pytest.TempPathFactory, body: bytes
) -> None:
    """Behind a right header, the content is accepted exactly if its MD5 is the published one."""
    path = tmp_path_factory.getbasetemp() / "labels"
    path.write_bytes(idx((3,))[:8] + body)
    right = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    assert data.read_idx(path, data.Published(right, (3,))).tobytes() == body
    with pytest.raises(data.DataError, match="MD5"):
        data.read_idx(path, data.Published(right[::-1] + "x", (3,)))


def test_the_argument_comes_before_the_environment(
    small: Path, tmp_path: Path, no_keras: dict[str, str]
) -> None:
    """--data-dir wins over FMNIST_DATA, and FMNIST_DATA over the cache."""
    other = fill(tmp_path / "other")
    cache = fill(Path(no_keras["KERAS_HOME"], data.IN_KERAS_HOME))
    environ = no_keras | {"FMNIST_DATA": str(small)}
    assert data.locate(other, environ) == data.Source("fashion-mnist", other, "--data-dir")
    assert data.locate(None, environ) == data.Source("fashion-mnist", small, "FMNIST_DATA")
    assert data.locate(None, environ | {"FMNIST_DATA": ""}).folder == cache
    assert data.locate(None, no_keras) == data.Source("fashion-mnist", cache, "Keras's cache")


@pytest.mark.parametrize("by", ["--data-dir", "FMNIST_DATA"])
@pytest.mark.parametrize("damage", ["no folder", "a file", "empty", "one missing"])
def test_a_named_folder_without_the_files_is_an_error(
    small: Path, tmp_path: Path, no_keras: dict[str, str], by: str, damage: str
) -> None:
    """What was asked for is never replaced, not even by a full cache: the error says what lacks."""
    fill(Path(no_keras["KERAS_HOME"], data.IN_KERAS_HOME))
    folder, complaint = tmp_path / "named", "is not a folder"
    if damage == "a file":
        folder.write_bytes(b"")
    elif damage == "empty":
        folder.mkdir()
        complaint = "lacks " + ", ".join(data.FILES)
    elif damage == "one missing":
        folder, complaint = small, f"lacks {LABELS}:"
        (small / f"{LABELS}.gz").unlink()
    arguments = (folder, no_keras) if by == "--data-dir" else (None, no_keras | {by: str(folder)})
    with pytest.raises(data.DataError) as error:
        data.locate(*arguments)
    assert str(error.value).startswith(f"{folder} (from {by}) {complaint}")


@pytest.mark.parametrize(
    ("data_dir", "variables"),
    [(Path("stand-in"), {}), (None, {"FMNIST_DATA": "stand-in"})],
)
def test_the_stand_in_can_be_asked_for(
    no_keras: dict[str, str], data_dir: Path | None, variables: dict[str, str]
) -> None:
    """The word is enough: nothing is searched, not even a full cache."""
    fill(Path(no_keras["KERAS_HOME"], data.IN_KERAS_HOME))
    source = data.locate(data_dir, no_keras | variables)
    assert source == data.Source("stand-in", None, "asked for")


def test_the_cache_lies_in_the_home_folder_by_default(
    small: Path, no_keras: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without KERAS_HOME, ~/.keras/datasets/fashion-mnist is searched."""
    assert small.is_dir()
    assert no_keras
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    cache = fill(tmp_path / "home" / ".keras" / "datasets" / "fashion-mnist")
    assert data.locate(None, {}).folder == cache


def test_a_damaged_cache_is_named_with_its_cure(small: Path, no_keras: dict[str, str]) -> None:
    """A bad file in the cache may be deleted to be downloaded again."""
    assert small.is_dir()
    cache = fill(Path(no_keras["KERAS_HOME"], data.IN_KERAS_HOME))
    (cache / TEST_LABELS).write_bytes(b"")
    with pytest.raises(data.DataError, match="or delete it to download it again"):
        data.load(data.locate(None, no_keras))


def test_a_download_ends_in_the_cache(
    small: Path, fake_keras: Callable[[str], dict[str, str]]
) -> None:
    """Files that Keras put into its cache are used; it needed no framework for that."""
    assert small.is_dir()
    environ = fake_keras(
        "import os, shutil, socket\n"
        "assert os.environ['KERAS_BACKEND'] == 'numpy'\n"
        "assert socket.getdefaulttimeout() == 20\n"
        "cache = os.environ['KERAS_HOME'] + '/datasets/fashion-mnist'\n"
        "shutil.copytree(os.environ['READY'], cache)"
    )
    source = data.locate(None, environ)
    cache = Path(environ["KERAS_HOME"]) / "datasets" / "fashion-mnist"
    assert source == data.Source("fashion-mnist", cache, "downloaded")
    assert data.load(source).name == "fashion-mnist"


def test_a_download_that_keras_put_elsewhere_is_found(
    small: Path, tmp_path: Path, fake_keras: Callable[[str], dict[str, str]]
) -> None:
    """Where Keras's home is read-only, it uses the temporary folder, and so does the search."""
    elsewhere = tmp_path / ".keras" / "datasets" / "fashion-mnist"
    environ = fake_keras(
        f"import os, shutil\nshutil.copytree(os.environ['READY'], {str(elsewhere)!r})"
    )
    assert small.is_dir()
    assert data.locate(None, environ).folder == elsewhere


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("raise OSError('no route')", "OSError: no route"),
        ("import os\nos._exit(3)", "exit status 3"),
        ("pass", "Keras reports success, but .* lacks files"),
        ("import time\ntime.sleep(60)", "not finished after 0.5 s"),
    ],
)
def test_a_failed_download_becomes_a_reason(
    monkeypatch: pytest.MonkeyPatch,
    fake_keras: Callable[[str], dict[str, str]],
    code: str,
    reason: str,
) -> None:
    """The stand-in is used, and says why: an error, a dead child, no files, no end."""
    if "sleep" in code:
        monkeypatch.setattr(data, "DOWNLOAD_TIMEOUT_S", 0.5)
    source = data.locate(None, fake_keras(code))
    assert (source.kind, source.folder) == ("stand-in", None)
    prefix = "no Fashion-MNIST at hand, and the download failed: "
    assert re.fullmatch(prefix + reason, source.found_by)


def test_keras_itself_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The child reaches Keras's real download, which a dead proxy turns into a reason."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    environ = {"KERAS_HOME": str(tmp_path / "home"), "https_proxy": "http://127.0.0.1:1"}
    source = data.locate(None, environ)
    assert source.kind == "stand-in"
    assert "URL fetch failure" in source.found_by


def test_the_stand_in_is_loaded_under_its_own_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The drawn data set says so in its name, and has separate training and test images."""
    monkeypatch.setattr(standin, "TRAIN_IMAGES", 30)
    monkeypatch.setattr(standin, "TEST_IMAGES", 20)
    dataset = data.load(data.Source("stand-in", None, "asked for"))
    assert dataset.name == "stand-in"
    assert dataset.train_images.shape == (30, 28, 28)
    assert dataset.train_labels.shape == (30,)
    assert dataset.test_images.shape == (20, 28, 28)
    assert dataset.test_labels.shape == (20,)
    assert (dataset.train_images[:20] != dataset.test_images).any()


def test_loading_starts_no_framework(real_data: Path) -> None:
    """Keras, TensorFlow and JAX stay out of the process that loads the data."""
    code = (
        "import sys; from pathlib import Path; from fmnist import data;"
        "data.load(data.locate(Path(sys.argv[1])));"
        "print([name for name in ('keras', 'tensorflow', 'jax') if name in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(real_data)]
    assert subprocess.run(command, capture_output=True, check=True).stdout.strip() == b"[]"


def test_sample_of_the_stand_in_is_its_beginning() -> None:
    """Only what is asked for is drawn: the first images of the whole set."""
    source = data.Source("stand-in", None, "asked for")
    few = data.load_sample(source, 30, 20, seed=1)
    whole = data.load(source)

    assert few.name == "stand-in"
    assert (few.train_images == whole.train_images[:30]).all()
    assert (few.test_labels == whole.test_labels[:20]).all()


def test_sample_of_the_real_set_is_stratified(real_data: Path) -> None:
    """A sample of 1,000 has each class a hundred times, and another seed has other images."""
    source = data.locate(real_data, {})
    one, other = (data.load_sample(source, 1_000, 100, seed) for seed in (0, 1))

    assert np.bincount(one.train_labels).tolist() == [100] * 10
    assert (one.train_images != other.train_images).any()
