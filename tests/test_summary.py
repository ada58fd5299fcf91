"""Cells in numbers: what pages, pictures and exports are made of."""

import pytest
from samples import counted, noise, pair, parity, record

from fmnist.report.summary import summaries


def test_cells_stand_by_model_then_backend() -> None:
    """Small models first; TensorFlow before JAX within each."""
    large = {"total": 500_000, "trainable": 500_000, "dense": 500_000, "conv": 0, "other": 0}
    made = summaries([*pair(model="dense_wide", parameters=large), *pair()])

    assert [(s.cell.model, s.cell.backend) for s in made] == [
        ("dense3", "tensorflow"),
        ("dense3", "jax"),
        ("dense_wide", "tensorflow"),
        ("dense_wide", "jax"),
    ]


def test_ratio_is_to_the_other_backend() -> None:
    """JAX takes half of TensorFlow's time; TensorFlow itself is the measure and has no ratio."""
    base, other = summaries(pair())

    assert (base.against, base.ratio) == (None, None)
    assert other.against == "tensorflow"
    assert other.ratio is not None
    assert other.ratio.value == pytest.approx(0.5)
    assert other.verdict is None


def test_against_turns_the_ratio_around() -> None:
    """Against JAX, TensorFlow takes twice as long."""
    base, other = summaries(pair(), against="jax")

    assert base.ratio is not None
    assert base.ratio.value == pytest.approx(2.0)
    assert other.ratio is None


def test_verdict_needs_the_session_s_noise() -> None:
    """With noise that was measured, half the time is faster."""
    _, other = summaries([*pair(), noise(), noise(process=1), noise(process=2)])

    assert other.verdict == "faster"


def test_backend_alone_has_no_ratio() -> None:
    """One backend has its times, and nothing to be held against."""
    (alone,) = summaries([record(backend="jax")], against="tensorflow")

    assert (alone.ratio, alone.epoch.value) == (None, 2.0)


def test_model_that_differs_is_marked() -> None:
    """A certificate that failed marks the model's cells on both backends."""
    broken = parity().parity
    assert broken is not None
    apart = broken.model_copy(update={"differences": {"outputs": 1.0, "first_loss": 1.0}})

    assert [s.unequal for s in summaries([*pair(), parity(parity=apart)])] == [True, True]


def test_processes_are_one_cell() -> None:
    """Three processes make one summary; accuracy and epoch are means over them."""
    (cell,) = summaries([record(process=p, epoch_s=(s, s)) for p, s in enumerate((1.0, 2.0, 4.0))])

    assert cell.epoch.value == pytest.approx(2.0)
    assert cell.epoch.processes == 3
    assert cell.images_per_s == pytest.approx(3_000)
    assert len(cell.seconds_of_epochs) == len(cell.history) == 3


def test_cell_reaches_a_share_of_its_peak() -> None:
    """A million operations by the image, 3,000 images/s: 3 GFLOP/s, 3 % of 100 GFLOP/s."""
    (cell,) = summaries([record(**counted())])

    assert cell.flop_per_s == pytest.approx(3e9)
    assert cell.share_of_peak == pytest.approx(0.03)


def test_peak_is_the_session_s_largest_of_its_place() -> None:
    """Another process may lend its larger peak; another precision or backend may not."""
    peaks = counted()["peaks"]
    larger = counted() | {"peaks": peaks | {"matmul_flop_per_s": 2e11}}
    largest = counted() | {"peaks": peaks | {"matmul_flop_per_s": 4e11}}
    cells = summaries(
        [
            *(record(**counted()), record(**larger, process=1)),
            record(**largest, precision="mixed_bfloat16"),
            record(**largest, backend="jax"),
        ]
    )

    assert {(s.cell.backend, s.cell.precision): s.share_of_peak for s in cells} == {
        ("tensorflow", "float32"): pytest.approx(0.015),
        ("tensorflow", "mixed_bfloat16"): pytest.approx(0.0075),
        ("jax", "float32"): pytest.approx(0.0075),
    }


def test_what_was_not_counted_has_no_share() -> None:
    """A record from before the counting, or with a layer that was not counted, has none."""
    uncounted = counted() | {"forward_macs": {"lstm": None}, "train_flop_per_image": None}
    old, unknown = summaries([record(), record(backend="jax", **uncounted)])

    assert (old.flop_per_s, old.share_of_peak) == (None, None)
    assert (unknown.flop_per_s, unknown.share_of_peak) == (None, None)
