"""The epoch gate in a real training in turns, on both backends."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from on_backend import answer

from fmnist import grid

SCRIPT = Path(__file__).with_name("gate.py")


@cache
def trained_on(backend: str) -> dict[str, Any]:
    """Return what happened in trainings on a backend: one process for all tests."""
    return answer(SCRIPT, backend)


@pytest.fixture(params=grid.BACKENDS)
def found(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What happened in a training through the gate, on one backend."""
    return trained_on(request.param)


def test_gate_ends_the_training_when_told(found: dict[str, Any]) -> None:
    """A training of five epochs ends after the third, when there is to be no other one."""
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
    """Seeded as a worker is, every epoch is shuffled anew: on TensorFlow a seed can undo that."""
    assert len(set(found["orders"])) == len(found["orders"])


def test_a_training_in_turns_learns_what_a_fit_learns() -> None:
    """On JAX a seed decides weights, dropout and order: each epoch's loss is the same, exactly."""
    learned = trained_on("jax")["learned"]

    assert learned["fit_in_turns"] == learned["fit"]


def test_what_fed_an_epoch_is_gone_when_it_ends() -> None:
    """On TensorFlow an epoch's data set has threads: `fit` keeps them, and turns do not."""
    threads = trained_on("tensorflow")["threads"]

    assert max(threads["fit_in_turns"]) < min(threads["fit"])
