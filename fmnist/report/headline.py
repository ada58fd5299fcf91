"""What a session answers, in plain sentences: which backend for which model, and how sure that is.

The words follow the verdicts. Where a session gives none, a sentence tells the ratio and whether
its interval excludes 1, and no more.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from fmnist import stats
from fmnist.grid import BACKENDS, PRESETS
from fmnist.record import Record
from fmnist.report import leaderboard, learned, reproduction, studies, trust
from fmnist.report.choose import CELL_COLUMNS, backends_of, good, row_key
from fmnist.report.render import above_one, digits, inert, joined, percent, with_interval
from fmnist.report.summary import Summary, summaries
from fmnist.report.trust import MARGIN
from fmnist.stats import Estimate, Verdict

LONGEST_NAME = 60
LONGEST_REASON = 120
EQUAL_SIZE = 0.05
"""Two models whose parameters differ by less, relatively, have the same size."""
CALLED: Mapping[str, str] = {
    **{name: backend.title for name, backend in BACKENDS.items()},
    "fashion-mnist": "Fashion-MNIST",
    "stand-in": "the drawn stand-in",
}
"""What sentences call what records name; all else is called by its own name."""
PLACE_WORDS: Mapping[str, str] = {"batch_size": "batch {}", "xla": "XLA {}"}


@dataclass(frozen=True)
class _Pair:
    """Two backends that ran one model side by side.

    Attributes:
        ahead: the cell that took less time, by however little.
        behind: the other one.
        times: how many times as long `behind` took; at least 1.
        verdict: on the two; None where the session did not measure its own noise.
    """

    ahead: Summary
    behind: Summary
    times: Estimate
    verdict: Verdict | None

    @property
    def differs(self) -> bool:
        """Whether the verdict says so or, without verdicts, the interval excludes 1."""
        if self.verdict is None:
            return self.times.low is not None and self.times.low > 1
        return self.verdict in (Verdict.FASTER, Verdict.SLOWER)


def headline(records: Sequence[Record], against: str | None = None) -> list[str]:
    """Return what a session answers: plain sentences, one line each, without markup.

    Stand-in data and figures without meaning are named first. Then comes which backend is ahead,
    with the model of the largest ratio each way; then dense against conv, what failed, and how
    sure all that is.

    Args:
        records: of one session, as from `choose.sessions_of`.
        against: the backend in the denominator of the ratios; a sentence turns them, so that they
            are 1 or more.
    """
    if not records:
        return ["There are no records."]
    every = summaries(records, against)
    # What a user gets; knobs and traps are told by tables of their own.
    cells = [cell for cell in every if cell.cell.mode == "stock"] or every
    pairs, names = _pairs(cells), names_of(cells)
    return [
        *_notices(records),
        *leaderboard.sentences(records),
        *learned.sentences(studies.of_none(records)),
        *reproduction.sentences(records),
        *studies.sentences(records),
        *(_answers(pairs, names, records) if pairs else _without_ratios(cells, names, records)),
        *_dense_against_conv(cells, names),
        *_failed(records),
        *_how_sure(cells, records),
    ]


def names_of(cells: Sequence[Summary]) -> dict[int, str]:
    """Return, by identity, each cell's model and, in brackets, in what else it differs."""
    varying = [n for n in CELL_COLUMNS if len({getattr(c.first, n) for c in cells}) > 1]
    names = {}
    for cell in cells:
        values = [(n, getattr(cell.first, n)) for n in varying]
        place = ", ".join(PLACE_WORDS.get(n, "{}").format(v) for n, v in values if v)
        model = inert(cell.first.model, LONGEST_NAME)
        names[id(cell)] = f"{model} ({place})" if place else model
    return names


def _called(name: str) -> str:
    return CALLED.get(name, name)


def _notices(records: Sequence[Record]) -> list[str]:
    """Return what a reader must know before any figure."""
    first, notices = records[0], []
    if first.dataset == "stand-in":
        notices.append("Measured on the drawn stand-in, NOT on Fashion-MNIST.")
    if first.preset == "smoke":
        notices.append(f"Preset smoke ({PRESETS['smoke'].summary}).")
    return notices


def _where(cells: Sequence[Summary]) -> str:
    """Return the terms that all sentences share, as the beginning of the first."""
    first = cells[0].first
    devices = joined(cell.cell.device for cell in cells)
    return (
        f"On {inert(cells[0].machine, LONGEST_REASON)} ({devices}), {_called(first.dataset)}, "
        f"preset {first.preset}"
    )


