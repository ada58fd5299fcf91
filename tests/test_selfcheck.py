"""What a session finds out about itself: with fake workers the bookkeeping, with real ones all."""

from collections.abc import Callable
from pathlib import Path

import pytest
from test_launch import Recorder, fake

from fmnist import grid, record
from fmnist.session import selfcheck
from fmnist.session.plan import Plan
from fmnist.session.run import run_session

MakePlan = Callable[..., Plan]


def test_noise_pairs_hold_every_variant(make_plan: MakePlan, trace: Path) -> None:
    """Each pair is one record: the base, its twin and each spike, equally many, and the kernel."""
    plan = make_plan()
    records = selfcheck.run_noise(plan, Recorder(), fake(trace))

    assert [r.process for r in records] == list(range(plan.noise_pairs))
    for got in records:
        assert got.failure is None
        assert got.epoch_s == (0.5,) * plan.noise_rounds
        assert got.images_per_s == pytest.approx(grid.NOISE_STEPS * got.batch_size / 0.5)
        bases = {grid.base_of(spike) for spike in grid.SPIKES}
        assert set(got.beside_s) == {*grid.NOISE_VARIANTS, *bases, grid.REFERENCE}
        assert got.beside_s["spike_5"] == pytest.approx((0.525,) * plan.noise_rounds)
    assert record.read(plan.records_path)[0] == records


def test_sides_of_a_noise_pair_alternate_strictly(make_plan: MakePlan, trace: Path) -> None:
    """No epoch of a pair comes after one of its own process, in any round; pairs change sides."""
    plan = make_plan(noise_pairs=2)
    selfcheck.run_noise(plan, Recorder(), fake(trace))

    orders = [line.split()[1] for line in trace.read_text().splitlines()]
    epochs = (1 + plan.noise_rounds) * 2 * len(grid.NOISE_VARIANTS)
    is_twin = [
        name in grid.NOISE_VARIANTS for name in orders if name not in ("stop", grid.REFERENCE)
    ]
    assert is_twin == [False, True] * (epochs // 2) + [True, False] * (epochs // 2)


def test_twin_that_dies_fails_the_pair(make_plan: MakePlan, trace: Path) -> None:
    """A noise pair of which one process died says so; what was measured is kept."""
    plan = make_plan()
    got = selfcheck.run_noise(plan, Recorder(), fake(trace, "tensorflow=in-spike_2"))[0]

    assert got.failure is not None
    assert "its twin failed: in step spike_2: killed by SIGKILL" in got.failure


def test_breakdown_holds_every_part(make_plan: MakePlan, trace: Path) -> None:
    """The epoch and each of its reductions were run equally often."""
    plan = make_plan()
    got = selfcheck.run_breakdown(plan, plan.cells[0], Recorder(), fake(trace))

    assert got.failure is None
    assert set(got.beside_s) == set(grid.BREAKDOWN_VARIANTS)
    assert len(got.epoch_s) == plan.preset.breakdown_rounds


def test_certificate_needs_both_backends(make_plan: MakePlan, trace: Path) -> None:
    """One backend alone has nothing to be compared with: no certificate, and none is made up."""
    plan = make_plan(backends="jax")

    assert selfcheck.run_parity(plan, plan.cells, Recorder(), fake(trace)) == []


def test_certificate_names_the_backend_that_failed(make_plan: MakePlan, trace: Path) -> None:
    """A worker that dies leaves a parity record with the reason and without a certificate."""
    plan = make_plan()
    (got,) = selfcheck.run_parity(plan, plan.cells, Recorder(), fake(trace, "jax=early-kill"))

    assert got.parity is None
    assert got.failure is not None
    assert got.failure.startswith("jax, stock: before its first epoch: killed by SIGKILL")


@pytest.mark.slow
@pytest.mark.parametrize("model", ["lenet_dropout", "leaky_cnn", "deep_batchnorm"])
def test_backends_do_the_same_work(make_plan: MakePlan, model: str) -> None:
    """Real Keras on both backends: the same weights, and first steps that agree to rounding.

    The last two have ties: LeakyReLU's kink, and a pooling of equal neighbours.
    """
    plan = make_plan(models=model)
    (got,) = selfcheck.run_parity(plan, plan.cells, Recorder())

    assert got.failure is None
    assert got.parity is not None
    assert got.parity.exceeded == ()
    assert 0 < got.parity.differences["outputs"] < 1e-5
    assert got.parity.differences["first_loss"] < 1e-5
    assert got.parity.differences["update_1"] < 5e-2
    assert got.flags["TF_DETERMINISTIC_OPS"] == "1"
    assert {"tensorflow", "jax"} <= set(got.versions)


@pytest.mark.slow
def test_real_noise_and_breakdown(make_plan: MakePlan) -> None:
    """Real workers run every variant; an epoch of half the steps takes less than a whole one."""
    plan = make_plan()
    (pair, *_) = selfcheck.run_noise(plan, Recorder())
    parts = [selfcheck.run_breakdown(plan, cell, Recorder()) for cell in plan.cells]

    assert [r.failure for r in (pair, *parts)] == [None] * (1 + len(parts))
    assert all(min(r.beside_s["half"]) < max(r.beside_s["no_metrics"]) for r in parts)


def test_session_runs_every_cell_once(make_plan: MakePlan, trace: Path) -> None:
    """Noise first, then every group's training, starts and certificate, all in one file."""
    plan = make_plan(models="dense3,softmax_regression", rounds=1)
    records = list(run_session(plan, Recorder(), fake(trace)))

    assert records[0].task == "noise"
    trained = [r.cell for r in records if r.task == "train"]
    assert sorted(trained) == sorted(plan.cells)
    assert sorted(r.model for r in records if r.task == "parity") == [
        "dense3",
        "softmax_regression",
    ]
    assert len(record.read(plan.records_path)[0]) == len(records)


def test_resumed_session_measures_nothing_twice(make_plan: MakePlan, trace: Path) -> None:
    """A session that was interrupted goes on where it was, by its own options."""
    plan = make_plan(models="dense3,softmax_regression", rounds=1)
    with pytest.raises(KeyboardInterrupt):
        list(run_session(plan, Recorder(interrupt_after=80), fake(trace)))
    before, _ = record.read(plan.records_path)
    complete = [r for r in before if r.failure is None]
    assert 0 < len(complete) < len(before)

    again = make_plan(resume=str(plan.records_path), models=None, preset="quick", results="results")
    observer = Recorder()
    records = list(run_session(again, observer, fake(trace)))

    assert len(observer.found_ids) + len(observer.ended_ids) == len(records)
    assert (again.session, again.cells) == (plan.session, plan.cells)
    after, _ = record.read(plan.records_path)
    assert after[: len(before)] == before
    measured = [(r.task, r.cell, r.process) for r in after if r.failure is None]
    assert len(measured) == len(set(measured)) == len(records)


def test_resumed_session_keeps_its_options(make_plan: MakePlan, trace: Path) -> None:
    """An option that differs from what the session began with is refused."""
    plan = make_plan(rounds=1)
    list(run_session(plan, Recorder(), fake(trace)))

    with pytest.raises(ValueError, match="--rounds was 1 when the session began and is 2 now"):
        make_plan(resume=str(plan.records_path), rounds=2)
