"""What whole trainings learned (task `learn`): at the end, by epoch, and how far they overfit.

The best epoch is that of the lowest validation loss, the first one where several are equal: nothing
is chosen by the test set. A training without a validation set, or without a finite loss on it, has
no best epoch.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from fmnist import machine, stats
from fmnist.grid import BACKENDS
from fmnist.record import EpochResult, Recipe, Record
from fmnist.report.choose import CELL_COLUMNS, backends_of, epochs_given, good, trained_key, was_cut
from fmnist.report.columns import of_backend, parameters, rows_of
from fmnist.report.render import (
    NOTHING,
    Table,
    bracketed,
    digits,
    inert,
    joined,
    percent,
    with_interval,
)
from fmnist.report.terms import terms_of
from fmnist.stats import Estimate
from fmnist.studies import tuning

LONGEST_NAME: Final = 40
LONGEST_MACHINE: Final = 120
MOST_SENTENCES: Final = 12
"""Of models that are told in words; the tables have all."""
TASKS: Final = ("train", "learn")
"""Those whose histories are told epoch by epoch."""
SPLITS: Final = ("train", "validation", "test")
"""As the fields of `EpochResult` begin."""
OF_A_MODEL: Final = ("study", "train_images")
"""What tells trainings of one model apart, beside its cell."""
CURVES_TERM: Final = (
    "training: Keras's running mean over the epoch, dropout on; validation and test: after the "
    "epoch"
)
BEST_TERM: Final = "best epoch: of the lowest validation loss; the test set chooses nothing"
SEEDS_TERM: Final = "mean of n seeds, with the 95 % interval (Student's t) of the mean"

Quantity = Literal["loss", "accuracy"]
QUANTITIES: Final[tuple[Quantity, ...]] = ("loss", "accuracy")


@dataclass(frozen=True)
class Learned:
    """The trainings of one model on one backend by one recipe, one for each seed.

    Attributes:
        name: the model and, where it differs from the others, in what.
        records: seed by seed, at least one.
    """

    name: str
    records: tuple[Record, ...]

    @property
    def first(self) -> Record:
        """The record of the first seed: it stands for the terms of all."""
        return self.records[0]

    @property
    def backend(self) -> str:
        """The backend, as its people write it."""
        return BACKENDS[self.first.backend].title

    @property
    def title(self) -> str:
        """Model and backend, and of how many seeds."""
        n = len(self.records)
        return f"{self.name} on {self.backend}, {n} seed{'s' if n > 1 else ''}"

    @property
    def last(self) -> list[int]:
        """The index of each seed's last epoch."""
        return [len(r.history) - 1 for r in self.records]

    @property
    def best(self) -> list[int] | None:
        """The index of each seed's best epoch; None where a seed has none."""
        found = [best_epoch(r.history) for r in self.records]
        known = [index for index in found if index is not None]
        return known if len(known) == len(found) else None

    def reached(self, split: str, quantity: Quantity) -> Estimate | None:
        """Return the mean over the seeds of a figure of the trained model; None without any.

        Of training it is the last epoch's running mean. Validation and test are of the weights that
        were kept, which a callback may have taken from an earlier epoch.
        """
        if split == "train":
            return self.at(self.last, split, quantity)
        name = quantity if split == "test" else f"{split}_{quantity}"
        return mean_of(getattr(r, name) for r in self.records)

    def at(self, epochs: Sequence[int] | None, split: str, quantity: Quantity) -> Estimate | None:
        """Return the mean over the seeds of a figure of one epoch of each; None where one lacks."""
        if epochs is None:
            return None
        pairs = zip(self.records, epochs, strict=True)
        return mean_of(figure(r.history[i], split, quantity) for r, i in pairs)


def looked_into(records: Iterable[Record]) -> list[Record]:
    """Return the whole trainings but those of a search: what these reach on the test set is hid."""
    return [r for r in good(records, "learn") if r.study != tuning.NAME]


