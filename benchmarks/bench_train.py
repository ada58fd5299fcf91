"""Seconds per epoch: steady ones, and the first one with the compilation in it."""

from engine import Engine, Replay

from fmnist.record import Record


def test_epoch(trained: list[Record], engine: Engine, replay: Replay) -> None:
    """A steady epoch takes this long, and the model has learned by it in every process."""
    replay([seconds for record in trained for seconds in record.epoch_s], trained)
    floor = engine.plan.preset.accuracy_floor
    assert all((record.accuracy or 0) >= floor for record in trained), "broken, not slow"


def test_first_epoch(trained: list[Record], replay: Replay) -> None:
    """The first epoch takes this long: tracing and compilation are in it."""
    replay([record.first_epoch_s or 0.0 for record in trained], trained)
    assert all(record.first_epoch_s for record in trained)
