"""Disks that are full or read-only, sessions that share a folder, a clock that is set back."""

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from kills import aside, unharmed
from samples import failed, record
from sessions import FMNIST, PATIENCE_S, Site, counted

from fmnist.measure import Allowance
from fmnist.record import read
from fmnist.report.choose import sessions_of

MOUNTS = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="only root on Linux can mount a tmpfs"
)
BACKWARDS = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
static long hours;
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int answer = real(clock, now);
    if (clock == CLOCK_REALTIME) now->tv_sec -= 3600 * ++hours;
    return answer;
}
"""
"""A library that sets the clock back by an hour whenever a process reads it."""


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[Path]:
    """A file system of its own in memory."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "fmnist-test", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
@MOUNTS
@pytest.mark.parametrize("kib", [4, 12, 24])
def test_full_disk_stops_the_session_and_it_goes_on_with_more_room(
    tmp_path: Path, kib: int
) -> None:
    """Wherever the disk is full, the status is 3, no line is torn, and nothing measured is lost."""
    expected, _ = unharmed(Site(tmp_path, tmp_path / "unharmed"))
    with mounted(tmp_path / "small", f"size={kib}k") as small:
        site = Site(tmp_path, small / "results")
        status, said = site.run()
        assert status == 3, said
        assert "No space left on device" in said
        assert site.workers() == []
        before = site.raw.read_bytes() if (site.results / "raw").exists() else b""

        subprocess.run(["mount", "-o", "remount,size=16m", str(small)], check=True)
        if not list((site.results / "logs").glob("*/options.json")):
            assert before == b""
            assert "nothing was measured" in said
            return
        (options,) = (site.results / "logs").glob("*/options.json")
        raw = site.results / "raw" / f"{options.parent.name}.jsonl"
        status, said = site.run(*FMNIST, "run", f"--resume={raw}", *site.pythons())
        assert status == 0, said
        assert before == b"" or before.endswith(b"\n")
        kept = {*site.raw.read_bytes().splitlines(), *aside(site)}
        assert set(before.splitlines()) <= kept
        assert counted(site.records()) == expected
        assert site.left_over() == set()


@pytest.mark.slow
@MOUNTS
def test_read_only_folder_stops_the_session_before_it_begins(tmp_path: Path) -> None:
    """The status is 3, the message names the folder, and no worker was started."""
    with mounted(tmp_path / "fixed", "size=1m,ro") as fixed:
        site = Site(tmp_path, fixed / "results")
        status, said = site.run()

    assert status == 3
    assert "Read-only file system" in said
    assert str(fixed) in said
    assert "nothing was measured" in said
    assert not site.trace.exists()


@pytest.mark.slow
def test_two_sessions_in_one_folder_are_both_whole(tmp_path: Path) -> None:
    """Sessions that run at once write files of their own, each with all that it measured."""
    site = Site(tmp_path, tmp_path / "results")
    with site.start() as one, site.start() as other:
        for session in (one, other):
            said, _ = session.communicate(timeout=PATIENCE_S)
            assert session.returncode == 0, said

    paths = list((site.results / "raw").iterdir())
    assert len(paths) == 2
    expected, _ = unharmed(Site(tmp_path, tmp_path / "alone"))
    for path in paths:
        records, damaged = read(path)
        assert damaged == []
        assert {r.session for r in records} == {path.stem}
        assert counted(records) == expected


@pytest.mark.slow
def test_session_that_runs_cannot_be_resumed(tmp_path: Path) -> None:
    """Whoever resumes a session while another process runs it is told so, and changes nothing."""
    site = Site(tmp_path, tmp_path / "results", behaviours=["jax=hang"])
    with site.start() as session:
        for line in session.stdout or ():
            if " noise: " in line:
                break
        before = site.raw.read_bytes()
        status, said = site.resume()
        assert site.raw.read_bytes().startswith(before)
        session.kill()

    assert status == 2
    assert "another process is running this session" in said
    replace(site, behaviours=[]).python()
    status, said = site.resume()
    assert status == 0, said


@pytest.mark.slow
@pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("cc") is None,
    reason="needs a C compiler and LD_PRELOAD",
)
def test_clock_that_goes_backwards_moves_no_time(tmp_path: Path) -> None:
    """A session whose clock goes back by an hour at every look measures and keeps everything."""
    source, library = tmp_path / "backwards.c", tmp_path / "backwards.so"
    source.write_text(BACKWARDS)
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    site = Site(tmp_path, tmp_path / "results", environ={"LD_PRELOAD": str(library)})
    status, said = site.run()

    assert status == 0, said
    expected, _ = unharmed(Site(tmp_path, tmp_path / "unharmed"))
    assert counted(site.records()) == expected
    starts = [r.started_at for r in site.records()]
    assert all(b < a for a, b in itertools.pairwise(starts))


def test_success_after_the_clock_was_set_back_replaces_the_failure() -> None:
    """What counts is decided by the order of the lines, not by what their clocks said."""
    interrupted = failed()
    resumed = record(started_at=interrupted.started_at - timedelta(hours=1))

    assert sessions_of([interrupted, resumed]) == [[resumed]]


def test_allowance_never_grows_back() -> None:
    """Seconds are counted by a clock that cannot be set: by the wall, none of them reads one."""
    ticks = iter([10.0, 12.0, 13.0, 14.0])
    allowance = Allowance(5.0, clock=lambda: next(ticks))
    allowance.run()
    allowance.rest()
    allowance.run()

    assert allowance.left_s == 2.0
