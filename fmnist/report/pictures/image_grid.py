"""Images side by side, each over its caption, as one picture: pixels in, a Pillow image out.

The letters are of the font that Pillow brings with it, so a grid looks the same everywhere. It has
those of ASCII; others are shown as `?`.
"""

import io
import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from fmnist.report.render import inert

SCALE: Final = 4
"""Pixels of the picture for a pixel of an image, along each side."""
MARGIN: Final = 16
GAP: Final = 12
"""Between an image and the next one, in pixels."""
CAPTION_SIZE: Final = 13
TITLE_SIZE: Final = 17
LEADING: Final = 1.3
"""From a line of text to the next one, as a multiple of the font's size."""
LONGEST: Final = 300
"""Characters of a title, and of a line of a caption, that are looked at."""
PAPER: Final = 255
INK: Final = 33


def image_grid(
    images: npt.NDArray[np.uint8],
    captions: Sequence[str],
    columns: int,
    title: str,
    scale: int = SCALE,
) -> Image.Image:
    """Draw images row by row, each over its caption, under a title.

    Args:
        images: uint8 (n, height, width), mostly (n, 28, 28), at least one; 0 is drawn black.
        captions: one for each image, of any number of lines; one wider than the image is cut.
        columns: images in a row, at least 1.
        title: what is shown, and under which terms; wrapped.
        scale: pixels of the picture for each pixel of an image, along each side; at least 1.

    Returns:
        A grey picture (mode L), on white.

    Raises:
        TypeError: The images are not uint8.
        ValueError: There is no image, or they have another shape; there is not one caption for each
            image; `columns` or `scale` is below 1.
    """
    _check(images, captions, columns, scale)
    n, height, width = len(images), images.shape[1] * scale, images.shape[2] * scale
    page_width = 2 * MARGIN + min(columns, n) * (width + GAP) - GAP
    head = _wrapped(title, TITLE_SIZE, page_width - 2 * MARGIN)
    under = [[_cut(line, CAPTION_SIZE, width) for line in c.splitlines()] for c in captions]
    row_height = height + GAP + _tall(max(map(len, under)), CAPTION_SIZE)
    top = MARGIN + _tall(len(head), TITLE_SIZE) + GAP
    page_height = top + math.ceil(n / columns) * row_height - GAP + MARGIN
    page = Image.new("L", (page_width, page_height), PAPER)
    draw = ImageDraw.Draw(page)
    _write(draw, (MARGIN, MARGIN), head, TITLE_SIZE)
    for i, (image, lines) in enumerate(zip(images, under, strict=True)):
        row, column = divmod(i, columns)
        x, y = MARGIN + column * (width + GAP), top + row * row_height
        page.paste(Image.fromarray(image.repeat(scale, axis=0).repeat(scale, axis=1)), (x, y))
        _write(draw, (x, y + height + 1), lines, CAPTION_SIZE)
    return page


def _check(
    images: npt.NDArray[np.uint8], captions: Sequence[str], columns: int, scale: int
) -> None:
    if images.dtype != np.uint8:
        raise TypeError(f"images of type {images.dtype} where uint8 in [0, 255] was expected")
    if images.ndim != 3 or 0 in images.shape:  # noqa: PLR2004 (n, height, width)
        raise ValueError(
            f"images of shape {images.shape} where (n, height, width) was expected, none of them 0"
        )
    if len(captions) != len(images):
        raise ValueError(f"{len(captions)} captions for {len(images)} images: give one for each")
    if columns < 1 or scale < 1:
        raise ValueError(f"columns {columns} and scale {scale}: both must be at least 1")


def _tall(n_lines: int, size: int) -> int:
    """Return the height of lines of text in pixels."""
    return round(n_lines * size * LEADING)


def _write(draw: ImageDraw.ImageDraw, place: tuple[int, int], lines: list[str], size: int) -> None:
    """Draw lines below each other, the first one at the place of its upper left corner."""
    x, y = place
    for i, line in enumerate(lines):
        draw.text((x, y + _tall(i, size)), line, fill=INK, font=ImageFont.load_default(size))


def _drawable(text: str) -> str:
    """Return a text of letters that the font has."""
    return "".join(c if c.isascii() or c == "…" else "?" for c in inert(text, LONGEST))


def png(image: Image.Image) -> bytes:
    """Return a picture as a PNG file."""
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _fits(line: str, size: int, width: int) -> bool:
    return ImageFont.load_default(size).getbbox(line)[2] <= width


def _cut(line: str, size: int, width: int) -> str:
    """Return a line, shortened until it fits."""
    shown = kept = _drawable(line)
    while kept and not _fits(shown, size, width):
        kept = kept[:-1]
        shown = f"{kept}…"
    return shown


def _wrapped(text: str, size: int, width: int) -> list[str]:
    """Return a text in lines that fit, broken between words; a longer word is cut."""
    lines: list[str] = []
    for word in _drawable(text).split():
        if lines and _fits(f"{lines[-1]} {word}", size, width):
            lines[-1] = f"{lines[-1]} {word}"
        else:
            lines.append(_cut(word, size, width))
    return lines
