"""The stopwatch and the allowance, by clocks that the test turns."""

import os
import sys
from pathlib import Path

import pytest

from fmnist.measure import Allowance, Lap, Stopwatch, utc_now, withheld_clock


class TurnedClock:
    """A clock that shows the given times in turn."""

    def __init__(self, *times: float) -> None:
        self._times = list(times)

    def __call__(self) -> float:
        """Show the next time."""
        return self._times.pop(0)


def test_seconds_are_the_difference_of_the_clock() -> None:
    """A stopwatch started at 2 and stopped at 9.5 says 7.5."""
    stopwatch = Stopwatch(TurnedClock(2, 9.5))
    stopwatch.start()

    assert stopwatch.stop() == 7.5


def test_fence_comes_before_the_clock_is_read() -> None:
    """Work in flight is waited for before both readings, so it falls into its own epoch."""
    happened: list[str] = []

    def clock() -> float:
        happened.append("clock")
        return 0.0

    stopwatch = Stopwatch(clock, fence=lambda: happened.append("fence"))
    stopwatch.start()
    stopwatch.stop()

    assert happened == ["fence", "clock", "fence", "clock"]


def test_stop_without_start_is_an_error() -> None:
    """A stopwatch that was not started, or was stopped before, has no seconds to tell."""
    stopwatch = Stopwatch(TurnedClock(0, 1))
    stopwatch.start()
    stopwatch.stop()

    with pytest.raises(RuntimeError, match="before it was started"):
        stopwatch.stop()


def test_lap_has_what_each_clock_grew_by() -> None:
    """Wall, processor and withheld seconds of one lap come from their own clocks."""
    stopwatch = Stopwatch(
        TurnedClock(2, 9.5),
        processor_clock=TurnedClock(10, 14),
        withheld_clock=TurnedClock(100.25, 101),
    )
    stopwatch.start()
    stopwatch.stop()

    assert stopwatch.lap == Lap(seconds=7.5, processor_s=4, withheld_s=0.75)


def test_what_is_withheld_is_unknown_where_its_clock_goes_back() -> None:
    """A guest that was moved to another host has no such seconds, not less than none."""
    stopwatch = Stopwatch(TurnedClock(0, 1), withheld_clock=TurnedClock(100, 3))
    stopwatch.start()
    stopwatch.stop()

    assert stopwatch.lap.withheld_s is None


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_withheld_clock_is_that_of_the_kernel() -> None:
    """The clock says the eighth figure of all processors in /proc/stat, in seconds."""

    def told() -> float:
        ticks = Path("/proc/stat").read_text(encoding="utf-8").split()[8]
        return int(ticks) / os.sysconf("SC_CLK_TCK")

    before, said, after = told(), withheld_clock(), told()

    assert said is not None
    assert before <= said <= after


def test_allowance_is_used_only_while_running() -> None:
    """Seconds between `rest` and `run` cost nothing: a waiting worker keeps its time."""
    allowance = Allowance(10, TurnedClock(0, 3, 100, 102, 104))
    allowance.run()
    allowance.rest()
    allowance.run()

    assert allowance.left_s == 10 - 3 - 2
    allowance.rest()
    assert allowance.left_s == 10 - 3 - 4


def test_allowance_never_goes_below_zero() -> None:
    """An allowance that was overdrawn has nothing left, not less."""
    allowance = Allowance(1, TurnedClock(0, 50))
    allowance.run()
    allowance.rest()

    assert allowance.left_s == 0


def test_dates_carry_their_zone() -> None:
    """The date of a record can be compared across machines."""
    now = utc_now()

    assert now.utcoffset() is not None
    assert now.microsecond == 0
