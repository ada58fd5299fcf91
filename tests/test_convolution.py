"""Convolution by hand is what Keras computes on each backend, and what mathematics says."""

import itertools
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import signal

from fmnist import data, grid
from fmnist.cli import main
from fmnist.lessons import convolution
from fmnist.lessons.by_keras import Convolution, convolved
from fmnist.lessons.convolution import ConvolutionError, Padding, convolve1d, convolve2d

PADDINGS: tuple[Padding, ...] = ("valid", "same")
LARGEST = 1e-5
"""Relative difference, in the terms of `convolution.relative_difference`."""


def random(*shape: int) -> npt.NDArray[np.float64]:
    """Return the same random numbers for the same shape, some of them negative."""
    return np.random.default_rng(0).normal(size=shape)


@cache
def cases() -> dict[str, Convolution]:
    """Return what is compared with Keras, by a name: one and two dimensions."""
    found = {}
    for size, stride, padding in itertools.product((1, 2, 3, 4, 7), (1, 2, 3), PADDINGS):
        name = f"{size}, strides {stride}, {padding}"
        signals, images = random(2, 17, 3), random(2, 17, 14, 3)
        found[f"1-D {name}"] = Convolution(signals, random(size, 3, 5), stride, padding)
        found[f"2-D {name}"] = Convolution(images, random(size, size, 3, 5), stride, padding)
    for padding in PADDINGS:
        oblong = Convolution(random(1, 12, 15, 1), random(2, 5, 1, 1), (3, 2), padding)
        found[f"oblong, {padding}"] = oblong
    pixels = data.load(data.locate()).test_images[:3, :, :, None] / np.float32(255)
    for name in convolution.KERNELS:
        found[name] = Convolution(pixels, convolution.parse_kernel(name)[:, :, None, None])
    return found


@pytest.mark.slow
@pytest.mark.parametrize("backend", grid.BACKENDS)
def test_by_hand_equals_keras(backend: str) -> None:
    """Odd and even kernels, strides, padding, channels, random and named: 1e-5 at the most."""
    by_keras = convolved(list(cases().values()), backend)
    differences = {
        name: convolution.relative_difference(found, case.by_hand())
        for (name, case), found in zip(cases().items(), by_keras, strict=True)
    }

    assert len(differences) >= 60
    assert {n: d for n, d in differences.items() if d > LARGEST} == {}


@pytest.mark.parametrize("name", convolution.KERNELS)
def test_scipy_agrees(name: str) -> None:
    """Both kinds are SciPy's functions of the same names, for every named kernel."""
    image, kernel = random(9, 8), convolution.parse_kernel(name)
    for ours, theirs in (
        (convolution.convolve2d, signal.correlate2d),
        (convolution.true_convolve2d, signal.convolve2d),
    ):
        for padding in PADDINGS:
            made = ours(image[None, :, :, None], kernel[:, :, None, None], padding=padding)
            np.testing.assert_allclose(made[0, :, :, 0], theirs(image, kernel, padding), atol=1e-12)


def test_true_convolution_in_one_dimension_is_numpys() -> None:
    """`np.convolve` turns the kernel round, and so does `true_convolve1d`."""
    steps, kernel = random(11), random(4)
    made = convolution.true_convolve1d(steps[None, :, None], kernel[:, None, None])

    np.testing.assert_allclose(made[0, :, 0], np.convolve(steps, kernel, "valid"))


def test_a_step_by_hand() -> None:
    """Worked out on paper: the difference of neighbours finds both ends of a block."""
    block = np.array([0, 0, 1, 1, 1, 0, 0])[None, :, None]
    kernel = np.array([-1, 1])[:, None, None]

    assert convolve1d(block, kernel)[0, :, 0].tolist() == [0, 1, 0, 0, -1, 0]
    assert convolve1d(block, kernel, padding="same")[0, :, 0].tolist() == [0, 1, 0, 0, -1, 0, 0]
    assert convolve1d(block, kernel, strides=2)[0, :, 0].tolist() == [0, 0, -1]


