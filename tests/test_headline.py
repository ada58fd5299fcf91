"""The headline: sentences that claim what the records bear out, and no more."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import RESULT, failed, noise, parity, record

from fmnist.record import Record, packed
from fmnist.report.headline import headline

QUIET = [noise(process=process) for process in range(3)]
"""A cell that came out equal to itself."""
DENSE = {"total": 225_000, "trainable": 225_000, "dense": 225_000, "conv": 0, "other": 0}
CONV = {"total": 225_034, "trainable": 225_034, "dense": 206_218, "conv": 18_816, "other": 0}


def both(
    tensorflow_s: tuple[float, ...],
    jax_s: tuple[float, ...],
    accuracies: tuple[float, float] = (0.75, 0.75),
    **own: Any,  # noqa: ANN401  # any field of a record
) -> list[Record]:
    """Return a model's records on both backends."""
    return [
        record(
            **own,
            backend=backend,
            epoch_s=seconds,
            accuracy=accuracy,
            history=[RESULT | {"test_accuracy": accuracy}] * (1 + len(seconds)),
        )
        for backend, seconds, accuracy in zip(
            ("tensorflow", "jax"), (tensorflow_s, jax_s), accuracies, strict=True
        )
    ]


def certificates(*fewer: int, **own: object) -> list[Record]:
    """Return a certificate of each seed, in which JAX recognised so many images less."""
    some = parity().parity
    assert some is not None
    return [
        parity(
            process=seed,
            parity=some.model_dump()
            | {
                "seed": seed,
                "correct": {
                    "tensorflow": packed(np.arange(2_000) < 1_500),
                    "jax": packed(np.arange(2_000) < 1_500 - missed),
                },
            }
            | own,
        )
        for seed, missed in enumerate(fewer)
    ]


def sentence(records: list[Record], word: str) -> str:
    """Return the one sentence that holds a word."""
    (found,) = (line for line in headline(records) if word in line)
    return found


SLOWER = both((1.0, 1.0, 1.0), (4.0 / 1.02, 4.0, 4.0 * 1.02))
"""JAX takes four times as long. Student's t for three pairs: 1.02 to the power of +-2.484."""


def test_one_model_is_answered_in_one_sentence() -> None:
    """Machine, device, data, preset, model, who is faster by how much, interval, accuracies."""
    told = headline([*SLOWER, *QUIET])[0]

    assert told.startswith(
        "On 2 x Abacus, 16.0 GiB, Linux (cpu), Fashion-MNIST, preset quick, "
        "dense3: TensorFlow is 4.00 times faster than JAX, 95 % interval 3.81 to 4.20; "
        "accuracy 75.00 and 75.00 %, which one seed cannot tell apart"
    )


def test_no_verdict_no_such_word() -> None:
    """Without noise nothing is called faster: ratio, interval, and whether that excludes 1."""
    told = headline(SLOWER)

    assert "JAX took 4.00 times as long as TensorFlow" in told[0]
    assert "95 % interval 3.81 to 4.20, which excludes 1;" in told[0]
    assert not [line for line in told if "faster" in line]
    assert any("there are no verdicts" in line for line in told)


def test_interval_that_includes_1_is_said_to() -> None:
    """Rounds that scatter around the same time exclude nothing."""
    told = headline(both((2.0, 2.2, 1.9), (2.1, 1.9, 2.2)))[0]

    assert "which includes 1;" in told


def test_one_round_has_no_interval() -> None:
    """A ratio of a single round is told as that."""
    told = headline(both((1.0,), (2.0,)))[0]

    assert "JAX took 2.00 times as long as TensorFlow, without an interval (n=1);" in told


def test_cannot_tell_stays_cannot_tell() -> None:
    """Where the verdict is `cannot tell`, no sentence says that either is ahead."""
    told = headline([*both((2.0, 2.2, 1.9), (2.1, 1.9, 2.2)), *QUIET])[0]

    assert "the session cannot tell whether TensorFlow or JAX is faster" in told
    assert "times faster" not in told


def test_same_is_as_fast() -> None:
    """Where the verdict is `same`, one is as fast as the other."""
    told = headline([*both((2.0, 2.1), (2.0, 2.1)), *QUIET])[0]

    assert "is as fast as" in told
    assert "within 2 %" in told


@pytest.mark.parametrize("noises", [[], QUIET])
def test_denominator_changes_no_sentence(noises: list[Record]) -> None:
    """Against JAX or against TensorFlow, the answer is the same one."""
    records = [*SLOWER, *both((3.0, 3.1, 3.0), (1.0, 1.1, 1.0), model="dense_wide"), *noises]

    assert headline(records, "jax") == headline(records, "tensorflow")


