"""From raw images and labels to what a model takes: NumPy in, NumPy out, no state.

Images are uint8 from 0 to 255 until `rescale`, which comes last. Every random choice takes a seed,
and the same seed gives the same rows on every backend.
"""

from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

Images = TypeVar("Images", bound=np.generic)
Labels = TypeVar("Labels", bound=np.generic)

SIDE = 28
VIEWS = {2: (1, 1), 5: (5, 0), 6: (5, 1), 10: (5, 5)}
"""By the number of views, how many of the five shifts are seen as they are, and mirrored."""
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601


def rescale(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Map uint8 (n, 28, 28) or (n, 28, 28, 1) in [0, 255] to float32 (n, 28, 28, 1) in [0, 1].

    Raises:
        TypeError: The images are not uint8, so perhaps rescaled already.
        ValueError: The images have another shape.
    """
    _require_uint8(images)
    if images.shape[1:] not in ((SIDE, SIDE), (SIDE, SIDE, 1)):
        raise ValueError(
            f"images of shape {images.shape} where (n, 28, 28) or (n, 28, 28, 1) was expected:"
            " apply to_grayscale and resize first"
        )
    flat = images.reshape(len(images), SIDE, SIDE, 1)
    return np.divide(flat, np.float32(255), dtype=np.float32)


def resize(
    images: npt.NDArray[np.uint8], size: tuple[int, int] = (SIDE, SIDE)
) -> npt.NDArray[np.uint8]:
    """Resample uint8 (n, height, width) to uint8 (n, *size), antialiased.

    The filter is a triangle: unlike sharper ones it never leaves the range of the pixels it saw, so
    a black background stays black.

    Args:
        images: greyscale, of any size.
        size: height and width in pixels, at least 1.

    Raises:
        TypeError: The images are not uint8.
        ValueError: The images are not (n, height, width), have no pixels, or `size` has none.
    """
    _require_uint8(images)
    if images.ndim != 3 or 0 in images.shape[1:]:  # noqa: PLR2004 (n, height, width)
        raise ValueError(
            f"images of shape {images.shape} where (n, height, width) was expected:"
            " apply to_grayscale to colours first"
        )
    height, width = size
    if height < 1 or width < 1:
        raise ValueError(f"size {size}: height and width must be at least 1 pixel")
    resized = np.empty((len(images), height, width), np.uint8)
    for row, image in zip(resized, images, strict=True):
        smooth = Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR)
        row[:] = np.asarray(smooth)
    return resized


def to_grayscale(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Turn uint8 (n, h, w, 3) colours into uint8 (n, h, w) ITU-R 601 luma, rounded.

    A fourth channel is opacity (255 is opaque) over black. Greyscale (n, h, w) passes unchanged.

    Raises:
        TypeError: The images are not uint8.
        ValueError: The images have another shape.
    """
    _require_uint8(images)
    luma: npt.NDArray[np.float32]
    match images.shape:
        case (_, _, _):
            return images
        case (_, _, _, 3):
            luma = images @ LUMA
        case (_, _, _, 4):
            luma = images[..., :3] @ LUMA * np.divide(images[..., 3], 255, dtype=np.float32)
        case shape:
            raise ValueError(
                f"images of shape {shape} where (n, h, w), (n, h, w, 3) or (n, h, w, 4) was"
                " expected: channels come last"
            )
    return np.rint(luma).astype(np.uint8, copy=False)


def one_hot(labels: npt.NDArray[np.integer[Any]], n_classes: int = 10) -> npt.NDArray[np.float32]:
    """Turn integer labels (n,) into float32 (n, n_classes) with one 1 in each row.

    Raises:
        TypeError: The labels are not integers.
        ValueError: The labels are not one-dimensional, or one lies outside [0, n_classes).
    """
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(f"labels of type {labels.dtype} where integers were expected")
    if labels.ndim != 1:
        raise ValueError(f"labels of shape {labels.shape} where (n,) was expected")
    wrong = np.flatnonzero((labels < 0) | (labels >= n_classes))
    if wrong.size:
        raise ValueError(
            f"label {labels[wrong[0]]} at row {wrong[0]} lies outside [0, {n_classes})"
            f" ({wrong.size} such labels in all)"
        )
    encoded = np.zeros((len(labels), n_classes), np.float32)
    encoded[np.arange(len(labels)), labels] = 1
    return encoded


def for_loss(labels: npt.NDArray[np.integer[Any]], loss: str) -> npt.NDArray[Any]:
    """Return labels (n,) as Keras's loss of that name takes them: one-hot, or int32 (n,).

    Raises:
        As `one_hot`, for `categorical_crossentropy`.
    """
    return one_hot(labels) if loss == "categorical_crossentropy" else labels.astype(np.int32)


def split(
    images: npt.NDArray[Images], labels: npt.NDArray[Labels], share: float, seed: int
) -> tuple[npt.NDArray[Images], npt.NDArray[Labels], npt.NDArray[Images], npt.NDArray[Labels]]:
    """Shuffle and split, stratified by class: each part has the class shares of the whole.

    Args:
        images: (n, ...).
        labels: (n,), one for each image.
        share: part that goes to validation, in (0, 1); the count is rounded to a whole image.
        seed: the same seed gives the same split.

    Returns:
        Training images, training labels, validation images, validation labels.

    Raises:
        ValueError: The lengths differ, `share` is outside (0, 1), or a part is too small.
    """
    n_classes = _count_classes(images, labels)
    if not 0 < share < 1:
        raise ValueError(f"share {share}: the part for validation must lie in (0, 1)")
    held_out = round(share * len(labels))  # a float would be rounded up: 0.07 of 100 would become 8
    kept = len(labels) - held_out
    if min(kept, held_out) < n_classes:
        raise ValueError(
            f"share {share} splits {len(labels)} images into {kept} and {held_out}:"
            f" each part needs at least one image of each of the {n_classes} classes"
        )
    train, validation = _apart(labels, held_out, seed)
    return images[train], labels[train], images[validation], labels[validation]


def sample(
    images: npt.NDArray[Images], labels: npt.NDArray[Labels], n: int, seed: int
) -> tuple[npt.NDArray[Images], npt.NDArray[Labels]]:
    """Draw n images (m, ...) and labels (m,) without replacement, stratified by class.

    All of them are returned in their order if n is m; otherwise the order is random.

    Raises:
        ValueError: The lengths differ, or n is larger than m or smaller than the number of classes.
    """
    n_classes = _count_classes(images, labels)
    if n > len(labels):
        raise ValueError(f"a sample of {n} images from a set of {len(labels)}: ask for fewer")
    if n < n_classes:
        raise ValueError(f"a sample of {n} images cannot show {n_classes} classes: ask for more")
    if n == len(labels):
        return images, labels
    left_out = len(labels) - n
    # The rest, too, must hold every class: if it is smaller than that, take some of it back.
    drawn, rest = _apart(labels, max(left_out, n_classes), seed)
    rows = np.concatenate([drawn, rest[left_out:]])
    return images[rows], labels[rows]


def _apart(labels: npt.NDArray[Labels], n: int, seed: int) -> list[np.ndarray]:
    """Return the rows of two parts, shuffled and stratified by class; the second has n of them."""
    # scikit-learn takes a second to import, and the parent has no use for it: it splits nothing.
    from sklearn.model_selection import train_test_split

    parts: list[np.ndarray] = train_test_split(
        np.arange(len(labels)), test_size=n, stratify=labels, random_state=seed
    )
    return parts


def views(images: npt.NDArray[Images], n: int) -> Iterator[npt.NDArray[Images]]:
    """Yield n views of images (m, 28, 28, 1), each of their shape; the first is the images.

    Five are the images and their shifts by a pixel up, down, left and right, with 0 shifted in;
    ten are these and their mirror images. Two are the images and their mirror images, six are
    these and the shifts.

    Raises:
        ValueError: n is not 2, 5, 6 or 10.
    """
    if n not in VIEWS:
        raise ValueError(f"{n} views of an image: there are {', '.join(map(str, VIEWS))}")
    n_shifts, n_mirrored = VIEWS[n]
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    offsets = ((1, 1), (2, 1), (0, 1), (1, 2), (1, 0))
    shifted = [padded[:, top : top + SIDE, left : left + SIDE] for top, left in offsets]
    yield from shifted[:n_shifts]
    yield from (view[:, :, ::-1] for view in shifted[:n_mirrored])


def _require_uint8(images: npt.NDArray[Any]) -> None:
    if images.dtype != np.uint8:
        raise TypeError(
            f"images of type {images.dtype} where uint8 in [0, 255] was expected:"
            " rescale comes last, and once"
        )


def _count_classes(images: npt.NDArray[Any], labels: npt.NDArray[Any]) -> int:
    """Count the classes, after checking that each image has its label and each class two images."""
    if labels.ndim != 1 or images.shape[:1] != labels.shape:
        raise ValueError(
            f"images of shape {images.shape} with labels of shape {labels.shape}:"
            " (n, ...) and (n,) with the same n were expected"
        )
    classes, counts = np.unique(labels, return_counts=True)
    if counts.size and counts.min() < 2:  # noqa: PLR2004 (one for each part)
        raise ValueError(
            f"class {classes[counts.argmin()]} has one image: two are needed to stratify"
        )
    return len(classes)
