"""A grid of images: every pixel where it belongs, every caption under its image."""

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from fmnist.report.pictures.image_grid import GAP, MARGIN, SCALE, image_grid


def places(page: Image.Image, tones: list[int]) -> list[tuple[int, int]]:
    """Return the upper left corner, x and y, of the even square of each tone."""
    pixels = np.asarray(page)
    return [(int(x.min()), int(y.min())) for y, x in (np.nonzero(pixels == t) for t in tones)]


def even(*tones: int) -> npt.NDArray[np.uint8]:
    """Return an image of 28x28 equal pixels for each tone."""
    return np.stack([np.full((28, 28), tone, np.uint8) for tone in tones])


def test_images_go_row_by_row() -> None:
    """Five images in two columns fill three rows, from left to right, in their order."""
    tones = [100, 110, 120, 130, 140]
    found = places(image_grid(even(*tones), ["."] * 5, 2, ""), tones)

    step = 28 * SCALE + GAP
    assert [x for x, _ in found] == [MARGIN, MARGIN + step, MARGIN, MARGIN + step, MARGIN]
    tops = [y for _, y in found]
    assert tops[0] == tops[1] < tops[2] == tops[3] < tops[4]


@pytest.mark.parametrize("scale", [1, 3])
def test_pixels_are_squares_of_their_own_tone(scale: int) -> None:
    """An image is enlarged, not blurred: each pixel is scale x scale of exactly its value."""
    image = np.random.default_rng(0).integers(0, 256, (1, 28, 28), np.uint8)
    page = np.asarray(image_grid(image, [""], 1, "", scale))

    top = MARGIN + GAP
    cut = page[top : top + 28 * scale, MARGIN : MARGIN + 28 * scale]
    assert (cut == image[0].repeat(scale, axis=0).repeat(scale, axis=1)).all()


def test_captions_stay_under_their_image() -> None:
    """A long caption is cut at its image's width, and a second line lies below the first."""
    page = np.asarray(image_grid(even(100, 110), ["W" * 99, "one\ntwo"], 2, ""))
    below = page[MARGIN + GAP + 28 * SCALE :] < 255
    width = 28 * SCALE

    assert below[:, MARGIN : MARGIN + width].any()
    assert not below[:, MARGIN + width : MARGIN + width + GAP // 2].any()
    lines = below[:, MARGIN + width + GAP :].any(axis=1)
    assert np.count_nonzero(np.diff(lines.astype(int)) == 1) == 2


def test_titles_are_wrapped() -> None:
    """A long title takes several lines and stays on the page."""
    short, long = (image_grid(even(100), [""], 1, t) for t in ("a title", "a title " * 9))

    assert long.height > short.height
    assert long.width == short.width
    assert (np.asarray(long)[:, -MARGIN // 2 :] == 255).all()


def test_hostile_text_is_only_text() -> None:
    """Control characters and letters that the font lacks are drawn as ones that it has."""
    page = image_grid(even(100), ["\x1b[2J\u202eЖ\x00"], 1, "\x07→")

    assert page.mode == "L"


@pytest.mark.parametrize(
    ("images", "captions", "columns", "complaint"),
    [
        (np.zeros((0, 28, 28), np.uint8), [], 1, "none of them 0"),
        (np.zeros((28, 28), np.uint8), [""], 1, "where .n, height, width. was expected"),
        (np.zeros((1, 28, 28, 1), np.uint8), [""], 1, "where .n, height, width. was expected"),
        (np.zeros((2, 28, 28), np.uint8), [""], 1, "1 captions for 2 images"),
        (np.zeros((1, 28, 28), np.uint8), [""], 0, "columns 0 and scale 4"),
    ],
)
def test_what_is_no_grid_is_refused(
    images: npt.NDArray[np.uint8],
    captions: list[str],
    columns: int,
    complaint: str,
) -> None:
    """The error says what came and what was expected."""
    with pytest.raises(ValueError, match=complaint):
        image_grid(images, captions, columns, "")


def test_rescaled_images_are_refused() -> None:
    """Floats in [0, 1] would be drawn all black: a TypeError says so."""
    with pytest.raises(TypeError, match="type float32 where uint8"):
        image_grid(np.zeros((1, 28, 28), np.float32), [""], 1, "")
