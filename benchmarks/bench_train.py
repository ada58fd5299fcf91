"""Seconds per epoch: steady ones, and the first one with the compilation in it."""

from engine import Engine, Replay

from fmnist.record import Record


def test_epoch(trained: Record, engine: Engine, replay: Replay) -> None:
    """A steady epoch takes this long, and the model has learned by it."""
    replay(trained.epoch_s, trained)
    assert trained.accuracy is not None
    assert trained.accuracy >= engine.plan.preset.accuracy_floor, "broken, not slow"


def test_first_epoch(trained: Record, replay: Replay) -> None:
    """The first epoch takes this long: tracing and compilation are in it."""
    replay([trained.first_epoch_s or 0.0], trained)
    assert trained.first_epoch_s is not None
