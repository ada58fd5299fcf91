"""What whole trainings learned: tables, sentences and pictures agree with the records."""

import json
import math
import re
from collections.abc import Sequence
from typing import Any

import pytest
from samples import CONV, RESULT, failed, learned, pair

from fmnist.data import CLASS_NAMES
from fmnist.record import EpochResult, Record
from fmnist.report import classes, tables
from fmnist.report.choose import assembled
from fmnist.report.export import per_record
from fmnist.report.headline import headline
from fmnist.report.learned import (
    best_epoch,
    epoch_tables,
    overfitting,
    results,
    sentences,
)
from fmnist.report.learned import learned as trainings
from fmnist.report.page import page
from fmnist.report.pictures import learned_charts, plots
from fmnist.report.render import FORMATS, Table, render

VALIDATION = (0.4, 0.3, 0.3, 0.5)


def epochs(*validation_loss: float | None, shift: float = 0.0) -> list[dict[str, Any]]:
    """Return epochs whose training loss is 0.1 and whose test loss is 0.1 above validation.

    Validation accuracy is 1 less the loss, and 0.1 for a loss above 0.9.
    """
    made: list[dict[str, Any]] = []
    for loss in validation_loss:
        share = 1 - loss if loss is not None and loss < 0.9 else 0.1
        validation: dict[str, Any] = {"validation_loss": loss, "validation_accuracy": share}
        epoch: dict[str, Any] = RESULT | ({} if loss is None else validation)
        epoch |= {"train_loss": 0.1 + shift, "train_accuracy": 0.9}
        epoch |= {"test_loss": 0.6 if loss is None else loss + 0.1, "test_accuracy": share - 0.1}
        made.append(epoch)
    return made


def seeds(n: int = 3, **own: Any) -> list[Record]:  # noqa: ANN401  # any field of a record
    """Return trainings over seeds 0 to n - 1; each seed's training loss is 0.02 above the last."""
    made = []
    for seed in range(n):
        its_own: dict[str, Any] = {"seed": seed, "process": seed}
        its_own["history"] = epochs(*VALIDATION, shift=0.02 * seed)
        made.append(learned(**its_own | own))
    return made


def both(**own: Any) -> list[Record]:  # noqa: ANN401  # any field of a record
    """Return trainings of a model on both backends."""
    on_jax: dict[str, Any] = {"backend": "jax", "jit_compile": True}
    return [*seeds(**own), *seeds(**on_jax | own)]


def cell(table: Table | None, column: str, **wanted: str) -> str:
    """Return what a column shows in the one row with these values."""
    assert table is not None
    rows = [dict(zip(table.header, row, strict=True)) for row in table.rows]
    (found,) = (row for row in rows if all(row[name] == v for name, v in wanted.items()))
    return found[column]


@pytest.mark.parametrize(
    ("losses", "best"),
    [
        ((0.4, 0.3, 0.3, 0.5), 1),
        ((math.nan, 0.3, math.inf), 1),
        ((math.nan, math.nan), None),
        ((None, None), None),
        ((), None),
    ],
)
def test_best_epoch_is_the_first_of_the_lowest_validation_loss(
    losses: Sequence[float | None], best: int | None
) -> None:
    """Equal epochs: the first; a loss that is not finite is never best; no set, no best epoch."""
    history = [
        EpochResult(**RESULT, validation_loss=loss, validation_accuracy=0.5) for loss in losses
    ]

    assert best_epoch(history) == best


def test_test_set_chooses_no_epoch() -> None:
    """The lowest test loss moves nothing: best is by validation, in tables and in pictures."""
    history = epochs(0.3, 0.4)
    history[1]["test_loss"] = 0.01
    records = [learned(history=history, epoch_s=(1.0,))]

    assert cell(results(records), "best epoch") == "1"
    drawn = json.dumps(learned_charts.of_trainings(records)[0].spec)
    assert '"curve": "validation", "seed": 0, "epoch": 1' in drawn


