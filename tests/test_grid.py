"""The axes: names, environments, batch sizes."""

from typing import Any

import pytest

from fmnist import grid, models
from fmnist.grid import Cell


def test_cell_has_a_name_to_select_it_by() -> None:
    """A cell's id holds every axis, so that -k can choose by any of them."""
    assert Cell("dense3", "jax", "cpu").id == "dense3-jax-cpu-stock-b100-float32"


@pytest.mark.parametrize(
    ("axis", "wrong", "listed"),
    [
        ("backend", {"backend": "torch"}, "tensorflow, jax"),
        ("device", {"device": "tpu"}, "cpu, gpu"),
        ("mode", {"mode": "fast"}, "stock, tuned, environment, layers, loop"),
        ("precision", {"precision": "float8"}, "float32, mixed_bfloat16"),
    ],
)
def test_unknown_names_list_what_there_is(axis: str, wrong: dict[str, str], listed: str) -> None:
    """A cell with a name that the grid does not have is refused, and the others are listed."""
    terms: dict[str, Any] = {"model": "dense3", "backend": "jax", "device": "cpu", **wrong}
    with pytest.raises(grid.UnknownNameError, match=f"unknown {axis} .*there are: {listed}"):
        Cell(**terms)


def test_batch_size_below_one_is_refused() -> None:
    """A cell of no images per step cannot be built."""
    with pytest.raises(ValueError, match="at least 1"):
        Cell("dense3", "jax", "cpu", batch_size=0)


@pytest.mark.parametrize(
    ("terms", "complaint"),
    [
        ({"replicas": 3, "hosts": 2, "batch_size": 90}, "3 replicas cannot be spread evenly"),
        ({"replicas": 3}, "a batch of 100 images does not divide over 3"),
        ({"replicas": 2, "mode": "tuned"}, "mode tuned is for one device, got 2 replicas"),
        ({"hosts": 2}, "1 to as many hosts; got 1 replicas on 2 hosts"),
    ],
)
def test_replicas_that_cannot_be_are_refused(terms: dict[str, Any], complaint: str) -> None:
    """Replicas are as many on each host, take equal parts of a batch, and train as stock does."""
    with pytest.raises(ValueError, match=complaint):
        Cell("dense3", "jax", "cpu", **terms)


@pytest.mark.parametrize("backend", grid.BACKENDS)
def test_environment_is_the_cells_own(backend: str) -> None:
    """The child's backend is the cell's, whatever the parent's environment says."""
    environment = grid.env_for(
        Cell("dense3", backend, "cpu"),
        {"KERAS_BACKEND": "torch", "HOME": "/home/x", "KERAS_MAX_EPOCHS": "1"},
    )

    assert environment["KERAS_BACKEND"] == backend
    assert environment["HOME"] == "/home/x"
    assert "KERAS_MAX_EPOCHS" not in environment


def test_flags_hold_what_moves_a_time_and_no_private_path() -> None:
    """Recorded are variables of frameworks and allocators, not the user's folders."""
    environ = {
        "XLA_FLAGS": "--x",
        "GLIBC_TUNABLES": "t",
        "KERAS_HOME": "/home/ann",
        "TF_CLI_CONFIG_FILE": "/home/ann/.rc",
        "HOME": "/home/ann",
    }
    assert grid.flags_in(environ) == {"GLIBC_TUNABLES": "t", "XLA_FLAGS": "--x"}


def test_batch_size_that_leaves_a_rest_is_refused_by_those_that_do_not() -> None:
    """128 does not divide 60,000 and 10,000; the error names sizes that do."""
    with pytest.raises(ValueError, match=r"128 does not divide.*60,000, 10,000.*20, 25,.*100, 125"):
        grid.check_batch_size(128, [60_000, 10_000])


@pytest.mark.parametrize("preset", grid.PRESETS.values(), ids=grid.PRESETS)
def test_presets_can_be_run(preset: grid.Preset) -> None:
    """Every preset names models that exist, and a batch size that divides its overhead sets."""
    assert set(preset.models or ()) <= set(models.names())
    grid.check_batch_size(preset.batch_size or 100, [preset.overhead_images])


def test_no_backend_needs_the_other_ones_package() -> None:
    """Each backend states its own package and how to install it on each device."""
    for name, backend in grid.BACKENDS.items():
        assert set(backend.install) == set(backend.environment) == set(grid.DEVICES)
        assert all(name in command for command in backend.install.values())


def test_modes_are_the_knobs_in_every_combination() -> None:
    """Stock has no knob, tuned has all, and between them is every other set, named by its knobs."""
    combinations = {frozenset(mode.knobs) for mode in grid.MODES.values()}

    assert grid.MODES["stock"].knobs == ()
    assert grid.MODES["tuned"].knobs == grid.KNOBS
    assert len(combinations) == 2 ** len(grid.KNOBS)


def test_knob_sets_the_allocator_before_python_runs() -> None:
    """On Linux the environment knob gives JAX on a CPU glibc's tunables; stock has the user's."""
    cells = [Cell("dense3", "jax", "cpu", mode) for mode in ("stock", "layers", "tuned")]
    settings = [grid.env_for(cell, {}).get("GLIBC_TUNABLES") for cell in cells]

    assert settings == [None, None, grid.KEEP_MEMORY.value]
    assert grid.settings("jax", "cpu", "tuned", "Darwin") == ()


def test_threads_of_halves_are_set_by_the_worker() -> None:
    """What depends on the model and its processors the parent leaves alone, in every mode."""
    cells = [Cell("lenet_dropout", "tensorflow", "cpu", mode) for mode in ("stock", "tuned")]
    names = {setting.variable for setting in grid.ONE_THREAD_FOR_EACH_HALF}

    assert all(names.isdisjoint(grid.env_for(cell, {})) for cell in cells)
    assert {s.variable for s in grid.settings("tensorflow", "cpu", "tuned", "Linux")} == names


def test_setting_is_added_to_the_users_own_flags() -> None:
    """XLA_FLAGS of the user's stay; the suite's comes last, where XLA takes it."""
    assert grid.XLA_CONVOLUTION.into({"XLA_FLAGS": "--own=1"}) == {
        "XLA_FLAGS": f"--own=1 {grid.XLA_CONVOLUTION.value}"
    }
    assert grid.KEEP_MEMORY.into({"GLIBC_TUNABLES": "own"}) == {
        "GLIBC_TUNABLES": grid.KEEP_MEMORY.value
    }


def test_flag_is_given_to_releases_that_it_helps() -> None:
    """Releases before 0.8.2 would die of it, others would not gain: docs/findings.md."""
    helped = ["0.10.1", "0.10.2", "0.12.0"]
    others = ["0.7.0", "0.8.1", "0.9.2", "0.10.0", "0.11.0", "0.11.2", "0.13.0"]

    assert list(grid.XLA_CONVOLUTION.releases.filter([*others, *helped])) == helped


def test_xla_is_an_axis_of_stock_alone() -> None:
    """A tuned loop decides by itself what XLA compiles: a cell that says otherwise is refused."""
    with pytest.raises(ValueError, match="mode tuned is for XLA auto, got on"):
        Cell("dense3", "jax", "cpu", "tuned", xla="on")
