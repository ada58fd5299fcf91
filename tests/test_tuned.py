"""Tuned layers and loops compute what Keras's own compute, on both backends."""

import math
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from on_backend import answer

from fmnist import grid, models

SCRIPT = Path(__file__).with_name("tuned_proof.py")
EVERY_BACKEND = pytest.mark.parametrize("backend", grid.BACKENDS)
pytestmark = pytest.mark.slow


@cache
def proof(backend: str) -> dict[str, Any]:
    """Return what the script found on a backend, in a process of its own."""
    return answer(SCRIPT, backend)


@EVERY_BACKEND
@pytest.mark.parametrize("made_for", grid.BACKENDS)
@pytest.mark.parametrize("name", models.names())
def test_drop_in_layers_change_nothing(name: str, made_for: str, backend: str) -> None:
    """On real images every model's outputs are within 1e-5 of stock, its gradients within 1e-4."""
    found = proof(backend)["layers"][made_for][name]

    assert found["forward"] <= 1e-5
    assert found["gradient"] <= 1e-4
    assert found.get("weights", True)


@pytest.mark.parametrize(
    ("name", "put"),
    [
        ("lenet_dropout", "conv2d, max_pooling2d, dropout, " * 2 + "dropout"),
        ("leaky_cnn", ", ".join(["conv2d, leaky_re_lu, max_pooling2d"] * 3)),
        ("conv_8_24_48", "nothing: no layer is covered"),
        ("deep_batchnorm", "dropout, dropout, dropout"),
        ("racer_92", "nothing: no layer is covered"),
    ],
)
def test_pooling_comes_first_where_a_convolution_is_pooled(name: str, put: str) -> None:
    """On TensorFlow bias and activation move behind it, those in a layer of their own too.

    Dropout is replaced wherever it is.
    """
    found = proof("tensorflow")["layers"]["tensorflow"][name]["put"]

    assert re.sub(r"(?<=2d|lu|ut)_\d+", "", found) == put


@EVERY_BACKEND
def test_only_what_keeps_order_moves_behind_the_pooling(backend: str) -> None:
    """One activation or none, cut above or not; two, another, or a bias held small stay put."""
    rows = proof(backend)["rows"]

    assert [row["row"] for row in rows if row["moved"]] == [
        *("relu inside", "bias alone", "leaky, no bias", "cut above")
    ]
    assert [row for row in rows if max(row["forward"], row["gradient"]) > 1e-5] == []


@EVERY_BACKEND
def test_pooling_chooses_as_keras_does_among_equals(backend: str) -> None:
    """Sizes, paddings and borders: values are equal, and the gradient goes to the same pixel."""
    pools = proof(backend)["pools"]

    assert [pool for pool in pools if pool["put"].startswith("nothing")] == []
    assert [pool for pool in pools if max(pool["forward"], pool["gradient"]) > 1e-6] == []


@EVERY_BACKEND
def test_winners_are_kept_behind_a_bare_convolution_alone(backend: str) -> None:
    """Right behind it pooling keeps which pixel has won; behind another layer it compares again."""
    for pool in proof(backend)["pools"]:
        kept = "WinnersMaxPooling2D" in pool["kinds"]
        assert kept == pool["bare"], pool


@EVERY_BACKEND
def test_one_channel_is_convolved_as_keras_does(backend: str) -> None:
    """Sizes and paddings: outputs and the gradient by the images are those of Keras's own."""
    for found in proof(backend)["convolutions"]:
        assert "OneChannelConv2D" in found["kinds"], found
        assert found["forward"] <= 1e-5
        assert found["gradient"] <= 1e-5


@EVERY_BACKEND
def test_fixed_layers_are_computed_anew_in_each_fit(backend: str) -> None:
    """Once for all epochs, with the filters of now: other ones in between, and the loss follows."""
    first, second = proof(backend)["fixed"]["losses"]

    for losses in (first, second):
        assert losses[:2] == pytest.approx([losses[2]] * 2, rel=1e-4)
    assert second[0] != pytest.approx(first[0], rel=1e-2)


