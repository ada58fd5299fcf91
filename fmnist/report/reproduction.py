"""What was published beside what is learned here: the table of claims, with a verdict on each.

A published figure is of one training by somebody else; ours is the mean over seeds with Student's t
interval. `reproduced`: the interval holds the published figure. `exceeded`: all of it is better.
`not reproduced`: all of it is worse. Fewer than three seeds, a sample of the images or the stand-in
give no verdict.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import product
from typing import Any, Final

from fmnist import stats
from fmnist.grid import BACKENDS
from fmnist.record import EpochResult, Record
from fmnist.report.choose import epochs_of, good, was_cut
from fmnist.report.render import NOTHING, Table, bracketed, percent
from fmnist.report.terms import terms_of
from fmnist.stats import Estimate
from fmnist.studies.claims import CLAIMS, Claim, NoGainAfter, Order, project_of

STUDY: Final = "reproduce"
FEWEST_SEEDS: Final = 3
"""Two give an interval that holds nearly everything."""
REPRODUCED, EXCEEDED, NOT_REPRODUCED = "reproduced", "exceeded", "not reproduced"

RULES: Final = (
    "ours: mean over n seeds with its 95 % interval (Student's t), each a training by the model's "
    "own recipe in a process of its own, the whole of it unless it is said after how many of its "
    "epochs it was cut; published: one training by others",
    f"{REPRODUCED}: the interval holds the published figure; {EXCEEDED}: all of it is better; "
    f"{NOT_REPRODUCED}: all of it is worse, by so much in the mean; a difference is positive "
    f"where the claim holds, and {EXCEEDED} where its whole interval is; fewer than "
    f"{FEWEST_SEEDS} seeds give no verdict",
)

Each = tuple[Record, ...]
"""What is held against a claim at one seed: a training, or the two of an order."""
Side = Mapping[str, Sequence[Record]]
"""By model, its trainings on one backend, device, mode and precision."""


@dataclass(frozen=True)
class Finding:
    """What a claim comes to on one side.

    Attributes:
        estimate: of the figure, or of a difference that the claim says is not below 0.
        reference: what the estimate is held against: the published figure, or 0.
        higher_is_better: for the figure.
        shown: the estimate as the table has it.
        gap: by how much the estimate is above the reference, as the table has it.
        cut: after how many epochs of how many the trainings ended; empty if they are whole.
    """

    estimate: Estimate
    reference: float
    higher_is_better: bool
    shown: str
    gap: str
    cut: str = ""

    @property
    def verdict(self) -> str | None:
        """What the interval says; None for too few seeds."""
        found = self.estimate
        if found.n < FEWEST_SEEDS or found.low is None or found.high is None:
            return None
        if found.low <= self.reference <= found.high:
            return REPRODUCED
        above = found.low > self.reference
        return EXCEEDED if above == self.higher_is_better else NOT_REPRODUCED


def learned(records: Sequence[Record]) -> list[Record]:
    """Return the trainings that were to reproduce something, and did not fail."""
    return [r for r in good(records, "learn") if r.study == STUDY]


def sides(records: Sequence[Record]) -> dict[tuple[str, ...], dict[str, list[Record]]]:
    """Return the trainings by backend, device, mode and precision, then by model."""
    found: dict[tuple[str, ...], dict[str, list[Record]]] = {}
    for record in learned(records):
        place = (record.backend, record.device, record.mode, record.precision)
        found.setdefault(place, {}).setdefault(record.model, []).append(record)
    return dict(sorted(found.items(), key=lambda item: item[0], reverse=True))


def finding(claim: Claim | Order | NoGainAfter, side: Side) -> Finding | None:
    """Return what a claim comes to; None where what it speaks of was not trained so far."""
    compared = _compared(claim, side)
    if isinstance(claim, Claim):
        found = _of_figure(claim, compared)
    elif isinstance(claim, Order):
        found = _of_order(claim, compared)
    else:
        found = _of_no_gain(claim, compared)
    return found and replace(found, cut=_cut(claim, compared))


def _of_figure(claim: Claim, compared: Sequence[Each]) -> Finding | None:
    values = [
        value
        for (record,) in compared
        if (value := figure(record, claim.figure, claim.epoch)) is not None
    ]
    if not values:
        return None
    estimate, show = stats.mean(values), _shower(claim.figure)
    gap = estimate.value - claim.published
    return Finding(
        *(estimate, claim.published, claim.higher_is_better),
        shown=bracketed(estimate, show),
        gap=f"{100 * gap:+.2f} points" if show is percent else f"{gap:+.4f}",
    )


def _of_order(claim: Order, compared: Sequence[Each]) -> Finding | None:
    """Return by how much the better model is better, seed by seed."""
    sign = 1 if claim.figure.endswith("_accuracy") else -1
    figures = [[figure(r, claim.figure, None) for r in pair] for pair in compared]
    gains = [
        sign * (better - worse)
        for better, worse in figures
        if better is not None and worse is not None
    ]
    return _of_gains(gains, _shower(claim.figure))


def _of_no_gain(claim: NoGainAfter, compared: Sequence[Each]) -> Finding | None:
    """Return how much the best epoch up to the claim's is above the best one after it."""
    gains = []
    for (record,) in compared:
        found = [e.validation_accuracy for e in record.history if e.validation_accuracy is not None]
        if len(found) > claim.epoch:
            gains.append(max(found[: claim.epoch]) - max(found[claim.epoch :]))
    return _of_gains(gains, percent)


