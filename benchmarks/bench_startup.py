"""Start-up in fresh processes: importing Keras, building a model, compiling its first step."""

from engine import Engine, Replay

from fmnist.record import Record


def test_import(started: list[Record], engine: Engine, replay: Replay) -> None:
    """Importing Keras with its backend takes this long, one round for each fresh process."""
    replay([record.import_s or 0.0 for record in started], started)
    assert len(started) == engine.plan.preset.startup_processes


def test_build(started: list[Record], replay: Replay) -> None:
    """Building the model and compiling it by Keras takes this long."""
    replay([record.build_s or 0.0 for record in started], started)
    assert all(record.build_s for record in started)


def test_first_step(started: list[Record], replay: Replay) -> None:
    """The first batch takes this long, nearly all of it the backend's compilation."""
    replay([record.first_epoch_s or 0.0 for record in started], started)
    assert all(record.first_epoch_s for record in started)