def test_models_are_counted_by_verdict() -> None:
    """Several models: in how many which backend is ahead, then the largest ratio each way."""
    told = headline(
        [
            *SLOWER,
            *both((1.0, 1.1, 1.0), (2.0, 2.2, 2.0), model="b"),
            *both((3.0, 3.1, 3.0), (1.0, 1.1, 1.0), model="c"),
            *both((2.0, 2.2, 1.9), (2.1, 1.9, 2.2), model="d"),
            *both((2.0, 2.1), (2.0, 2.1), model="e"),
            *QUIET,
        ]
    )

    assert told[0].endswith(
        "of 5 models, TensorFlow is faster in 2, JAX in 1, the session cannot tell in 1, "
        "both are as fast (within 2 %) in 1."
    )
    assert [line.split(":")[0] for line in told[1:3]] == ["dense3", "c"]
    assert told[2].startswith("c: JAX is 2.94 times faster than TensorFlow, 95 % interval")


def test_models_are_counted_by_interval() -> None:
    """Without verdicts the count is of intervals, and says so."""
    told = headline(
        [
            *SLOWER,
            *both((3.0, 3.1, 3.0), (1.0, 1.1, 1.0), model="c"),
            *both((2.0, 2.2, 1.9), (2.1, 1.9, 2.2), model="d"),
        ]
    )

    assert told[0].endswith(
        "of 3 models, JAX took less time in 1, TensorFlow in 1 (by 95 % intervals of the ratio "
        "that exclude 1), the interval includes 1 in 1."
    )


def test_devices_are_answered_apart() -> None:
    """What is true on the CPU is not said of the GPU."""
    told = headline([*SLOWER, *both((3.0, 3.1, 3.0), (1.0, 1.1, 1.0), device="gpu"), *QUIET])

    answers = [line for line in told if line.startswith("On ")]
    assert ["TensorFlow is 4.00" in line for line in answers] == [True, False]
    assert "(gpu)" in answers[1]
    assert "JAX is 2.94 times faster" in answers[1]


def test_variants_of_a_model_are_told_apart() -> None:
    """Two precisions are two comparisons of one model, each with its name."""
    half = both((3.0, 3.1, 3.0), (1.0, 1.1, 1.0), precision="mixed_bfloat16", batch_size=500)
    told = headline([*SLOWER, *half])

    assert "of 2 comparisons" in told[0]
    assert told[2].startswith("dense3 (batch 500, mixed_bfloat16): TensorFlow took")


def test_accuracies_beyond_sampling_are_apart() -> None:
    """5 points on 2,000 images are no chance of the sample; 1 point is what one seed shows."""
    apart = headline(both((1.0, 1.1), (2.0, 2.1), (0.80, 0.85)))[0]
    close = headline(both((1.0, 1.1), (2.0, 2.1), (0.80, 0.81)))[0]

    assert "80.00 and 85.00 %, further apart than sampling 2,000 test images explains" in apart
    assert "80.00 and 81.00 %, which one seed cannot tell apart" in close


def test_accuracies_that_wilson_s_intervals_would_not_part() -> None:
    """A difference of 2.3 standard errors is seen, though both intervals overlap."""
    told = headline(both((1.0, 1.1), (2.0, 2.1), (0.9144, 0.9049), test_images=10_000))[0]

    assert "further apart" in told


def test_equal_is_said_by_the_certificate_alone() -> None:
    """TOST over seeds says how equal; a single seed has no such word."""
    many = headline([*SLOWER, *QUIET, *certificates(0, 1, -1, 0)])[0]
    one = headline([*SLOWER, *QUIET, *certificates(0)])[0]

    assert (
        "from the same weights, after 20 steps, accuracies are equal within 0.05 points "
        "(TOST at 5 %, 4 seeds)" in many
    )
    assert "equal" not in one


def test_other_work_is_named_beside_the_ratio() -> None:
    """Backends that failed their certificate are not compared without a word."""
    bad = certificates(0, 0, differences={"outputs": 1.0, "first_loss": 1.0})
    told = headline([*SLOWER, *QUIET, *bad])[0]

    assert "did NOT do the same work" in told
    assert "equal" not in told


@pytest.mark.parametrize(
    ("own", "notices"),
    [
        ({}, []),
        ({"dataset": "stand-in"}, ["Measured on the drawn stand-in, NOT on Fashion-MNIST."]),
        ({"preset": "smoke"}, ["Preset smoke (seconds, for tests: the figures mean nothing)."]),
    ],
)
def test_what_means_nothing_is_said_first(own: dict[str, Any], notices: list[str]) -> None:
    """Stand-in data and the smoke preset open the headline."""
    told = headline([record(**own)])

    assert told[: len(notices)] == notices
    assert told[len(notices)].startswith("On 2 x Abacus")
    assert ("Fashion-MNIST" in told[len(notices)]) == (own.get("dataset") is None)


def test_backend_alone_is_held_against_nothing() -> None:
    """One backend has its fastest and slowest model, and no ratio."""
    told = headline([record(), record(model="dense_wide", epoch_s=(9.0, 9.0, 9.0))])[0]

    assert "only TensorFlow was trained, so there is no ratio" in told
    assert "2.00 [2.00, 2.00] s (dense3, 75.00 % accurate) to 9.00" in told


