"""Callbacks of a recipe, in stock `fit` and in the tuned loops, with figures put into the logs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from on_backend import answer
from test_launch import Recorder

from fmnist import grid, models
from fmnist.session import learn
from fmnist.session.plan import Plan

SCRIPT = Path(__file__).with_name("watched.py")
RECIPE = models.card("logits").recipe.model_dump()
pytestmark = pytest.mark.slow
LOOPS = pytest.mark.parametrize("loop", ["stock", "tuned"])


@pytest.fixture(scope="module", params=grid.BACKENDS)
def told(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What trainings of six epochs do on one backend: the loss is lowest after the second one."""
    return answer(SCRIPT, request.param)


@LOOPS
def test_nothing_is_watched_by_default(told: dict[str, Any], loop: str) -> None:
    """Without such a field all epochs are trained, at one rate, and the last weights stay."""
    found = told["found"][loop]["none"]

    assert found["epochs"] == 6
    assert set(found["rates"]) == {0.125}
    assert found["final_is_epoch"] == [6]
    assert min(found["steps"]) > 0


@LOOPS
def test_stops_early_with_the_best_weights(told: dict[str, Any], loop: str) -> None:
    """Two epochs without a lower validation loss end it, with the weights of the lowest one."""
    found = told["found"][loop]["stop"]

    assert found["epochs"] == 4
    assert found["final_is_epoch"] == [2]


@LOOPS
def test_rate_is_halved(told: dict[str, Any], loop: str) -> None:
    """After every two epochs without a lower validation loss the next one has half the rate."""
    assert told["found"][loop]["halve"]["rates"] == [0.125] * 4 + [0.0625] * 2


@LOOPS
def test_loop_trains_by_the_rate_as_it_is(told: dict[str, Any], loop: str) -> None:
    """A rate that is set to zero between epochs moves no weight in those after."""
    steps = told["found"][loop]["frozen"]["steps"]

    assert min(steps[:2]) > 0
    assert steps[2:] == [0, 0, 0]


@LOOPS
def test_best_weights_are_put_back(told: dict[str, Any], loop: str) -> None:
    """All epochs are trained, and the weights are those of the first best validation accuracy."""
    found = told["found"][loop]["best"]

    assert found["epochs"] == 6
    assert found["final_is_epoch"] == [4]


@LOOPS
def test_best_accuracy_comes_before_lowest_loss(told: dict[str, Any], loop: str) -> None:
    """Stopped by the loss, with the best kept: the weights are those of the best accuracy."""
    found = told["found"][loop]["both"]

    assert found["epochs"] == 5
    assert found["final_is_epoch"] == [4]


def test_no_checkpoint_is_left(told: dict[str, Any]) -> None:
    """The folders of the checkpoints are gone when training has ended."""
    assert told["left"] == []


@pytest.mark.parametrize("mode", ["stock", "tuned"])
@pytest.mark.parametrize("backend", grid.BACKENDS)
def test_worker_trains_by_them(make_plan: Callable[..., Plan], backend: str, mode: str) -> None:
    """A training ends early, and what is evaluated at the end are the best weights, not the last.

    Dropout of 90 % keeps the last epoch from being the best one for long.
    """
    plan = make_plan(models="drop90-dense9", backends=backend, modes=mode, data_dir="stand-in")
    recipe = models.Recipe(
        **RECIPE | {"epochs": 40, "learning_rate": 0.05, "stop_after": 1, "keep_best": True}
    )
    trainings = learn.trainings(plan, [(plan.cells[0], recipe)], 1, "ablation")
    (record,) = learn.run_learning(plan, trainings, Recorder())

    assert record.failure is None
    assert len(record.history) < 40
    reached = [epoch.validation_accuracy or 0.0 for epoch in record.history]
    assert record.validation_accuracy == max(reached)
    at_best = {e.test_accuracy for e in record.history if e.validation_accuracy == max(reached)}
    assert record.accuracy in at_best


@pytest.mark.parametrize("own", [{"stop_after": 2}, {"halve_after": 2}, {"keep_best": True}])
def test_what_watches_needs_a_validation_set(own: dict[str, Any]) -> None:
    """A recipe that watches nothing is refused, not trained as if it had asked for nothing."""
    with pytest.raises(ValueError, match="need a validation_share"):
        models.Recipe(**RECIPE | {"validation_share": 0.0} | own)


def test_schedule_cannot_be_halved() -> None:
    """Keras could not set a rate that a schedule decides: such a recipe is refused."""
    with pytest.raises(ValueError, match="follows a schedule cannot be halved"):
        models.Recipe(**RECIPE | {"rise_share": 0.3, "halve_after": 1})