def _pairs(cells: Sequence[Summary]) -> list[_Pair]:
    """Return each cell that has a ratio with the cell that it is held against."""
    by_place = {(row_key(cell.first), cell.cell.backend): cell for cell in cells}
    return [
        _pair(cell, by_place[row_key(cell.first), cell.against], cell.ratio)
        for cell in cells
        if cell.ratio is not None and cell.against is not None
    ]


def _pair(cell: Summary, base: Summary, ratio: Estimate) -> _Pair:
    if ratio.value >= 1:
        return _Pair(base, cell, ratio, cell.verdict)
    turned = replace(
        ratio,
        value=1 / ratio.value,
        low=None if ratio.high is None else 1 / ratio.high,
        high=None if ratio.low is None else 1 / ratio.low,
    )
    return _Pair(cell, base, turned, cell.verdict)


def _answers(
    pairs: Sequence[_Pair], names: Mapping[int, str], records: Sequence[Record]
) -> list[str]:
    """Return who is ahead how often, and by how much where it is most; device by device."""
    groups: dict[tuple[str, ...], list[_Pair]] = {}
    for pair in pairs:
        backends = sorted((pair.ahead.cell.backend, pair.behind.cell.backend))
        groups.setdefault((pair.ahead.cell.device, *backends), []).append(pair)
    sentences = []
    for group in groups.values():
        where = _where([pair.ahead for pair in group])
        told = [f"{names[id(pair.ahead)]}: {_told(pair, records)}." for pair in _largest(group)]
        if len(group) == 1:
            sentences.append(f"{where}, {told[0]}")
        else:
            sentences += [f"{where}: {_counted(group)}.", *told]
    return sentences


def _largest(pairs: Sequence[_Pair]) -> list[_Pair]:
    """Return the largest difference each way; where nothing differs, the largest ratio."""
    ranked = sorted(pairs, key=lambda pair: -pair.times.value)
    different = [pair for pair in ranked if pair.differs]
    by_winner = {pair.ahead.cell.backend: pair for pair in reversed(different)}
    return [pair for pair in ranked if pair in by_winner.values()] or ranked[:1]


def _counted(pairs: Sequence[_Pair]) -> str:
    """Return in how many models which backend is ahead, and in how many nobody can tell."""
    judged = pairs[0].verdict is not None
    models = {pair.ahead.cell.model for pair in pairs}
    ahead = Counter(_called(pair.ahead.cell.backend) for pair in pairs if pair.differs)
    verb = "is faster" if judged else "took less time"
    counts = [
        f"{name}{'' if i else f' {verb}'} in {n}" for i, (name, n) in enumerate(ahead.most_common())
    ]
    if ahead and not judged:
        counts[-1] += " (by 95 % intervals of the ratio that exclude 1)"
    other = Counter(_undecided(pair) for pair in pairs if not pair.differs)
    counts += [f"{what} in {n}" for what, n in other.most_common()]
    what = "models" if len(models) == len(pairs) else "comparisons"
    return f"of {len(pairs)} {what}, {', '.join(counts)}"


def _undecided(pair: _Pair) -> str:
    if pair.verdict is Verdict.SAME:
        return f"both are as fast (within {100 * MARGIN:g} %)"
    if pair.verdict is not None:
        return "the session cannot tell"
    return "there is no interval" if pair.times.low is None else "the interval includes 1"


def _told(pair: _Pair, records: Sequence[Record]) -> str:
    """Return one model's answer: times, interval, accuracies, and whether the work was the same."""
    work = "; the two did NOT do the same work (parity certificate)" if pair.ahead.unequal else ""
    return f"{_speed(pair)}; {_accuracies(pair, records)}{work}"


def _speed(pair: _Pair) -> str:
    """Return who is faster by how much, in words that claim no more than the verdict does."""
    ahead, behind = (_called(cell.cell.backend) for cell in (pair.ahead, pair.behind))
    times, interval = digits(pair.times.value), _interval(pair.times)
    took = f"{behind} took {times} times as long as {ahead}, {interval}"
    if pair.verdict is None:
        if pair.times.low is None:
            return took
        return f"{took}, which {'excludes' if pair.differs else 'includes'} 1"
    if pair.verdict is Verdict.SAME:
        return f"{behind} is as fast as {ahead} (within {100 * MARGIN:g} %): {took}"
    if pair.verdict is Verdict.CANNOT_TELL:
        return f"the session cannot tell whether {ahead} or {behind} is faster: {took}"
    return f"{ahead} is {times} times faster than {behind}, {interval}"