def test_backends_on_different_models_make_no_ratio() -> None:
    """Two backends that shared no model are not compared."""
    told = headline([record(), record(backend="jax", model="dense_wide")])[0]

    assert told.endswith("no model was trained by two backends side by side.")


@pytest.mark.parametrize(
    ("records", "first"),
    [
        ([], "There are no records."),
        ([failed()], "no model was trained to its end in this session."),
        ([noise()], "no model was trained in this session."),
        (
            [record(task="scale"), record(task="scale", replicas=4)],
            "models trained by up to 4 devices together, see the table of scaling.",
        ),
        ([record(task="scale", replicas=2, shared_device=True)], "processor: correctness only."),
    ],
)
def test_nothing_trained_is_said(records: list[Record], first: str) -> None:
    """No records, only failures, and a session of noise have a sentence each."""
    assert headline(records)[0].endswith(first)


def test_failures_are_counted() -> None:
    """What failed is told with the first reason."""
    told = sentence([*SLOWER, failed(model="leaky_cnn")], "failed")

    assert told.startswith("1 of 3 measurements failed, the first leaky_cnn-tensorflow-cpu-stock")
    assert told.endswith("killed by SIGKILL.")


def test_convolution_is_held_against_its_equal() -> None:
    """At equal parameters: by how many points convolution is ahead, on each backend."""
    told = sentence(
        [
            *both((1.0, 1.1), (2.0, 2.1), (0.80, 0.81), model="wide", parameters=DENSE),
            *both((1.0, 1.1), (2.0, 2.1), (0.86, 0.80), model="c", parameters=CONV, family="conv"),
        ],
        "convolution",
    )

    assert told == (
        "What convolution buys at equal size, c with 225,034 parameters against wide with 225,000 "
        "parameters, in points of accuracy: +6.00 on TensorFlow (86.00 against 80.00 %), "
        "-1.00 on JAX (80.00 against 81.00 %, which may be chance)."
    )


def test_families_of_other_sizes_are_told_with_their_sizes() -> None:
    """Where no two have the same size, the best of each family is named with its parameters."""
    told = sentence([record(), record(model="c", family="conv", parameters=CONV)], "convolutional")

    assert told.startswith("The best convolutional model reaches 75.00 % (c, 225,034 parameters")
    assert "the best dense one 75.00 % (dense3, 109,386 parameters" in told


def test_one_family_is_held_against_nothing() -> None:
    """Without convolutional models there is no word about convolution."""
    assert not [line for line in headline(SLOWER) if "onvolution" in line]


def test_noise_is_told_with_its_pairs() -> None:
    """A/A, pairs and the smallest effect; a difference without a cause is called that."""
    base = noise().beside_s
    spread = [
        noise(process=p, beside_s=base | {"twin": tuple(f * s for s in (1.1, 1.1, 1.1))})
        for p, f in enumerate((1.00, 1.01, 1.02))
    ]
    quiet, odd = (sentence([*SLOWER, *noises], "How sure") for noises in (QUIET, spread))

    assert "measured +0.00 [+0.00, +0.00] % in 3 pairs of processes; the smallest" in quiet
    assert "in 3 pairs of processes, a difference without a cause; the smallest" in odd
    assert "one pair cannot say" in sentence([*SLOWER, noise()], "How sure")


def test_intervals_say_what_they_are_over() -> None:
    """One process speaks of itself; several are counted; versions stand beside."""
    several = [r for p in range(3) for r in both((1.0, 1.1), (2.0, 2.1), process=p)]

    assert sentence(SLOWER, "Intervals") == (
        "Intervals are over 3 steady epochs of one process, and speak of that process only; "
        "keras 3.15.1."
    )
    assert "over 3 processes of 2 steady epochs each" in sentence(several, "Intervals")
    two = [record(), record(model="b", versions={"keras": "3.14.0", "tensorflow": "2.21.0"})]
    assert sentence(two, "Intervals").endswith("keras 3.14.0/3.15.1, tensorflow 2.21.0.")


def test_hostile_names_are_inert() -> None:
    """Escape sequences, line breaks and long names stay in one short line of text."""
    name = "\x1b[2J\n\u202e<script>" + "x" * 150
    told = headline([*both((1.0, 1.1), (2.0, 2.1), model=name), failed(model=name)])

    assert all(line.isprintable() for line in told)
    assert "\\x1b[2J \\u202e<script>" in told[0]
    assert max(map(len, told)) < 400


@settings(deadline=None, max_examples=50)
@given(st.text(min_size=1, max_size=200), st.text(min_size=1, max_size=200))
def test_every_sentence_is_one_printable_line(model: str, reason: str) -> None:
    """Whatever a record calls its model or its failure, a sentence is one line of text."""
    broken = failed(model=model).model_copy(update={"failure": reason})

    assert all(line.isprintable() for line in headline([*SLOWER, record(model=model), broken]))
