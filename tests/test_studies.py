"""Studies: which models they train, and what their tables and pictures make of the records."""

import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from samples import learned

from fmnist import blueprint, grid, models
from fmnist.cli import main
from fmnist.record import Record, read
from fmnist.report import studies, tables
from fmnist.report.headline import headline
from fmnist.report.pictures import plots
from fmnist.report.render import NOTHING, Table, render
from fmnist.session import plan
from fmnist.studies import Entrant, ablation, parameters, tuning

START = datetime(2026, 11, 21, tzinfo=UTC)
EVERY = (*ablation.ladder(), *parameters.entrants(), *tuning.entrants(10**6, 0))
IMAGES = 100


def of_entrants(
    entrants: Sequence[Entrant],
    study: str,
    accuracies: Sequence[Sequence[float]],
    **own: Any,  # noqa: ANN401  # any field of a record
) -> list[Record]:
    """Return the records of a study: for each entrant, an accuracy of each seed."""
    made = []
    for place, (entrant, of_entrant) in enumerate(zip(entrants, accuracies, strict=True)):
        card = models.card(entrant.model)
        total = card.parameters
        for seed, accuracy in enumerate(of_entrant):
            wrong = IMAGES - round(accuracy * IMAGES)
            terms = {
                "study": study,
                "model": entrant.model,
                "family": card.family,
                "parameters": dict.fromkeys(("total", "trainable", "dense"), total)
                | {"conv": 0, "other": 0},
                "recipe": entrant.recipe.model_dump(exclude={"batch_size", "validation_share"}),
                "batch_size": entrant.recipe.batch_size,
                "seed": seed,
                "process": seed,
                "started_at": START + timedelta(seconds=place),
                "validation_accuracy": accuracy - 0.01,
            }
            made.append(learned([0] * IMAGES, [1] * wrong + [0] * (IMAGES - wrong), **terms | own))
    return made


def rows(table: Table | None) -> list[dict[str, str]]:
    """Return a table's rows by the titles of its columns."""
    assert table is not None
    return [dict(zip(table.header, row, strict=True)) for row in table.rows]


def ladder_records(**own: Any) -> list[Record]:  # noqa: ANN401  # any field of a record
    """Return an ablation whose every rung is two points above the one before, but for the seeds."""
    accuracies = [(0.60 + 0.02 * rung, 0.62 + 0.02 * rung) for rung in range(10)]
    return of_entrants(ablation.ladder(), ablation.NAME, accuracies, **own)


@pytest.mark.parametrize("preset", grid.PRESETS)
def test_every_entrant_can_be_run(preset: str) -> None:
    """Every model of every study is a blueprint, and its batch size divides all sets."""
    for entrant in EVERY:
        assert blueprint.parse(entrant.model).name == entrant.model
        sizes = plan.set_sizes(entrant.recipe, grid.PRESETS[preset].by_recipe())
        grid.check_batch_size(entrant.recipe.batch_size, sizes)


def test_ladder_changes_one_thing_at_a_time() -> None:
    """From rung to rung either the model changes or the recipe, and every change is said."""
    rungs = ablation.ladder()

    assert [rung.name for rung in rungs[:3]] == ["softmax regression", "dense", "conv"]
    for before, rung in pairwise(rungs):
        assert (before.model != rung.model) != (before.recipe != rung.recipe)
        assert rung.change
    assert {rung.recipe.epochs for rung in ablation.ladder(4)} == {4}


@pytest.mark.parametrize("budget", parameters.BUDGETS)
@pytest.mark.parametrize("family", ["dense", "conv"])
def test_budgets_are_met(family: str, budget: int) -> None:
    """Each family has a model within two per cent of each budget, and it is of that family."""
    card = models.card(parameters.nearest(family, budget))

    assert card.family == family
    assert card.parameters == pytest.approx(budget, rel=0.02)


def test_no_budget_too_small_is_met() -> None:
    """A budget that no width meets is an error, not the model nearest to it."""
    with pytest.raises(ValueError, match="no dense model within 2% of 1,700 parameters"):
        parameters.nearest("dense", 1_700)


def test_trials_are_drawn_once_each() -> None:
    """The same seed draws the same trials, another one others; none twice; a grid at most."""
    drawn = tuning.entrants(20, 1)

    assert drawn == tuning.entrants(20, 1)
    assert drawn != tuning.entrants(20, 2)
    points = {(entrant.model, entrant.recipe.model_dump_json()) for entrant in drawn}
    assert len(points) == len(drawn) == 20
    assert len(tuning.entrants(10**6, 0)) == 3**5


def test_ladder_is_tabulated_seed_by_seed() -> None:
    """Each rung has its means over seeds, and what it gained on the rung before, with intervals."""
    found = rows(studies.ladder(ladder_records()))

    assert [row["rung"] for row in found] == [rung.name for rung in ablation.ladder()]
    assert found[0]["test, to the rung before [points]"] == NOTHING
    assert found[1]["test, to the rung before [points]"].startswith("+2.00 [+2.00, +2.00]")
    assert found[1]["test [%]"].startswith("63.00 [50.29, 75.71]")
    assert found[1]["validation [%]"].startswith("62.00 [")
    assert found[9]["n"] == "2"
    # Trained 95 %, validated 78 % in the last epoch.
    assert found[0]["gap [points]"].startswith("+17.00")