def test_gap_and_its_growth_are_means_over_seeds() -> None:
    """At the best epoch 0.3 - 0.12 = 0.18, at the last 0.38, so 0.2 grew, the same in each seed."""
    table = overfitting(trainings(seeds()), "loss")

    assert cell(table, "gap to validation", at="best").startswith("0.180 [0.130, 0.230]")
    assert cell(table, "gap to validation", at="last").startswith("0.380 [0.330, 0.430]")
    assert cell(table, "gap to validation", at="growth") == "0.200 [0.200, 0.200]"
    assert cell(table, "epoch", at="best") == "2"
    assert cell(table, "n", at="last") == "3"


def test_gap_of_accuracies_is_in_points() -> None:
    """Training 90 % and validation 70 % are 20 points apart: above 0 where training is ahead."""
    table = overfitting(trainings(seeds()), "accuracy")

    assert cell(table, "gap to validation [points]", at="best") == "20.00 [20.00, 20.00]"
    assert cell(table, "gap to test [points]", at="growth") == "20.00 [20.00, 20.00]"


def test_without_validation_only_the_last_epoch_is_told() -> None:
    """No validation set: no best epoch and no gap to it; nothing is chosen by the test set."""
    records = seeds(history=epochs(None, None, None, None), validation_images=0)
    table = overfitting(trainings(records), "loss")

    assert table is not None
    assert [row[3] for row in table.rows] == ["last"]
    assert cell(table, "gap to validation") == "-"
    assert cell(results(records), "best epoch") == "-"


def test_one_seed_has_no_interval_and_divergence_is_shown() -> None:
    """A single seed's figures stand alone; one that diverged makes the mean nan, not an error."""
    alone, diverged = seeds(1), seeds(2)
    nan = epochs(0.3, 0.3, 0.3, math.nan)
    diverged[1] = learned(seed=1, process=1, history=nan, loss=math.nan)

    assert "[" not in cell(overfitting(trainings(alone), "loss"), "training", at="last")
    assert cell(overfitting(trainings(diverged), "loss"), "validation", at="last") == "nan"
    assert cell(results(diverged), "test loss") == "nan"
    assert all(plots.svg(p) for p in plots.of_session(diverged))


def test_trained_model_is_told_and_not_its_last_epoch() -> None:
    """A callback may put earlier weights back: the table and the sentence have what was kept."""
    records = [learned(accuracy=0.9, loss=0.25, validation_accuracy=0.88)]
    table = results(records)

    assert (cell(table, "test [%]"), cell(table, "test loss")) == ("90.00", "0.250")
    assert cell(table, "validation [%]") == "88.00"
    assert "accuracy 90.00 % and loss 0.250 on TensorFlow (n=1)" in sentences(records)[1]


def test_epochs_are_told_of_every_training() -> None:
    """Tasks train and learn have a table for each record, the best epochs marked, terms below."""
    (table,) = epoch_tables([learned(history=epochs(*VALIDATION))])

    assert [row[0] for row in table.rows] == ["1", "2", "3", "4"]
    assert table.rows[1] == (
        "2",
        "0.100",
        "90.00",
        "0.300",
        "70.00",
        "0.400",
        "60.00",
        "loss, accuracy",
    )
    assert {row[-1] for row in table.rows if row[0] != "2"} == {"-"}
    assert len(epoch_tables([*pair(), *both()])) == 8
    assert epoch_tables([failed()]) == []


def test_failed_training_keeps_the_epochs_it_had() -> None:
    """What a training achieved before it failed is printed, and that it failed comes first."""
    (table,) = epoch_tables([learned(failure="killed by SIGKILL")])

    assert table.terms[0] == "FAILED after these epochs: killed by SIGKILL"
    assert results([learned(failure="killed by SIGKILL")]) is None


def test_classes_are_reported_as_they_were_given() -> None:
    """Of two images of each class one Shirt is given Coat: recall 0.5, precision of Coat 2/3."""
    true = [*range(10), *range(10)]
    given = [*range(10), *(4 if c == 6 else c for c in range(10))]
    (one,) = trainings([learned(true, given)])
    report = classes.classification(one)
    matrix = classes.confusion(one)

    assert cell(report, "recall", **{"class": "Shirt"}) == "0.500"
    assert cell(report, "precision", **{"class": "Coat"}) == "0.667"
    assert cell(report, "images", **{"class": "Coat"}) == "2"
    assert cell(report, "F1", **{"class": "accuracy"}) == "0.950"
    assert (matrix[6, 4], matrix.trace(), matrix.sum()) == (1, 19, 20)
    assert cell(classes.confusion_table(one), "Coat", **{"true \\ given": "Shirt"}) == "1"


