"""Seconds. The only module that reads a clock.

The clock and the fence are arguments, so that a test needs no sleep and no device.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import NamedTuple

import psutil

Clock = Callable[[], float]
Fence = Callable[[], None]


def no_fence() -> None:
    """Wait for nothing: what is timed is done when it returns."""


def withheld_clock() -> float | None:
    """Return the seconds that the host has withheld from all processors of a virtual machine.

    Since it started, in hundredths, as Linux tells it; None where the system does not.
    """
    withheld: float | None = getattr(psutil.cpu_times(), "steal", None)
    return withheld


def unwatched() -> None:
    """Tell nothing of what is withheld: reading it costs more than the shortest things timed."""


class Lap(NamedTuple):
    """What was timed once.

    Attributes:
        seconds: by the wall.
        processor_s: processor time of all threads of this process.
        withheld_s: processor time that the host of a virtual machine gave to others meanwhile,
            though this machine wanted it, of all processors together; None if unknown.
    """

    seconds: float
    processor_s: float
    withheld_s: float | None


class Stopwatch:
    """Seconds from `start` until the fence has passed in `stop`.

    The fence returns once the device has finished all work handed to it, and the clock is read
    after it: work still in flight is inside the time.

    Attributes:
        lap: what was timed last, by every clock.
    """

    def __init__(
        self,
        clock: Clock = time.perf_counter,
        fence: Fence = no_fence,
        processor_clock: Clock = time.process_time,
        withheld_clock: Callable[[], float | None] = unwatched,
    ) -> None:
        self.lap = Lap(0.0, 0.0, None)
        self._clock = clock
        self._fence = fence
        self._processor_clock = processor_clock
        self._withheld_clock = withheld_clock
        self._started: Lap | None = None

    def start(self) -> None:
        """Wait for earlier work, then read the clocks."""
        self._fence()
        withheld_s, processor_s = self._withheld_clock(), self._processor_clock()
        self._started = Lap(self._clock(), processor_s, withheld_s)

    def stop(self) -> float:
        """Return the seconds since `start`. Raises RuntimeError if it was not started."""
        if self._started is None:
            raise RuntimeError("the stopwatch was stopped before it was started")
        self._fence()
        begin = self._started
        end = Lap(self._clock(), self._processor_clock(), self._withheld_clock())
        self._started = None
        self.lap = Lap(
            end.seconds - begin.seconds,
            end.processor_s - begin.processor_s,
            _grown(begin.withheld_s, end.withheld_s),
        )
        return self.lap.seconds


def _grown(before: float | None, after: float | None) -> float | None:
    """Return by how much a count has grown; None if that is unknown.

    A guest that is moved to another host may find its count begun anew.
    """
    if before is None or after is None or after < before:
        return None
    return after - before


class Allowance:
    """An allowance of seconds, used up only while `running`."""

    def __init__(self, limit_s: float, clock: Clock = time.monotonic) -> None:
        self.limit_s = limit_s
        self._clock = clock
        self._used_s = 0.0
        self._since: float | None = None

    def run(self) -> None:
        """Start to use the allowance up."""
        if self._since is None:
            self._since = self._clock()

    def rest(self) -> None:
        """Stop using the allowance up."""
        if self._since is not None:
            self._used_s += self._clock() - self._since
            self._since = None

    @property
    def left_s(self) -> float:
        """Seconds left, never below 0."""
        running = 0.0 if self._since is None else self._clock() - self._since
        return max(0.0, self.limit_s - self._used_s - running)


def utc_now() -> datetime:
    """Return the date and time in UTC, to the second."""
    return datetime.now(UTC).replace(microsecond=0)
