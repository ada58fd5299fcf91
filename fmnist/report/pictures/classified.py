"""Test images that a training classified right and wrong, each with its class and confidence."""

from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from fmnist.data import CLASS_NAMES
from fmnist.grid import BACKENDS
from fmnist.record import Record
from fmnist.report.classes import predictions_of
from fmnist.report.pictures.image_grid import image_grid

MOST_IMAGES: Final = 30
COLUMNS: Final = 6
SCALE: Final = 5
"""Pixels of a grid for a pixel of an image: captions are as wide as an image."""


class OtherImagesError(ValueError):
    """The images are not those that the predictions are of."""


def wrong(record: Record, images: npt.NDArray[np.uint8]) -> Image.Image | None:
    """Return what was classified wrong, the surest errors first; None where nothing was.

    Args:
        record: of task `learn`, without failure.
        images: the test images that it is of, uint8 (n, 28, 28), in the order of its predictions.
    """
    predictions = predictions_of(record)
    errors = np.flatnonzero(predictions.true() != predictions.given())
    surest = errors[np.argsort(-predictions.confidence()[errors], kind="stable")]
    what = f"{len(errors):,} of {len(images):,} test images classified wrong, the surest first"
    return _grid(record, images, surest[:MOST_IMAGES], what)


def right(record: Record, images: npt.NDArray[np.uint8]) -> Image.Image | None:
    """Return a sample of what was classified right, drawn by the record's seed; None for nothing.

    The arguments are those of `wrong`.
    """
    predictions = predictions_of(record)
    correct = np.flatnonzero(predictions.true() == predictions.given())
    n = min(MOST_IMAGES, len(correct))
    sample = np.random.default_rng(record.seed).choice(correct, n, replace=False)
    what = f"{len(correct):,} of {len(images):,} test images classified right, a random sample"
    return _grid(record, images, np.sort(sample), what)


def check(record: Record, labels: npt.NDArray[np.uint8]) -> None:
    """Raise OtherImagesError unless the labels of test images are those of a record's predictions.

    Args:
        record: of task `learn`, without failure.
        labels: of the images at hand, (n,).
    """
    true = predictions_of(record).true()
    if not np.array_equal(true, labels):
        differ = (
            f"{int(np.sum(true != labels)):,} of {len(true):,} labels differ"
            if len(true) == len(labels)
            else f"{len(true):,} predictions, {len(labels):,} images"
        )
        raise OtherImagesError(
            f"the predictions of {record.cell.id}, seed {record.seed}, session {record.session} "
            f"are of other test images than those of the data set at hand ({differ})"
        )


def _grid(
    record: Record, images: npt.NDArray[np.uint8], chosen: npt.NDArray[np.intp], what: str
) -> Image.Image | None:
    """Return the chosen images with true class, class given and confidence under each."""
    if not len(chosen):
        return None
    predictions = predictions_of(record)
    true, given = predictions.true(), predictions.given()
    confidence = predictions.confidence()
    captions = [
        f"true {CLASS_NAMES[true[i]]}\ngiven {CLASS_NAMES[given[i]]}\n{100 * confidence[i]:.0f} %"
        for i in chosen
    ]
    title = (
        f"{what}. {record.model} on {BACKENDS[record.backend].title}, seed {record.seed}, "
        f"{record.dataset}, preset {record.preset}. Under each: true class, class given, its "
        "probability."
    )
    return image_grid(images[chosen], captions, COLUMNS, title, SCALE)
