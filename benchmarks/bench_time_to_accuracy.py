"""The race: the seconds of whole trainings, one round for each fresh seed of an entrant.

Entrants are the racers among the session's models, so they have to be named: `--models racer_92`.
"""

from engine import Engine, Replay

from fmnist.record import Record
from fmnist.studies.race_rules import FEWEST_SEEDS


def test_time_to_accuracy(raced: list[Record], engine: Engine, replay: Replay) -> None:
    """A whole training takes this long; what it reached stands in the leaderboard."""
    replay([record.race.train_s for record in raced if record.race is not None], raced)
    assert len(raced) == (engine.plan.options["seeds"] or FEWEST_SEEDS)
