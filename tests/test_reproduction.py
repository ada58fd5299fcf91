"""The table of claims: what is held against what, and what a verdict says."""

from typing import Any

import pytest
from samples import CONV, RESULT, learned

from fmnist.record import Record
from fmnist.report import reproduction, tables
from fmnist.report.choose import assembled
from fmnist.report.headline import headline


def uta(accuracy: float, loss: float, **own: Any) -> Record:  # noqa: ANN401  # fields of a record
    """Return a training of the project's model that ends with these figures on the test set."""
    last = RESULT | {"test_accuracy": accuracy, "test_loss": loss}
    parameters = CONV["parameters"]
    return learned(
        **{
            "model": "conv_pool_dropout",
            "family": "conv",
            "parameters": parameters,
            "history": [RESULT] * 3 + [last],
            "preset": "full",
        }
        | own
    )


def seeds(accuracies: list[float], losses: list[float], **own: Any) -> list[Record]:  # noqa: ANN401  # fields of a record
    """Return a training for each pair of figures, with seeds from 0 on."""
    return [
        uta(accuracy, loss, seed=seed, process=seed, **own)
        for seed, (accuracy, loss) in enumerate(zip(accuracies, losses, strict=True))
    ]


def conv_net(**own: Any) -> list[Record]:  # noqa: ANN401  # any field of a record
    """Return three trainings of the conv net that is held against the dense one: all at 90 %."""
    return seeds([0.9] * 3, [0.3] * 3, model="lenet_dropout", **own)


def dense(accuracy: float, **own: Any) -> list[Record]:  # noqa: ANN401  # any field of a record
    """Return three trainings of the dense net that all end with this accuracy."""
    history = [RESULT | {"test_accuracy": accuracy}] * 4
    return [learned(preset="full", seed=s, process=s, history=history, **own) for s in range(3)]


def verdicts(records: list[Record]) -> dict[str, tuple[str, ...]]:
    """Return, by claim, ours, n and the verdict."""
    table = reproduction.table(records)
    assert table is not None
    return {row[2]: row[4:] for row in table.rows}


def test_verdict_is_of_the_interval() -> None:
    """Reproduced: the published figure is inside; exceeded: all of it is better; else not."""
    found = verdicts(seeds([0.919, 0.920, 0.921], [0.20, 0.21, 0.20]))

    assert found["test accuracy, at the end [%]"][1:] == ("3", "reproduced")
    assert found["test loss, at the end"][2] == "exceeded"
    found = verdicts(seeds([0.91, 0.911, 0.912], [0.30, 0.31, 0.30]))
    assert found["test accuracy, at the end [%]"][2] == "not reproduced (-0.90 points)"
    assert found["test loss, at the end"][2] == "not reproduced (+0.0533)"


@pytest.mark.parametrize(
    ("own", "n", "verdict"),
    [
        ({"preset": "quick"}, 3, "a sample: none"),
        ({"dataset": "stand-in"}, 3, "a sample: none"),
        ({}, 2, "too few seeds"),
    ],
)
def test_no_verdict_without_ground(own: dict[str, Any], n: int, verdict: str) -> None:
    """A sample of the images, the stand-in, or fewer than three seeds give none."""
    found = verdicts(seeds([0.92] * n, [0.25] * n, **own))

    assert found["test accuracy, at the end [%]"][2] == verdict
    assert not any("claims" in s for s in reproduction.sentences(seeds([0.92], [0.25], **own)))


def test_better_is_judged_seed_by_seed() -> None:
    """That one model is better than another is the mean of the differences at equal seeds."""
    conv = [
        uta(a, 0.5, model="lenet_dropout", seed=s, process=s)
        for s, a in enumerate([0.9, 0.91, 0.92])
    ]
    dense = [
        learned(preset="full", seed=s, process=s, history=[RESULT | {"test_accuracy": a}] * 4)
        for s, a in enumerate([0.88, 0.89, 0.9])
    ]
    (shown, n, verdict) = verdicts(conv + dense)["test accuracy against dense3"]

    assert shown.startswith("+2.00 [")
    assert (n, verdict) == ("3", "exceeded")


def test_gain_after_an_epoch_is_seen() -> None:
    """The best validation accuracy after the epoch is held against the best up to it."""
    rising = [RESULT | {"validation_accuracy": 0.8 + n / 100} for n in range(7)]
    of: dict[str, Any] = {"model": "conv_8_24_48", "family": "conv", "preset": "full"}
    of |= {"epoch_s": (2.0,) * 6}
    records = [learned(**of, history=rising, seed=s, process=s) for s in range(3)]
    found = verdicts(records)
    (shown, *_) = found["validation accuracy gained after epoch 5: best before less best after"]

    assert shown == "-2.00 [-2.00, -2.00] points"
    assert found["validation accuracy, epoch 5 [%]"][0].startswith("84.00")


def test_training_that_was_cut_is_said() -> None:
    """A claim of an epoch that was not reached has no figure; one of the end says what was cut."""
    of: dict[str, Any] = {"model": "conv_8_24_48", "family": "conv", "preset": "full"}
    recipe = learned().recipe.model_dump() | {"epochs": 20}
    table = reproduction.table([learned(**of, recipe=recipe)])
    assert table is not None

    assert not any("epoch 20" in row[2] for row in table.rows)
    ended = verdicts([uta(0.92, 0.25, recipe=recipe)])
    assert ended["test loss, at the end"][0] == "0.2500 after 4 of 20 epochs"
    told = reproduction.sentences(seeds([0.8] * 3, [0.25] * 3, recipe=recipe))
    assert "not so: conv_pool_dropout test accuracy, at the end [%] after 4 of 20 epochs" in told[0]
    assert told[0].endswith("; 2 by trainings that were cut.")


