"""What studies found: the ladder of ideas, dense against conv at equal size, and a search.

An arm is an entrant on one backend, with all its seeds. Arms are held against each other seed by
seed.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from fmnist import stats
from fmnist.grid import BACKENDS
from fmnist.record import Record
from fmnist.report.choose import good
from fmnist.report.learned import LONGEST_NAME, whereabouts
from fmnist.report.render import (
    NOTHING,
    Table,
    accuracy,
    bracketed,
    digits,
    inert,
    joined,
    percent,
)
from fmnist.report.terms import terms_of
from fmnist.stats import Estimate
from fmnist.studies import ablation, parameters, tuning

STUDIES: Final = (ablation.NAME, parameters.NAME, tuning.NAME)
PLACE: Final = ("backend", "device", "mode", "precision")
Place = tuple[str, ...]


@dataclass(frozen=True)
class Arm:
    """One model by one recipe on one backend: all its seeds, at least one.

    Attributes:
        name: what it is called.
        change: what is new in it, against the arm before.
        records: seed by seed.
    """

    name: str
    change: str
    records: tuple[Record, ...]

    @property
    def first(self) -> Record:
        """The record of the first seed: it stands for the terms of all."""
        return self.records[0]

    @property
    def test(self) -> Estimate:
        """The mean test accuracy of the trained models, with Student's t interval."""
        return stats.mean([record.accuracy or 0.0 for record in self.records])

    @property
    def validation(self) -> Estimate:
        """The mean validation accuracy of the trained models, with Student's t interval."""
        return stats.mean([record.validation_accuracy or 0.0 for record in self.records])

    @property
    def gap(self) -> Estimate:
        """The mean of training less validation accuracy in the last epoch that was trained."""
        last = [record.history[-1] for record in self.records]
        return stats.mean([e.train_accuracy - (e.validation_accuracy or 0.0) for e in last])

    @property
    def epoch_s(self) -> float:
        """Median seconds of a steady epoch. No timing: other work may have run beside it."""
        return stats.median([s for record in self.records for s in record.epoch_s]).value

    @property
    def total_parameters(self) -> int:
        """All weights. Raises ValueError for a record that lacks them."""
        if self.first.parameters is None:
            raise ValueError(f"{self.first.cell.id}: a record without failure has parameters")
        return self.first.parameters.total

    def above(self, other: "Arm") -> Estimate | None:
        """Return by how much the test accuracy is higher, seed by seed; None: no seed of both."""
        ours, theirs = ({r.seed: r.accuracy or 0.0 for r in arm.records} for arm in (self, other))
        seeds = sorted(ours.keys() & theirs.keys())
        return stats.mean([ours[seed] - theirs[seed] for seed in seeds]) if seeds else None


def learned(records: Iterable[Record], study: str) -> list[Record]:
    """Return the trainings of a study that did not fail and had a validation set."""
    return [
        r for r in good(records, "learn") if r.study == study and r.validation_accuracy is not None
    ]


def of_none(records: Iterable[Record]) -> list[Record]:
    """Return the whole trainings of no study: they are told of model by model, a study as one."""
    return [r for r in good(records, "learn") if r.study not in STUDIES]


def arms(records: Sequence[Record], study: str) -> dict[Place, list[Arm]]:
    """Return a study's arms by backend, device, mode and precision, each in the study's order."""
    grouped: dict[tuple[Place, str], list[Record]] = {}
    for record in sorted(learned(records, study), key=lambda r: (r.seed, r.started_at)):
        place = tuple(getattr(record, name) for name in PLACE)
        terms = f"{record.model} {record.batch_size} {record.recipe.model_dump_json()}"
        grouped.setdefault((place, terms), []).append(record)
    found: dict[Place, list[Arm]] = {}
    for (place, _), of_arm in grouped.items():
        found.setdefault(place, []).append(Arm(*_called(of_arm[0]), tuple(of_arm)))
    order = _order(study)
    return {
        place: sorted(found[place], key=order)
        for place in sorted(sorted(found), key=lambda place: place[0], reverse=True)
    }


def _called(record: Record) -> tuple[str, str]:
    """Return what a record's arm is called, and what changed: the rung of the ladder, if it is one.

    Any other is called by its model.
    """
    for rung in ablation.ladder():
        if (rung.model, _watched(rung.recipe)) == (record.model, _watched(record.recipe)):
            return rung.name, rung.change
    return record.model, ""


def _watched(recipe: Any) -> tuple[int | None, int | None, bool]:  # noqa: ANN401  # either Recipe
    return recipe.stop_after, recipe.halve_after, recipe.keep_best


