"""Files are replaced whole, or stay as they were."""

import os
import resource
import stat
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmnist.files import replace


@pytest.mark.parametrize("content", ["ä\r\n€", b"\x00\xff", "", "x" * 10_000_000])
def test_content_is_what_was_given(tmp_path: Path, content: str | bytes) -> None:
    """Text is written as UTF-8 with its own line ends, bytes as they are, of any size."""
    path = tmp_path / "new" / "folder" / "page.html"
    replace(path, "the old content")
    replace(path, content)

    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)
    assert list(path.parent.iterdir()) == [path]


def test_content_that_fails_half_way_leaves_the_file(tmp_path: Path) -> None:
    """Parts are written one after another; if making one fails, the old content stays."""
    path = tmp_path / "table.csv"
    replace(path, iter([b"a", b"", b"bc"]))
    with pytest.raises(ZeroDivisionError):
        replace(path, (bytes(1 // n) for n in (1, 1, 0)))

    assert path.read_bytes() == b"abc"
    assert list(tmp_path.iterdir()) == [path]


@settings(deadline=None, max_examples=30)
@given(st.binary(max_size=100), st.binary(max_size=100))
def test_reader_keeps_the_file_that_it_opened(
    tmp_path_factory: pytest.TempPathFactory, old: bytes, new: bytes
) -> None:
    """Who has the old file open reads all of it: the new one is another file, not a rewritten."""
    path = tmp_path_factory.mktemp("files") / "page.html"
    replace(path, old)
    with path.open("rb") as reader:
        replace(path, new)

        assert reader.read() == old
    assert path.read_bytes() == new


def test_no_reader_ever_sees_a_part(tmp_path: Path) -> None:
    """Whoever reads while the file is replaced over and over finds one content or the other."""
    path = tmp_path / "page.html"
    contents = b"a" * 1_000_000, b"b" * 1_000_000
    replace(path, contents[0])

    def write() -> None:
        for turn in range(20):
            replace(path, contents[turn % 2])

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while writer.is_alive():
        seen.add(path.read_bytes())
    writer.join()

    assert seen <= set(contents)


def test_failure_leaves_everything_as_it_was(tmp_path: Path) -> None:
    """When the disk takes no more, the old content stays, and nothing is left beside it."""
    path = tmp_path / "page.html"
    replace(path, "old")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            replace(path, "new" * 10_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_text_that_has_no_bytes_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """Half a surrogate pair cannot be written: no file and no folder is made for it."""
    with pytest.raises(ValueError, match="surrogates not allowed"):
        replace(tmp_path / "new" / "page.html", "\ud800")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_new_file_has_the_permissions_of_any_new_file(tmp_path: Path, umask: int) -> None:
    """The umask decides, as it does where a program opens a file to write."""
    before = os.umask(umask)
    try:
        replace(tmp_path / "ours", "")
        (tmp_path / "theirs").write_text("")
    finally:
        os.umask(before)

    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {0o666 & ~umask}


@pytest.mark.parametrize("mode", [0o600, 0o664, 0o755])
def test_replaced_file_keeps_its_permissions(tmp_path: Path, mode: int) -> None:
    """What was private stays private."""
    path = tmp_path / "page.html"
    path.write_text("old")
    path.chmod(mode)
    replace(path, "new")

    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_nothing_but_a_regular_file_is_replaced(tmp_path: Path) -> None:
    """A link is not followed out of the folder, and a folder or a pipe stays what it is."""
    outside = tmp_path / "outside"
    outside.write_text("not ours")
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "link").symlink_to(outside)
    (folder / "dangling").symlink_to(tmp_path / "made by a link")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    before = sorted(folder.iterdir())
    for path in before:
        with pytest.raises(OSError, match="is no regular file"):
            replace(path, "new")

    assert outside.read_text() == "not ours"
    assert not (tmp_path / "made by a link").exists()
    assert sorted(folder.iterdir()) == before
    assert (folder / "pipe").is_fifo()


def test_name_as_long_as_a_name_may_be(tmp_path: Path) -> None:
    """What is written beside a file needs no longer name than the file."""
    path = tmp_path / ("n" * 255)
    replace(path, "content")

    assert path.read_text() == "content"
