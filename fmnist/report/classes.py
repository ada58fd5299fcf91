"""What predictions say of each class: a classification report and a confusion matrix."""

from collections.abc import Iterator
from statistics import fmean

import numpy as np
import numpy.typing as npt
from sklearn.metrics import classification_report, confusion_matrix

from fmnist.data import CLASS_NAMES
from fmnist.record import Predictions, Record
from fmnist.report.learned import Learned, terms
from fmnist.report.render import NOTHING, Table, digits, joined

CLASSES = range(len(CLASS_NAMES))
MEANS = ("macro avg", "weighted avg")
"""As scikit-learn calls the averages over classes: of all alike, and by their images."""
FIGURES = ("precision", "recall", "f1-score")
GIVEN_TERM = "of the test set after the training; the class given is the most probable one"


def predictions_of(record: Record) -> Predictions:
    """Return what a training said of the test images. Raises ValueError for one without."""
    if record.predictions is None:
        raise ValueError(f"{record.cell.id}: a training without failure has its predictions")
    return record.predictions


def confusion(one: Learned) -> npt.NDArray[np.int64]:
    """Return how many test images of a class (row) were given which class (column), (10, 10).

    All seeds are added up.
    """
    matrices = [
        confusion_matrix(p.true(), p.given(), labels=CLASSES)
        for p in map(predictions_of, one.records)
    ]
    return np.asarray(np.sum(matrices, axis=0), np.int64)


def recalls(one: Learned) -> list[list[float | None]]:
    """Return, by class and then by seed, the share of its images that were given it.

    None for a class without an image.
    """
    by_seed = []
    for record in one.records:
        matrix = confusion(Learned(one.name, (record,)))
        images = matrix.sum(axis=1)
        by_seed.append(
            [float(matrix[c, c] / images[c]) if images[c] else None for c in CLASSES],
        )
    return [list(of_class) for of_class in zip(*by_seed, strict=True)]


def classification(one: Learned) -> Table:
    """Return scikit-learn's report: precision, recall and F1 of each class, mean over the seeds."""
    seeds = [
        classification_report(
            p.true(),
            p.given(),
            labels=CLASSES,
            target_names=CLASS_NAMES,
            output_dict=True,
            zero_division=0.0,
        )
        for p in map(predictions_of, one.records)
    ]

    def rows() -> Iterator[tuple[str, ...]]:
        for name in (*CLASS_NAMES, *MEANS):
            shown = [digits(fmean(seed[name][figure] for seed in seeds)) for figure in FIGURES]
            yield (name, *shown, joined(int(seed[name]["support"]) for seed in seeds))

    accuracy = digits(fmean(seed["accuracy"] for seed in seeds))
    images = joined(r.test_images for r in one.records)
    return Table(
        f"Classification report: {one.title}",
        ("class", "precision", "recall", "F1", "images"),
        (*rows(), ("accuracy", NOTHING, NOTHING, accuracy, images)),
        (
            f"{GIVEN_TERM}; each figure is the mean of n={len(one.records)} seeds; a class that "
            "was never given has precision 0; macro: of all classes alike, weighted: by images",
            *terms([one]),
        ),
    )


def confusion_table(one: Learned) -> Table:
    """Return the confusion matrix: true classes in rows, given ones in columns, seeds added up."""
    rows = tuple(
        (name, *(f"{count:,}" for count in row), f"{row.sum():,}")
        for name, row in zip(CLASS_NAMES, confusion(one), strict=True)
    )
    return Table(
        f"Confusion matrix: {one.title}",
        ("true \\ given", *CLASS_NAMES, "images"),
        rows,
        (f"{GIVEN_TERM}; n={len(one.records)} seeds added up", *terms([one])),
    )
