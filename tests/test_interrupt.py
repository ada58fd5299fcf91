"""Ctrl-C on a real session."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from fmnist.record import read


@pytest.mark.slow
def test_interrupt_ends_every_child_and_keeps_the_records(tmp_path: Path) -> None:
    """After Ctrl-C the status is 130, no process is left, and the finished cells are on disk."""
    # A background job of a shell ignores Ctrl-C, and so would all that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    command = [sys.executable, "-m", "fmnist", "run", "--preset", "smoke", "--rounds", "1"]
    command += ["--models", "softmax_regression", "--data-dir", "stand-in"]
    session = subprocess.Popen(
        [*command, "--results", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    with session:
        try:
            children = interrupt_in_a_startup(session)
            rest = session.stdout.read() if session.stdout else ""
            status = session.wait(30)
        finally:
            session.kill()

    assert status == 130, rest
    assert "what was measured is in" in rest
    assert children
    assert psutil.wait_procs(children, timeout=10)[1] == []
    (path,) = (tmp_path / "raw").glob("*.jsonl")
    records, damaged = read(path)
    assert damaged == []
    assert [r.failure for r in records if r.task == "train"] == [None, None]


def interrupt_in_a_startup(session: "subprocess.Popen[str]") -> list[psutil.Process]:
    """Send Ctrl-C while a worker starts; return the processes that were there then."""
    for line in session.stdout or ():
        if " startup: " in line:
            break
    children: list[psutil.Process] = []
    while not children and session.poll() is None:
        children = psutil.Process(session.pid).children(recursive=True)
    session.send_signal(signal.SIGINT)
    return children
