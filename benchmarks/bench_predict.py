"""Prediction: the test set by `predict`, and one image by `predict_on_batch`."""

from engine import Engine, Replay

from fmnist.record import Record


def test_predict(trained: list[Record], engine: Engine, replay: Replay) -> None:
    """Predicting the test set takes this long."""
    replay([seconds for record in trained for seconds in record.predict_s], trained)
    assert all(len(r.predict_s) == engine.plan.preset.predict_rounds for r in trained)


def test_latency(trained: list[Record], engine: Engine, replay: Replay) -> None:
    """Predicting a single image takes this long."""
    replay([seconds for record in trained for seconds in record.latency_s], trained)
    assert all(len(r.latency_s) == engine.plan.preset.latency_calls for r in trained)
