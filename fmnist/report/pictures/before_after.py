"""An image and what a kernel made of it, side by side at one scale."""

from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from fmnist.report.pictures.image_grid import PAPER, image_grid
from fmnist.report.render import digits

WIDE: Final = 320
"""At least so many pixels of the picture for the longer side of a small image."""


def before_after(
    image: npt.NDArray[np.uint8], made: npt.NDArray[np.float64], title: str
) -> Image.Image:
    """Draw uint8 (height, width) beside float64 (h, w), which is no larger.

    Values that are all in [0, 255] are shown as they are; larger ones are scaled down; and if some
    are negative, 0 is the middle grey. The caption says which.
    """
    shown, how = _grey(made)
    height, width = image.shape
    beside = np.full(image.shape, PAPER, np.uint8)
    beside[: made.shape[0], : made.shape[1]] = shown
    captions = [
        f"before: {width}x{height}",
        f"after: {made.shape[1]}x{made.shape[0]}\n"
        f"{digits(float(made.min()))} to {digits(float(made.max()))}\n{how}",
    ]
    scale = max(1, round(WIDE / max(height, width)))
    return image_grid(np.stack([image, beside]), captions, 2, title, scale)


def _grey(made: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.uint8], str]:
    """Return values as grey, and how, in words."""
    low, high = float(made.min()), float(made.max())
    if low < 0:
        grey = 127.5 + made * (127.5 / max(-low, high))
        how = "0 is the middle grey"
    elif high > PAPER:
        grey, how = made * (PAPER / high), "the largest is white"
    else:
        grey, how = made, "shown as they are"
    return np.rint(grey).astype(np.uint8), how