def _interval(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return f"without an interval (n={estimate.n})"
    return f"95 % interval {digits(estimate.low)} to {digits(estimate.high)}"


def _accuracies(pair: _Pair, records: Sequence[Record]) -> str:
    """Return both accuracies, whether they can be told apart, and what the certificate says."""
    sides = (pair.ahead, pair.behind)
    seeds = {r.seed for cell in sides for r in cell.records}
    seen = "one seed" if len(seeds) == 1 else f"{len(seeds)} seeds"
    images = f"{pair.ahead.first.test_images:,} test images"
    apart = (
        f"further apart than sampling {images} explains ({seen})"
        if _apart(*sides)
        else f"which {seen} cannot tell apart"
    )
    shown = " and ".join(percent(cell.accuracy) for cell in sides)
    return f"accuracy {shown} %, {apart}{_certified(pair.ahead, records)}"


def _apart(a: Summary, b: Summary) -> bool:
    """Tell whether two accuracies differ by more than the sampling of their test images may.

    By the interval that Newcombe (1998) makes of Wilson's two: that those two overlap would not
    yet say that the accuracies may be the same.
    """
    lower, upper = sorted((a, b), key=lambda cell: cell.accuracy)
    low, high = (stats.proportion(c.accuracy, c.first.test_images) for c in (lower, upper))
    reach = math.hypot(high.value - (high.low or 0.0), (low.high or 1.0) - low.value)
    return high.value - low.value > reach


def _certified(cell: Summary, records: Sequence[Record]) -> str:
    """Return within how much the certificate's accuracies are equal; nothing for a single seed."""
    seeds = trust.certificates(records).get((cell.cell.model, cell.cell.device), [])
    if len(seeds) < 2 or cell.unequal:  # noqa: PLR2004  # TOST is of two differences or more
        return ""
    margin = stats.reached_margin(trust.accuracy_differences(seeds))
    steps = joined(r.parity.steps for r in seeds if r.parity is not None)
    return (
        f"; from the same weights, after {steps} steps, accuracies are equal within "
        f"{margin:.2f} points (TOST at 5 %, {len(seeds)} seeds)"
    )


def _of_other_tasks(records: Sequence[Record]) -> list[str]:
    """Return what was done where no cell was timed as such."""
    if good(records, "learn"):
        return []
    if scaled := good(records, "scale"):
        most = max(r.replicas for r in scaled)
        shared = "; they share a processor: correctness only"
        told = (
            f"models trained by up to {most} devices together, see the table of scaling"
            f"{shared if any(r.shared_device for r in scaled) else ''}"
        )
    elif any(r.task == "race" for r in records):
        told = "whole trainings in a race, no model side by side"
    else:
        tried = any(r.task in learned.TASKS for r in records)
        trained = "trained to its end" if tried else "trained"
        return [f"On {learned.machine_of(records[0])}, no model was {trained} in this session."]
    return [f"On {learned.machine_of(records[0])}: {told}."]


def _without_ratios(
    cells: Sequence[Summary], names: Mapping[int, str], records: Sequence[Record]
) -> list[str]:
    """Return what there is where no two backends can be held against each other.

    Nothing where whole trainings were all that was asked for: they have sentences of their own.
    """
    if not cells:
        return _of_other_tasks(records)
    backends = backends_of(cell.first for cell in cells)
    if len(backends) > 1:
        return [f"{_where(cells)}: no model was trained by two backends side by side."]
    only = f"{_where(cells)}: only {_called(backends[0])} was trained, so there is no ratio"
    by_time = sorted(cells, key=lambda cell: cell.epoch.value)
    ends = by_time if len(by_time) == 1 else [by_time[0], by_time[-1]]
    shown = " to ".join(
        f"{with_interval(c.epoch)} s ({names[id(c)]}, {percent(c.accuracy)} % accurate)"
        for c in ends
    )
    return [f"{only}; an epoch takes {shown}."]


def _dense_against_conv(cells: Sequence[Summary], names: Mapping[int, str]) -> list[str]:
    """Return what convolution buys: at equal parameters, else of the best of each family."""
    dense, conv = ([c for c in cells if c.first.family == f] for f in ("dense", "conv"))
    if not dense or not conv:
        return []
    by_place: dict[tuple[Any, ...], list[Summary]] = {}
    for d in dense:
        by_place.setdefault(_place(d), []).append(d)
    duels = [(c, d) for c in conv for d in by_place.get(_place(c), ())]
    nearest = min(duels, key=_size_apart, default=None)
    if nearest is not None and _size_apart(nearest) < EQUAL_SIZE:
        models = [row_key(cell.first) for cell in nearest]
        equal = [(c, d) for c, d in duels if [row_key(c.first), row_key(d.first)] == models]
        return [_at_equal_size(equal, names)]
    best = [max(family, key=lambda c: c.accuracy) for family in (conv, dense)]
    shown = [
        f"{percent(c.accuracy)} % ({names[id(c)]}, {c.parameters.total:,} parameters, "
        f"{_called(c.first.backend)})"
        for c in best
    ]
    return [f"The best convolutional model reaches {shown[0]}, the best dense one {shown[1]}."]


def _place(cell: Summary) -> tuple[Any, ...]:
    """Return what must be equal for two models to be held against each other."""
    return (cell.first.backend, *row_key(cell.first)[1:])


def _size_apart(cells: tuple[Summary, Summary]) -> float:
    smaller, larger = sorted(cell.parameters.total for cell in cells)
    return (larger - smaller) / max(1, larger)


def _at_equal_size(duels: Sequence[tuple[Summary, Summary]], names: Mapping[int, str]) -> str:
    """Return how many points a convolutional model is above a dense one, on each backend."""
    gains = [
        f"{100 * (c.accuracy - d.accuracy):+.2f} on {_called(c.first.backend)} "
        f"({percent(c.accuracy)} against {percent(d.accuracy)} %"
        f"{'' if _apart(c, d) else ', which may be chance'})"
        for c, d in duels
    ]
    sizes = [f"{names[id(m)]} with {m.parameters.total:,} parameters" for m in duels[0]]
    return (
        f"What convolution buys at equal size, {sizes[0]} against {sizes[1]}, in points of "
        f"accuracy: {', '.join(gains)}."
    )


def _failed(records: Sequence[Record]) -> list[str]:
    failed = [r for r in records if r.failure is not None]
    if not failed:
        return []
    reason = inert(failed[0].failure or "", LONGEST_REASON)
    count = f"{len(failed)} of {len(records)} measurements failed"
    cell = inert(failed[0].cell.id, LONGEST_NAME)
    return [f"{count}, the first {cell} ({failed[0].task}): {reason}."]


def _how_sure(cells: Sequence[Summary], records: Sequence[Record]) -> list[str]:
    """Return what the session knows of its own noise, and what its intervals are over."""
    sentences = []
    noise = trust.noise_of(records)
    if noise is not None:
        pairs = len(good(records, "noise"))
        sentences.append(
            f"How sure: a cell run against itself measured {above_one(noise.again)} % in {pairs} "
            f"pairs of processes{_suspicious(noise.again)}; {_seen(noise.smallest_effect)}."
        )
    elif cells:
        sentences.append(
            "How sure: no noise was measured beside these times, so there are no verdicts."
        )
    return [*sentences, *([_measured(cells)] if cells else [])]


def _suspicious(again: Estimate) -> str:
    if again.low is None or again.high is None or again.low <= 1 <= again.high:
        return ""
    return ", a difference without a cause"


def _seen(smallest_effect: float | None) -> str:
    if smallest_effect is None:
        return "one pair cannot say how small a difference it would find"
    return (
        f"the smallest difference that this finds 19 times in 20 is {100 * smallest_effect:.2g} %"
    )


def _measured(cells: Sequence[Summary]) -> str:
    """Return what the intervals are over, and the versions."""
    rounds = _span(len(r.epoch_s) for cell in cells for r in cell.records)
    processes = _span(len(cell.records) for cell in cells)
    over = (
        f"{rounds} steady epochs of one process, and speak of that process only"
        if processes == "1"
        else f"{processes} processes of {rounds} steady epochs each"
    )
    packages = ["keras", *(BACKENDS[b].package for b in backends_of(c.first for c in cells))]
    used = [r.versions for cell in cells for r in cell.records]
    shown = [
        f"{package} "
        + inert(joined(sorted({v[package] for v in used if package in v})), LONGEST_NAME)
        for package in packages
        if any(package in v for v in used)
    ]
    return f"Intervals are over {over}; {', '.join(shown)}."


def _span(counts: Iterable[int]) -> str:
    ends = sorted(set(counts))
    return f"{ends[0]:,}" if len(ends) == 1 else f"{ends[0]:,} to {ends[-1]:,}"
