"""A unit in a fresh process of this machine, in the environment that it is to be measured in."""

import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Collection, Mapping
from contextlib import suppress

from fmnist import grid
from fmnist.files import last_words

PROGRAM = (sys.executable, "-m", "fmnist.fleet.unit")


class UnitLostError(RuntimeError):
    """The process of a unit ended without an outcome; the message says how."""


def carry_out_apart(
    unit: str, flags: Mapping[str, str], assigned: Collection[str] = ()
) -> tuple[str, str]:
    """Have a fresh process carry a unit out; return this host's name, and the outcome as JSON.

    Its environment is this machine's, with the session's own flags in the place of those found
    here: what a scheduler sets for the jobs that it starts must not move a timing.

    Args:
        unit: as JSON.
        flags: variables of the session that can change a timing, as from `grid.flags_in`.
        assigned: names of such variables by which a scheduler assigned devices: these stay.

    Raises:
        UnitLostError: the process ended without an outcome.
    """
    ours, theirs = socket.socketpair()
    with ours, tempfile.TemporaryFile() as log:
        with theirs:
            process = subprocess.Popen(  # noqa: S603  # our own program
                [*PROGRAM, str(theirs.fileno())],
                env=environment(os.environ, flags, assigned),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        try:
            outcome = _asked(ours, unit)
            if outcome:
                process.wait()
        finally:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            status = process.wait()
        if not outcome or status:
            said = f"; it said: {end}" if (end := last_words(log)) else ""
            raise UnitLostError(f"its process ended with status {status}{said}")
    return platform.node(), outcome.decode()


def environment(
    environ: Mapping[str, str], flags: Mapping[str, str], assigned: Collection[str]
) -> dict[str, str]:
    """Return an environment with the session's flags in it, in the place of its own."""
    own = grid.flags_in(environ)
    kept = {name: value for name, value in environ.items() if name not in own or name in assigned}
    return {**kept, **{name: value for name, value in flags.items() if name not in assigned}}


def _asked(end: socket.socket, unit: str) -> bytes:
    """Send a unit to the process at the other end; return what it answers until it hangs up."""
    answer = bytearray()
    with suppress(ConnectionError):  # it ended early: the log says why
        end.sendall(unit.encode())
        end.shutdown(socket.SHUT_WR)
        while part := end.recv(2**16):
            answer += part
    return bytes(answer)
