"""The same work: weights and batches from one source, and how differences are told."""

import dataclasses
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fmnist import parity

SCRIPT = Path(__file__).parent.parent / "docs" / "examples" / "last_bit.py"
SHAPES = [("kernel", (3, 3, 8, 16)), ("bias", (16,)), ("gamma", (16,)), ("moving_variance", (16,))]


def trace(seed: int = 0) -> parity.Trace:
    """Return a trace with drawn figures."""
    generator = np.random.default_rng(seed)
    return parity.Trace(
        weights_sha256="0" * 64,
        outputs=generator.normal(size=(100, 10)),
        losses=generator.uniform(1, 2, 20),
        updates={step: generator.normal(size=500) for step in parity.COMPARED_STEPS},
    )


def test_weights_depend_on_the_seed_alone() -> None:
    """Two processes with one seed start from the same bytes; another seed gives others."""
    first, again, other = (parity.initial_weights(SHAPES, seed) for seed in (3, 3, 4))

    assert parity.sha256(first) == parity.sha256(again) != parity.sha256(other)


def test_weights_are_as_keras_starts_them() -> None:
    """Kernels fill Glorot's interval and are centred; scales and variances are one, biases zero."""
    kernel, bias, gamma, variance = parity.initial_weights(SHAPES, 0)

    limit = np.sqrt(6 / (9 * (8 + 16)))
    assert 0.95 * limit < np.abs(kernel).max() <= limit
    assert abs(kernel.mean()) < 0.1 * limit
    assert (bias == 0).all()
    assert (gamma == 1).all()
    assert (variance == 1).all()
    assert kernel.dtype == np.float32


def test_epoch_shows_every_image_once_in_another_order() -> None:
    """Of 60 images in batches of 10, six steps show each once, the next six in another order."""
    steps = parity.batches(60, 10, 12, seed=0)

    first, second = steps[:6].ravel(), steps[6:].ravel()
    assert sorted(first) == sorted(second) == list(range(60))
    assert list(first) != list(second)


def test_batches_may_end_within_an_epoch() -> None:
    """More steps than an epoch has go on in the next one, and stop where they are told to."""
    assert parity.batches(30, 20, 4, seed=0).shape == (4, 20)


def test_dither_leaves_no_two_pixels_equal() -> None:
    """An empty image has no ties any more, and no pixel has moved by a grey level."""
    empty = np.zeros((2, 28, 28, 1), np.float32)
    dithered = parity.dithered(empty, 3)

    assert len(np.unique(dithered)) > 0.99 * empty.size
    assert 0 <= dithered.min() < dithered.max() < 1 / 255
    assert dithered.dtype == np.float32
    assert (dithered == parity.dithered(empty, 3)).all()


def test_equal_traces_do_not_differ() -> None:
    """A trace compared with itself differs by nothing, in every respect that is tolerated."""
    found = parity.differences(trace(), trace())

    assert found == dict.fromkeys(parity.TOLERANCES, 0.0)


@pytest.mark.parametrize(
    ("changed", "name", "by"),
    [
        ({"outputs": 1.001 * trace().outputs}, "outputs", 1e-3),
        ({"losses": trace().losses * np.array([1.01] + [1.0] * 19)}, "first_loss", 1e-2),
        ({"losses": trace().losses * np.array([1.0] * 19 + [1.01])}, "loss_20", 1e-2),
        ({"losses": trace().losses * 1.01}, "losses", 1e-2),
        ({"updates": {1: 1.1 * trace().updates[1], 20: trace().updates[20]}}, "update_1", 0.1),
        ({"updates": {1: trace().updates[1], 20: 1.1 * trace().updates[20]}}, "update_20", 0.1),
    ],
)
def test_what_differs_is_told_by_how_much(changed: dict[str, object], name: str, by: float) -> None:
    """A change of outputs, of a loss or of what the weights moved shows under its own name."""
    found = parity.differences(trace(), dataclasses.replace(trace(), **changed))  # type: ignore[arg-type]

    assert found[name] == pytest.approx(by, rel=1e-6)


def test_later_losses_count_together() -> None:
    """After 20 steps one batch may be far off, as rounding makes it; many may not."""
    ours = dataclasses.replace(trace(), losses=np.ones(120))
    one, many = np.ones(120), np.ones(120)
    one[100] = many[20::2] = 1.2
    exceeded = [
        [n for n, d in parity.differences(ours, theirs).items() if d > parity.TOLERANCES[n]]
        for theirs in (dataclasses.replace(ours, losses=losses) for losses in (one, many))
    ]

    assert exceeded == [[], ["losses"]]


def test_other_weights_are_no_comparison() -> None:
    """Backends that started from different weights are an error, not a difference."""
    other = dataclasses.replace(trace(), weights_sha256="1" * 64)

    with pytest.raises(ValueError, match="started from different weights"):
        parity.differences(trace(), other)


def test_trace_survives_its_file(tmp_path: Path) -> None:
    """What a worker leaves is what the parent finds."""
    left = trace()
    left.save(tmp_path / "trace.npz", np.arange(10) < 4)
    found, recognised = parity.load(tmp_path / "trace.npz", left.weights_sha256)

    assert parity.differences(left, found) == dict.fromkeys(parity.TOLERANCES, 0.0)
    assert recognised.sum() == 4


def test_a_trace_of_a_worker_that_died_is_no_trace(tmp_path: Path) -> None:
    """A file that is torn anywhere, or lacks an array, is a ValueError: it costs its own cell."""
    path = tmp_path / "trace.npz"
    trace().save(path, np.arange(10) < 4)
    whole = path.read_bytes()
    torn = [whole[: len(whole) * part // 16] for part in range(16)]
    lacking = io.BytesIO()
    np.savez(lacking, outputs=np.ones(1))

    for content in (*torn, lacking.getvalue()):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"trace|pickle|cannot"):
            parity.load(path, "0" * 64)


def test_a_trace_is_not_unpickled(tmp_path: Path) -> None:
    """An array of objects is refused: loading one would run what it says."""
    path = tmp_path / "trace.npz"
    arrays = dict.fromkeys(["outputs", "losses", "update_1", "update_20", "recognised"])
    np.savez(path, allow_pickle=True, **{name: np.array([None], object) for name in arrays})

    with pytest.raises(ValueError, match="allow_pickle=False"):
        parity.load(path, "0" * 64)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_rounding_passes_and_other_batches_do_not(backend: str) -> None:
    """A last bit stays within what all losses together may differ by; other batches exceed it."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), "dense3", "0"],
        env={**os.environ, "KERAS_BACKEND": backend, "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    found = dict(re.findall(r"^([^:\n]+): .*losses (\S+) %$", done.stdout, flags=re.MULTILINE))
    allowed = 100 * parity.TOLERANCES["losses"]

    assert done.returncode == 0, done.stderr
    assert float(found["last bit up"]) < allowed
    assert float(found["last bit down"]) < allowed
    assert float(found["other batches"]) > allowed
