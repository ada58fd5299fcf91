"""Stock beside what is tuned: `--modes stock,tuned`, or `--modes ablation` for knob after knob.

`--modes ablation,traps --xla auto,on` adds what looks like speed. The ratios with their intervals
stand in the tables below, and whether the work was the same in `-k parity`.
"""

from engine import Replay

from fmnist import grid
from fmnist.record import Record


def test_tuned(tuned: list[Record], replay: Replay) -> None:
    """An epoch takes this long in this mode; every knob of it says what it did."""
    replay([seconds for record in tuned for seconds in record.epoch_s], tuned)
    assert all(record.tuning.keys() == set(grid.MODES[record.mode].knobs) for record in tuned)
