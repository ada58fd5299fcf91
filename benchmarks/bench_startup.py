"""Start-up in fresh processes: importing Keras, building a model, compiling its first step."""

from engine import Engine, Replay

from fmnist.grid import Cell


def test_import(cell: Cell, engine: Engine, replay: Replay) -> None:
    """Importing Keras with its backend takes this long, one round for each fresh process."""
    _replay("import_s", cell, engine, replay)


def test_build(cell: Cell, engine: Engine, replay: Replay) -> None:
    """Building and compiling the Keras model takes this long."""
    _replay("build_s", cell, engine, replay)


def test_first_step(cell: Cell, engine: Engine, replay: Replay) -> None:
    """The first batch takes this long, nearly all of it the backend's compilation."""
    _replay("first_epoch_s", cell, engine, replay)


def _replay(field: str, cell: Cell, engine: Engine, replay: Replay) -> None:
    records = engine.started(cell)
    failed = next((record for record in records if record.failure), records[0])
    replay([getattr(record, field) for record in records], failed)
    assert len(records) == engine.plan.preset.startup_processes
