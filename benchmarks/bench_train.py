"""Seconds per epoch: steady ones, and the first one with the compilation in it."""

from engine import Engine, Replay

from fmnist.grid import Cell


def test_epoch(cell: Cell, engine: Engine, replay: Replay) -> None:
    """A steady epoch takes this long, and the model has learned by it."""
    record = engine.trained(cell)
    replay(record.epoch_s, record)
    assert record.accuracy is not None
    assert record.accuracy >= engine.plan.preset.accuracy_floor, "broken, not slow"


def test_first_epoch(cell: Cell, engine: Engine, replay: Replay) -> None:
    """The first epoch takes this long: tracing and compilation are in it."""
    record = engine.trained(cell)
    replay([record.first_epoch_s] if record.first_epoch_s else [], record)
    assert record.parameters is not None
