"""What the suite itself costs: its epochs beside those of a plain Keras script, in turn."""

from engine import Engine, Replay

from fmnist.record import Record


def test_overhead_suite(beside_plain: list[Record], engine: Engine, replay: Replay) -> None:
    """An epoch takes this long in the suite."""
    replay(beside_plain[0].epoch_s, beside_plain)
    assert len(beside_plain[0].epoch_s) == engine.plan.preset.overhead_rounds


def test_overhead_plain_script(beside_plain: list[Record], engine: Engine, replay: Replay) -> None:
    """The same epoch takes this long in a script that a user would write."""
    plain = beside_plain[0].beside_s.get("plain", ())
    replay(plain, beside_plain)
    assert len(plain) == engine.plan.preset.overhead_rounds
