"""Every model, found by its file, on every backend: a new one is tested without a new test."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from fmnist import grid, models

SCRIPT = Path(__file__).with_name("conformance.py")
EVERY_MODEL = pytest.mark.parametrize(
    "name",
    [
        *models.suite(),
        *(pytest.param(name, marks=pytest.mark.slow) for name in models.racers()),
    ],
)
EVERY_BACKEND = pytest.mark.parametrize("backend", grid.BACKENDS)


@cache
def answers(names: tuple[str, ...]) -> dict[str, tuple[int, str, str]]:
    """Return status, output and errors of the script on each backend; both run at once, once."""
    running = {
        backend: subprocess.Popen(
            [sys.executable, str(SCRIPT), *names],
            env=grid.env_for(grid.Cell(names[0], backend, "cpu"), os.environ),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for backend in grid.BACKENDS
    }
    with ThreadPoolExecutor(len(running)) as waiting:  # each pipe is read, or its process stops
        said = dict(
            zip(running, waiting.map(subprocess.Popen.communicate, running.values()), strict=True)
        )
    return {backend: (running[backend].returncode, *said[backend]) for backend in running}


def conformance(backend: str, name: str) -> dict[str, Any]:
    """Return what a model does on a backend: all racers are tried in a process, and all others."""
    together = next(names for names in (models.suite(), models.racers()) if name in names)
    status, output, errors = answers(together)[backend]
    assert status == 0, errors
    line = next(line for line in output.splitlines() if line.startswith("RESULT "))
    found: dict[str, Any] = json.loads(line.removeprefix("RESULT "))[name]
    return found


def test_the_nine_are_there() -> None:
    """The models of the design are found by their stems."""
    designed = """softmax_regression dense3 dense_wide lenet_dropout conv_pool_dropout leaky_cnn
        leaky_cnn_dropout conv_8_24_48 deep_batchnorm""".split()

    assert set(designed) <= set(models.names())


@EVERY_MODEL
def test_card_is_complete(name: str) -> None:
    """A model's file states family, parameters, origin and recipe, and in a line what it is."""
    card = models.card(name)

    assert card.summary.endswith(".")
    assert card.parameters > 0
    assert card.origin
    assert card.recipe.epochs >= 2


@EVERY_MODEL
def test_recipe_can_be_run_on_the_full_set(name: str) -> None:
    """The batch size of a recipe divides training, validation and test set."""
    recipe = models.card(name).recipe
    validation = round(60_000 * recipe.validation_share)

    grid.check_batch_size(
        recipe.batch_size, [60_000 - validation, 10_000, *([validation] if validation else [])]
    )


@EVERY_BACKEND
@EVERY_MODEL
def test_parameters_are_those_stated(name: str, backend: str) -> None:
    """The model has as many parameters as its file states, and a conv model has some in convs."""
    counted = conformance(backend, name)["parameters"]

    assert counted["total"] == models.card(name).parameters
    assert (counted["conv"] > 0) == (models.card(name).family == "conv")


@EVERY_BACKEND
@EVERY_MODEL
def test_batch_statistics_are_stated(name: str, backend: str) -> None:
    """Where a layer computes with statistics of a batch the file says so, and nowhere else."""
    assert conformance(backend, name)["batch_statistics"] == models.card(name).batch_statistics


@EVERY_BACKEND
@EVERY_MODEL
def test_model_maps_images_to_logits(name: str, backend: str) -> None:
    """From (n, 28, 28, 1) to (n, 10), finite, and not through a softmax."""
    found = conformance(backend, name)

    assert found["input_shape"] == [None, 28, 28, 1]
    assert found["output_shape"] == [None, 10]
    assert found["finite"]
    assert not found["logits_are_probabilities"]


@EVERY_BACKEND
@EVERY_MODEL
def test_model_learns(name: str, backend: str) -> None:
    """Of twenty steps on 32 images, the last one starts from a lower loss than the first."""
    first, last = conformance(backend, name)["loss"]

    assert last < first


@EVERY_BACKEND
@EVERY_MODEL
def test_same_seed_gives_the_same_weights(name: str, backend: str) -> None:
    """Python's generator alone decides the initial weights, as the worker relies on."""
    assert conformance(backend, name)["same_seed_same_weights"]


@EVERY_MODEL
def test_compilation_is_what_keras_resolves(name: str) -> None:
    """By `jit_compile="auto"` JAX compiles by XLA, and TensorFlow on a CPU does not."""
    assert conformance("jax", name)["jit_compile"] is True
    assert conformance("tensorflow", name)["jit_compile"] is False


def test_racers_are_apart() -> None:
    """A racer states the tier it was made for; a target has those of the lowest tier above it."""
    assert not set(models.suite()) & set(models.racers())
    assert set(models.suite()) | set(models.racers()) == set(models.names())
    assert {models.card(name).tier for name in models.racers(0.915)} == {
        min(t for name in models.racers() if (t := models.card(name).tier or 0.0) >= 0.915)
    }


def test_smoothing_needs_one_hot_labels() -> None:
    """Sparse labels cannot be smoothed: such a recipe is refused."""
    recipe = models.card("dense3").recipe.model_dump() | {"label_smoothing": 0.1}

    with pytest.raises(ValueError, match="label smoothing needs the loss"):
        models.Recipe(**recipe)


def test_dense_wide_is_as_large_as_lenet_dropout() -> None:
    """Dense and conv meet at equal size: within a tenth of a per cent."""
    dense, conv = (models.card(n).parameters for n in ("dense_wide", "lenet_dropout"))

    assert dense == pytest.approx(conv, rel=1e-3)


def test_file_that_states_nonsense_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model file without a recipe, or with one that is no literal, is an error with its path."""
    monkeypatch.setattr(models, "FOLDER", tmp_path)
    (tmp_path / "broken.py").write_text('"""A model."""\nFAMILY = "dense"\nPARAMETERS = count()\n')

    with pytest.raises(ValueError, match=r"broken\.py"):
        models.card("broken")


@EVERY_BACKEND
@pytest.mark.parametrize(
    ("name", "forward", "flop"),
    [
        # Positions * kernel * channels in * channels out; inputs * outputs.
        (
            "conv_8_24_48",
            [
                *(26**2 * 9 * 8, 24**2 * 9 * 8 * 24, 22**2 * 9 * 24 * 48),
                *(22**2 * 48 * 100, 100 * 10),
            ],
            2 * (2 * 48_672 + 3 * (995_328 + 5_018_112 + 2_323_200 + 1_000)),
        ),
        (
            "lenet_dropout",
            [26**2 * 9 * 32, 11**2 * 9 * 32 * 64, 5**2 * 64 * 128, 128 * 10],
            2 * (2 * 194_688 + 3 * (2_230_272 + 204_800 + 1_280)),
        ),
        (
            "dense3",
            [784 * 128, 128 * 64, 64 * 10],
            2 * (2 * 100_352 + 3 * (8_192 + 640)),
        ),
    ],
)
def test_multiply_accumulates_by_hand(
    backend: str, name: str, forward: list[int], flop: int
) -> None:
    """Forward, and three passes of each layer in training, but two of the first."""
    found = conformance(backend, name)

    assert found["forward_macs"] == forward
    assert found["train_flop_per_image"] == flop