def test_seeds_are_averaged_and_added_up() -> None:
    """Recall is the mean over seeds, with n stated; the confusion matrix is their sum."""
    right = list(range(10))
    records = [learned(right, right), learned(right, [*right[:9], 0], seed=1, process=1)]
    (one,) = trainings(records)

    assert cell(classes.classification(one), "recall", **{"class": "Ankle boot"}) == "0.500"
    assert classes.confusion(one)[9].tolist() == [1, 0, 0, 0, 0, 0, 0, 0, 0, 1]
    assert "n=2 seeds" in classes.classification(one).terms[0]


def test_class_that_was_never_given_has_precision_0() -> None:
    """scikit-learn's warning is not for a reader: the figure is 0, and the terms say so."""
    (one,) = trainings([learned(given=[0] * 10)])

    assert cell(classes.classification(one), "precision", **{"class": "Bag"}) == "0.0"
    assert "never given has precision 0" in classes.classification(one).terms[0]


def test_recipes_of_a_model_are_told_apart() -> None:
    """One model by two recipes in one session: two rows, and neither replaces the other."""
    recipe = learned().recipe.model_dump() | {"epochs": 3}
    (run,) = assembled([*seeds(), *seeds(recipe=recipe)])

    assert [one.name for one in trainings(run)] == ["dense3, epochs 3", "dense3, epochs 4"]
    assert [len(one.records) for one in trainings(run)] == [3, 3]


def test_trainings_that_were_cut_replace_none() -> None:
    """A session of fewer epochs stands beside an older one, and a failure replaces neither."""
    newer: dict[str, Any] = {"session": "newer", "started_at": "2026-11-23T00:00:00Z"}
    last: dict[str, Any] = {"session": "last", "started_at": "2026-11-24T00:00:00Z"}
    cut = seeds(**newer, history=learned().history[:2], epoch_s=(2.0,))
    (run,) = assembled([*seeds(), *cut, *seeds(**last, failure="in epoch 1: killed")])

    assert [one.name for one in trainings(run)] == ["dense3, 2 of 4 epochs", "dense3"]
    assert [len(one.records) for one in trainings(run)] == [3, 3]
    assert len(epoch_tables(run)) == len(run) == 9
    again: dict[str, Any] = {"session": "again", "started_at": "2026-11-25T00:00:00Z"}
    (run,) = assembled([*run, *seeds(**again)])
    assert {r.session for r in run} == {"newer", "again"}


def test_a_failure_replaces_no_training_that_could_end_by_itself() -> None:
    """Nor where a recipe stops early, so that trainings of it differ in their epochs."""
    early: dict[str, Any] = {"recipe": learned().recipe.model_dump() | {"stop_after": 2}}
    later: dict[str, Any] = {"session": "later", "started_at": "2026-11-23T00:00:00Z"}
    (run,) = assembled([*seeds(**early), *seeds(**early, **later, failure="in epoch 1: killed")])

    assert [r.failure is None for r in run] == [True] * 3 + [False] * 3


def test_studies_and_samples_are_named() -> None:
    """What differs between trainings of one model stands beside its name."""
    names = [one.name for one in trainings([*seeds(), *seeds(study="ablation", train_images=500)])]

    assert set(names) == {"dense3, reproduce, 6,000 images", "dense3, ablation, 500 images"}


def test_cut_training_is_told_by_its_name_alone() -> None:
    """The name of a training that was cut says after how many epochs: the sentence adds none."""
    whole, cut = (
        " ".join(sentences(seeds(recipe=learned().recipe.model_dump() | {"epochs": n})))
        for n in (4, 10)
    )

    assert "dense3 after 4 epochs: accuracy" in whole
    assert "4 of 10 epochs: accuracy" in cut
    assert "after 4 epochs" not in cut


