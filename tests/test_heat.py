"""What the race is made of, on both backends: racers' layers, recipe, and one whole training."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from on_backend import answer

from fmnist import data, grid
from fmnist.models import racers

SCRIPT = Path(__file__).with_name("racing.py")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=grid.BACKENDS)
def found(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What the script found out, on one backend."""
    return answer(SCRIPT, request.param)


def test_bias_and_relu_may_come_after_the_pooling(found: dict[str, Any]) -> None:
    """A convolution's bias and ReLU give the same numbers before and after a max pooling."""
    assert found["bias_after_pool"] < 1e-6


def test_a_batch_is_shifted_as_a_whole_in_training_only(found: dict[str, Any]) -> None:
    """All nine offsets of a pixel come up, one for the batch; what is shifted in is 0."""
    offsets = [[[y, x]] * 2 for y in (-1, 0, 1) for x in (-1, 0, 1)]

    assert found["shifts"]["offsets"] == offsets
    assert found["shifts"]["at_test_time"]
    assert found["shifts"]["at_the_border"] in (0.0, 1.0)


def test_images_are_mirrored_one_by_one_in_training_only(found: dict[str, Any]) -> None:
    """About half of a batch is mirrored, the other half and test images stay as they are."""
    assert 160 < found["mirrored"]["turned"] < 240
    assert found["mirrored"]["others"]
    assert found["mirrored"]["at_test_time"]


def test_filters_become_principal_components(found: dict[str, Any]) -> None:
    """Filters are orthogonal, in pairs of opposite sign, of norm sqrt 2, the strongest first."""
    patches = found["patches"]

    assert patches["opposite"]
    assert patches["products"] < 1e-5
    assert max(patches["spread_along_stripes"]) < 1e-5
    assert patches["rest_kept"]


def test_a_warmed_up_model_goes_back_to_its_beginning(found: dict[str, Any]) -> None:
    """Training moves all but the fixed filters, random states too; the restorer puts all back."""
    assert (found["restored"]["kept"], found["restored"]["fixed"]) == (1, True)
    assert found["restored"]["same"]
    assert found["restored"]["n"] > 8


def test_recipe_is_compiled_in(found: dict[str, Any]) -> None:
    """The rate rises from a tenth to its peak and falls to 0; smoothing and beta_2 are there."""
    compiled = found["compiled"]

    assert compiled["rates"] == pytest.approx([0.1, 1.0, 0.5, 0.0, 0.0], abs=1e-6)
    assert compiled["first_rate"] == pytest.approx(0.1 * 0.005)
    assert compiled["beta_2"] == 0.99
    assert compiled["loss_of_being_sure"] == pytest.approx(0.1 * 0.9 * 100, rel=1e-3)


def test_racers_can_be_saved(found: dict[str, Any]) -> None:
    """A racer that was saved and loaded gives the same logits."""
    assert found["saved"] == 0.0


def test_a_training_is_whole(found: dict[str, Any]) -> None:
    """The cold epoch is undone: the optimizer has made the schedule's steps, and no others."""
    raced = found["raced"]

    assert len(raced["epoch_s"]) == len(raced["processor_s"]) == 2
    assert raced["steps"] == 2 * 160 // 80
    assert raced["race"]["fit_s"] > sum(raced["epoch_s"])
    assert raced["race"]["adapt_s"] > 0
    assert raced["first_epoch_s"] > max(raced["epoch_s"])


def test_test_images_are_seen_once_plain_and_once_in_each_view(found: dict[str, Any]) -> None:
    """One prediction for the plain accuracy, five for that of five views, all at the end."""
    assert found["raced"]["predicted"] == [100] * 6
    assert found["raced"]["race"]["views_s"] > 0


def test_rescaling_is_that_of_the_training_set(real_data: Path) -> None:
    """The mean and deviation that every racer rescales by are those of the training images."""
    images = data.load(data.locate(real_data)).train_images / 255
    stated = {
        (line.split("=")[1].split("#")[0]).strip()
        for name in racers()
        for line in (Path(grid.__file__).parent / "models" / f"{name}.py").read_text().splitlines()
        if line.startswith("MEAN, DEVIATION")
    }

    (numbers,) = stated
    assert [float(n) for n in numbers.split(",")] == pytest.approx(
        [np.mean(images), np.std(images)], abs=5e-6
    )