def _order(study: str) -> Callable[[Arm], tuple[Any, ...]]:
    """Return by what the arms of a study are sorted."""
    rungs = [rung.name for rung in ablation.ladder()]
    return {
        ablation.NAME: lambda arm: (
            rungs.index(arm.name) if arm.name in rungs else len(rungs),
            arm.first.started_at,
        ),
        parameters.NAME: lambda arm: (budget(arm), arm.first.family != "dense"),
        tuning.NAME: lambda arm: (-arm.validation.value, arm.total_parameters),
    }[study]


def budget(arm: Arm) -> int:
    """Return the budget that an arm's model was made for: the nearest one."""
    return min(parameters.BUDGETS, key=lambda b: abs(b - arm.total_parameters))


def tables(records: Sequence[Record]) -> list[Table]:
    """Return the tables of the studies that the records are of."""
    made = (ladder(records), frontier(records), tuned(records))
    return [table for table in made if table is not None]


def ladder(records: Sequence[Record]) -> Table | None:
    """Return what each idea buys, rung by rung."""
    found = arms(records, ablation.NAME)
    rows = [
        (
            *_place(place, found),
            arm.name,
            arm.change or NOTHING,
            *_learned(arm),
            NOTHING if before is None else points(arm.above(before)),
            *_spent(arm),
        )
        for place, of_place in found.items()
        for arm, before in zip(of_place, (None, *of_place), strict=False)
    ]
    if not rows:
        return None
    header = (
        *_place_header(found),
        *("rung", "what changed", "parameters", "validation [%]", "test [%]"),
        *("test, to the rung before [points]", *SPENT),
    )
    names = {a.name: a.first.model for of_place in found.values() for a in of_place}
    terms = (
        "each rung keeps what those before it brought; to the rung before: seed by seed",
        *_rules(),
        f"models: {', '.join(f'{name} {model}' for name, model in names.items())}",
        *terms_of(learned(records, ablation.NAME)),
    )
    return Table("Ablation: what each idea buys", header, tuple(rows), terms)


def frontier(records: Sequence[Record]) -> Table | None:
    """Return accuracy by parameters, dense against conv at equal budgets."""
    found = arms(records, parameters.NAME)
    rows = [
        (
            *_place(place, found),
            f"{budget(arm):,}",
            arm.first.family,
            arm.first.model,
            *_learned(arm),
            points(_conv_above_dense(arm, of_place)),
            *_spent(arm),
        )
        for place, of_place in found.items()
        for arm in of_place
    ]
    if not rows:
        return None
    header = (
        *_place_header(found),
        *("budget", "family", "model", "parameters", "validation [%]", "test [%]"),
        *("test, conv above dense [points]", *SPENT),
    )
    terms = (
        f"widths are computed: as near to the budget as the family's shape allows, within "
        f"{parameters.TOLERANCE:.0%}; conv above dense: seed by seed, of the same budget",
        *_rules(),
        *terms_of(learned(records, parameters.NAME)),
    )
    title = "Accuracy by parameters: dense against conv at equal budgets"
    return Table(title, header, tuple(rows), terms)


def _conv_above_dense(arm: Arm, others: Sequence[Arm]) -> Estimate | None:
    """Return by how much a conv arm is above the dense one of its budget; None for others."""
    if arm.first.family != "conv":
        return None
    rivals = [a for a in others if a.first.family == "dense" and budget(a) == budget(arm)]
    return arm.above(rivals[0]) if rivals else None


def tuned(records: Sequence[Record]) -> Table | None:
    """Return what a search tried, best validation accuracy first; the test of the best alone."""
    found = arms(records, tuning.NAME)
    rows = [
        (
            *_place(place, found),
            arm.first.model,
            f"{arm.first.recipe.learning_rate:g}",
            str(arm.first.batch_size),
            f"{arm.total_parameters:,}",
            accuracy(arm.validation),
            accuracy(arm.test) if arm is of_place[0] else NOTHING,
            *_spent(arm),
        )
        for place, of_place in found.items()
        for arm in of_place
    ]
    if not rows:
        return None
    header = (
        *_place_header(found),
        *("model", "learning rate", "batch", "parameters", "validation [%]"),
        *("test of the chosen [%]", *SPENT),
    )
    tried = joined(sorted({len(of_place) for of_place in found.values()}))
    terms = (
        f"{tried} trials, drawn from the space of fmnist/studies/tuning.py; the first of each "
        "backend is chosen, by its validation accuracy alone: the test set plays no part, and is "
        "shown for the chosen one only; being the best of so many, its validation accuracy "
        "flatters, its test accuracy does not",
        *_rules(),
        *terms_of(learned(records, tuning.NAME)),
    )
    return Table("Tuning: what was tried, and what is chosen", header, tuple(rows), terms)


