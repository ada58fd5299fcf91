"""Preprocessing keeps what it should keep, and refuses what it would spoil."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from fmnist.data import preprocess

Pixels = npt.NDArray[np.uint8]


def random_pixels(*shape: int) -> Pixels:
    """Return the same random pixels for the same shape."""
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def numbered(counts: list[int]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return "images" that are their own row numbers, and labels with these class counts."""
    labels = np.repeat(np.arange(len(counts)), counts)
    return np.arange(len(labels)), np.random.default_rng(1).permutation(labels)


@pytest.mark.parametrize("shape", [(4, 28, 28), (4, 28, 28, 1), (0, 28, 28)])
def test_rescale_maps_bytes_onto_the_unit_interval(shape: tuple[int, ...]) -> None:
    """Every pixel becomes itself / 255 in float32, with a channel axis, and nothing is lost."""
    images = random_pixels(*shape)
    rescaled = preprocess.rescale(images)
    assert rescaled.dtype == np.float32
    assert rescaled.shape == (shape[0], 28, 28, 1)
    assert np.array_equal(np.rint(rescaled * 255).reshape(shape), images)


def test_rescale_reaches_both_ends() -> None:
    """0 becomes exactly 0, and 255 exactly 1."""
    images = np.zeros((1, 28, 28), np.uint8)
    images[0, 0, 0] = 255
    assert preprocess.rescale(images).max() == 1
    assert preprocess.rescale(images).min() == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int8, np.bool_])
@pytest.mark.parametrize("step", [preprocess.rescale, preprocess.resize, preprocess.to_grayscale])
def test_images_of_another_type_are_refused(
    step: Callable[[npt.NDArray[Any]], object], dtype: type[np.generic]
) -> None:
    """Rescaling twice, the classic mistake, is a TypeError that names the type."""
    with pytest.raises(TypeError, match=f"type {np.dtype(dtype)} where uint8"):
        step(np.zeros((2, 28, 28), dtype))


@pytest.mark.parametrize(
    ("step", "shape"),
    [
        (preprocess.rescale, (28, 28)),
        (preprocess.rescale, (2, 784)),
        (preprocess.rescale, (2, 32, 32)),
        (preprocess.rescale, (2, 28, 28, 3)),
        (preprocess.resize, (28, 28)),
        (preprocess.resize, (2, 28, 28, 3)),
        (preprocess.resize, (2, 0, 28)),
        (preprocess.to_grayscale, (28, 28)),
        (preprocess.to_grayscale, (2, 28, 28, 2)),
        (preprocess.to_grayscale, (2, 3, 28, 28)),
    ],
)
def test_images_of_another_shape_are_refused(
    step: Callable[[Pixels], object], shape: tuple[int, ...]
) -> None:
    """The error names the shape that came and the one that was expected."""
    with pytest.raises(ValueError, match="was expected") as error:
        step(np.zeros(shape, np.uint8))
    assert f"shape {shape} where (n, " in " ".join(str(error.value).split())


@pytest.mark.parametrize("size", [(28, 28), (14, 7), (1, 1), (64, 32)])
def test_resize_gives_height_and_width_in_this_order(size: tuple[int, int]) -> None:
    """The size is (height, width), as in the shape of the array."""
    resized = preprocess.resize(random_pixels(3, 40, 50), size)
    assert resized.shape == (3, *size)
    assert resized.dtype == np.uint8


def test_resize_keeps_what_has_the_size_already() -> None:
    """28x28 to 28x28 changes no pixel."""
    images = random_pixels(5, 28, 28)
    assert np.array_equal(preprocess.resize(images), images)


def test_resize_takes_no_images() -> None:
    """An empty batch stays one."""
    assert preprocess.resize(np.zeros((0, 50, 50), np.uint8)).shape == (0, 28, 28)


def test_resize_is_antialiased() -> None:
    """A fine chessboard becomes even grey instead of a pattern of its own."""
    board = (np.indices((280, 280)).sum(axis=0) % 2 * 255).astype(np.uint8)
    grey = preprocess.resize(board[None])
    assert 120 <= grey.min() <= grey.max() <= 135


def test_resize_keeps_left_left_and_top_top() -> None:
    """A bright upper right quarter stays there."""
    images = np.zeros((1, 56, 112), np.uint8)
    images[0, :28, 56:] = 200
    resized = preprocess.resize(images)[0]
    assert (resized[:13, 15:] == 200).all()
    assert not resized[15:].any()
    assert not resized[:, :13].any()


@settings(deadline=None)
@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=3, max_dims=3, max_side=40)))
def test_resize_never_leaves_the_range_of_the_pixels(images: Pixels) -> None:
    """No ringing: nothing gets darker or brighter than what was there."""
    for image, resized in zip(images, preprocess.resize(images), strict=True):
        assert image.min() <= resized.min()
        assert resized.max() <= image.max()