def test_identity_changes_nothing() -> None:
    """The kernel `identity` with zeros around gives the image itself."""
    image = random(1, 6, 5, 1)
    kernel = convolution.parse_kernel("identity")[:, :, None, None]

    assert np.array_equal(convolve2d(image, kernel, padding="same"), image)


def test_edges_are_found_where_they_are() -> None:
    """A bright lower half is an edge to `edges_horizontal` and `sobel_y` alone."""
    image = np.zeros((1, 10, 10, 1))
    image[:, 5:] = 1
    found = {
        name: convolve2d(image, convolution.parse_kernel(name)[:, :, None, None]).any()
        for name in ("edges_horizontal", "sobel_y", "edges_vertical", "sobel_x")
    }

    assert list(found.values()) == [True, True, False, False]


@settings(deadline=None)
@given(
    *(st.integers(1, 12), st.integers(1, 12), st.integers(1, 4), st.sampled_from(PADDINGS)),
)
def test_there_are_as_many_windows_as_keras_says(
    length: int, size: int, stride: int, padding: Padding
) -> None:
    """`same` gives ceil(length / stride) windows, `valid` those that lie within."""
    if size > length:
        return
    made = convolve1d(np.ones((1, length, 1)), np.ones((size, 1, 1)), stride, padding)
    kept = length if padding == "same" else length - size + 1

    assert made.shape == (1, -(-kept // stride), 1)
    assert made.max() <= size


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("sobel", "neither numbers .* nor a kernel's name; there are: identity, blur"),
        ("", "neither numbers"),
        ("1 2; 3", "is no rectangle: its rows have 2, 1 numbers"),
        ("1 2;", "neither numbers"),
        ("1 nan", "holds NaN or infinity"),
        ("1e999", "holds NaN or infinity"),
    ],
)
def test_texts_that_are_no_kernel_are_refused(text: str, complaint: str) -> None:
    """A name nobody knows, rows of unequal length, and numbers that are not finite."""
    with pytest.raises(ConvolutionError, match=complaint):
        convolution.parse_kernel(text)


@pytest.mark.parametrize(
    ("image", "kernel", "strides", "complaint"),
    [
        ((1, 5, 5, 1), (6, 1, 1, 1), 1, "a kernel of 6x1 is larger than what it slides over: 5x5"),
        ((1, 5, 5, 2), (3, 3, 1, 1), 1, "2 channels and a kernel for 1"),
        ((5, 5), (3, 3), 1, r"shapes \(5, 5\) and \(3, 3\), where \(n, height, width, channels\)"),
        ((1, 5, 5, 1), (0, 3, 1, 1), 1, "none of them 0"),
        ((1, 5, 5, 1), (3, 3, 1, 1), 0, r"strides \(0, 0\): each must be at least 1"),
    ],
)
@pytest.mark.parametrize("padding", PADDINGS)
def test_what_does_not_fit_is_refused(
    image: tuple[int, ...],
    kernel: tuple[int, ...],
    strides: int,
    complaint: str,
    padding: Padding,
) -> None:
    """The error names the sizes that came."""
    with pytest.raises(ConvolutionError, match=complaint):
        convolve2d(np.ones(image), np.ones(kernel), strides, padding)


def test_padding_that_is_unknown_is_refused() -> None:
    """The error names the two that there are."""
    with pytest.raises(ConvolutionError, match="padding 'sane': there are valid and same"):
        convolve2d(np.ones((1, 5, 5, 1)), np.ones((3, 3, 1, 1)), 1, "sane")  # type: ignore[arg-type]  # on purpose


@pytest.mark.parametrize("which", ["image", "kernel"])
def test_what_is_not_finite_is_refused(which: str) -> None:
    """A NaN would spread over the windows around it."""
    arrays = {"image": np.ones((1, 5, 5, 1)), "kernel": np.ones((3, 3, 1, 1))}
    arrays[which][0, 0] = np.nan
    with pytest.raises(ConvolutionError, match="NaN or infinity"):
        convolve2d(arrays["image"], arrays["kernel"])