def sentences(records: Sequence[Record], names: Iterable[str] = STUDIES) -> list[str]:
    """Return what each of these studies found: where, and then a sentence for each place."""
    tell = {ablation.NAME: _rungs, parameters.NAME: _budgets, tuning.NAME: _best}
    told = []
    for study in names:
        found = arms(records, study)
        if not found:
            continue
        trained = learned(records, study)
        epochs = max(r.recipe.epochs for r in trained)
        told.append(
            f"On {whereabouts(trained[0])}: study {study}, {len(trained)} trainings of at most "
            f"{epochs} epochs; accuracies are of the test set unless another is named, means over "
            "seeds."
        )
        for place, of_place in found.items():
            others = ", ".join(_place(place, found)[1:])
            backend = BACKENDS[place[0]].title
            told.append(tell[study](f"{backend} ({others})" if others else backend, of_place))
    return told


def _rungs(place: str, of_place: Sequence[Arm]) -> str:
    """Return the ladder's accuracies, and the steps that are told from none."""
    rungs = ", ".join(f"{arm.name} {percent(arm.test.value)}" for arm in of_place)
    steps = [(arm.name, arm.above(before)) for before, arm in pairwise(of_place)]
    certain = [
        f"{name} {points(step)}"
        for name, step in steps
        if step is not None and step.low is not None and step.high is not None
        if step.low > 0 or step.high < 0
    ]
    steps_told = f"by {', '.join(certain)} points" if certain else "none"
    return (
        f"Ablation on {place}, in %: {rungs} ({_n(of_place)}). Steps whose 95 % interval excludes "
        f"0: {steps_told}."
    )


def _budgets(place: str, of_place: Sequence[Arm]) -> str:
    """Return by how much conv is above dense at each budget."""
    found = [(arm, _conv_above_dense(arm, of_place)) for arm in of_place]
    told = [f"{points(above)} at {budget(arm):,}" for arm, above in found if above is not None]
    return (
        f"Conv above dense at equal parameters on {place}, in points: "
        f"{', '.join(told) or 'not trained side by side'} ({_n(of_place)})."
    )


def _best(place: str, of_place: Sequence[Arm]) -> str:
    """Return what a search has chosen, and what that reaches on the test set."""
    chosen = of_place[0]
    recipe = chosen.first.recipe
    return (
        f"Tuning on {place}: of {len(of_place)} tried, {inert(chosen.first.model, LONGEST_NAME)} "
        f"with a rate of {recipe.learning_rate:g} and batches of {chosen.first.batch_size} is "
        f"chosen, by its validation accuracy of {accuracy(chosen.validation)} %; on the test set "
        f"it reaches {accuracy(chosen.test)} %."
    )


def _n(of_place: Sequence[Arm]) -> str:
    return f"n={joined(sorted({len(arm.records) for arm in of_place}))}"


SPENT: Final = ("gap [points]", "epochs", "epoch (s)", "n")


def _place_header(found: dict[Place, list[Arm]]) -> tuple[str, ...]:
    return tuple(PLACE[i] for i in _shown(found))


def _place(place: Place, found: dict[Place, list[Arm]]) -> tuple[str, ...]:
    return tuple(place[i] for i in _shown(found))


def _shown(found: dict[Place, list[Arm]]) -> list[int]:
    """Return which parts of a place are columns: the backend, and what varies."""
    return [i for i in range(len(PLACE)) if i == 0 or len({place[i] for place in found}) > 1]


def _learned(arm: Arm) -> tuple[str, str, str]:
    """Return parameters, validation and test accuracy."""
    return f"{arm.total_parameters:,}", accuracy(arm.validation), accuracy(arm.test)


def _spent(arm: Arm) -> tuple[str, str, str, str]:
    """Return what SPENT names."""
    epochs = joined(sorted({len(record.history) for record in arm.records}))
    return points(arm.gap), epochs, digits(arm.epoch_s), str(len(arm.records))


def _rules() -> tuple[str, ...]:
    """Return what the columns of every study mean."""
    return (
        "accuracy: of the trained model, with the weights that its callbacks put back; mean over n "
        "seeds with its 95 % interval (Student's t), each a training in a process of its own",
        "gap: training less validation accuracy of the last epoch that was trained; training is "
        "Keras's running mean over the epoch, dropout on, so that the gap may be below zero",
        "epoch (s): median of steady epochs; NOT a timing: the trainings ran one after the other, "
        "not in turn, and other work may have run beside them",
    )


def points(difference: Estimate | None) -> str:
    """Return a difference of accuracies in points with its interval, with signs."""
    if difference is None:
        return NOTHING
    return bracketed(difference, lambda value: f"{100 * value:+.2f}")
