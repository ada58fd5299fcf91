"""The race: which entrant reaches which accuracy, and how soon. Tables and sentences.

An entrant stands twice where its recipe has views for test time: by plain accuracy, and by that of
the views, whose seconds are added.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from fmnist import models, stats
from fmnist.grid import BACKENDS
from fmnist.record import Race, RaceRole, Record
from fmnist.report.choose import good
from fmnist.report.render import (
    NOTHING,
    Table,
    accuracy,
    digits,
    inert,
    joined,
    percent,
    with_interval,
)
from fmnist.report.terms import knob_terms, terms_of
from fmnist.stats import Estimate
from fmnist.studies.race_rules import FEWEST_SEEDS, REFERENCE_EPOCHS, TIERS

LONGEST_NAME: Final = 60
VARIED: Final = (
    *("learning_rate", "epochs", "rise_share", "beta_2", "label_smoothing", "optimizer", "views"),
)
"""What choosing may vary of a recipe, beside the batch size, which is a term of its own."""


@dataclass(frozen=True)
class Entry:
    """One entrant by one way of reading it: all its seeds.

    Attributes:
        records: its trainings, seed by seed; at least one.
        by_views: whether the accuracy is that of several views, with their seconds added.
        reference_s: five median epochs of the reference in the same session and on the same
            device; None where there is none.
    """

    records: tuple[Record, ...]
    by_views: bool
    reference_s: float | None

    @property
    def first(self) -> Record:
        """The record of the first seed: it stands for the terms of all."""
        return self.records[0]

    @property
    def accuracy(self) -> Estimate:
        """The mean accuracy of the seeds, with Student's t interval."""
        return stats.mean([_accuracy(race_of(r), by_views=self.by_views) for r in self.records])

    @property
    def seconds(self) -> Estimate:
        """The mean seconds of the seeds, without compilation."""
        return stats.mean([_seconds(race_of(r), by_views=self.by_views) for r in self.records])

    @property
    def compiled_s(self) -> Estimate:
        """The mean seconds with compilation: by how much the cold epoch was longer, added."""
        return stats.mean(
            [_seconds(race_of(r), by_views=self.by_views) + compile_s(r) for r in self.records]
        )

    @property
    def times_sooner(self) -> float | None:
        """How many times as long the reference took."""
        return None if self.reference_s is None else self.reference_s / self.seconds.value

    @property
    def counts(self) -> bool:
        """Whether there are seeds enough for a tier."""
        return len({r.seed for r in self.records}) >= FEWEST_SEEDS

    def reaches(self, tier: float) -> bool:
        """Tell whether the mean of enough seeds reaches a tier."""
        return self.counts and self.accuracy.value >= tier

    @property
    def tier(self) -> float | None:
        """The tier that the model was made for; None for the suite's models and unknown ones."""
        name = self.first.model
        return models.card(name).tier if name in models.names() else None


def race_of(record: Record) -> Race:
    """Return what a race record measured. Raises ValueError for one that has nothing of it."""
    if record.race is None:
        raise ValueError(f"{record.cell.id}: a race record without failure has its race")
    return record.race


def compile_s(record: Record) -> float:
    """Return by how much the cold epoch was longer than the median of the warm ones; at least 0."""
    return max(0.0, (record.first_epoch_s or 0.0) - stats.median(record.epoch_s).value)


def _accuracy(race: Race, *, by_views: bool) -> float:
    return (race.views_accuracy if by_views else race.accuracy) or 0.0


def _seconds(race: Race, *, by_views: bool) -> float:
    return race.train_s + ((race.views_s or 0.0) if by_views else 0.0)


def raced(records: Iterable[Record], role: RaceRole) -> list[Record]:
    """Return the good race records of a role."""
    return [r for r in good(records, "race") if race_of(r).role == role]


def reference_s(records: Iterable[Record], device: str) -> float | None:
    """Return the seconds of five epochs of the reference, each the median of all on the device."""
    epochs = _reference_epochs_s(records, device)
    return REFERENCE_EPOCHS * stats.median(epochs).value if epochs else None


def _reference_epochs_s(records: Iterable[Record], device: str) -> list[float]:
    return [s for r in raced(records, "reference") if r.device == device for s in r.epoch_s]


def entries(records: Sequence[Record], role: RaceRole = "entrant") -> list[Entry]:
    """Return all entrants of a session by each way of reading them, the soonest first.

    Trainings by different recipes are different entrants: in choosing, they are.
    """
    groups: dict[tuple[Any, ...], list[Record]] = {}
    for record in raced(records, role):
        groups.setdefault((record.cell, record.recipe.model_dump_json()), []).append(record)
    found = [
        Entry(tuple(group), by_views, reference_s(records, group[0].device))
        for group in groups.values()
        for by_views in (False, True)
        if not by_views or all(race_of(r).views_s is not None for r in group)
    ]
    return sorted(found, key=lambda entry: entry.seconds.value)


def standings(records: Sequence[Record]) -> Iterator[tuple[float, Entry]]:
    """Yield who stands under which tier, tier by tier and the soonest first.

    These are, of each backend, device, mode and precision, the soonest that reaches it; the soonest
    by views, if that is sooner than all without; those that were made for it; and, under the
    lowest, those that reach none and were made for none.
    """
    all_entries = entries(records)
    for tier in TIERS:
        seen: set[tuple[Any, ...]] = set()
        for entry in all_entries:
            r = entry.first
            place = (r.backend, r.device, r.mode, r.precision)
            reaches = entry.reaches(tier)
            soonest = reaches and seen.isdisjoint({(*place, False), (*place, entry.by_views)})
            last = tier == TIERS[0] and not reaches and entry.tier is None
            if soonest or entry.tier == tier or last:
                yield tier, entry
            if reaches:
                seen.add((*place, entry.by_views))


