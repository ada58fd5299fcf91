"""`fmnist analyse`: tables, pictures and grids of saved predictions, without training again."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from samples import CONV, failed, learned, record

from fmnist import data
from fmnist.cli import main
from fmnist.data import standin
from fmnist.record import Predictions, Record, append
from fmnist.report.pictures import classified, image_grid

IMAGES = 60


def analyse(*arguments: object) -> Result:
    """Run the command in this process; an unexpected exception is raised, not swallowed."""
    return CliRunner().invoke(main, ["analyse", *map(str, arguments)], catch_exceptions=False)


def training(wrong: int = 3, **own: Any) -> Record:  # noqa: ANN401  # any field of a record
    """Return a training on the stand-in that gives its first `wrong` images another class."""
    _, labels = standin.draw("test", IMAGES)
    given = [(c + 1) % 10 if i < wrong else c for i, c in enumerate(labels.tolist())]
    return learned(labels.tolist(), given, **{"dataset": "stand-in"} | own)


@pytest.fixture
def file_of(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes records into a file."""

    def write(*records: Record) -> Path:
        path = tmp_path / "learned.jsonl"
        for made in records:
            append(made, path)
        return path

    return write


def test_everything_is_printed_and_drawn(file_of: Callable[..., Path], tmp_path: Path) -> None:
    """Classes, confusions and overfitting of each training; pictures and grids as files."""
    file, out = file_of(training(), training(backend="jax", jit_compile=True)), tmp_path / "out"

    result = analyse(file, "--out", out)

    assert result.exit_code == 0
    for title in (
        "Overfitting, by loss",
        "Overfitting, by accuracy",
        "Classification report: dense3 on TensorFlow, 1 seed",
        "Confusion matrix: dense3 on JAX, 1 seed",
    ):
        assert title in result.output
    stem = "20261121-000000-test-quick-"
    drawn = ("learning-curves-dense3", "recall-dense3", "confusion-dense3")
    grids = [f"{what}-dense3-{b}" for what in ("wrong", "right") for b in ("tensorflow", "jax")]
    expected = {f"{stem}{name}.{end}" for name in drawn for end in ("svg", "png")}
    assert {path.name for path in out.iterdir()} == expected | {f"{stem}{g}.png" for g in grids}
    for path in out.glob("*.png"):
        with Image.open(path) as image:
            image.verify()


