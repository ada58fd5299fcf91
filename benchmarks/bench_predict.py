"""Prediction: the test set by `predict`, and one image by `predict_on_batch`."""

from engine import Engine, Replay

from fmnist.record import Record


def test_predict(trained: Record, engine: Engine, replay: Replay) -> None:
    """Predicting the test set takes this long."""
    replay(trained.predict_s, trained)
    assert len(trained.predict_s) == engine.plan.preset.predict_rounds


def test_latency(trained: Record, engine: Engine, replay: Replay) -> None:
    """Predicting a single image takes this long."""
    replay(trained.latency_s, trained)
    assert len(trained.latency_s) == engine.plan.preset.latency_calls