def test_backend_that_has_no_training_shows_a_gap() -> None:
    """A claim of a model that one backend alone trained has no figure on the other one."""
    records = [*conv_net(), *dense(0.8), *dense(0.8, backend="jax")]
    table = reproduction.table(records)
    assert table is not None
    (row,) = [row for row in table.rows if row[1] == "lenet_dropout"]

    assert row[4].startswith("+10.00")
    assert row[7:] == ("-", "0", "-")


def test_what_was_cut_is_compared_with_what_was_cut_alike() -> None:
    """Whole trainings of any session count; what was cut, where there are no three whole ones.

    Here the whole ones differ by 2 points, and those that were cut, in a later session, by 40.
    """
    later: dict[str, Any] = {"session": "later", "started_at": "2026-11-23T00:00:00Z"}
    whole = [*conv_net(), *dense(0.88)]
    cut = [
        r.model_copy(update={"history": r.history[-2:]})
        for r in (*conv_net(**later), *dense(0.5, **later))
    ]
    gain = "test accuracy against dense3"

    (run,) = assembled([*whole, *cut])
    assert verdicts(run)[gain][:2] == ("+2.00 [+2.00, +2.00] points", "3")
    in_two = [*conv_net(), *dense(0.88, **later)]
    assert verdicts(in_two)[gain][:2] == ("+2.00 [+2.00, +2.00] points", "3")
    of_cut = ("+40.00 [+40.00, +40.00] points after 2 of 4 epochs", "3")
    assert verdicts(cut)[gain][:2] == of_cut
    assert verdicts([*cut, *whole[:3]])[gain][:2] == of_cut
    assert verdicts([*cut, *whole[:2], *whole[3:]])[gain][:2] == of_cut


def test_the_newest_recipe_counts() -> None:
    """Trainings by an older recipe of a model are in no claim, once there are seeds enough."""
    recipe = learned().recipe.model_dump()
    older = seeds([0.8] * 3, [0.5] * 3, recipe=recipe | {"learning_rate": 0.1})
    later: dict[str, Any] = {"session": "later", "started_at": "2026-11-23T00:00:00Z"}
    claim = "test accuracy, at the end [%]"

    (run,) = assembled([*older, *seeds([0.9] * 3, [0.3] * 3, **later)])
    assert verdicts(run)[claim][:2] == ("90.00 [90.00, 90.00]", "3")
    (run,) = assembled([*older, *seeds([0.9] * 2, [0.3] * 2, **later)])
    assert verdicts(run)[claim][:2] == ("80.00 [80.00, 80.00]", "3")


def test_sessions_that_share_a_model_keep_both_claims() -> None:
    """A model that two projects train is the newest one's, and both projects' claims stay."""
    later: dict[str, Any] = {"session": "later", "started_at": "2026-11-23T00:00:00Z"}
    other = seeds([0.92] * 3, [0.3] * 3, model="deep_batchnorm", **later)
    (run,) = assembled([*conv_net(), *dense(0.88), *other, *dense(0.89, **later)])
    table = reproduction.table(run)
    assert table is not None

    gains = {row[1]: row[4:6] for row in table.rows if "dense3" in row[2]}
    assert gains == {
        "lenet_dropout": ("+1.00 [+1.00, +1.00] points", "3"),
        "deep_batchnorm": ("+3.00 [+3.00, +3.00] points", "3"),
    }


def test_one_epoch_cuts_two_models() -> None:
    """Of two recipes the shorter one may be whole where the longer one was cut after as many."""
    twenty = learned().recipe.model_dump() | {"epochs": 20}
    gain = "test accuracy against dense3"

    found = verdicts([*conv_net(recipe=twenty), *dense(0.88)])[gain][0]
    assert found == "+2.00 [+2.00, +2.00] points after 4 of 20 epochs against 4 of 4 epochs"
    short = [r.model_copy(update={"history": r.history[-2:]}) for r in dense(0.88)]
    assert gain not in verdicts([*conv_net(recipe=twenty), *short, *seeds([0.92], [0.2])])


def test_other_records_make_no_table() -> None:
    """A study of another name, and what failed, are not in it."""
    assert reproduction.table([learned(study="ablation", preset="full")]) is None
    assert reproduction.table([uta(0.9, 0.3, failure="in epoch 2: killed")]) is None


def test_backends_stand_side_by_side() -> None:
    """One table has both backends; sessions of other projects are put into it."""
    ours = seeds([0.92] * 3, [0.25] * 3)
    theirs = seeds([0.93] * 3, [0.2] * 3, backend="jax", jit_compile=True)
    other = [learned(session="other", preset="full", commit="fedcba9876543210")]
    (run,) = assembled([*ours, *theirs, *other])
    table = reproduction.table(run)
    assert table is not None

    assert any("0123456789ab/fedcba987654" in term for term in table.terms)
    assert table.header[4:] == ("tensorflow", "n", "verdict", "jax", "n", "verdict")
    assert table in tables.of_session(run)
    told = reproduction.sentences(run)
    assert len(told) == 2
    assert "2 of 2 published claims are reproduced or exceeded" in told[0]
    assert set(told) <= set(headline(run))