def test_rungs_of_one_model_are_told_apart() -> None:
    """Callbacks change the recipe of one model: its records stand in rungs of their own."""
    found = studies.arms(ladder_records(), ablation.NAME)
    (of_place,) = found.values()

    assert [arm.first.model for arm in of_place[6:]] == [ablation.NORMED] * 4
    assert [len(arm.records) for arm in of_place] == [2] * 10


def test_backends_have_a_ladder_each() -> None:
    """A rung is held against the one before it on the same backend."""
    found = rows(studies.ladder([*ladder_records(), *ladder_records(backend="jax")]))

    assert [row["backend"] for row in found] == ["tensorflow"] * 10 + ["jax"] * 10
    assert found[10]["test, to the rung before [points]"] == NOTHING


def test_conv_is_held_against_dense_of_its_budget() -> None:
    """Each conv model has its gain on the dense one of the same budget, which has none."""
    accuracies = [(0.70, 0.70), (0.75, 0.77)] * 4
    found = rows(studies.frontier(of_entrants(parameters.entrants(), parameters.NAME, accuracies)))

    assert [row["budget"] for row in found[::2]] == ["10,000", "50,000", "225,000", "1,000,000"]
    assert [row["family"] for row in found] == ["dense", "conv"] * 4
    gains = [row["test, conv above dense [points]"] for row in found]
    assert gains[0] == NOTHING
    assert gains[1].startswith("+6.00 [")


def test_tuning_chooses_by_validation() -> None:
    """The best validation accuracy is first, though another's test accuracy is higher: unseen."""
    trials = tuning.entrants(3, 0)
    records = [
        *of_entrants(trials[:1], tuning.NAME, [(0.80,)], validation_accuracy=0.70),
        *of_entrants(trials[1:2], tuning.NAME, [(0.60,)], validation_accuracy=0.75),
        *of_entrants(trials[2:], tuning.NAME, [(0.90,)], validation_accuracy=0.65),
    ]
    found = rows(studies.tuned(records))

    assert [row["validation [%]"] for row in found] == ["75.00", "70.00", "65.00"]
    assert [row["test of the chosen [%]"] for row in found] == ["60.00", NOTHING, NOTHING]
    # Nor is it shown anywhere else.
    shown = "".join(render(table, "text") for table in tables.of_session(records))
    assert "80.00" not in shown
    assert "90.00" not in shown
    assert not plots.of_session(records)


def test_studies_are_among_the_tables_and_pictures() -> None:
    """A session of a study shows its table and picture, and one of none has neither."""
    records = [*ladder_records(), *ladder_records(backend="jax")]

    assert "Ablation: what each idea buys" in [t.title for t in tables.of_session(records)]
    (drawn,) = [p for p in plots.of_session(records) if p.name == "ablation"]
    assert "batch normalisation on JAX 73.00" in drawn.alternative
    assert "<svg" in plots.svg(drawn)
    assert not studies.tables([learned()])


def test_ladder_is_drawn_of_one_device_and_mode() -> None:
    """Rungs that were trained in two modes are drawn of the first one, and the picture says so.

    An accuracy of one seed has no interval: it is drawn as its value alone.
    """
    rungs = ablation.ladder()[:2]
    records = [
        record
        for mode in ("stock", "tuned")
        for record in of_entrants(rungs, ablation.NAME, [(0.70,), (0.80,)], mode=mode)
    ]
    (drawn,) = [p for p in plots.of_session(records) if p.name == "ablation"]
    marks = [row for data in drawn.spec["datasets"].values() for row in data]

    assert [(m["low"], m["accuracy"], m["high"]) for m in marks] == [(70, 70, 70), (80, 80, 80)]
    assert "Shown: cpu, stock, float32; the table has the others." in str(drawn.spec["title"])


def test_study_is_told_as_one() -> None:
    """Its trainings have no table, picture or sentence of each model beside those of the study."""
    records = [*ladder_records(), *ladder_records(backend="jax")]
    alone = learned()

    assert [t.title for t in tables.of_session(records)] == ["Ablation: what each idea buys"]
    assert [p.name for p in plots.of_session(records)] == ["ablation"]
    assert headline(records)[1:] == studies.sentences(records)[1:]
    both = {t.title for t in tables.of_session([*records, alone])}
    assert both > {"Ablation: what each idea buys", "What whole trainings learned"}
    (told,) = [s for s in headline([*records, alone]) if s.startswith("dense3 after")]
    assert "(n=1)" in told