def leaderboard(records: Sequence[Record]) -> Table | None:
    """Return how soon each tier is reached, and by whom."""
    rows = tuple(
        (
            _tier(tier),
            entry.first.model,
            entry.first.backend,
            *((entry.first.device,) if _several(records, "device") else ()),
            entry.first.mode,
            entry.first.precision,
            str(entry.first.recipe.epochs),
            str(entry.first.recipe.views) if entry.by_views else NOTHING,
            accuracy(entry.accuracy),
            str(len(entry.records)),
            with_interval(entry.seconds),
            digits(entry.compiled_s.value),
            NOTHING if entry.times_sooner is None else digits(entry.times_sooner),
            ("yes" if entry.reaches(tier) else "no") if entry.counts else "too few seeds",
        )
        for tier, entry in standings(records)
    )
    if not rows:
        return None
    header = (
        *("tier [%]", "entrant", "backend"),
        *(("device",) if _several(records, "device") else ()),
        *("mode", "precision", "epochs", "views", "accuracy [%]", "n", "seconds"),
        *("with compilation [s]", "times sooner", "reached"),
    )
    shown = raced(records, "entrant")
    terms = (*_rules(records), *knob_terms(shown), *terms_of(shown))
    return Table("Race: time to accuracy", header, rows, terms)


def _rules(records: Sequence[Record]) -> tuple[str, ...]:
    """Return what a place on the leaderboard means."""
    references = raced(records, "reference")
    found = ", ".join(
        f"{r.device} {digits(reference_s(records, r.device) or 0.0)} s "
        f"({digits(REFERENCE_EPOCHS * min(_reference_epochs_s(records, r.device)))} s by the "
        "shortest: TensorFlow waits after some of them, docs/findings.md), test accuracy "
        f"{joined(percent(race_of(o).accuracy) for o in references if o.device == r.device)} %"
        for r in {r.device: r for r in references}.values()
    )
    reference = (
        f"times sooner: against {REFERENCE_EPOCHS} median epochs of {references[0].cell.id} on "
        f"{references[0].train_images:,} images, {len(references)} trainings of this session, one "
        f"before and one after all others: {found}"
        if references
        else "times sooner: the session has no reference"
    )
    return (
        f"a tier is reached if the mean test accuracy of at least {FEWEST_SEEDS} fresh seeds, each "
        "in a process of its own, is not below it; the schedule is fixed and the test set is read "
        "once, at the end; nets, rates and epochs of the racers were chosen on 48,000 of the "
        "training images by the accuracy on the other 12,000, with other seeds (docs/race.md)",
        "seconds: arithmetic mean of the whole training with its 95 % interval (Student's t over "
        "seeds), layers set by images included; compilation, imports, data loading and evaluation "
        "are not: a whole epoch was trained before, and all that it changed was put back; with "
        "compilation: by how much that cold epoch was longer than a warm one, added",
        "views: the mean log probability of so many shifted or mirrored views of each test image; "
        "the seconds of predicting them all are added",
        reference,
    )


def choosing(records: Sequence[Record]) -> Table | None:
    """Return what was tried on the held-out part of the training set, the most accurate first."""
    tried = raced(records, "choosing")
    if not tried:
        return None
    all_entries = entries(records, "choosing")
    by_views = {id(e.first): accuracy(e.accuracy) for e in all_entries if e.by_views}
    varying = [name for name in VARIED if len({getattr(r.recipe, name) for r in tried}) > 1]
    rows = tuple(
        (
            entry.first.model,
            entry.first.backend,
            f"{entry.first.parameters.total:,}" if entry.first.parameters else NOTHING,
            str(entry.first.batch_size),
            *(str(getattr(entry.first.recipe, name)) for name in varying),
            accuracy(entry.accuracy),
            by_views.get(id(entry.first), NOTHING),
            str(len(entry.records)),
            digits(entry.seconds.value),
        )
        for entry in sorted(all_entries, key=lambda e: -e.accuracy.value)
        if not entry.by_views
    )
    header = (
        *("model", "backend", "parameters", "batch"),
        *(name.replace("_", " ") for name in varying),
        *("validation [%]", "by views [%]", "n", "seconds"),
    )
    terms = (
        "the images were split for each seed: the validation images were not trained on, and the "
        "test set was not read; no seed of a race is among these",
        *terms_of(tried),
    )
    return Table("Choosing for the race", header, rows, terms)


def sentences(records: Sequence[Record]) -> list[str]:
    """Return who reaches each tier soonest, in one sentence for each tier that is reached."""
    soonest: dict[float, Entry] = {}
    for tier, entry in standings(records):
        if entry.reaches(tier):
            soonest.setdefault(tier, entry)
    return [_sentence(tier, entry) for tier, entry in soonest.items()]


def _sentence(tier: float, entry: Entry) -> str:
    r, sooner = entry.first, entry.times_sooner
    views = f", {r.recipe.views} views" if entry.by_views else ""
    return (
        f"Race: {_tier(tier)} % after {with_interval(entry.seconds)} s, by "
        f"{inert(r.model, LONGEST_NAME)} on {BACKENDS[r.backend].title} ({r.mode}, {r.precision}"
        f"{views}; mean of {len(entry.records)} seeds {percent(entry.accuracy.value)} %)"
        f"{f', {digits(sooner)} times sooner than the reference' if sooner else ''}."
    )


def _several(records: Sequence[Record], name: str) -> bool:
    return len({getattr(r, name) for r in raced(records, "entrant")}) > 1


def _tier(tier: float) -> str:
    return f"{100 * tier:.4g}"
