"""Prediction: the test set by `predict`, and one image by `predict_on_batch`."""

from engine import Engine, Replay

from fmnist.grid import Cell


def test_predict(cell: Cell, engine: Engine, replay: Replay) -> None:
    """Predicting the test set takes this long."""
    record = engine.trained(cell)
    replay(record.predict_s, record)
    assert len(record.predict_s) == engine.plan.preset.predict_rounds


def test_latency(cell: Cell, engine: Engine, replay: Replay) -> None:
    """Predicting a single image takes this long."""
    record = engine.trained(cell)
    replay(record.latency_s, record)
    assert len(record.latency_s) == engine.plan.preset.latency_calls