def learned(records: Iterable[Record]) -> list[Learned]:
    """Return what there is of whole trainings: models by their parameters, backends in order.

    A search's trials are left out: what they reach on the test set is not looked at.

    Args:
        records: of one session, as from `choose.sessions_of`.
    """
    shown = looked_into(records)
    rows = rows_of(shown, key=trained_key)
    return [
        Learned(name, tuple(of_backend(row, backend)))
        for name, row in zip(_names([row[0] for row in rows]), rows, strict=True)
        for backend in backends_of(row)
    ]


def by_name(found: Iterable[Learned]) -> dict[str, list[Learned]]:
    """Return the trainings of each model, backend by backend."""
    models: dict[str, list[Learned]] = {}
    for one in found:
        models.setdefault(one.name, []).append(one)
    return models


def _names(records: Sequence[Record]) -> list[str]:
    """Return each record's model, what of its cell and work differs, and a number if that is equal.

    Models with validation train on fewer images: these tell only trainings of one model apart.
    """
    taken: Counter[str] = Counter()
    names = []
    for r in records:
        alike = [other for other in records if other.model == r.model]
        varying = [
            *(n for n in CELL_COLUMNS if len({getattr(other, n) for other in records}) > 1),
            *(n for n in OF_A_MODEL if len({getattr(other, n) for other in alike}) > 1),
        ]
        values = [(n, getattr(r, n)) for n in varying]
        words = [f"{v:,} images" if n == "train_images" else str(v) for n, v in values if v]
        words += _telling(r.recipe, [other.recipe for other in alike])
        if was_cut(r):
            words.append(f"{epochs_given(r)} of {r.recipe.epochs} epochs")
        name = inert(", ".join([r.model, *words]), LONGEST_NAME)
        taken[name] += 1
        names.append(name if taken[name] == 1 else f"({taken[name]}) {name}")
    return names


def _telling(recipe: Recipe, others: Iterable[Recipe]) -> list[str]:
    """Return by which of its terms a recipe differs from all others, as few as tell them apart."""
    left, words = [other for other in others if other != recipe], []
    for field, value in recipe:
        if any(getattr(other, field) != value for other in left):
            words.append(f"{field.replace('_', ' ')} {value}")
            left = [other for other in left if getattr(other, field) == value]
    return words


def figure(epoch: EpochResult, split: str, quantity: Quantity) -> float | None:
    """Return a loss, or an accuracy in [0, 1]; None for validation without such a set."""
    value: float | None = getattr(epoch, f"{split}_{quantity}")
    return value


def best_epoch(history: Sequence[EpochResult], quantity: Quantity = "loss") -> int | None:
    """Return the index of the epoch that is best on the validation set, the first of equals.

    None where no epoch has a finite figure of it.
    """
    sign = -1 if quantity == "accuracy" else 1
    found = [
        (sign * value, i)
        for i, epoch in enumerate(history)
        if (value := figure(epoch, "validation", quantity)) is not None and math.isfinite(value)
    ]
    return min(found)[1] if found else None


def mean_of(values: Iterable[float | None]) -> Estimate | None:
    """Return the mean over seeds, without an interval where one diverged; None if one is None."""
    listed = list(values)
    known = [value for value in listed if value is not None]
    if not known or len(known) < len(listed):
        return None
    if not all(map(math.isfinite, known)):
        return Estimate(math.nan, None, None, len(known))
    return stats.mean(known)


def points(estimate: Estimate | None) -> str:
    """Return a share, or a difference of shares, in per cent with its interval."""
    return NOTHING if estimate is None else bracketed(estimate, percent)


def loss(estimate: Estimate | None) -> str:
    """Return a loss, or a difference of losses, with its interval."""
    return NOTHING if estimate is None else with_interval(estimate)


def span(counts: Iterable[int]) -> str:
    """Return `5` or `4 to 7`; `-` for no counts."""
    ends = sorted(set(counts))
    return " to ".join(f"{end:,}" for end in dict.fromkeys(ends[:1] + ends[-1:])) or NOTHING


