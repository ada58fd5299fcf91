"""Records on the disk: whole or not at all, before the next process starts, and mended if torn."""

import json
import re
import resource
import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from kills import unharmed
from samples import failed, record
from sessions import Site, counted

from fmnist.cli import main
from fmnist.files import Hold, append_line
from fmnist.options import PlanError
from fmnist.record import Record, append, read
from fmnist.session import resume

RELEVANT = re.compile(r"^(write|fsync|vfork|clone3?|openat)\(([^,)]*)")
NEWER = json.dumps({"schema": 99, "versions": {"fmnist": "9.1.0"}}).encode()


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """A session's file, in its place, with two records."""
    path = tmp_path / "results" / "raw" / "20261121-000000-test.jsonl"
    append(record(), path)
    append(record(backend="jax", jit_compile=True), path)
    return path


def earlier(path: Path, like: Record) -> resume.Earlier:
    """Return what is found by a resumed session on the machine and commit of a record."""
    return resume.measured(path, like.machine, like.commit)


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("strace") is None, reason="needs strace"
)
def test_record_is_synced_before_the_next_process_starts(tmp_path: Path) -> None:
    """Each line is followed by fsync, a new file by one of its folder, before any other start."""
    site = Site(tmp_path, tmp_path / "results")
    calls = tmp_path / "calls"
    traced = "trace=write,fsync,vfork,clone,clone3"
    status, said = site.run("strace", "-D", "-y", "-e", traced, "-o", str(calls), *site.command())
    assert status == 0, said

    of_raw: list[str] = []
    for line in calls.read_text().splitlines():
        match = RELEVANT.match(line)
        if match and str(site.raw) in match[2]:
            of_raw.append(match[1])
        elif match and f"<{site.raw.parent}>" in match[2]:
            of_raw.append("folder")
        elif match and match[1] in ("vfork", "clone", "clone3"):
            of_raw.append("start")
    story = " ".join(of_raw)
    lines = len(site.records())
    assert story.count("write") == story.count("write fsync") == lines
    assert story.count("write fsync folder") == 1
    assert story.index("write") == story.index("write fsync folder")


@pytest.mark.slow
def test_line_that_is_torn_anywhere_is_mended(raw: Path) -> None:
    """A file cut at any place of its last line keeps the others, and the rest is set aside."""
    whole = raw.read_bytes()
    first, second = whole.splitlines(keepends=True)
    aside = resume.aside_path(raw.parent.parent, raw.stem)
    for cut in (*range(1, len(second) - 1, 40), len(second) - 2):
        raw.write_bytes(first + second[:cut])
        aside.unlink(missing_ok=True)
        found = earlier(raw, record())

        assert list(found.records.values()) == [record()]
        assert raw.read_bytes() == first
        assert aside.read_bytes() == second[:cut] + b"\n"
        assert (
            f"the torn last line of {raw} ({cut:,} bytes) was moved to {aside}" in found.notices[0]
        )
        assert earlier(raw, record()).notices == ()


def test_line_that_lacks_its_end_alone_is_kept(raw: Path) -> None:
    """A record of which a crash took nothing but the line end is a record."""
    whole = raw.read_bytes()
    raw.write_bytes(whole[:-1])
    found = earlier(raw, record())

    assert len(found.records) == 2
    assert raw.read_bytes() == whole
    assert found.notices == (f"mended: the last line of {raw} lacked its line end",)


def test_file_of_a_torn_line_alone_is_empty_after_it(raw: Path) -> None:
    """Where the first record was torn, the session begins anew in its file."""
    raw.write_bytes(raw.read_bytes()[:100])

    assert earlier(raw, record()).records == {}
    assert raw.read_bytes() == b""


def test_damaged_line_in_the_middle_is_told(raw: Path) -> None:
    """What is damaged but no torn end stays where it is; its cell is measured again, by notice."""
    first, second = raw.read_bytes().splitlines(keepends=True)
    raw.write_bytes(first[:50] + b"\n" + second)
    found = earlier(raw, record())

    assert [r.backend for r in found.records.values()] == ["jax"]
    assert f"measured again: {raw}, line 1: not JSON" in found.notices[0]


def test_session_is_held_by_one(raw: Path) -> None:
    """While one holds a session, another is refused; once it lets go, the other may."""
    append_line(resume.options_path(raw.parent.parent, raw.stem), b"{}")
    held = resume.hold(raw)
    with pytest.raises(PlanError, match="another process is running this session"):
        resume.hold(raw)

    held.let_go()
    assert isinstance(resume.hold(raw), Hold)


def test_records_to_be_measured_again_are_set_aside(raw: Path) -> None:
    """Of a cut group the good record leaves the file, whole; failures and other records stay."""
    append(failed(), raw)
    first, second, third = raw.read_bytes().splitlines()
    good = record()
    resume.set_aside(raw, {(good.task, good.cell, good.process)})

    assert raw.read_bytes().splitlines() == [second, third]
    aside = resume.aside_path(raw.parent.parent, raw.stem)
    assert aside.read_bytes().splitlines() == [first]


def test_line_that_does_not_fit_leaves_no_part(tmp_path: Path) -> None:
    """Where the system takes a part of a line only, the file is as it was."""
    path = tmp_path / "s.jsonl"
    append_line(path, b"first")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            append_line(path, b"x" * 2_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert path.read_bytes() == b"first\n"


def test_file_of_a_newer_version_is_not_resumed(raw: Path) -> None:
    """A session that a newer version wrote is refused, with that version, and left as it is."""
    raw.write_bytes(raw.read_bytes() + NEWER + b"\n")
    before = raw.read_bytes()

    with pytest.raises(PlanError, match=r"line 3: schema 99; .* written by fmnist 9\.1\.0"):
        earlier(raw, record())
    assert raw.read_bytes() == before


@pytest.mark.parametrize(("command", "status"), [("report", 2), ("check", 1), ("compare", 2)])
def test_file_of_a_newer_version_is_refused(raw: Path, command: str, status: int) -> None:
    """The commands that read name the version that wrote a line, and do not succeed."""
    raw.write_bytes(NEWER + b"\n")
    paths = [str(raw)] * (2 if command == "compare" else 1)
    result = CliRunner().invoke(main, [command, *paths])

    assert result.exit_code == status
    assert "written by fmnist 9.1.0" in result.output


@pytest.mark.slow
def test_torn_session_is_resumed_whole(tmp_path: Path) -> None:
    """`--resume` mends a torn file, says so, and measures what was torn."""
    site = Site(tmp_path, tmp_path / "results")
    expected, _ = unharmed(site)
    site.raw.write_bytes(site.raw.read_bytes()[:-200])
    status, said = site.resume()

    assert status == 0, said
    assert "notice: mended: the torn last line of" in said
    assert counted(site.records()) == expected
    assert read(site.raw)[1] == []
