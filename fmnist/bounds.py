"""What a worker cannot outlive, and what it cannot outgrow. The system sees to both.

So the parent has nothing to watch while a worker is timed, and a parent that was killed has left
nothing running.
"""

import ctypes
import os
import resource
import select
import signal
import socket
import sys

MOST_FILE_BYTES = 256 * 2**20
"""No file that a worker writes grows beyond this, its log among them."""

PR_SET_PDEATHSIG = 1


def bind(channel_end: socket.socket) -> None:
    """Bound this process, a worker whose parent is at the other end of the channel.

    On Linux it is killed as soon as its parent is gone, in the middle of an epoch too; elsewhere it
    ends at its next message. A file that it lets grow too large is an OSError for it.

    Raises SystemExit if the parent is gone already, OSError if the system refuses.
    """
    resource.setrlimit(resource.RLIMIT_FSIZE, (MOST_FILE_BYTES, MOST_FILE_BYTES))
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    hang_up = select.poll()
    hang_up.register(channel_end, 0)
    if hang_up.poll(0):  # it went before the system was asked to tell
        raise SystemExit("the parent is gone")