@EVERY_BACKEND
def test_only_untrained_first_layers_are_fixed(backend: str) -> None:
    """Not filters that are trained, and none behind a random shift."""
    assert proof(backend)["fixed"]["fixed"] == ["racer_9167", "racer_92"]


def test_dropout_drops_by_its_rate() -> None:
    """By 8, 16 and 32 bits: the share, independently of the neighbour and of the last time."""
    for found in proof("tensorflow")["dropout"]:
        rate = found["rate"]
        for share, expected in (
            (found["dropped"], rate),
            (found["dropped_twice"], rate**2),
            (found["neighbours"], rate**2),
        ):
            assert share == pytest.approx(expected, abs=5 * math.sqrt(expected / found["n"]))
        assert found["others"] < 1e-6
        assert found["gradient_goes_there"]
        assert found["at_test_time"]


def test_dropout_of_another_kind_stays_keras_own() -> None:
    """Whole rows that are dropped together, nothing, or everything."""
    assert proof("tensorflow")["untouched_dropout"] == ["nothing: no layer is covered"] * 3


@EVERY_BACKEND
def test_peaks_of_two_operations_are_measured_at_once(backend: str) -> None:
    """Two products wait for each other and both are done: they run at the same time."""
    assert min(proof(backend)["peaks"]) > 0


@EVERY_BACKEND
def test_loop_predicts_as_keras_does(backend: str) -> None:
    """By halves or not, batches of any size, one of a single image too: the same logits."""
    assert proof(backend)["predicted"] < 1e-5


@EVERY_BACKEND
@pytest.mark.parametrize("name", ["dense3", "lenet_dropout", "racer_92"])
def test_tuned_steps_lose_what_stock_steps_lose(name: str, backend: str) -> None:
    """From the same weights on the same batches, halved or not, losses and gradients agree."""
    found = proof(backend)["loops"][name]

    assert found["losses"] < 1e-4
    assert found["gradient"] < 1e-4


def test_update_in_two_calls_is_keras_own() -> None:
    """By a decaying rate weights end alike; what looks at all of them at once stays one call."""
    found = proof("tensorflow")["updates"]

    expected = [True, True, False, True, *[False] * 6]
    assert [each["apart"] for each in found] == [[False, apart] for apart in expected]
    assert max(each["weights"] for each in found) < 1e-5
    assert [each["steps"] for each in found] == [*[4] * 9, 2]  # the last took two steps at a time


@EVERY_BACKEND
@pytest.mark.parametrize("name", ["dense3", "leaky_cnn"])
def test_last_batch_is_trained_on(name: str, backend: str) -> None:
    """100 images in batches of 32: four steps an epoch, and logs that weigh every image alike."""
    found = proof(backend)["rest"][name]

    assert (found["steps"], found["epochs"]) == (8, [0, 1])
    assert found["logs"].keys() == found["evaluated"].keys()
    for log, value in found["evaluated"].items():
        assert found["logs"][log] == pytest.approx(value, rel=1e-4)


@EVERY_BACKEND
def test_what_is_not_covered_stays_as_keras_has_it(backend: str) -> None:
    """Strides and overlapping windows keep Keras's layers, an unknown optimizer its update."""
    found = proof(backend)["unknown"]

    assert (found["same"], found["put"]) == (True, "nothing: no layer is covered")
    assert (found["update"], found["halves"]) == (False, False)
    assert found["losses"][-1] < found["losses"][0]


@EVERY_BACKEND
def test_callback_that_wants_batches_is_refused(backend: str) -> None:
    """It is named, and told where it can be used."""
    assert proof(backend)["unknown"]["refused"] == (
        "Hooked.on_train_batch_end: a tuned loop does not stop at batches; run this callback in "
        "mode stock"
    )
    assert "LambdaCallback.on_train" in proof(backend)["unknown"]["refused_on_the_instance"]
