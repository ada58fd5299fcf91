"""What a session finds out about itself: noise, sameness of the work, where an epoch goes."""

import pytest
from engine import Engine, Replay

from fmnist import grid
from fmnist.record import Record


@pytest.mark.parametrize("variant", grid.NOISE_VARIANTS)
def test_noise(variant: str, noise: list[Record], engine: Engine, replay: Replay) -> None:
    """The cell against itself, and against itself with some per cent more steps."""
    replay([seconds for record in noise for seconds in record.beside_s[variant]], noise)
    assert len(noise) == engine.plan.noise_pairs


def test_reference(noise: list[Record], replay: Replay) -> None:
    """A product of two matrices by NumPy, to set machines side by side."""
    rounds = [seconds for record in noise for seconds in record.beside_s[grid.REFERENCE]]
    replay(rounds, noise)
    assert rounds


@pytest.mark.parametrize("variant", ["epoch", *grid.BREAKDOWN_VARIANTS])
def test_breakdown(variant: str, broken_down: list[Record], replay: Replay) -> None:
    """An epoch whole, and with one part after the other taken away."""
    record = broken_down[0]
    rounds = record.beside_s.get(variant, ()) if variant != "epoch" else record.epoch_s
    replay(rounds, broken_down)
    assert rounds


@pytest.mark.usefixtures("benchmark")  # pytest-benchmark leaves out what has none
@pytest.mark.filterwarnings("ignore:Benchmark fixture was not used")
def test_parity(parity: list[Record]) -> None:
    """Both backends do the same work from the same weights: a certificate for every seed."""
    assert [record.failure for record in parity if record.failure] == []
    certificates = [record.parity for record in parity if record.parity is not None]
    assert len(certificates) == len(parity)
    assert [(c.seed, c.exceeded) for c in certificates if c.exceeded] == []
