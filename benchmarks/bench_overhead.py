"""What the suite itself costs: its epochs beside those of a plain Keras script, in turn."""

from engine import Engine, Replay

from fmnist.record import Record

MODELS = ("dense3",)
"""Its epoch of 60,000 images takes about a second, so that a cost of milliseconds shows."""


def test_overhead_suite(beside_plain: Record, engine: Engine, replay: Replay) -> None:
    """An epoch takes this long in the suite."""
    replay(beside_plain.epoch_s, beside_plain)
    assert len(beside_plain.epoch_s) == engine.plan.preset.overhead_rounds


def test_overhead_plain_script(beside_plain: Record, engine: Engine, replay: Replay) -> None:
    """The same epoch takes this long in a script that a user would write."""
    replay(beside_plain.plain_epoch_s, beside_plain)
    assert len(beside_plain.plain_epoch_s) == engine.plan.preset.overhead_rounds
