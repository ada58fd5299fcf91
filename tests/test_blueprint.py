"""Models described by their name: what a name means, and which names mean nothing."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from on_backend import answer
from samples import record

from fmnist import blueprint, grid, models
from fmnist.measure import utc_now
from fmnist.options import OPTIONS
from fmnist.record import append
from fmnist.report.check import check
from fmnist.session import plan

SCRIPT = Path(__file__).with_name("blueprinted.py")
LENET = "conv32-pool-drop25-conv64-pool-drop25-dense128-drop40"
WORDS = st.one_of(
    *(st.integers(1, 40).map(f"{kind}{{}}".format) for kind in ("conv", "drop", "dense", "l2e")),
    st.sampled_from(["pool", "norm", "logits"]),
)


@pytest.fixture(scope="module", params=grid.BACKENDS)
def built(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What blueprints become on one backend."""
    return answer(SCRIPT, request.param)


@pytest.mark.slow
def test_built_as_counted(built: dict[str, Any]) -> None:
    """The parent counts a blueprint's parameters without Keras as Keras does; the family fits."""
    for name, found in built["blueprints"].items():
        card = models.card(name)

        assert found["parameters"]["total"] == card.parameters
        assert (found["parameters"]["conv"] > 0) == (card.family == "conv")
        assert found["shapes"] == [[None, 28, 28, 1], [None, 10]]
        assert found["finite"]


@pytest.mark.slow
def test_blueprint_of_lenet_is_lenet(built: dict[str, Any]) -> None:
    """The blueprint builds the layers of the file, with the same settings."""
    assert built["blueprints"][LENET]["layers"] == built["lenet_dropout"]


@pytest.mark.slow
def test_regularisation_is_on_every_kernel(built: dict[str, Any]) -> None:
    """With l2eN every layer with a kernel has it, that of the logits too; without it none."""
    for name, found in built["blueprints"].items():
        assert set(found["regularised"]) == {"l2e" in name}


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("logits", models.card("softmax_regression").parameters),
        (LENET, models.card("lenet_dropout").parameters),
        ("dense128-dense64", models.card("dense3").parameters),
        # No bias before the norm, whose four vectors count.
        ("conv4-norm-dense3", 9 * 4 + 4 * 4 + 26 * 26 * 4 * 3 + 3 + 3 * 10 + 10),
    ],
)
def test_parameters_by_hand(name: str, parameters: int) -> None:
    """A blueprint has the parameters of the file that describes the same model."""
    assert models.card(name).parameters == parameters


def test_batch_statistics_are_those_of_norm() -> None:
    """A blueprint with `norm` says that the images of a batch see each other; others do not."""
    assert models.card("conv4-norm-dense3").batch_statistics
    assert not models.card(LENET).batch_statistics


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("conv8-pol", "'pol' is no token; there are: convF, pool, dropP"),
        ("conv8-pool-", "'' is no token"),
        ("conv08-pool", "'conv08' is no token"),
        ("conv٣-pool", "'conv٣' is no token"),
        ("pool-pool-pool-pool-pool", "pool: the image has shrunk away"),
        ("pool-pool-pool-conv8-conv8", "conv8: the image has shrunk away"),
        ("dense8-conv3", "conv3 behind a dense layer: there is no image"),
        ("dense8-pool", "pool behind a dense layer: there is no image"),
        ("norm-conv8", "norm has no layer before it"),
        ("conv8-pool-norm", "norm behind pool"),
        ("l2e4", "l2e4 has no layer before it"),
        ("l2e4-dense8", "l2e4 has no layer before it"),
        ("dense8-l2e4-drop10", "l2e4 is for the whole model: it stands at the end"),
        ("dense8-l2e10", "the exponent is from 1 to 9"),
        ("logits-drop20", "logits stands alone"),
        ("drop100-dense8", "dropout is from 1 to 99 per cent"),
        ("dense99999999", "79,499,999,215 parameters; 100,000,000 are allowed"),
        (f"conv{'9' * 50}-pool", "is no token"),
        ("-".join(["drop10"] * 30), "209 characters; 120 are allowed"),
    ],
)
def test_what_describes_no_model_is_refused(name: str, said: str) -> None:
    """The message says which token is wrong, and what is allowed."""
    with pytest.raises(blueprint.BlueprintError) as refused:
        models.card(name)

    assert said in str(refused.value)


@settings(deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=12).map("-".join))
def test_any_words_are_a_model_or_an_error(name: str) -> None:
    """A name is either refused, or one model with that very name and a size that is allowed."""
    try:
        found = blueprint.parse(name)
    except blueprint.BlueprintError:
        return
    assert found.name == name
    assert 10 < found.parameters <= blueprint.MOST_PARAMETERS


@settings(deadline=None)
@given(st.text(max_size=150))
def test_any_text_is_a_model_or_a_value_error(name: str) -> None:
    """No text brings the parser down, and what it takes names a file safely."""
    try:
        found = blueprint.parse(name)
    except blueprint.BlueprintError:
        return
    assert found.name == name
    assert name.isascii()
    assert name.replace("-", "").isalnum()


def test_unknown_name_tells_of_blueprints() -> None:
    """A name without any token is an unknown model; what there is ends with how to describe one."""
    with pytest.raises(grid.UnknownNameError, match="or a blueprint like conv8-pool-dense64"):
        models.card("mixer")


def test_file_comes_before_the_blueprint_of_its_name() -> None:
    """`dense3` is the model of that file, and not three units."""
    assert models.card("dense3").origin != "blueprint"
    assert models.card("dense3-l2e4").parameters == 784 * 3 + 3 + 3 * 10 + 10


def test_session_takes_a_blueprint() -> None:
    """Wherever a model is named, a valid blueprint passes, and makes a cell with a usable name."""
    options = {option.name: option.default for option in OPTIONS}
    own = {"preset": "smoke", "backends": "jax", "devices": "cpu", "data_dir": "stand-in"}
    made = plan.make(options | own | {"models": f"{LENET},logits"}, os.environ)

    assert {cell.model for cell in made.cells} == {LENET, "logits"}
    assert all("/" not in cell.id and len(cell.id) < 200 for cell in made.cells)
    with pytest.raises(blueprint.BlueprintError):
        plan.make(options | own | {"models": "conv8-norm-norm"}, os.environ)


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ({"model": "dense128-dense64"}, ""),
        ({"model": "dense128-dense63"}, "the model of this name has 109,247"),
        ({"model": "conv8-pol"}, "unknown model 'conv8-pol'"),
    ],
)
def test_check_counts_a_blueprint(tmp_path: Path, own: dict[str, Any], said: str) -> None:
    """A record of a blueprint must have the parameters that its name makes."""
    path = tmp_path / "s.jsonl"
    append(record(**own), path)
    of_models = [
        str(finding)
        for finding in check(path, {}, utc_now()).findings
        if "parameters" in str(finding) or "unknown model" in str(finding)
    ]

    assert bool(of_models) == bool(said)
    assert said in "".join(of_models)
