"""Sessions of the real command with fake workers, for tests that harm them.

A session is `fmnist run` in a process of its own. Its workers' interpreter (`--python`) is a script
that starts `tests/fake_worker.py` instead of the worker, so a whole session takes seconds.
"""

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from fmnist.record import Record, read
from fmnist.report.choose import sessions_of

TESTS = Path(__file__).parents[1]
STUB = """#!/bin/sh
if [ "$1" = -m ]; then
    exec "{python}" "{fake}" "{trace}" {behaviours} "$3"
fi
{otherwise}  # to each question whether it has what a worker needs
"""
OPTIONS = ("--preset", "smoke", "--rounds", "1", "--data-dir", "stand-in", "--order-seed", "0")
PATIENCE_S = 600
"""After which a session hangs, for a test."""


@dataclass(frozen=True)
class Site:
    """A folder in which sessions are run and harmed.

    Attributes:
        behaviours: of the fake workers, like `jax=kill`.
        options: of `fmnist run`, beside `OPTIONS`.
        environ: environment variables of the sessions.
        tells_versions: whether the workers' interpreter answers questions itself: to be asked
            whether it has what a worker needs, it is enough to succeed.
    """

    folder: Path
    results: Path
    behaviours: Sequence[str] = ()
    options: Sequence[str] = ("--models", "softmax_regression")
    environ: Mapping[str, str] = field(default_factory=dict)
    tells_versions: bool = False

    @property
    def raw(self) -> Path:
        """The one records file."""
        (path,) = (self.results / "raw").glob("*.jsonl")
        return path

    @property
    def trace(self) -> Path:
        """The file in which the fake workers write their orders."""
        return self.folder / "trace"

    @property
    def interpreter(self) -> Path:
        """What starts fake workers."""
        return self.folder / "python"

    def python(self) -> Path:
        """Write the interpreter that starts fake workers with these behaviours, and return it."""
        path = self.interpreter
        text = STUB.format(
            python=sys.executable,
            fake=TESTS / "fake_worker.py",
            trace=self.trace,
            behaviours=" ".join(self.behaviours),
            otherwise=f'exec "{sys.executable}" "$@"' if self.tells_versions else "exit 0",
        )
        path.write_text(text)
        path.chmod(0o755)
        return path

    def arguments(self) -> list[str]:
        """Return the command of a new session, without the program."""
        self.python()
        return ["run", *OPTIONS, *self.options, *self.pythons(), f"--results={self.results}"]

    def pythons(self) -> list[str]:
        """Return the options that have fake workers started: a resumed session wants them again."""
        return [f"--python={name}={self.interpreter}" for name in ("tensorflow", "jax")]

    def command(self) -> list[str]:
        """Return the command of a new session."""
        return [*FMNIST, *self.arguments()]

    def start(self, *command: str, stdout: int = subprocess.PIPE) -> "subprocess.Popen[str]":
        """Start a session, or another command; what it prints can be read, unless told where to."""
        return subprocess.Popen(
            command or self.command(),
            text=True,
            env={**environment(), **self.environ},
            stdout=stdout,
            stderr=subprocess.STDOUT,
        )

    def run(self, *command: str) -> tuple[int, str]:
        """Run a session, or another command, to its end; return its status and what it said."""
        with self.start(*command) as process:
            try:
                said, _ = process.communicate(timeout=PATIENCE_S)
            finally:
                process.kill()
        return process.returncode, said

    def resume(self) -> tuple[int, str]:
        """Go on with the session that is there."""
        return self.run(*FMNIST, "run", f"--resume={self.raw}", *self.pythons())

    def records(self) -> list[Record]:
        """Return the records, none of them damaged."""
        records, damaged = read(self.raw)
        assert damaged == []
        return records

    def workers(self) -> list[psutil.Process]:
        """Return the worker processes that are there, of any session in this folder."""
        return [p for p in psutil.process_iter() if str(self.trace) in arguments(p)]

    def left_over(self) -> set[str]:
        """Return the files in the results that are neither records, logs nor options."""
        found = (p.relative_to(self.results) for p in self.results.rglob("*") if p.is_file())
        usual = (".jsonl", ".log")
        return {str(p) for p in found if p.suffix not in usual and p.name != "options.json"}


FMNIST = (sys.executable, "-m", "fmnist")


def environment() -> dict[str, str]:
    """Return an environment in which a session tells what it does at once."""
    return os.environ | {"PYTHONUNBUFFERED": "1", "NO_COLOR": "1", "COLUMNS": "200"}


def arguments(process: psutil.Process) -> list[str]:
    """Return a process's command line; nothing for one that is gone, or waits to be reaped."""
    try:
        return process.cmdline()
    except (psutil.NoSuchProcess, psutil.ZombieProcess, psutil.AccessDenied):
        return []


def counted(records: Sequence[Record]) -> Counter[str]:
    """Return what counts in tables, and how often each is there."""
    (session,) = sessions_of(records)
    return Counter(f"{r.task} {r.cell.id} {r.process} {r.failure}" for r in session)