def test_relative_difference_hides_nothing() -> None:
    """Another shape, NaN, or anything where 0 was expected is infinitely far away."""
    zero, one = np.zeros(3), np.ones(3)

    assert convolution.relative_difference(zero, zero) == 0
    assert convolution.relative_difference(one, 2 * one) == 0.5
    for found in (one, np.full(3, np.nan), np.zeros(4)):
        assert convolution.relative_difference(found, zero) == np.inf


def convolve(*arguments: object) -> Result:
    """Run the command in this process; what it starts is real."""
    return CliRunner().invoke(main, ["convolve", *map(str, arguments)], catch_exceptions=False)


def test_a_signal_is_convolved_in_writing() -> None:
    """Each sum stands beside its products, zeros around, and the kernel turned round."""
    result = convolve("--signal", "0 5 5", "--kernel", "1 2", "--padding", "same", "--true")

    assert result.exit_code == 0
    lines = [line.split(maxsplit=1) for line in result.output.splitlines()]
    assert ["0", "0*2 + 5*1      5"] in lines
    assert ["2", "5*2 + 0*1     10"] in lines


@pytest.mark.slow
def test_check_prints_the_difference_on_each_backend(tmp_path: Path) -> None:
    """An image of a user, by a kernel of his own, is computed by Keras on every backend."""
    path = tmp_path / "a.png"
    Image.fromarray(np.arange(20 * 30, dtype=np.uint8).reshape(20, 30)).save(path)
    result = convolve(path, "--kernel", "0.3 -0.1; 1.7 0.2", "--strides", 2, "--check")

    assert result.exit_code == 0
    assert "30x20 to 15x10" in result.output
    for backend in grid.BACKENDS.values():
        line = next(x for x in result.output.splitlines() if x.startswith(backend.title))
        assert 0 <= float(line.split()[1]) <= LARGEST


@pytest.mark.parametrize("kernel", ["identity", "sobel_x", "2"])
def test_before_and_after_are_drawn(tmp_path: Path, kernel: str) -> None:
    """The picture has the image on the left and what was made of it on the right."""
    path, out = tmp_path / "a.png", tmp_path / "new" / "out.png"
    image = np.full((28, 28), 40, np.uint8)
    image[14, 14] = 250
    Image.fromarray(image).save(path)
    result = convolve(path, "--kernel", kernel, "--out", out)

    assert result.exit_code == 0
    assert f"wrote {out}" in result.output
    after = {"identity": 40, "sobel_x": 128, "2": 41}[kernel]
    drawn = np.asarray(Image.open(out))
    left, right = np.array_split(drawn, 2, axis=1)
    assert np.bincount(left[left < 255]).argmax() == 40
    assert np.bincount(right[right < 255]).argmax() == after


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--kernel", "blur"], "give one of: an IMAGE, --test-image N, --signal NUMBERS"),
        (["x.png", "--test-image", "1", "--kernel", "blur"], "give one of: "),
        (["/no/such.png", "--kernel", "blur"], "/no/such.png does not exist"),
        (["--signal", "1 2", "--kernel", "1 2 3"], "a kernel of 3 is larger than what it slides"),
        (["--signal", "1 2 3", "--kernel", "blur"], "a signal wants a kernel of one row"),
        (["--signal", "1 2 3", "--kernel", "1", "--out", "x.png"], "--out draws images"),
        (["--test-image", "1", "--kernel", "1", "--out", "x.jpg"], "--out must end in .png"),
        (["--test-image", "10000", "--kernel", "1"], "10000 is not in the range"),
        (["--signal", "1 2 3", "--kernel", "shift"], "nor a kernel's name; there are: identity"),
    ],
)
def test_bad_input_of_the_command_is_told(arguments: list[str], complaint: str) -> None:
    """Status 2, one line that says what is wrong, and nothing is written."""
    result = convolve(*arguments)

    assert result.exit_code == 2
    assert complaint in result.output
    assert not Path("x.png").exists()
