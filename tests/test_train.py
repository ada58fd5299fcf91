"""The epoch gate in a real fit, on both backends."""

from pathlib import Path
from typing import Any

import pytest
from on_backend import answer

from fmnist import grid

SCRIPT = Path(__file__).with_name("gate.py")


@pytest.fixture(scope="module", params=grid.BACKENDS)
def found(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What happened in a fit through the gate, on one backend."""
    return answer(SCRIPT, request.param)


def test_gate_ends_the_fit_when_told(found: dict[str, Any]) -> None:
    """A fit of five epochs ends after the third, when there is to be no other one."""
    assert len(found["reported"]) == 3


def test_clock_is_read_behind_the_fence_and_before_the_report(found: dict[str, Any]) -> None:
    """Each epoch: fence, clock; then fence, clock, report, ask. Evaluation is outside the time."""
    epoch = ["fence", "clock", "fence", "clock", "report", "ask"]

    assert found["happened"] == epoch * 3


def test_logs_hold_loss_and_accuracy(found: dict[str, Any]) -> None:
    """The report is given Keras's training figures."""
    assert all(logs == ["accuracy", "loss"] for _, logs in found["reported"])


def test_gate_has_no_hook_per_batch(found: dict[str, Any]) -> None:
    """A per-batch hook would make Keras wait for the device at every batch on JAX."""
    assert found["per_batch_hooks"] == []


def test_every_epoch_has_another_order(found: dict[str, Any]) -> None:
    """Seeded as a worker is, a fit shuffles anew each epoch: on TensorFlow a seed can undo that."""
    orders = found["orders"]

    assert len({tuple(order) for order in orders}) == len(orders)