def test_ladder_is_told_with_the_steps_that_are_sure() -> None:
    """A step is named where its interval excludes no step, up or down, and no other."""
    rungs = ablation.ladder()[:4]
    accuracies = [(0.70, 0.71, 0.72), (0.80, 0.81, 0.82), (0.79, 0.82, 0.83), (0.69, 0.72, 0.73)]
    where, told = studies.sentences(of_entrants(rungs, ablation.NAME, accuracies))

    assert "study ablation, 12 trainings of at most 10 epochs" in where
    assert told == (
        "Ablation on TensorFlow, in %: softmax regression 71.00, dense 81.00, conv 81.33, pooling "
        "71.33 (n=3). Steps whose 95 % interval excludes 0: by dense +10.00 [+10.00, +10.00], "
        "pooling -10.00 [-10.00, -10.00] points."
    )


def test_frontier_is_told_budget_by_budget() -> None:
    """Conv above dense is a difference at each budget; without a rival there is none to tell."""
    pairs = parameters.entrants()[:4]
    records = of_entrants(pairs, parameters.NAME, [(0.70,), (0.75,), (0.76,), (0.75,)])
    alone = of_entrants(pairs[1:2], parameters.NAME, [(0.75,)])

    assert studies.sentences(records)[1] == (
        "Conv above dense at equal parameters on TensorFlow, in points: +5.00 at 10,000, -1.00 at "
        "50,000 (n=1)."
    )
    assert "in points: not trained side by side (n=1)" in studies.sentences(alone)[1]


def test_search_is_told_by_what_it_chose() -> None:
    """The sentence has the chosen point, chosen by validation, and its accuracy on the test set."""
    records = of_entrants(tuning.entrants(3, 0), tuning.NAME, [(0.60,), (0.80,), (0.70,)])
    chosen = records[1]
    _, told = studies.sentences(records)

    assert told.startswith(f"Tuning on TensorFlow: of 3 tried, {chosen.model[:39]}")
    assert f"a rate of {chosen.recipe.learning_rate:g} and batches of {chosen.batch_size}" in told
    assert told.endswith("validation accuracy of 79.00 %; on the test set it reaches 80.00 %.")


def test_frontier_is_drawn() -> None:
    """The picture has a mark for each model and backend, at its parameters and accuracy."""
    accuracies = [(0.70, 0.72), (0.75, 0.77)] * 4
    entrants = parameters.entrants()
    records = [
        *of_entrants(entrants, parameters.NAME, accuracies),
        *of_entrants(entrants, parameters.NAME, accuracies, backend="jax"),
    ]
    (drawn,) = [p for p in plots.of_session(records) if p.name == "frontier"]
    marks = [row for data in drawn.spec["datasets"].values() for row in data]

    assert {(m["parameters"], m["accuracy"], m["backend"]) for m in marks} >= {
        (9_862, 71.0, "TensorFlow"),
        (1_000_135, 76.0, "JAX"),
    }
    assert "<svg" in plots.svg(drawn)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["everything"], "'everything' is not one of 'ablation', 'parameters', 'tuning'"),
        (["ablation", "--trials", "3"], "--trials is for the study tuning"),
        (["tuning", "--trials", "0"], "--trials must be at least 1, got 0"),
        (["ablation", "--epochs", "1"], "1 is not in the range x>=2"),
        (["ablation", "--seeds", "0"], "--seeds must be at least 1, got 0"),
        (["ablation", "--preset", "huge"], "unknown preset 'huge'"),
    ],
)
def test_bad_input_is_refused(arguments: Sequence[str], said: str, tmp_path: Path) -> None:
    """A study, budget or option that makes no sense ends with status 2, and writes nothing."""
    result = CliRunner().invoke(
        main, ["study", *arguments, "--data-dir", "stand-in", "--results", str(tmp_path)]
    )

    assert result.exit_code == 2
    assert said in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_study_trains_tabulates_and_goes_on(tmp_path: Path) -> None:
    """A search trains its trials for real; resumed, it trains nothing twice, nor another plan."""
    common = ["--preset", "smoke", "--backends", "jax", "--data-dir", "stand-in"]
    arguments = [*common, "--results", str(tmp_path), "--epochs", "2"]
    ran = CliRunner().invoke(main, ["study", "tuning", "--trials", "2", *arguments])

    assert ran.exit_code == 0, ran.output
    assert "Tuning: what was tried, and what is chosen" in ran.output
    (path,) = (tmp_path / "raw").iterdir()
    records, damaged = read(path)
    assert (len(records), damaged) == (2, [])
    resumed = ["--resume", str(path), "--epochs", "2"]
    again = CliRunner().invoke(main, ["study", "tuning", "--trials", "2", *resumed])
    assert again.exit_code == 0, again.output
    assert read(path)[0] == records
    for other in (["tuning", "--trials", "3"], ["ablation"]):
        # In processes of their own: one that fails holds the session until it ends.
        refused = subprocess.run(
            [sys.executable, "-m", "fmnist", "study", *other, *resumed],
            capture_output=True,
            text=True,
            check=False,
        )
        assert refused.returncode == 2
        assert "--resume: the session began as another study" in refused.stderr