def _compared(claim: Claim | Order | NoGainAfter, side: Side) -> list[Each]:
    """Return what a claim is held against at each seed: a training, or the two of an order.

    All are by one recipe, the newest one. A figure of an epoch is the same however a training ends;
    else all are of as many epochs, the most.
    """
    found: list[Each]
    if isinstance(claim, Order):
        both = product(side.get(claim.better, ()), side.get(claim.worse, ()))
        found = [p for p in both if p[0].seed == p[1].seed and _cut_alike(p)]
    else:
        least = claim.epoch if isinstance(claim, Claim) and claim.epoch else 1
        found = [(r,) for r in side.get(claim.model, ()) if len(r.history) >= least]
    chosen = _of_one_kind(found, lambda each: [r.recipe for r in each], _newest)
    if not isinstance(claim, Claim) or claim.epoch is None:
        chosen = _of_one_kind(chosen, _lengths, _lengths)
    return list({each[0].seed: each for each in chosen}.values())


def _of_one_kind(
    found: Iterable[Each], kind: Callable[[Each], Any], rank: Callable[[Each], Any]
) -> list[Each]:
    """Return what is of one kind: one with enough seeds, and of these the highest in rank."""
    groups: dict[str, list[Each]] = {}
    for each in found:
        groups.setdefault(repr(kind(each)), []).append(each)

    def worth(group: list[Each]) -> tuple[int, Any]:
        return min(len({each[0].seed for each in group}), FEWEST_SEEDS), max(map(rank, group))

    return max(groups.values(), key=worth, default=[])


def _newest(each: Each) -> datetime:
    return max(r.started_at for r in each)


def _lengths(each: Each) -> tuple[int, ...]:
    return tuple(map(epochs_of, each))


def _cut_alike(trainings: Sequence[Record]) -> bool:
    """Tell whether one `--epochs` makes them: what it cut ends there, and what is whole by then."""
    cut = {epochs_of(r) for r in trainings if was_cut(r)}
    return not cut or max(map(epochs_of, trainings)) == min(cut)


def _cut(claim: Claim | Order | NoGainAfter, compared: Sequence[Each]) -> str:
    """Return after how many epochs of how many trainings were cut; empty if they were not."""
    if isinstance(claim, Claim) and claim.epoch is not None:
        return ""
    for found in compared:
        if any(map(was_cut, found)):
            told = dict.fromkeys(f"{epochs_of(r)} of {r.recipe.epochs} epochs" for r in found)
            return f"after {' against '.join(told)}"
    return ""


def _of_gains(gains: Sequence[float], show: Callable[[float], str]) -> Finding | None:
    if not gains:
        return None
    estimate = stats.mean(gains)
    unit = " points" if show is percent else ""
    shown = f"{bracketed(estimate, lambda value: _signed(value, show))}{unit}"
    return Finding(estimate, 0.0, higher_is_better=True, shown=shown, gap="")


def figure(record: Record, name: str, epoch: int | None) -> float | None:
    """Return a figure of a training's epoch, from 1, or of its last; None where it has none."""
    history: tuple[EpochResult, ...] = record.history
    if not history or (epoch or 1) > len(history):
        return None
    value: float | None = getattr(history[-1 if epoch is None else epoch - 1], name)
    return value


