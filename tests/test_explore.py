"""What the data set is like, as its own pixels and labels say."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from fmnist import data, grid, models
from fmnist.cli import main
from fmnist.lessons import by_keras, explore
from fmnist.report.render import NOTHING


def call(*arguments: object) -> Result:
    """Run the command in this process; what it starts is real."""
    return CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)


def of_labels(labels: list[int], test_labels: list[int]) -> data.Dataset:
    """Return a data set of random images with these labels."""
    rng = np.random.default_rng(0)
    train, test = (
        rng.integers(0, 256, (len(x), 28, 28), np.uint8) * (rng.random((len(x), 28, 28)) < 0.5)
        for x in (labels, test_labels)
    )
    return data.Dataset(
        *("stand-in", train.astype(np.uint8), np.array(labels, np.uint8)),
        *(test.astype(np.uint8), np.array(test_labels, np.uint8)),
    )


def test_statistics_are_numpys() -> None:
    """Counting shades gives what NumPy computes of the pixels themselves."""
    dataset = of_labels([0, 0, 1, 9, 9, 9], [0, 3])
    _, sets, classes = explore.tables(dataset, [])

    shirts = dataset.train_images[:2]
    for row, pixels in ((sets.rows[0], dataset.train_images), (classes.rows[0], shirts)):
        assert float(row[1]) == pytest.approx(pixels.mean(), rel=5e-3)
        assert float(row[2]) == pytest.approx(pixels.std(), rel=5e-3)
        assert row[3:5] == (str(pixels.min()), str(pixels.max()))
        assert float(row[5]) == pytest.approx(100 * (pixels == 0).mean(), abs=5e-3)
    assert classes.rows[5] == ("Sandal", *(NOTHING,) * 5)


def test_balance_counts_each_class() -> None:
    """Each class has its images and their share, and the last line has all."""
    balance, *_ = explore.tables(of_labels([0, 0, 1, 9], [3, 3]), [])

    assert balance.rows[0] == ("T-shirt/top", "2", "50.00", "0", "0.00")
    assert balance.rows[3] == ("Dress", "0", "0.00", "2", "100.00")
    assert balance.rows[-1] == ("all", "4", "100.00", "2", "100.00")


def test_overview_has_a_row_for_each_class() -> None:
    """Of a class with fewer images than columns, the rest of its row stays white."""
    few = explore.overview(of_labels([0] * 12 + [1], [0]))
    none = np.asarray(few)[few.height // 2 :]

    assert few.height > few.width
    assert (none > 0).all()


def test_real_set_is_balanced(real_data: Path) -> None:
    """Fashion-MNIST has 6,000 and 1,000 images of each class, half of their pixels black."""
    result = call("data", "--explore", "--data-dir", real_data)

    lines = {" ".join(line.split()) for line in result.output.splitlines()}
    assert result.exit_code == 0
    assert {f"{name} 6,000 10.00 1,000 10.00" for name in data.CLASS_NAMES} <= lines
    assert "training 72.9 90.0 0 255 50.21" in lines
    assert "data set: fashion-mnist" in lines


@pytest.mark.slow
def test_stand_in_is_named_everywhere(tmp_path: Path) -> None:
    """Tables, file names, and the words of the pictures all say which data was explored."""
    result = call(
        *("data", "--explore", "--data-dir", "stand-in", "--sample", 600, "--pictures", tmp_path)
    )

    assert result.exit_code == 0
    assert result.output.count("data set: stand-in") == 3
    assert "all 600 100.00 100 100.00" in " ".join(result.output.split())
    names = {path.name for path in tmp_path.iterdir()}
    expected = ("stand-in-samples.png", "stand-in-class-balance.svg", "stand-in-class-balance.png")
    assert names == set(expected)
    assert "stand-in" in (tmp_path / "stand-in-class-balance.svg").read_text(encoding="utf-8")
    with Image.open(tmp_path / "stand-in-samples.png") as drawn:
        assert np.asarray(drawn).min() == 0


@pytest.mark.parametrize("source", ["stand-in", "real"])
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--explore", "--sample", "60001"], "60001 images"),
        (["--explore", "--sample", "9"], "9 is not in the range x>=10"),
        (["--sample", "100"], "--sample and --pictures are of what --explore prints"),
    ],
)
def test_samples_that_cannot_be_are_refused(
    source: str, arguments: list[str], complaint: str, request: pytest.FixtureRequest
) -> None:
    """More images than there are, fewer than classes, or a sample of nothing: status 2."""
    folder = request.getfixturevalue("real_data") if source == "real" else source
    result = call("data", "--data-dir", folder, *arguments)

    assert result.exit_code == 2
    assert complaint in result.output.replace("a sample of ", "")


@pytest.mark.slow
@pytest.mark.parametrize("backend", grid.BACKENDS)
def test_three_ways_agree_on_all_labels(backend: str) -> None:
    """Our own code, scikit-learn and Keras encode all 70,000 labels alike."""
    whole = data.load(data.locate())
    labels = np.concatenate([whole.train_labels, whole.test_labels])
    own, by_sklearn, by_keras_ = explore.one_hot_three_ways(labels, backend).values()

    assert own.shape == (70_000, 10)
    assert np.array_equal(own, by_sklearn)
    assert np.array_equal(own, by_keras_)


@pytest.mark.slow
def test_encoding_is_printed() -> None:
    """The first labels are shown with their class and their vector, and all three are equal."""
    result = call("data", "--encode", "--data-dir", "stand-in")

    assert result.exit_code == 0
    assert "0 0 0 0 0 0 0 0 1 0" in result.output
    assert [line.split()[-1] for line in result.output.splitlines() if "70000x10" in line] == [
        "70000"
    ] * 3
    assert result.output.endswith("all three ways are equal\n")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lenet_dropout", "deep_batchnorm"])
def test_layers_add_up_to_the_model(name: str) -> None:
    """Each layer takes what the one before gives, and their parameters are those of the card."""
    layers = by_keras.layers(name, "jax")

    assert sum(layer.parameters for layer in layers) == models.card(name).parameters
    for before, after in pairwise(layers):
        assert before.outputs == after.inputs
    assert (layers[0].inputs, layers[-1].outputs) == ((28, 28, 1), (10,))


@pytest.mark.slow
def test_layers_of_a_model_are_printed() -> None:
    """Flatten and pooling say what they do to the shape; dense, conv and all have their sums."""
    lines = {" ".join(line.split()) for line in call("models", "lenet_dropout").output.splitlines()}

    assert {
        "conv2d_1 Conv2D 13x13x32 11x11x64 18,496 2,230,272",
        "max_pooling2d_1 MaxPooling2D 11x11x64 5x5x64 1 of each 2x2, valid 0 0",
        "flatten Flatten 5x5x64 1600 5 * 5 * 64 in one row 0 0",
        "sum of dense 2 layers 206,218 206,080",
        "sum of conv 2 layers 18,816 2,424,960",
        "sum 10 layers 225,034 2,631,040",
    } <= lines


def test_layers_of_no_model_are_refused() -> None:
    """A name without a model ends with status 2 and the names that there are."""
    result = call("models", "mixer")

    assert result.exit_code == 2
    assert "unknown model 'mixer'; there are: " in result.output
