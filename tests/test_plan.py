"""The plan: what is refused before anything starts, and what is decided."""

import json
import shutil
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fmnist import data, grid, models
from fmnist.options import OPTIONS, PlanError
from fmnist.session import plan
from fmnist.session.plan import Plan

MakePlan = Callable[..., Plan]


@pytest.mark.parametrize(
    ("own", "complaint"),
    [
        ({"preset": "huge"}, "unknown preset 'huge'; there are: smoke, quick, full"),
        ({"models": "dense3,mixer"}, "unknown model 'mixer'; there are: .*conv_8_24_48"),
        ({"backends": "torch"}, "unknown backend 'torch'; there are: tensorflow, jax"),
        ({"devices": "tpu"}, "unknown device 'tpu'; there are: cpu, gpu"),
        ({"modes": "fast"}, "unknown mode 'fast'; there are: stock, tuned"),
        ({"precision": "float8"}, "unknown precision 'float8'; there are: float32"),
        ({"batch_size": 128}, "batch size 128 does not divide the sets of 500, 500 images"),
        ({"batch_size": -5}, "batch size -5"),
        ({"batch_size": 0}, "batch size 0"),
        ({"seed": -1}, "--seed must be from 0 to 4294967295, got -1"),
        ({"time_limit": 0.0}, "--time-limit must be above 0 s, got 0"),
        ({"rounds": 0}, "--rounds must be at least 1, got 0"),
        ({"data_dir": "/no/such/folder"}, "/no/such/folder"),
    ],
)
def test_bad_options_are_refused(make_plan: MakePlan, own: dict[str, Any], complaint: str) -> None:
    """A wrong name, size or folder is an error that says what there is."""
    with pytest.raises(ValueError, match=complaint):
        make_plan(**own)


def test_third_backend_in_the_environment_is_refused(options: dict[str, Any]) -> None:
    """KERAS_BACKEND=torch gets a clear word: the suite has two backends."""
    with pytest.raises(PlanError, match=r"KERAS_BACKEND=torch.*two backends, tensorflow and jax"):
        plan.make(options, {"KERAS_BACKEND": "torch"})


def test_backend_in_the_environment_is_overruled_and_said(options: dict[str, Any]) -> None:
    """KERAS_BACKEND=jax does not narrow a session silently."""
    made = plan.make(options, {"KERAS_BACKEND": "jax"})

    assert {cell.backend for cell in made.cells} == set(grid.BACKENDS)
    assert any("KERAS_BACKEND=jax is overruled" in notice for notice in made.notices)


def test_users_keras_json_is_overruled_and_said(options: dict[str, Any], tmp_path: Path) -> None:
    """A configuration with other terms is told, one notice for each."""
    config = {"backend": "torch", "floatx": "float16", "image_data_format": "channels_first"}
    (tmp_path / "keras.json").write_text(json.dumps(config))
    notices = "\n".join(plan.make(options, {"KERAS_HOME": str(tmp_path)}).notices)

    assert "backend 'torch' of keras.json is overruled" in notices
    assert "floatx 'float16' of keras.json is overruled" in notices
    assert "image_data_format 'channels_first' of keras.json is overruled" in notices


@pytest.mark.parametrize("content", ["{", "[]", "\xff"])
def test_broken_keras_json_is_named(tmp_path: Path, content: str) -> None:
    """A configuration that Keras would ignore silently is an error with its path."""
    path = tmp_path / "keras.json"
    path.write_bytes(content.encode("latin-1"))

    with pytest.raises(PlanError, match=str(path)):
        plan.keras_json({"KERAS_HOME": str(tmp_path)})


def test_variables_that_cut_epochs_short_are_told(options: dict[str, Any]) -> None:
    """KERAS_MAX_EPOCHS would make every figure wrong: it is kept from the workers, and said."""
    made = plan.make(options, {"KERAS_MAX_EPOCHS": "1"})

    assert any("KERAS_MAX_EPOCHS=1 is not handed" in notice for notice in made.notices)