def table(records: Sequence[Record]) -> Table | None:
    """Return the table of claims: the published figure, ours on each side, a verdict."""
    found = sides(records)
    every = [(claim, [finding(claim, side) for side in found.values()]) for claim in CLAIMS]
    rows = [(claim, findings) for claim, findings in every if any(findings)]
    if not rows:
        return None
    judged = _may_judge(learned(records))
    header = ["project", "model", "claim", "published"]
    for place in found:
        name = " ".join(part for part in place if part in _distinguishing(found))
        header += [name, "n", "verdict"]
    return Table(
        "Reproduction: what was published, and what is learned here",
        tuple(header),
        tuple(
            (*_claimed(claim), *(cell for f in findings for cell in _cells(f, judged=judged)))
            for claim, findings in rows
        ),
        (*RULES, *terms_of(learned(records))),
    )


def _may_judge(records: Sequence[Record]) -> bool:
    return all((r.dataset, r.preset) == ("fashion-mnist", "full") for r in records)


def _distinguishing(found: Mapping[tuple[str, ...], object]) -> set[str]:
    """Return the words that tell the sides apart: the backend always, others where they differ."""
    columns = list(zip(*found, strict=True))
    return set(columns[0]) | {w for column in columns[1:] if len(set(column)) > 1 for w in column}


def _claimed(claim: Claim | Order | NoGainAfter) -> tuple[str, str, str, str]:
    """Return project, model, claim and published figure."""
    if isinstance(claim, Claim):
        show = _shower(claim.figure)
        when = "at the end" if claim.epoch is None else f"epoch {claim.epoch}"
        unit = " [%]" if show is percent else ""
        model, text = claim.model, f"{_in_words(claim.figure)}, {when}{unit}"
        published = show(claim.published)
    elif isinstance(claim, Order):
        model, published = claim.better, "better"
        text = f"{_in_words(claim.figure)} against {claim.worse}"
    else:
        model, published = claim.model, "none"
        text = f"validation accuracy gained after epoch {claim.epoch}: best before less best after"
    project = project_of(model)
    return project or NOTHING, model, text, published


def _cells(found: Finding | None, *, judged: bool) -> tuple[str, str, str]:
    """Return figure, number of seeds and verdict of one side."""
    if found is None:
        return NOTHING, "0", NOTHING
    if not judged:
        verdict = "a sample: none"
    elif found.verdict is None:
        verdict = "too few seeds"
    elif found.verdict == NOT_REPRODUCED and found.gap:
        verdict = f"{NOT_REPRODUCED} ({found.gap})"
    else:
        verdict = found.verdict
    return f"{found.shown} {found.cut}".rstrip(), str(found.estimate.n), verdict


def sentences(records: Sequence[Record]) -> list[str]:
    """Return how many claims hold on each backend, and which do not."""
    if not learned(records) or not _may_judge(learned(records)):
        return []
    made = []
    for place, side in sides(records).items():
        judged = {
            claim: found
            for claim in CLAIMS
            if (found := finding(claim, side)) is not None and found.verdict is not None
        }
        if not judged:
            continue
        missed = {c: found for c, found in judged.items() if found.verdict == NOT_REPRODUCED}
        listed = "; ".join(
            " ".join(filter(None, (*_claimed(claim)[1:3], found.cut)))
            for claim, found in missed.items()
        )
        cut = sum(bool(found.cut) for found in judged.values())
        made.append(
            f"Reproduction on {BACKENDS[place[0]].title} ({', '.join(place[1:])}): "
            f"{len(judged) - len(missed)} of {len(judged)} published claims are reproduced or "
            f"exceeded{f', not so: {listed}' if missed else ''}"
            f"{f'; {cut} by trainings that were cut' if cut else ''}."
        )
    return made


def _in_words(name: str) -> str:
    return name.replace("train_", "training ").replace("_", " ")


def _shower(name: str) -> Callable[[float], str]:
    """Return how a figure is shown: an accuracy in per cent, a loss with four decimals."""
    return percent if name.endswith("_accuracy") else _loss


def _loss(value: float) -> str:
    return f"{value:.4f}"


def _signed(value: float, show: Callable[[float], str]) -> str:
    return f"{'+' if value >= 0 else '-'}{show(abs(value))}"
