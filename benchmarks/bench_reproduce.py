"""Whole trainings by the models' own recipes, over seeds; only with `--recipe`.

The rounds are epochs that were not run in turn with anything: what counts is the table of claims.
"""

from engine import Engine, Replay

from fmnist.record import Record
from fmnist.report.reproduction import FEWEST_SEEDS


def test_reproduce(learned: list[Record], engine: Engine, replay: Replay) -> None:
    """Each seed is trained to the end of the recipe, and what it makes of the test set is kept."""
    replay([seconds for record in learned for seconds in record.epoch_s], learned)
    assert len(learned) == (engine.plan.options["seeds"] or FEWEST_SEEDS)
    assert all(len(record.history) == record.recipe.epochs for record in learned)
