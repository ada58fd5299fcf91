"""Any image that a person has, brought to what the models take: uint8 (28, 28), grey, on black.

Colours become grey and sizes become 28x28 by `preprocess`. An image that is not square is
not squashed: its longer side becomes 28 pixels and the shorter one is filled up with black on both
sides, as the makers of Fashion-MNIST did (Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747). They
also turned their photographs into negatives, so clothes photographed on white want `invert`.
Whatever is transparent is background and becomes black, inverted or not.
"""

import struct
import warnings
from pathlib import Path
from typing import Final, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from fmnist.data import preprocess

FORMATS: Final = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""What is opened at all: none of these runs a program, as PostScript would."""
PIXELS: Final = 64_000_000
"""The most that an image may have, by its header: decoded, that is 256 MB."""
LONG_SIDE: Final = 1_024
"""A much larger image is first reduced by the means of whole squares of pixels, to save memory."""
SIXTEEN_BITS: Final = ("I;16", "I;16L", "I;16B", "I;16N", "I")
"""Pillow's modes for grey of 16 bits; the last has them in 32."""
STEP: Final = 65_535 // 255
"""What a step of 8 bits is in 16."""
BROKEN: Final = (OSError, SyntaxError, ValueError, EOFError, struct.error, OverflowError)
"""What Pillow raises on damaged files."""


class ImageError(ValueError):
    """An image cannot be used: names the file, what is wrong with it, and what to do."""


def read(path: Path, *, invert: bool = False) -> npt.NDArray[np.uint8]:
    """Read an image file as uint8 (28, 28), 0 for the background.

    Args:
        path: one picture of any size: grey (1, 8 or 16 bits), colour or palette, with transparency
            or without; its EXIF orientation is heeded.
        invert: make a negative of it, for clothes on white.

    Raises:
        ImageError: It is missing, a folder, empty, no image of FORMATS, broken, truncated, of more
            than PIXELS pixels, or an animation.
    """
    return to_square(read_grey(path, invert=invert))


def read_grey(path: Path, *, invert: bool = False) -> npt.NDArray[np.uint8]:
    """Read an image file as uint8 (height, width) in its own size, at most LONG_SIDE to a side.

    Arguments and errors are those of `read`.
    """
    _check_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # such as a damaged EXIF field that nobody asks for
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as image:
                _check_header(path, image)
                pixels = _pixels(ImageOps.exif_transpose(image))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise _too_large(path) from error
    except UnidentifiedImageError as error:
        known = ", ".join(FORMATS)
        raise ImageError(f"{path} is no image that can be read: give one of {known}") from error
    except ImageError:
        raise
    except BROKEN as error:
        raise ImageError(f"{path} is broken or truncated ({error}): save it again") from error
    if invert:  # the colours, not the opacity
        colours = pixels[..., :3] if pixels.ndim > 2 else pixels  # noqa: PLR2004 (h, w, channels)
        np.subtract(255, colours, out=colours)
    (grey,) = preprocess.to_grayscale(pixels[None])
    return cast("npt.NDArray[np.uint8]", grey)


def to_square(grey: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Bring uint8 (height, width) to (28, 28): the longer side is 28, what is left is black."""
    side = preprocess.SIDE
    longest = max(grey.shape)
    height, width = (max(1, round(length * side / longest)) for length in grey.shape)
    square = np.zeros((side, side), np.uint8)
    top, left = (side - height) // 2, (side - width) // 2
    resized = preprocess.resize(grey[None], (height, width))[0]
    square[top : top + height, left : left + width] = resized
    return square


def _check_file(path: Path) -> None:
    """Raise where there is no file with something in it."""
    try:
        if path.is_dir():
            raise ImageError(f"{path} is a folder: name the images in it")
        if not path.exists():
            raise ImageError(f"{path} does not exist")
        if not path.is_file():
            raise ImageError(f"{path} is no regular file")
        if path.stat().st_size == 0:
            raise ImageError(f"{path} is empty")
    except OSError as error:
        raise ImageError(f"{path} cannot be read ({error.strerror})") from error


def _check_header(path: Path, image: Image.Image) -> None:
    """Raise for what the header says, before any pixel is decoded."""
    if image.width * image.height > PIXELS:
        raise _too_large(path)
    # A telephone's MPO is a JPEG photograph, with a smaller copy or a depth map behind it.
    n_frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if n_frames > 1:
        raise ImageError(f"{path} holds {n_frames} frames or pages: save the one that is meant")


def _too_large(path: Path) -> ImageError:
    return ImageError(f"{path} has more than {PIXELS:,} pixels by its header: make it smaller")


def _pixels(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Decode to uint8 (h, w), (h, w, 3) or, with opacity, (h, w, 4)."""
    if image.mode == "F":
        raise ValueError("it holds floating-point numbers of no known range")
    if image.mode in SIXTEEN_BITS:
        image = _of_16_bits(image)
    kind = "L" if image.mode in ("1", "L") else "RGB"
    image = image.convert("RGBA" if image.has_transparency_data else kind)
    factor = max(image.size) // LONG_SIDE
    return np.array(image.reduce(factor) if factor > 1 else image)


def _of_16_bits(image: Image.Image) -> Image.Image:
    """Return 8 bits of 16; Pillow's own conversion would cut off what is above 255."""
    deep = np.asarray(image, np.int64)
    if not 0 <= deep.min() <= deep.max() <= STEP * 255:
        raise ValueError("its pixels have more than 16 bits")
    return Image.fromarray(np.rint(deep / STEP).astype(np.uint8))
