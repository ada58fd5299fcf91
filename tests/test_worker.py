"""Real workers: real Keras, both backends, on drawn images."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from test_launch import Recorder

from fmnist import grid
from fmnist.measure import Stopwatch
from fmnist.options import OPTIONS
from fmnist.record import Record
from fmnist.session import launch, plan
from fmnist.session.plan import Plan
from fmnist.training import worker

MakePlan = Callable[..., Plan]
EVERY_BACKEND = pytest.mark.parametrize("backend", grid.BACKENDS)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Record], float]:
    """Both backends on the smallest model, trained for three epochs."""
    options = {option.name: option.default for option in OPTIONS} | {
        "preset": "smoke",
        "models": "softmax_regression",
        "data_dir": "stand-in",
        "results": str(tmp_path_factory.mktemp("results")),
    }
    planned = plan.make(options, {})
    stopwatch = Stopwatch()
    stopwatch.start()
    records = launch.run_group(planned, planned.cells, Recorder())
    wall_s = stopwatch.stop()
    return records, wall_s


@pytest.fixture(scope="module")
def trained(run: tuple[list[Record], float]) -> list[Record]:
    """The records of the run."""
    return run[0]


def test_both_backends_train_from_one_definition(trained: list[Record]) -> None:
    """TensorFlow and JAX each return a complete record, better than a guess."""
    assert {r.backend: r.failure for r in trained} == {"tensorflow": None, "jax": None}
    for got in trained:
        assert got.accuracy is not None
        assert got.accuracy > 0.2
        assert len(got.epoch_s) == 2
        assert got.parameters is not None
        assert got.parameters.dense == 7_850


def test_terms_are_collected_in_the_worker(trained: list[Record]) -> None:
    """Versions, resolved compilation, processors, memory and flags are the worker's own."""
    for got in trained:
        assert got.versions["keras"]
        assert got.versions[got.backend]
        assert got.jit_compile is (got.backend == "jax")
        assert got.threads["cpus"]
        assert got.flags["KERAS_BACKEND"] == got.backend
        assert got.peak_memory_bytes is not None
        assert got.peak_memory_bytes.host > 50_000_000


def test_both_backends_count_the_same_work(trained: list[Record]) -> None:
    """Multiply-accumulates are the model's own, whatever runs it: here 784 pixels to 10 classes."""
    for got in trained:
        assert list(got.forward_macs.values()) == [7_840]
        assert got.train_flop_per_image == 2 * 2 * 7_840


def test_each_worker_measures_its_machine(trained: list[Record]) -> None:
    """A matrix product in the precision of the cell, and what the memory moves."""
    for got in trained:
        assert got.peaks is not None
        assert got.peaks.matmul_dtype == "float32"
        assert got.peaks.matmul_flop_per_s > 1e8
        assert got.peaks.triad_bytes_per_s > 1e8


def test_jax_worker_is_free_of_tensorflow(trained: list[Record]) -> None:
    """A JAX process does not carry TensorFlow along: its times and its memory are its own."""
    jax = next(r for r in trained if r.backend == "jax")

    assert "tensorflow" not in jax.versions


def test_parts_take_no_longer_than_the_wall_time(run: tuple[list[Record], float]) -> None:
    """The seconds of all records add up to less than the run took; compilation comes first."""
    records, wall_s = run
    parts = [
        (r.import_s or 0) + (r.build_s or 0) + (r.first_epoch_s or 0) + sum(r.epoch_s)
        for r in records
    ]

    assert sum(parts) < wall_s
    assert all((r.first_epoch_s or 0) > min(r.epoch_s) for r in records)


@pytest.mark.slow
def test_same_seed_gives_the_same_history_on_jax(make_plan: MakePlan) -> None:
    """On JAX a seed decides weights, batches and samples: the losses repeat."""
    histories = []
    for _ in range(2):
        planned = make_plan(backends="jax", rounds=1, seed=7)
        got = launch.run_group(planned, planned.cells, Recorder())[0]
        histories.append([x for e in got.history for x in (e.train_loss, e.test_accuracy)])

    assert histories[0] == pytest.approx(histories[1], rel=1e-4)


@pytest.mark.slow
def test_peaks_are_no_memory_of_the_cell(make_plan: MakePlan) -> None:
    """The arrays of the triad are not in the peak memory of a cell: a start holds about as much."""
    planned = make_plan(backends="jax", rounds=1)
    (trained,) = launch.run_group(planned, planned.cells, Recorder())
    (started,) = launch.run_group(planned, planned.cells, Recorder(), "startup")

    assert trained.peaks is not None
    assert trained.peak_memory_bytes is not None
    assert started.peak_memory_bytes is not None
    more = trained.peak_memory_bytes.host - started.peak_memory_bytes.host
    assert more < trained.peaks.triad_array_bytes


