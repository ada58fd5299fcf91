"""What the suite itself costs: its epochs beside those of a plain Keras script, in turn."""

from engine import Engine, Replay

from fmnist.grid import Cell

MODELS = ("dense3",)
"""Its epoch of 60,000 images takes about a second, so that a cost of milliseconds shows."""


def test_overhead_suite(cell: Cell, engine: Engine, replay: Replay) -> None:
    """An epoch takes this long in the suite."""
    record = engine.overhead(cell)
    replay(record.epoch_s, record)
    assert len(record.epoch_s) == engine.plan.preset.overhead_rounds


def test_overhead_plain_script(cell: Cell, engine: Engine, replay: Replay) -> None:
    """The same epoch takes this long in a script that a user would write."""
    record = engine.overhead(cell)
    replay(record.plain_epoch_s, record)
    assert len(record.plain_epoch_s) == engine.plan.preset.overhead_rounds