@pytest.mark.parametrize("size", [(0, 28), (28, 0), (-1, 28)])
def test_resize_to_nothing_is_refused(size: tuple[int, int]) -> None:
    """A size without pixels is a ValueError."""
    with pytest.raises(ValueError, match="at least 1 pixel"):
        preprocess.resize(random_pixels(1, 28, 28), size)


@pytest.mark.parametrize(
    ("colour", "luma"),
    [
        ((255, 0, 0), 76),
        ((0, 255, 0), 150),
        ((0, 0, 255), 29),
        ((255, 255, 255), 255),
        ((255, 255, 255, 255), 255),
        ((255, 255, 255, 0), 0),
        ((255, 255, 255, 128), 128),
        ((0, 255, 0, 51), 30),
    ],
)
def test_luma_has_the_weights_of_itu_r_601(colour: tuple[int, ...], luma: int) -> None:
    """0.299 red + 0.587 green + 0.114 blue, dimmed by the opacity over black."""
    images = np.full((2, 3, 5, len(colour)), colour, np.uint8)
    assert np.array_equal(preprocess.to_grayscale(images), np.full((2, 3, 5), luma))


def test_luma_agrees_with_pillow() -> None:
    """Pillow's fixed-point luma is nowhere more than 1 away."""
    images = random_pixels(2, 50, 50, 3)
    grey = preprocess.to_grayscale(images)
    pillow = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in images])
    assert grey.dtype == np.uint8
    assert np.abs(grey.astype(int) - pillow).max() <= 1


def test_grey_colours_keep_their_value() -> None:
    """Equal channels become exactly that value, all 256 of them."""
    values = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    assert np.array_equal(preprocess.to_grayscale(np.stack([values] * 3, axis=-1)), values)


def test_greyscale_passes_unchanged() -> None:
    """What is grey already is returned as it is."""
    images = random_pixels(2, 28, 28)
    assert preprocess.to_grayscale(images) is images


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_one_hot_marks_the_label(dtype: type[np.integer[Any]]) -> None:
    """Each row has one 1, where the label says, whatever its integer type."""
    encoded = preprocess.one_hot(np.array([3, 0, 9], dtype))
    assert encoded.dtype == np.float32
    assert encoded.shape == (3, 10)
    assert encoded.sum() == 3
    assert encoded.argmax(axis=1).tolist() == [3, 0, 9]
    assert preprocess.one_hot(np.array([1], dtype), 2).tolist() == [[0, 1]]
    assert preprocess.one_hot(np.array([], dtype)).shape == (0, 10)


@pytest.mark.parametrize(
    ("labels", "error", "complaint"),
    [
        (np.array([0, 10]), ValueError, r"label 10 at row 1 lies outside \[0, 10\)"),
        (np.array([0, -1, -1]), ValueError, r"label -1 at row 1 .*2 such labels"),
        (np.array([[0], [1]]), ValueError, r"shape \(2, 1\) where \(n,\) was expected"),
        (np.array([0.0, 1.0]), TypeError, "type float64 where integers were expected"),
    ],
)
def test_one_hot_refuses_what_is_no_label(
    labels: npt.NDArray[Any], error: type[Exception], complaint: str
) -> None:
    """A label out of range would wrap around silently: it is an error with its row."""
    with pytest.raises(error, match=complaint):
        preprocess.one_hot(labels)


def test_split_is_stratified_and_loses_nothing() -> None:
    """Both parts have the class shares of the whole, and together they are the whole."""
    images, labels = numbered([50, 30, 20])
    train, train_labels, validation, validation_labels = preprocess.split(images, labels, 0.2, 7)
    assert np.bincount(train_labels).tolist() == [40, 24, 16]
    assert np.bincount(validation_labels).tolist() == [10, 6, 4]
    assert sorted([*train, *validation]) == images.tolist()
    assert np.array_equal(labels[train], train_labels)
    assert np.array_equal(labels[validation], validation_labels)


def test_split_keeps_shape_and_type() -> None:
    """Rescaled images stay float32 (n, 28, 28, 1), and 20 % of 60 are 12."""
    images = preprocess.rescale(random_pixels(60, 28, 28))
    labels = np.tile(np.arange(6, dtype=np.uint8), 10)
    train, train_labels, validation, _ = preprocess.split(images, labels, 0.2, 0)
    assert train.shape == (48, 28, 28, 1)
    assert validation.shape == (12, 28, 28, 1)
    assert train.dtype == np.float32
    assert train_labels.dtype == np.uint8


def test_split_rounds_to_the_nearest_image() -> None:
    """7 % of 100 are 7, although 0.07 * 100 is a little more than 7 in floating point."""
    images, labels = numbered([50, 50])
    assert len(preprocess.split(images, labels, 0.07, 0)[2]) == 7


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan")])
def test_split_refuses_a_share_outside_the_interval(share: float) -> None:
    """A share is a proper part, 0 < share < 1."""
    images, labels = numbered([50, 50])
    with pytest.raises(ValueError, match=r"must lie in \(0, 1\)"):
        preprocess.split(images, labels, share, 0)


