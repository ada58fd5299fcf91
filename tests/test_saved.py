"""`fmnist predict` says what Keras says, and runs nothing that a file brings."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import on_backend
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from fmnist import data, grid
from fmnist.cli import main
from fmnist.lessons import saved

SCRIPT = Path(__file__).with_name("saved_models.py")
N_IMAGES = 20
MODELS: dict[str, tuple[Path, npt.NDArray[np.float64]]] = {}
"""By backend, the folder of the models that were saved on it, and what Keras said."""


def predict(*arguments: object) -> Result:
    """Run the command in this process; what it starts is real."""
    return CliRunner().invoke(main, ["predict", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture(scope="module")
def test_images() -> npt.NDArray[np.uint8]:
    """The first images of the test set, real or stand-in."""
    return data.load(data.locate()).test_images[:N_IMAGES]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """An image file."""
    path = tmp_path / "shirt.png"
    Image.fromarray(np.eye(28, dtype=np.uint8) * 255).save(path)
    return path


def models_on(
    backend: str, images: npt.NDArray[np.uint8], factory: pytest.TempPathFactory
) -> tuple[Path, npt.NDArray[np.float64]]:
    """Return the folder of models saved on a backend, and its probabilities of the sound one."""
    if backend not in MODELS:
        folder = factory.mktemp(backend)
        np.save(folder / "images.npy", images)
        told = on_backend.answer(SCRIPT, backend, str(folder))
        MODELS[backend] = (folder, np.array(told["probabilities"]))
    return MODELS[backend]


@pytest.mark.slow
@pytest.mark.parametrize("backend", grid.BACKENDS)
def test_predictions_are_keras_own(
    backend: str,
    test_images: npt.NDArray[np.uint8],
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Test images written as PNG get the classes and confidences that Keras gives the arrays."""
    folder, told = models_on(backend, test_images, tmp_path_factory)
    files = [tmp_path / f"{i}.png" for i in range(N_IMAGES)]
    for file, image in zip(files, test_images, strict=True):
        Image.fromarray(image).save(file)
    result = predict(*files, "--model", folder / "sound.keras", "--backend", backend)

    assert result.exit_code == 0, result.output
    lines = {line.split()[0]: line for line in result.output.splitlines() if line}
    for file, row in zip(files, told, strict=True):
        first, second = np.argsort(-row)[:2]
        words = " ".join(lines[str(file)].split()[1:])
        names = data.CLASS_NAMES
        assert words == (
            f"{names[first]} {100 * row[first]:.2f} {names[second]} {100 * row[second]:.2f}"
        )
    assert "softmax of its logits" in " ".join(result.output.split())


@pytest.mark.slow
def test_probabilities_are_taken_as_they_are(
    test_images: npt.NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """A model that ends in softmax gets no second one; and what one backend saved, another runs."""
    folder, told = models_on("tensorflow", test_images, tmp_path_factory)
    found = saved.classify(test_images, folder / "probabilities.keras", "jax")

    assert not found.from_logits
    np.testing.assert_allclose(found.probabilities, told, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("colour", r"takes \(None, 28, 28, 3\) and gives \(None, 10\), where \(None, 28, 28, 1\)"),
        ("five", r"takes \(None, 28, 28, 1\) and gives \(None, 5\), where"),
        ("foreign", "cannot be loaded by Keras .*: Could not locate class 'Foreign'$"),
        ("diverged", "gives NaN or infinity: its training has diverged"),
        ("code", "holds Python code in its layer 'lambda'"),
    ],
)
def test_other_models_are_refused(
    name: str,
    complaint: str,
    test_images: npt.NDArray[np.uint8],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Another shape (both are named), a layer nobody knows, NaN and Python code: each is told."""
    folder, _ = models_on("tensorflow", test_images, tmp_path_factory)
    with pytest.raises(saved.ModelError, match=complaint):
        saved.classify(test_images, folder / f"{name}.keras", "tensorflow")


def packed(**members: object) -> bytes:
    """Return a zip file with these members as JSON, or as they are if they are bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            text = content if isinstance(content, bytes) else json.dumps(content)
            archive.writestr(name.replace("_", "."), text)
    return file.getvalue()


HIDDEN = {"config": {"layers": [{"class_name": "Lambda", "config": {"name": "trick"}}]}}
FUNCTION = {"activation": {"class_name": "__lambda__", "config": {"code": "4wEA"}}}


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "is empty, truncated or no .keras file"),
        (b"no zip file at all", "is empty, truncated or no .keras file"),
        (packed(config_json={"class_name": "Sequential"})[:-9], "is empty, truncated or"),
        (packed(metadata_json={}), "is a zip file without config.json"),
        (packed(config_json=b"{"), "holds a damaged config.json"),
        (packed(config_json=b"[" * 200_000), "holds a damaged config.json"),
        (packed(config_json=HIDDEN), "holds Python code in its layer 'trick' .Lambda."),
        (packed(config_json=[{"x": FUNCTION}]), "holds Python code"),
        (packed(config_json=b" " * (17 * 2**20)), "for its config.json"),
        (packed(config_json={}, model_weights=bytes(600 * 2**20)), "unpacks to 629,"),
    ],
)
def test_files_are_looked_at_before_keras_sees_them(
    tmp_path: Path, picture: Path, content: bytes, complaint: str
) -> None:
    """Empty, truncated, foreign, too large, or with code: status 2, without starting Keras."""
    path = tmp_path / "model.keras"
    path.write_bytes(content)
    result = predict(picture, "--model", path)

    assert result.exit_code == 2
    assert complaint.replace(".Lambda.", "(Lambda)") in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("missing.keras", "missing.keras does not exist"),
        ("folder.keras", "folder.keras is no file"),
        ("model.h5", "does not end in .keras"),
    ],
)
def test_what_is_no_keras_file_is_refused(
    tmp_path: Path, picture: Path, name: str, complaint: str
) -> None:
    """Nothing, a folder, or the old format, in which safe mode is weaker."""
    (tmp_path / "folder.keras").mkdir()
    result = predict(picture, "--model", tmp_path / name)

    assert result.exit_code == 2
    assert complaint in result.output


def test_one_bad_image_ends_it(tmp_path: Path, picture: Path) -> None:
    """The bad one of several images is named, and nothing is said about the others."""
    result = predict(picture, tmp_path, "--model", tmp_path / "any.keras")

    assert result.exit_code == 2
    assert f"{tmp_path} is a folder" in result.output
    assert "What is in the images" not in result.output