def terms(found: Sequence[Learned]) -> tuple[str, ...]:
    """Return what figures of trainings were learned under."""
    records = [r for one in found for r in one.records]
    return (
        f"seeds {joined(sorted({r.seed for r in records}))}",
        f"recipe: {joined(map(_recipe, records))}",
        *terms_of(records),
    )


def _recipe(record: Record) -> str:
    recipe = record.recipe
    rate = f"{recipe.learning_rate:g}"
    return f"{recipe.optimizer} {rate}, {recipe.loss}, {recipe.epochs} epochs"


def results(records: Sequence[Record]) -> Table | None:
    """Return what each model learned: accuracies and loss at the last and at the best epoch."""
    found = learned(records)
    if not found:
        return None
    header = (
        *("model", "backend", "parameters", "n", "epochs"),
        *("training [%]", "validation [%]", "test [%]", "test loss"),
        *("best epoch", "test at best [%]", "test loss at best"),
    )
    rows = tuple(
        (
            *(one.name, one.backend, f"{parameters(one.records).total:,}", str(len(one.records))),
            span(index + 1 for index in one.last),
            *(points(one.reached(split, "accuracy")) for split in SPLITS),
            loss(one.reached("test", "loss")),
            span(index + 1 for index in one.best or ()),
            points(one.at(one.best, "test", "accuracy")),
            loss(one.at(one.best, "test", "loss")),
        )
        for one in found
    )
    stated = (
        "training: Keras's running mean over the last epoch, dropout on; validation and test: of "
        "the trained model",
        *(SEEDS_TERM, BEST_TERM, *terms(found)),
    )
    return Table("What whole trainings learned", header, rows, stated)


def overfitting(found: Sequence[Learned], quantity: Quantity) -> Table | None:
    """Return how far training is ahead of validation and test, at the best and the last epoch.

    A gap is above 0 where training has the lower loss, or the higher accuracy. None for no
    trainings.
    """
    if not found:
        return None
    unit, of_gap = ("", "") if quantity == "loss" else (" [%]", " [points]")
    header = (
        *("model", "backend", "n", "at", "epoch"),
        *(f"{split}{unit}" for split in ("training", "validation", "test")),
        *(f"gap to {split}{of_gap}" for split in ("validation", "test")),
    )
    shown = loss if quantity == "loss" else points
    rows = tuple(
        (one.name, one.backend, str(len(one.records)), at, epochs, *map(shown, figures))
        for one in found
        for at, epochs, figures in _gap_rows(one, quantity)
    )
    stated = (
        f"gap: by how much the {quantity} is better in training; growth: from the best epoch to "
        "the last one",
        *(SEEDS_TERM, CURVES_TERM, BEST_TERM, *terms(found)),
    )
    return Table(f"Overfitting, by {quantity}", header, rows, stated)


def _gap_rows(one: Learned, quantity: Quantity) -> Iterator[tuple[str, str, list[Estimate | None]]]:
    """Yield, for the best epoch, the last one and the growth: its name, the epochs, the figures."""
    last = _figures(one, one.last, quantity)
    if one.best is not None:
        best = _figures(one, one.best, quantity)
        yield "best", span(i + 1 for i in one.best), _means(best)
    yield "last", span(i + 1 for i in one.last), _means(last)
    if one.best is not None:
        grown = [
            [None if a is None or b is None else b - a for a, b in zip(before, after, strict=True)]
            for before, after in zip(best, last, strict=True)
        ]
        yield "growth", NOTHING, _means(grown)


def _figures(one: Learned, epochs: Sequence[int], quantity: Quantity) -> list[list[float | None]]:
    """Return, seed by seed, the figures of SPLITS at an epoch, and the gaps to the last two."""
    sign = 1 if quantity == "loss" else -1
    found = []
    for record, index in zip(one.records, epochs, strict=True):
        train, *others = (figure(record.history[index], split, quantity) for split in SPLITS)
        gaps = [None if o is None or train is None else sign * (o - train) for o in others]
        found.append([train, *others, *gaps])
    return found


