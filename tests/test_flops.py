"""Multiply-accumulates as XLA counts them in what JAX lowers; by hand: tests/test_models.py."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fmnist import grid, models

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).with_name("lowered.py")


@cache
def counted() -> dict[str, Any]:
    """Return all that the script counts, found out in one process on JAX."""
    environment = grid.env_for(grid.Cell("softmax_regression", "jax", "cpu"), os.environ)
    # Nothing of what is counted is run; drawing the weights is compiled three times as fast.
    environment["XLA_FLAGS"] = "--xla_backend_optimization_level=0"
    answer = subprocess.run(
        [sys.executable, str(SCRIPT)], env=environment, capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stderr
    line = next(line for line in answer.stdout.splitlines() if line.startswith("RESULT "))
    found: dict[str, Any] = json.loads(line.removeprefix("RESULT "))
    return found


def test_layers_as_xla_counts_them() -> None:
    """Strides, dilation, groups, padding, transposed and separable: XLA counts just the same."""
    found = counted()["layers"]

    assert {n: f["counted"] for n, f in found.items()} == {n: f["by XLA"] for n, f in found.items()}


@pytest.mark.parametrize("name", models.names())
def test_training_as_xla_counts_it(name: str) -> None:
    """The gradient of the loss, as lowered, has the operations counted and at most 5 % more.

    Beside matrix products XLA counts each element that is added, compared or normalised, and the
    integers that dropout draws: so dropout is off. The optimizer is left out: it works by the step
    and not by the image, whatever the model.
    """
    found = counted()["models"][name]

    assert found["counted"] <= found["by XLA"] <= 1.05 * found["counted"]


def test_layers_of_nested_models_are_counted() -> None:
    """A layer inside a model that is a layer goes by both names."""
    forward, flop = counted()["structures"]["nested"]

    assert forward == {"block/conv": 2**2 * 9 * 2 * 3, "last": 12 * 10}
    assert flop == 2 * (2 * 216 + 3 * 120)


@pytest.mark.parametrize(
    ("structure", "layer"),
    [
        ("unknown", "einsum"),
        ("called twice", "dense"),
        ("model called twice", "block/conv"),
        ("open", "conv"),
    ],
)
def test_what_cannot_be_counted_is_named(structure: str, layer: str) -> None:
    """A layer of another kind, or without one fixed shape, is None, and so is the model's total."""
    forward, flop = counted()["structures"][structure]

    assert [name for name, macs in forward.items() if macs is None] == [layer]
    assert flop is None


def test_weights_that_stay_need_no_gradient() -> None:
    """A first layer that is not trained works forward only; the next one's inputs need nothing."""
    forward, flop = counted()["structures"]["not trained"]

    assert forward == {"conv": 216, "last": 120}
    assert flop == 2 * (216 + 2 * 120)


def test_inputs_behind_anything_trained_need_a_gradient() -> None:
    """A scale that is trained before the first matrix makes that one a layer like the others."""
    forward, flop = counted()["structures"]["normalised first"]

    assert forward == {"last": 32 * 10}
    assert flop == 2 * 3 * 320


def test_zeros_before_a_line_are_no_inputs() -> None:
    """Of a causal kernel of 3, 2 apart, on a line of 9, its taps meet 5, 7 and 9 pixels.

    XLA is no witness: Keras pads such a line first, and what is padded counts as the line then.
    """
    forward, _ = counted()["structures"]["causal"]

    assert forward == {"conv": (5 + 7 + 9) * 4 * 6}
