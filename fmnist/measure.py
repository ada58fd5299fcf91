"""Seconds. The only module that reads a clock.

The clock and the fence are arguments, so that a test needs no sleep and no device.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], float]
Fence = Callable[[], None]


def no_fence() -> None:
    """Wait for nothing: what is timed is done when it returns."""


class Stopwatch:
    """Seconds from `start` until the fence has passed in `stop`.

    The fence returns once the device has finished all work handed to it, and the clock is read
    after it: work still in flight is inside the time.

    Attributes:
        processor_s: processor time of all threads of this process, in what was timed last.
    """

    def __init__(
        self,
        clock: Clock = time.perf_counter,
        fence: Fence = no_fence,
        processor_clock: Clock = time.process_time,
    ) -> None:
        self.processor_s = 0.0
        self._clock = clock
        self._fence = fence
        self._processor_clock = processor_clock
        self._processor_started = 0.0
        self._started: float | None = None

    def start(self) -> None:
        """Wait for earlier work, then read the clocks."""
        self._fence()
        self._processor_started = self._processor_clock()
        self._started = self._clock()

    def stop(self) -> float:
        """Return the seconds since `start`. Raises RuntimeError if it was not started."""
        if self._started is None:
            raise RuntimeError("the stopwatch was stopped before it was started")
        self._fence()
        seconds = self._clock() - self._started
        self.processor_s = self._processor_clock() - self._processor_started
        self._started = None
        return seconds


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