def test_what_is_asked_for_alone_is_analysed(file_of: Callable[..., Path], tmp_path: Path) -> None:
    """--model, --backend and --seed leave the others out; seeds are joined without --seed."""
    conv: dict[str, Any] = CONV
    file = file_of(
        *(training(seed=s, process=s) for s in (0, 1)),
        *(training(seed=s, process=s, **conv) for s in (0, 1)),
        training(backend="jax", jit_compile=True, **conv),
    )

    joined = analyse(file, "--model", "lenet_dropout", "--out", tmp_path / "a").output
    alone = analyse(file, "--backend", "jax", "--seed", 0, "--out", tmp_path / "b").output

    assert "lenet_dropout on TensorFlow, 2 seeds" in joined
    assert "dense3" not in joined
    assert "Classification report: lenet_dropout on JAX, 1 seed" in alone
    assert "TensorFlow" not in alone


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--model", "nope"), "model 'nope' in these files; there are: dense3"),
        (("--backend", "jax"), "backend 'jax' in these files; there are: tensorflow"),
        (("--seed", "7"), "seed 7 in these files; there are: 0"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(
    file_of: Callable[..., Path], tmp_path: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    """An unknown model, backend or seed: status 2, the known ones listed, nothing written."""
    result = analyse(file_of(training()), *arguments, "--out", tmp_path / "out")

    assert result.exit_code == 2
    assert complaint in result.output
    assert not (tmp_path / "out").exists()


def test_files_without_trainings_are_refused(file_of: Callable[..., Path], tmp_path: Path) -> None:
    """Timings, failures and trials of a search: the command that makes trainings is named."""
    file = file_of(record(), failed(task="learn"), training(study="tuning"))

    result = analyse(file, "--out", tmp_path / "out")

    assert result.exit_code == 2
    assert "no whole trainings in these files: `fmnist reproduce` makes them" in result.output


def test_damaged_lines_are_told(file_of: Callable[..., Path], tmp_path: Path) -> None:
    """The good records are analysed, the damaged line is told, the status is 2."""
    file = file_of(training())
    file.write_text(f"{{\n{file.read_text()}")

    result = analyse(file, "--out", tmp_path / "out")

    assert result.exit_code == 2
    assert f"damaged: {file}, line 1" in result.output
    assert "1 damaged lines were left out" in result.output
    assert list((tmp_path / "out").glob("*wrong*"))


def test_other_images_are_refused(file_of: Callable[..., Path], tmp_path: Path) -> None:
    """Labels that are not those of the data set at hand: an error, and nothing is written."""
    _, labels = standin.draw("test", IMAGES)
    other = np.roll(labels, 1).tolist()

    result = analyse(file_of(learned(other, other, dataset="stand-in")), "--out", tmp_path / "out")

    assert result.exit_code == 2
    assert "are of other test images than those of the data set at hand" in result.output
    assert not (tmp_path / "out").exists()


def test_other_data_set_is_refused(file_of: Callable[..., Path], tmp_path: Path) -> None:
    """Trainings on Fashion-MNIST have no grids of the stand-in's images."""
    file = file_of(training(dataset="fashion-mnist"))

    result = analyse(file, "--data-dir", data.STAND_IN, "--out", tmp_path / "out")

    assert result.exit_code == 2
    assert "these trainings are of fashion-mnist, and the data set at hand is stand-in" in (
        result.output
    )
    assert not (tmp_path / "out").exists()


def test_real_images_are_found(
    file_of: Callable[..., Path], tmp_path: Path, real_data: Path
) -> None:
    """A sample's test images are those that its seed chose: predictions of them are accepted."""
    source = data.locate(real_data)
    labels = data.load_sample(source, 10, IMAGES, seed=3).test_labels.tolist()
    file = file_of(learned(labels, [0] * IMAGES, seed=3, accuracy=labels.count(0) / IMAGES))

    result = analyse(file, "--data-dir", real_data, "--out", tmp_path / "out")

    assert result.exit_code == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == 5


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[np.ndarray, list[str], str]]:
    """What is put into grids: images, captions, title. The grid itself is drawn all the same."""
    calls: list[tuple[np.ndarray, list[str], str]] = []

    def drawn(
        images: np.ndarray, captions: list[str], columns: int, title: str, scale: int
    ) -> Image.Image:
        calls.append((images, captions, title))
        return image_grid.image_grid(images, captions, columns, title, scale)

    monkeypatch.setattr(classified, "image_grid", drawn)
    return calls


def test_surest_errors_come_first(shown: list[tuple[np.ndarray, list[str], str]]) -> None:
    """Errors are ordered by the confidence in the wrong class, with both classes under each."""
    images, labels = standin.draw("test", IMAGES)
    logits = 4.0 * np.eye(10)[labels]
    for i, confidence in ((5, 2.0), (7, 9.0), (11, 5.0)):
        logits[i] = confidence * np.eye(10)[(labels[i] + 1) % 10]
    predictions = Predictions.of(labels, logits)
    made = training().model_copy(update={"predictions": predictions})

    classified.wrong(made, images)

    ((found, captions, title),) = shown
    assert np.array_equal(found, images[[7, 11, 5]])
    name, given = (data.CLASS_NAMES[(labels[7] + i) % 10] for i in (0, 1))
    assert captions[0] == f"true {name}\ngiven {given}\n100 %"
    assert title.startswith("3 of 60 test images classified wrong, the surest first. dense3 on")


def test_right_ones_are_a_sample_by_the_seed(
    shown: list[tuple[np.ndarray, list[str], str]],
) -> None:
    """The same seed shows the same images, another one others, and no wrong one is among them."""
    images, _ = standin.draw("test", IMAGES)

    for seed in (0, 0, 1):
        classified.right(training(seed=seed), images)

    (first, captions, _), (again, _, _), (other, _, _) = shown
    assert len(captions) == classified.MOST_IMAGES
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    for caption in captions:
        true, given, _ = caption.splitlines()
        assert true.removeprefix("true ") == given.removeprefix("given ")


def test_nothing_wrong_makes_no_grid() -> None:
    """A training without an error has no grid of errors, one without a hit none of hits."""
    images, _ = standin.draw("test", IMAGES)

    assert classified.wrong(training(wrong=0), images) is None
    assert classified.right(training(wrong=IMAGES), images) is None


@pytest.mark.slow
def test_parent_starts_no_framework(file_of: Callable[..., Path], tmp_path: Path) -> None:
    """Nothing is trained again, so neither Keras nor a backend is imported."""
    code = (
        "import sys\n"
        "from fmnist.cli import main\n"
        f"main(['analyse', {str(file_of(training()))!r}, '--out', {str(tmp_path / 'out')!r}],"
        " standalone_mode=False)\n"
        "print([f for f in ('keras', 'tensorflow', 'jax', 'torch') if f in sys.modules])\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert answer.stdout.splitlines()[-1] == "[]"


def test_epochs_are_printed_by_report(file_of: Callable[..., Path]) -> None:
    """`fmnist report --epochs` prints a table for each training, and none of the others."""
    file = file_of(record(), training())

    result = CliRunner().invoke(main, ["report", str(file), "--epochs"], catch_exceptions=False)

    assert result.exit_code == 0
    assert result.output.count("Epochs of ") == 2
    assert "Speed" not in result.output


def test_no_epochs_are_told(file_of: Callable[..., Path]) -> None:
    """Records without a history of epochs: status 2 and why."""
    result = CliRunner().invoke(main, ["report", str(file_of(failed())), "--epochs"])

    assert result.exit_code == 2
    assert "no training in these files has a history of its epochs" in result.output