@EVERY_BACKEND
def test_users_configuration_is_overruled_and_said(
    make_plan: MakePlan, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A keras.json with float16 and channels_first is overruled, and the record says so."""
    config = {"backend": "torch", "floatx": "float16", "image_data_format": "channels_first"}
    (tmp_path / "keras.json").write_text(json.dumps(config))
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    planned = make_plan(models="lenet_dropout", backends=backend, rounds=1)
    record = launch.run_group(planned, planned.cells, Recorder(), "startup")[0]

    assert record.failure is None
    assert record.flags["keras.json floatx"] == "float16, overruled"
    assert record.flags["keras.json image_data_format"] == "channels_first, overruled"


@pytest.mark.slow
@EVERY_BACKEND
def test_validation_share_is_taken_from_the_training_images(
    make_plan: MakePlan, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a share of 0.2, 400 of 500 images are trained on and 100 validate every epoch."""
    smoke = dataclasses.replace(grid.PRESETS["smoke"], validation=True)
    monkeypatch.setattr(grid, "PRESETS", {"smoke": smoke})
    planned = make_plan(models="leaky_cnn", backends=backend, rounds=1)
    got = launch.run_group(planned, planned.cells, Recorder())[0]

    assert got.failure is None
    assert (got.train_images, got.validation_images, got.test_images) == (400, 100, 500)
    assert all(epoch.validation_accuracy is not None for epoch in got.history)


def test_sets_are_what_keras_is_given(make_plan: MakePlan) -> None:
    """Images are (n, 28, 28, 1) floats in [0, 1]; labels are one-hot where the loss wants it."""
    planned = make_plan()
    job = planned.job(planned.cells[0], "train").model_copy(update={"validation_images": 100})
    one_hot = job.recipe.model_copy(update={"loss": "categorical_crossentropy"})
    sets = worker.prepare(job.model_copy(update={"recipe": one_hot}))
    plain = worker.prepare(job)

    assert sets.validation is not None
    assert sets.train.images.shape == (400, 28, 28, 1)
    assert sets.validation.images.shape == (100, 28, 28, 1)
    assert sets.train.images.dtype == "float32"
    assert 0 <= sets.train.images.min() < sets.train.images.max() <= 1
    assert sets.train.labels.shape == (400, 10)
    assert plain.train.labels.shape == (400,)
    assert (sets.train.labels.argmax(axis=1) == plain.train.labels).all()


@pytest.mark.parametrize(
    ("model", "mode", "cpus", "is_set"),
    [
        ("lenet_dropout", "tuned", (0, 1), True),
        ("conv8-pool-dense16", "environment+loop", (0, 1), True),
        ("lenet_dropout", "environment", (0, 1), False),  # no loop: no halves
        ("dense3", "tuned", (0, 1), False),
        ("deep_batchnorm", "tuned", (0, 1), False),
        ("conv8-norm-pool", "tuned", (0, 1), False),
        ("lenet_dropout", "tuned", (0,), False),
        ("lenet_dropout", "tuned", (0, 1, 2), False),  # one would be left idle
    ],
)
def test_a_thread_for_each_half_where_there_are_two(
    make_plan: MakePlan, model: str, mode: str, cpus: tuple[int, ...], *, is_set: bool
) -> None:
    """TensorFlow's threads are set for a loop of halves on just two processors."""
    planned = make_plan(backends="tensorflow", models=model, modes=mode)
    job = planned.job(planned.cells[0], "train").model_copy(update={"cpus": cpus})
    expected = grid.settings("tensorflow", "cpu", mode, "Linux") if is_set else ()

    assert worker.helpful_settings(job) == list(expected)


@EVERY_BACKEND
def test_device_that_the_backend_does_not_see(make_plan: MakePlan, backend: str) -> None:
    """A GPU that went away after the plan was made is a failed cell that says so."""
    if shutil.which("nvidia-smi"):
        pytest.skip("this machine has a GPU")
    cell = grid.Cell("softmax_regression", backend, "gpu")
    record = launch.run_group(make_plan(backends=backend), [cell], Recorder(), "startup")[0]

    assert record.failure is not None
    assert f"{backend} sees no gpu on this machine" in record.failure


@pytest.mark.slow
@EVERY_BACKEND
@pytest.mark.parametrize("precision", grid.PRECISIONS)
def test_every_precision_runs(make_plan: MakePlan, backend: str, precision: str) -> None:
    """Each precision that the grid offers trains a convnet on each backend."""
    terms = {"models": "lenet_dropout", "backends": backend, "precision": precision}
    planned = make_plan(**terms, rounds=1, time_limit=900)  # a processor makes float16 from float32
    got = launch.run_group(planned, planned.cells, Recorder())[0]

    assert got.failure is None
    assert got.precision == precision
    assert got.peaks is not None
    assert got.peaks.matmul_dtype == precision.removeprefix("mixed_")