def test_gpu_that_is_not_there_is_an_error_with_the_command(
    make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A device that was asked for and is missing is an error, not a skip."""
    monkeypatch.setattr("fmnist.machine.gpus", list)
    with pytest.raises(PlanError, match=r"shows no gpu .*pip install .*jax-gpu"):
        make_plan(devices="gpu", backends="jax")


@pytest.mark.parametrize("backend", grid.BACKENDS)
def test_gpu_that_the_backend_does_not_see(
    make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    """Where the driver shows a GPU, Keras itself is asked, and its answer counts."""
    if shutil.which("nvidia-smi"):
        pytest.skip("this machine has a GPU")
    monkeypatch.setattr("fmnist.machine.gpus", lambda: [{"name": "a GPU"}])
    with pytest.raises(PlanError, match=f"{backend} sees no gpu on this machine; .*-gpu"):
        make_plan(devices="gpu", backends=backend)


def test_gpu_that_nobody_asked_for_is_skipped(
    make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a backend does not see the GPU that is there, its CPU is run, and that is said."""
    monkeypatch.setattr("fmnist.machine.gpus", lambda: [{"name": "a GPU"}])
    monkeypatch.setattr("fmnist.session.places._sees", lambda backend, *_: backend == "jax")
    made = make_plan()

    assert {(cell.backend, cell.device) for cell in made.cells} == {
        ("tensorflow", "cpu"),
        ("jax", "cpu"),
        ("jax", "gpu"),
    }
    assert any("skipped: tensorflow sees no gpu" in notice for notice in made.notices)


def test_device_alone_asks_for_no_backend(
    make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--devices cpu` runs on the backends that are installed."""
    monkeypatch.setattr("fmnist.session.places.installed", lambda name: name != "jax")

    assert {cell.backend for cell in make_plan(devices="cpu").cells} == {"tensorflow"}


def test_backend_that_is_not_installed(
    make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for, it is an error with the command; merely possible, it is skipped and said."""
    monkeypatch.setattr("fmnist.session.places.installed", lambda name: name != "jax")
    with pytest.raises(PlanError, match=r'jax is not installed here: pip install -e "\.\[jax\]"'):
        make_plan(backends="jax")

    made = make_plan()
    assert {cell.backend for cell in made.cells} == {"tensorflow"}
    assert any(notice.startswith("skipped: jax is not installed") for notice in made.notices)


def test_nothing_to_run_on_is_an_error(
    make_plan: MakePlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without any backend there is nothing to measure: each is named with its command."""
    monkeypatch.setattr("fmnist.session.places.installed", lambda name: False)  # noqa: ARG005
    with pytest.raises(PlanError, match=r"tensorflow is not installed .*; .*jax is not installed"):
        make_plan()


def test_order_is_shuffled_and_repeated_by_its_seed(make_plan: MakePlan) -> None:
    """The same seed gives the same order; over seeds, orders differ."""
    orders = [make_plan(models="dense3,dense_wide,leaky_cnn", order_seed=s).cells for s in range(5)]
    again = make_plan(models="dense3,dense_wide,leaky_cnn", order_seed=3).cells

    assert orders[3] == again
    assert len(set(orders)) > 1
    assert len({frozenset(order) for order in orders}) == 1


def test_drawn_order_seed_is_kept(make_plan: MakePlan) -> None:
    """Without --order-seed one is drawn, and the plan knows it so that it can be printed."""
    drawn = make_plan(models="dense3,leaky_cnn", order_seed=None)

    assert make_plan(models="dense3,leaky_cnn", order_seed=drawn.order_seed).cells == drawn.cells


def test_cells_of_a_model_form_a_group(make_plan: MakePlan) -> None:
    """What will be compared is run together: a group is one model on both backends."""
    made = make_plan(models="dense3,leaky_cnn")

    assert all(len({cell.model for cell in group}) == 1 for group in made.groups)
    assert all({cell.backend for cell in group} == set(grid.BACKENDS) for group in made.groups)


def test_full_preset_follows_the_recipes(make_plan: MakePlan) -> None:
    """Epochs and validation share of `full` are the model's own; --rounds cuts the epochs."""
    recipe = models.card("conv_8_24_48").recipe
    made = make_plan(preset="full", models="conv_8_24_48")
    job = made.job(made.cells[0], "train")

    assert made.epochs["conv_8_24_48"] == recipe.epochs == 20
    assert (job.train_images, job.validation_images, job.test_images) == (60_000, 12_000, 10_000)
    cut = make_plan(preset="full", models="conv_8_24_48", rounds=5)
    assert cut.epochs["conv_8_24_48"] == 6


def test_recipe_keeps_the_images_of_the_preset(make_plan: MakePlan) -> None:
    """With --recipe a sample is trained on by the model's own epochs, batch and validation."""
    recipe = models.card("conv_8_24_48").recipe
    made = make_plan(preset="quick", models="conv_8_24_48", recipe=True)
    job = made.job(made.cells[0], "train")

    assert made.epochs["conv_8_24_48"] == recipe.epochs
    assert (job.train_images, job.validation_images, job.test_images) == (2_500, 500, 2_000)
    assert (made.preset.batch_size, made.preset.rounds) == (None, None)
    assert made.cells[0].batch_size == recipe.batch_size
    with pytest.raises(ValueError, match="batch size 250 does not divide the sets of 400, 100"):
        make_plan(models="conv_8_24_48", recipe=True, batch_size=250)


def test_every_model_is_run_by_full(make_plan: MakePlan) -> None:
    """The preset that gets published leaves no model out but the racers, which can be named."""
    made = make_plan(preset="full", models=None)

    assert {cell.model for cell in made.cells} == set(models.names()) - set(models.racers())
    assert make_plan(models="racer_92").cells


def test_session_writes_where_it_was_told(make_plan: MakePlan, tmp_path: Path) -> None:
    """Records go to raw/SESSION.jsonl and logs beside them, in the folder of --results."""
    made = make_plan()

    assert made.records_path == tmp_path / "results" / "raw" / f"{made.session}.jsonl"
    assert made.log_path(made.cells[0], "train", "worker0").is_relative_to(
        tmp_path / "results" / "logs"
    )


def test_stand_in_is_announced(make_plan: MakePlan) -> None:
    """Nobody takes the stand-in for Fashion-MNIST: the plan's notices say it in capitals."""
    assert any("STAND-IN" in notice for notice in make_plan(data_dir=data.STAND_IN).notices)


def test_real_data_needs_no_notice(make_plan: MakePlan, real_data: Path) -> None:
    """With Fashion-MNIST at hand there is nothing to say."""
    made = make_plan(data_dir=str(real_data))

    assert made.source.kind == "fashion-mnist"
    assert not any("STAND-IN" in notice for notice in made.notices)


def test_options_have_help() -> None:
    """Every option says what it does, and its flag is spelled with dashes."""
    assert all(option.help and option.flag.startswith("--") for option in OPTIONS)


@pytest.mark.parametrize(
    ("own", "complaint"),
    [
        ({"budget": "soon"}, "--budget must be a time like 90s, 10m or 2h, got 'soon'"),
        ({"budget": "0m"}, "--budget must be a time"),
        ({"precision_target": 0.0}, "between 0 and 100 per cent, got 0"),
        ({"processes": 0}, "--processes must be at least 1, got 0"),
        ({"seeds": 0}, "--seeds must be at least 1, got 0"),
        ({"xla": "maybe"}, "there are: auto, on, off"),
        ({"env": ["old"]}, "--env must be NAME=REQUIREMENTS"),
        ({"env": ["a=x", "a=y"]}, "names 'a' twice"),
        ({"python": ["torch=/usr/bin/python3"]}, "BACKEND=PATH with a backend of tensorflow, jax"),
        ({"python": ["jax=/no/such/python"]}, "cannot be started"),
        ({"resume": "/no/such/raw/session.jsonl"}, "a session is resumed where it ran"),
    ],
)
def test_bad_terms_of_trust_are_refused(
    make_plan: MakePlan, own: dict[str, object], complaint: str
) -> None:
    """A time, share, count or environment that makes no sense is refused, with what would."""
    with pytest.raises(ValueError, match=complaint):
        make_plan(**own)


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("1.5h", 5_400)])
def test_budget_is_a_time(make_plan: MakePlan, text: str, seconds: float) -> None:
    """A budget is read with its unit."""
    assert make_plan(budget=text).budget_s == seconds


def test_xla_is_an_axis(make_plan: MakePlan) -> None:
    """`auto,on` gives every backend a cell by its own choice and one with XLA, in one group."""
    (group,) = make_plan(xla="auto,on").groups

    assert sorted((cell.backend, cell.xla) for cell in group) == [
        *(("jax", "auto"), ("jax", "on")),
        *(("tensorflow", "auto"), ("tensorflow", "on")),
    ]


def test_noise_cell_is_the_cheapest_one(make_plan: MakePlan) -> None:
    """The cell that is run against itself has the fewest parameters of those planned."""
    made = make_plan(models="conv_8_24_48,dense3,lenet_dropout")

    assert (made.noise_cell.model, made.noise_cell.backend) == ("dense3", "tensorflow")


def test_noise_cell_may_be_named(make_plan: MakePlan) -> None:
    """Any cell of the session can be the one; a name that none of them has is refused with all."""
    wanted = "softmax_regression-jax-cpu-stock-b100-float32"
    made = make_plan(noise_cell=wanted, noise_rounds=7)

    assert made.noise_cell.id == wanted
    assert made.noise_rounds == 7
    with pytest.raises(ValueError, match="unknown cell in --noise-cell 'dense3'; there are: "):
        make_plan(noise_cell="dense3")


def test_interpreter_without_the_suite_is_refused(make_plan: MakePlan, tmp_path: Path) -> None:
    """An interpreter that cannot import the suite is an error with the command that installs it."""
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    python = tmp_path / "bare" / "bin" / "python"

    with pytest.raises(ValueError, match=r"cannot import fmnist.*-m pip install -e"):
        make_plan(python=[f"jax={python}"])


def test_backend_may_have_an_interpreter_of_its_own(make_plan: MakePlan) -> None:
    """--python decides what is started for that backend, and for no other."""
    made = make_plan(python=[f"jax={sys.executable}"])
    programs = {cell.backend: made.program(cell)[0] for cell in made.cells}

    assert programs == {"jax": sys.executable, "tensorflow": sys.executable}