def test_session_that_only_learned_is_told_everywhere() -> None:
    """Headline, tables, page, export: what was learned is said, and nothing about times."""
    records = both()

    assert headline(records)[0].endswith("what 6 trainings of 1 model learned, on the test set.")
    assert not [s for s in headline(records) if "How sure" in s or "faster" in s]
    titles = [table.title for table in tables.of_session(records)]
    assert {"What whole trainings learned", "Overfitting, by loss"} <= set(titles)
    assert not [title for title in titles if "Speed" in title]
    assert "whole trainings 6" in page([records])
    assert len(list(per_record(records).rows)) == 6
    for form in FORMATS:
        assert all(render(table, form) for table in tables.of_session(records))


def test_page_opens_with_what_was_timed() -> None:
    """A newer session that only learned stands below an older one with times."""
    timed = pair(session="timed")
    newer = both(session="learnt", started_at="2026-11-22T00:00:00Z")

    html = page([newer, timed])

    assert html.index('id="session-timed') < html.index('id="session-learnt')


def test_sessions_without_trainings_have_no_such_pictures() -> None:
    """What is published of other sessions stays as it is."""
    assert learned_charts.of_trainings(pair()) == []
    assert not [t for t in tables.of_session(pair()) if "trainings" in t.title]


def test_learning_fills_pictures_for_each_model() -> None:
    """Curves and confusions of each model, the recall of all; each name is one for a file."""
    names = [p.name for p in plots.of_session([*both(), *both(**CONV)])]

    assert names == [
        "learning-curves-dense3",
        "learning-curves-lenet-dropout",
        "recall",
        "confusion-dense3",
        "confusion-lenet-dropout",
    ]
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name in names)


def test_pictures_of_a_session_are_bounded() -> None:
    """Of many models the smallest have pictures of their own, and the pictures say so."""
    records = [r for i in range(15) for r in seeds(1, model=f"model_{i}")]
    made = learned_charts.of_trainings(records)

    assert len(made) == 2 * learned_charts.MOST_MODELS + 1
    assert "Of the 15 models of the session" in made[0].caption


def test_curves_are_drawn_as_they_were_recorded() -> None:
    """The mean of the seeds is drawn between the lowest and the highest, and each best epoch."""
    (curves, *_) = learned_charts.of_trainings(seeds())
    data = [row for rows in curves.spec["datasets"].values() for row in rows]
    loss = [d for d in data if d.get("curve") == "training" and d.get("mean", 1) < 1]

    assert [(d["mean"], d["low"], d["high"]) for d in loss] == [(0.12, 0.1, 0.14)] * 4
    best = [(d["seed"], d["epoch"], d["value"]) for d in data if d.get("value", 1) < 1]
    assert best == [(0, 2, 0.3), (1, 2, 0.3), (2, 2, 0.3)]


def test_confusions_are_drawn_as_they_were_counted() -> None:
    """Every square of the matrix is there: its figure, and nothing where it is 0."""
    picture = learned_charts.of_trainings([learned()])[-1]
    (squares,) = picture.spec["datasets"].values()
    found = {(s["true"], s["given"]): (s["shown"], s["share"]) for s in squares}

    assert len(found) == len(CLASS_NAMES) ** 2
    assert found["Ankle boot", "Bag"] == ("1", 1.0)
    assert found["Ankle boot", "Ankle boot"] == ("", 0.0)
    assert "Ankle boot taken for Bag 1 times" in picture.alternative


@pytest.mark.slow
@pytest.mark.parametrize("theme", plots.THEMES)
def test_pictures_are_drawn_of_any_training(theme: str) -> None:
    """No validation set, a loss that exploded, a hostile name: each is drawn."""
    hostile = 'x" </script> \x1b[31m' + 40 * "y"
    for records in (
        seeds(1, history=epochs(None, None, None, None), validation_images=0),
        seeds(2, history=epochs(1e30, math.inf, math.nan, 0.3)),
        seeds(1, model=hostile),
    ):
        assert all(plots.svg(p, theme) for p in plots.of_session(records))


def test_name_is_of_one_model_each() -> None:
    """Two names that are cut to the same are numbered: their bars are not drawn as one model's."""
    records = [r for end in "ab" for r in seeds(1, model=60 * "x" + end)]

    assert len({one.name for one in trainings(records)}) == 2
