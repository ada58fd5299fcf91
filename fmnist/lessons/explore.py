"""The data set by itself: class balance, pixels, samples, and its labels encoded three ways."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import altair as alt
import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.preprocessing import OneHotEncoder

from fmnist.data import CLASS_NAMES, Dataset, Source, load, load_sample, preprocess
from fmnist.lessons import by_keras
from fmnist.report.pictures.image_grid import image_grid
from fmnist.report.pictures.picture import Picture, inline, rounded
from fmnist.report.render import NOTHING, Table, digits, percent

SHADES: Final = 256
TRAIN_PER_TEST: Final = 6
"""Training images for each test image, in a sample as in the whole set."""
COLUMNS: Final = 10
"""Images of each class in the overview."""
SHOWN_LABELS: Final = 10
Counts = npt.NDArray[np.int64]


def loaded(source: Source, sample: int | None, seed: int) -> Dataset:
    """Load all of a data set, or a random sample of so many training images, stratified by class.

    Raises:
        DataError: As `fmnist.data.load`.
        ValueError: More images than there are, or fewer than there are classes.
    """
    if sample is None:
        return load(source)
    test_images = max(len(CLASS_NAMES), sample // TRAIN_PER_TEST)
    return load_sample(source, sample, test_images, seed)


def tables(dataset: Dataset, terms: Sequence[str]) -> list[Table]:
    """Return class balance, pixels of each set, and pixels of each class, as tables.

    Args:
        dataset: whole or a sample.
        terms: what else holds for it; its name comes first.
    """
    terms = (f"data set: {dataset.name}", *terms)
    sets = {"training": _shades(dataset, "train"), "test": _shades(dataset, "test")}
    return [
        _balance(dataset, terms),
        _pixels("Pixels of each set", "set", {k: v.sum(axis=0) for k, v in sets.items()}, terms),
        _pixels(
            "Pixels of each class, training set",
            "class",
            dict(zip(CLASS_NAMES, sets["training"], strict=True)),
            terms,
        ),
    ]


def overview(dataset: Dataset, columns: int = COLUMNS) -> Image.Image:
    """Draw the first training images of each class, a row for each class that has any."""
    images, captions = [], []
    for label, name in enumerate(CLASS_NAMES):
        chosen = np.flatnonzero(dataset.train_labels == label)[:columns]
        blank = np.full((columns - len(chosen), *dataset.train_images.shape[1:]), 255, np.uint8)
        images += [dataset.train_images[chosen], blank]
        captions += [name] * len(chosen) + [""] * len(blank)
    title = f"{dataset.name}: the first training images of each class"
    return image_grid(np.concatenate(images), captions, columns, title, scale=3)


def balance_chart(dataset: Dataset) -> Picture:
    """Return how many images each class has, in the training and in the test set, as bars."""
    counts = _class_counts(dataset)
    rows = [
        {"class": name, "set": kind, "images": int(n), "share": rounded(100 * n / max(1, total))}
        for kind, of_classes in counts.items()
        for total in [int(of_classes.sum())]
        for name, n in zip(CLASS_NAMES, of_classes, strict=True)
    ]
    chart = alt.Chart(inline(rows), width=280, height=240).mark_bar()
    chart = chart.encode(
        x=alt.X("share:Q", axis=alt.Axis(title="share of the set [%]")),
        y=alt.Y("class:N", sort=list(CLASS_NAMES), axis=alt.Axis(title=None)),
        column=alt.Column("set:N", sort=list(counts), title=None),
    )
    spec = chart.to_dict()
    spec.pop("config", None)  # Altair's own theme
    title = "How many images each class has"
    sizes = ", ".join(f"{kind} {int(n.sum()):,}" for kind, n in counts.items())
    reading = f"data set: {dataset.name}; images: {sizes}"
    spec["title"] = {"text": title, "subtitle": [reading]}
    figures = "; ".join(f"{r['set']} {r['class']}: {r['images']:,}" for r in rows)
    return Picture("class-balance", title, reading, f"{title}. {reading}. {figures}.", spec)


def one_hot_three_ways(
    labels: npt.NDArray[np.uint8], backend: str
) -> dict[str, npt.NDArray[np.float64]]:
    """Encode labels (n,) by our own code, by scikit-learn and by Keras: (n, 10) each.

    Raises:
        ask.NoAnswerError: The process in which Keras does it crashed.
    """
    encoder = OneHotEncoder(categories=[np.arange(len(CLASS_NAMES))], sparse_output=False)
    ways: dict[str, npt.NDArray[Any]] = {
        "preprocess.one_hot": preprocess.one_hot(labels),
        "sklearn OneHotEncoder": encoder.fit_transform(labels[:, None]),
        "keras to_categorical": by_keras.one_hot(labels, len(CLASS_NAMES), backend),
    }
    return {name: encoded.astype(np.float64) for name, encoded in ways.items()}


def encoding_tables(
    labels: npt.NDArray[np.uint8], ways: Mapping[str, npt.NDArray[np.float64]], name: str
) -> list[Table]:
    """Return the first labels encoded, and whether the ways agree on all of them.

    Args:
        labels: (n,).
        ways: what each way makes of them, (n, 10), our own first.
        name: of the data set.
    """
    terms = (f"data set: {name}", f"{len(labels):,} labels")
    (own, *_) = ways.values()
    first = tuple(
        (str(label), CLASS_NAMES[label], " ".join(f"{x:g}" for x in row))
        for label, row in zip(labels[:SHOWN_LABELS], own[:SHOWN_LABELS], strict=True)
    )
    agreeing = tuple(
        (way, "x".join(map(str, encoded.shape)), str(int((encoded == own).all(axis=1).sum())))
        for way, encoded in ways.items()
    )
    header = ("way", "shape", "labels encoded as by our own code")
    return [
        Table("The first labels, one-hot", ("label", "class", "encoded"), first, terms),
        Table("Three ways to encode them", header, agreeing, terms),
    ]


def _class_counts(dataset: Dataset) -> dict[str, Counts]:
    sets = {"training": dataset.train_labels, "test": dataset.test_labels}
    return {k: np.bincount(labels, minlength=len(CLASS_NAMES)) for k, labels in sets.items()}


def _balance(dataset: Dataset, terms: tuple[str, ...]) -> Table:
    counts = _class_counts(dataset)

    def cells(pick: slice) -> Iterator[str]:
        for of_classes in counts.values():
            n = int(of_classes[pick].sum())
            yield f"{n:,}"
            yield percent(n / max(1, int(of_classes.sum())))

    rows = [(name, *cells(slice(i, i + 1))) for i, name in enumerate(CLASS_NAMES)]
    rows.append(("all", *cells(slice(None))))
    header = ("class", "training images", "share [%]", "test images", "share [%]")
    return Table("Images of each class", header, tuple(rows), terms)


def _shades(dataset: Dataset, part: str) -> Counts:
    """Count the pixels of each shade, (10, 256): a row for each class."""
    images, labels = getattr(dataset, f"{part}_images"), getattr(dataset, f"{part}_labels")
    return np.stack([np.bincount(images[labels == i].ravel(), minlength=SHADES) for i in range(10)])


def _pixels(title: str, what: str, shades: Mapping[str, Counts], terms: tuple[str, ...]) -> Table:
    header = (what, "mean", "standard deviation", "min", "max", "black pixels [%]")
    rows = tuple((name, *_statistics(counts)) for name, counts in shades.items())
    return Table(title, header, rows, (*terms, "pixels from 0 (black) to 255"))


def _statistics(counts: Counts) -> tuple[str, ...]:
    """Return mean, standard deviation, extremes and the share of black of counts (256,)."""
    n, values = int(counts.sum()), np.arange(SHADES)
    if n == 0:
        return (NOTHING,) * 5
    mean = counts @ values / n
    deviation = float(np.sqrt(counts @ (values - mean) ** 2 / n))
    seen = np.flatnonzero(counts)
    extremes = (str(seen[0]), str(seen[-1]))
    return (digits(float(mean)), digits(deviation), *extremes, percent(counts[0] / n))