def _means(seeds: Sequence[Sequence[float | None]]) -> list[Estimate | None]:
    return [mean_of(column) for column in zip(*seeds, strict=True)]


def epoch_tables(records: Iterable[Record]) -> list[Table]:
    """Return a table of the epochs of each training that has a history, also of one that failed.

    Not of a search's trials: see `looked_into`.
    """
    trained = [r for r in records if r.task in TASKS and r.history and r.study != tuning.NAME]
    rows = rows_of(trained, key=trained_key)
    return [
        _epoch_table(name, record)
        for name, row in zip(_names([row[0] for row in rows]), rows, strict=True)
        for backend in backends_of(row)
        for record in of_backend(row, backend)
    ]


def _epoch_table(name: str, record: Record) -> Table:
    """Return one training's losses and accuracies, its best epochs marked."""
    splits = ("training", "validation", "test")
    header = (
        "epoch",
        *(f"{split} {what}" for split in splits for what in ("loss", "accuracy [%]")),
        "best by",
    )
    best: dict[Quantity, int | None] = {
        quantity: best_epoch(record.history, quantity) for quantity in QUANTITIES
    }
    rows = tuple(
        (
            str(i + 1),
            *(
                show(figure(epoch, split, quantity))
                for split in SPLITS
                for quantity, show in _SHOWN.items()
            ),
            ", ".join(quantity for quantity, at in best.items() if at == i) or NOTHING,
        )
        for i, epoch in enumerate(record.history)
    )
    title = f"Epochs of {name} on {BACKENDS[record.backend].title}, process {record.process}"
    failure = [] if record.failure is None else [f"FAILED after these epochs: {record.failure}"]
    best_term = "best by: lowest validation loss, highest validation accuracy, the first of equals"
    stated = (CURVES_TERM, best_term, *terms([Learned(name, (record,))]))
    return Table(title, header, rows, (*failure, *stated))


def _loss_of_one(value: float | None) -> str:
    return NOTHING if value is None else digits(value)


def _accuracy_of_one(value: float | None) -> str:
    return NOTHING if value is None else percent(value)


_SHOWN: Final[dict[Quantity, Callable[[float | None], str]]] = {
    "loss": _loss_of_one,
    "accuracy": _accuracy_of_one,
}


def machine_of(record: Record) -> str:
    """Return a record's machine as it can stand in a sentence."""
    return inert(machine.summary(record.machine), LONGEST_MACHINE)


def whereabouts(record: Record) -> str:
    """Return what a session's sentences begin with: its machine, data set and preset."""
    return f"{machine_of(record)}, {record.dataset}, preset {record.preset}"


def sentences(records: Sequence[Record]) -> list[str]:
    """Return what whole trainings learned, a sentence for each of the first models."""
    found = learned(records)
    if not found:
        return []
    models = by_name(found)
    count = sum(len(one.records) for one in found)
    different = len({one.first.model for one in found})
    told = [_sentence(name, ones) for name, ones in list(models.items())[:MOST_SENTENCES]]
    left = len(models) - len(told)
    return [
        f"On {whereabouts(found[0].first)}: what {count} trainings of {different} "
        f"model{'s' if different > 1 else ''} learned, on the test set.",
        *told,
        *([f"{left} more: see the tables."] if left else []),
    ]


def _sentence(name: str, ones: Sequence[Learned]) -> str:
    figures = [
        f"{points(one.reached('test', 'accuracy'))} % and loss "
        f"{loss(one.reached('test', 'loss'))} on {one.backend} (n={len(one.records)})"
        for one in ones
    ]
    if was_cut(ones[0].first):
        return f"{name}: accuracy {', '.join(figures)}."
    epochs = span(i + 1 for one in ones for i in one.last)
    return f"{name} after {epochs} epochs: accuracy {', '.join(figures)}."