@pytest.mark.parametrize(("share", "sizes"), [(0.02, "98 and 2"), (0.98, "2 and 98")])
def test_split_refuses_a_part_that_cannot_show_every_class(share: float, sizes: str) -> None:
    """Three classes do not fit into two images: the error names both sizes."""
    images, labels = numbered([50, 30, 20])
    with pytest.raises(ValueError, match=f"splits 100 images into {sizes}: .* the 3 classes"):
        preprocess.split(images, labels, share, 0)


def test_sample_is_stratified_and_draws_each_row_once() -> None:
    """Half of the set has half of each class, with the right labels."""
    images, labels = numbered([60, 30, 10])
    drawn, drawn_labels = preprocess.sample(images, labels, 50, 3)
    assert np.bincount(drawn_labels).tolist() == [30, 15, 5]
    assert len(set(drawn.tolist())) == 50
    assert np.array_equal(labels[drawn], drawn_labels)


@settings(deadline=None)
@given(n=st.integers(10, 200), seed=st.integers(0, 2**32 - 1))
def test_any_sample_has_n_rows_and_every_class_in_its_share(n: int, seed: int) -> None:
    """From one image of each class up to all images but one, no class is off by more than 1."""
    images, labels = numbered([20] * 10)
    drawn, drawn_labels = preprocess.sample(images, labels, n, seed)
    assert len(drawn) == len(set(drawn.tolist())) == n
    assert np.abs(np.bincount(drawn_labels, minlength=10) - n / 10).max() <= 1


def test_a_sample_of_all_keeps_their_order() -> None:
    """The whole set is no sample: nothing moves."""
    images, labels = numbered([5, 5])
    drawn, drawn_labels = preprocess.sample(images, labels, 10, 0)
    assert np.array_equal(drawn, images)
    assert np.array_equal(drawn_labels, labels)


@pytest.mark.parametrize(
    ("n", "complaint"),
    [
        (101, "101 images from a set of 100"),
        (2, "2 images cannot show 3 classes"),
        (0, "0 images cannot show 3 classes"),
        (-1, "-1 images cannot show 3 classes"),
    ],
)
def test_an_impossible_sample_is_refused(n: int, complaint: str) -> None:
    """Too many and too few are errors that name both numbers."""
    images, labels = numbered([50, 30, 20])
    with pytest.raises(ValueError, match=complaint):
        preprocess.sample(images, labels, n, 0)


@pytest.mark.parametrize(
    "choose",
    [
        lambda images, labels, seed: preprocess.split(images, labels, 0.3, seed),
        lambda images, labels, seed: preprocess.sample(images, labels, 30, seed),
    ],
    ids=["split", "sample"],
)
def test_the_seed_decides(choose: Callable[..., tuple[npt.NDArray[Any], ...]]) -> None:
    """The same seed gives the same rows, another seed others."""
    images, labels = numbered([50, 50])
    first, again, other = (choose(images, labels, seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("n_images", "labels", "complaint"),
    [
        (5, np.zeros(4, int), "the same n"),
        (4, np.zeros((4, 1), int), "the same n"),
        (5, np.array([0, 0, 1, 1, 2]), "class 2 has one image"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    n_images: int, labels: npt.NDArray[np.int64], complaint: str
) -> None:
    """One label for each image, and two images of each class, are needed to choose among them."""
    images = random_pixels(n_images, 28, 28)
    with pytest.raises(ValueError, match=complaint):
        preprocess.split(images, labels, 0.5, 0)
    with pytest.raises(ValueError, match=complaint):
        preprocess.sample(images, labels, 3, 0)


def test_views_are_shifts_and_mirror_images() -> None:
    """Ten views are five shifts and their mirror images; the first is the image itself."""
    image = np.zeros((1, 28, 28, 1), np.float32)
    image[0, 10, 5] = 1
    places = [tuple(np.argwhere(view[0, :, :, 0])[0]) for view in preprocess.views(image, 10)]

    shifted = [(10, 5), (9, 5), (11, 5), (10, 4), (10, 6)]
    assert places == [*shifted, *[(y, 27 - x) for y, x in shifted]]


@pytest.mark.parametrize("n", preprocess.VIEWS)
def test_there_are_as_many_views_as_asked_for(n: int) -> None:
    """Each number of views gives so many different ones, each of the images' shape."""
    images = np.random.default_rng(0).random((3, 28, 28, 1), dtype=np.float32)
    found = list(preprocess.views(images, n))

    assert [view.shape for view in found] == [images.shape] * n
    assert len({view.tobytes() for view in found}) == n
    assert (found[0] == images).all()


def test_other_numbers_of_views_are_refused() -> None:
    """Three views of an image are none that there are."""
    with pytest.raises(ValueError, match="3 views of an image: there are 2, 5, 6, 10"):
        next(preprocess.views(np.zeros((1, 28, 28, 1), np.float32), 3))
