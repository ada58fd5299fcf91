"""What is learned: which trainings, in which order, and what their records hold."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from test_launch import Recorder, fake

from fmnist import models
from fmnist.cli import main
from fmnist.grid import UnknownNameError
from fmnist.options import PlanError
from fmnist.record import Predictions, Record, read
from fmnist.session import learn
from fmnist.session.plan import Plan
from fmnist.studies import claims

MakePlan = Callable[..., Plan]


@pytest.fixture
def plan(make_plan: MakePlan) -> Plan:
    """Two models on both backends."""
    return make_plan(models="dense3,leaky_cnn")


def planned(plan: Plan, seeds: int = 2) -> list[learn.Training]:
    """Return trainings by the models' own recipes."""
    return learn.trainings(plan, learn.by_own_recipe(plan), seeds, "reproduce")


def run(
    plan: Plan, trace: Path, *behaviours: str, observer: Recorder | None = None
) -> list[Record]:
    """Run the trainings with fake workers."""
    program = fake(trace, *behaviours)
    return list(learn.run_learning(plan, planned(plan), observer or Recorder(), program))


def test_seed_after_seed(plan: Plan) -> None:
    """All cells are trained with a seed before any is with the next, each in its own process."""
    found = planned(plan)

    assert [t.seed for t in found] == [0] * 4 + [1] * 4
    assert len({(t.cell, t.process) for t in found}) == len(found)
    with pytest.raises(PlanError, match="--seeds must be at least 1"):
        planned(plan, 0)


def test_job_is_by_the_recipe(plan: Plan) -> None:
    """Epochs, batch size, split and loss are the recipe's, whatever the preset's."""
    for training in planned(plan, 1):
        job, recipe = training.job(plan), models.card(training.cell.model).recipe

        assert (job.epochs, job.recipe, job.batch_size) == (
            recipe.epochs,
            recipe,
            recipe.batch_size,
        )
        assert job.validation_images == round(500 * recipe.validation_share)


def test_record_holds_history_and_predictions(plan: Plan, tmp_path: Path) -> None:
    """Every epoch is in the history; accuracy is that of the predictions; the seed is its own."""
    records = run(plan, tmp_path / "trace")

    assert [r.failure for r in records] == [None] * 8
    assert {r.seed for r in records} == {0, 1}
    assert {r.study for r in records} == {"reproduce"}
    for r in records:
        assert r.predictions is not None
        assert len(r.history) == r.recipe.epochs
        assert r.accuracy == np.mean(r.predictions.true() == r.predictions.given())


def test_training_that_ends_early_is_whole(plan: Plan, tmp_path: Path) -> None:
    """Where a callback ends the training, no other epoch is asked for, and the record is whole."""
    records = run(plan, tmp_path / "trace", "jax=ends-3")

    assert [r.failure for r in records] == [None] * 8
    assert {len(r.history) for r in records if r.backend == "jax"} == {3}
    assert min(len(r.history) for r in records if r.backend == "tensorflow") > 3


def test_what_was_learned_is_not_learned_again(make_plan: MakePlan, tmp_path: Path) -> None:
    """Resumed, a session runs what failed or is missing, and nothing else; it tells of the rest."""
    first = make_plan(models="dense3", results=str(tmp_path / "results"))
    before = run(first, tmp_path / "trace", "jax=kill")
    resumed = make_plan(models="dense3", resume=str(first.records_path))
    observer = Recorder()
    again = run(resumed, tmp_path / "again", observer=observer)

    assert [r.failure is None for r in before] == [r.backend == "tensorflow" for r in before]
    assert [r.failure for r in again] == [None] * 4
    assert {line.split()[0] for line in (tmp_path / "again").read_text().splitlines()} == {"jax"}
    assert observer.found_ids == [r.cell.id for r in before if r.backend == "tensorflow"]
    assert observer.steps_before_found == 0
    assert observer.ended_ids == [r.cell.id for r in before if r.backend == "jax"]


def test_predictions_are_those_of_the_logits() -> None:
    """The class of the highest logit, and its probability by softmax, to a 255th."""
    logits = np.zeros((3, 10), np.float32)
    logits[0, 7], logits[1, 2] = 100.0, np.log(9)
    found = Predictions.of(np.array([7, 1, 0]), logits)

    assert found.true().tolist() == [7, 1, 0]
    assert found.given().tolist() == [7, 2, 0]
    assert found.confidence() == pytest.approx([1.0, 0.5, 0.1], abs=1 / 255)


def test_recipe_can_be_cut(plan: Plan, tmp_path: Path) -> None:
    """Of a recipe's epochs only as many are trained; the record keeps how many it asks for."""
    cut = learn.trainings(plan, learn.by_own_recipe(plan), 1, "reproduce", most_epochs=4)
    records = list(learn.run_learning(plan, cut, Recorder(), fake(tmp_path / "trace")))

    assert {len(r.history) for r in records} == {4}
    assert {r.recipe.epochs for r in records} == {10, 20}


@pytest.mark.parametrize("key", claims.PROJECTS)
def test_every_project_has_models_and_claims(key: str) -> None:
    """Each of the five has a model of its own, and a claim that is looked at."""
    own = claims.models_of(key)
    about = {c.better if isinstance(c, claims.Order) else c.model for c in claims.CLAIMS}

    assert any(claims.project_of(name) == key for name in own)
    assert about & set(own)


def test_unknown_project_is_refused() -> None:
    """A key that is none of the five is an error with the list of them, before anything starts."""
    with pytest.raises(UnknownNameError, match="imagerecognition, uta"):
        claims.models_of("mnist")
    result = CliRunner().invoke(main, ["reproduce", "mnist"])

    assert result.exit_code == 2
    assert "unknown project 'mnist'" in result.output


@pytest.mark.slow
def test_models_are_trained_saved_and_set_beside_the_claims(tmp_path: Path) -> None:
    """`fmnist reproduce` trains on both backends, saves each model, and prints the claims."""
    result = CliRunner().invoke(
        main,
        [
            *("reproduce", "dense_then_conv", "--preset", "smoke", "--seeds", "1"),
            *("--data-dir", "stand-in", "--results", str(tmp_path)),
        ],
    )
    assert result.exit_code == 0, result.output
    (path,) = (tmp_path / "raw").glob("*.jsonl")
    records, _ = read(path)
    saved = sorted((tmp_path / "models" / path.stem).glob("*"))

    assert len(records) == 4
    assert [p.name for p in saved] == sorted(f"{r.cell.id}-{r.process}.keras" for r in records)
    assert "test accuracy against dense3" in result.output
    assert "a sample: none" in result.output
    assert json.loads(path.read_text().splitlines()[0])["predictions"]["labels"]
