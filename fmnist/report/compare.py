"""Two sessions, cell by cell: what became faster or slower, and what else differed.

The sessions ran apart: on two machines, with two versions, at two commits or on two days. How far
identical cells differ is what each session measured of itself (A/A). Different work is refused.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fmnist import machine, stats
from fmnist.grid import REFERENCE, Cell
from fmnist.record import Line, Record, Task, by_cell, read_lines, samples
from fmnist.report.choose import CELL_COLUMNS, good, session_key, sessions_of
from fmnist.report.columns import accuracy, epoch
from fmnist.report.render import NOTHING, Table, above_one, digits, joined, with_interval
from fmnist.report.tables import UNEQUAL, UNEQUAL_TERM
from fmnist.report.terms import accuracy_term
from fmnist.report.trust import Noise, floor_of, noise_of, unequal
from fmnist.stats import Estimate, Verdict

LIMIT_GRAMMAR: Final = "slower:P%, where P is a number of per cent, like slower:5%"
RATIO_TERM: Final = (
    "epoch: geometric mean of the steady rounds with its 95 % interval (Student's t on logarithms, "
    "over processes where there are several, else over the rounds of the one); after / before: "
    "ratio of these times with Welch's interval, above 1 is slower; the sessions ran apart: what "
    "the machine did on either day is in the ratio"
)
START_TERM: Final = (
    "first epoch: with the compilation in it; import: of Keras with its backend; build: weights "
    "made and model compiled by Keras; first step: one batch, nearly all of it the backend's "
    "compilation; no verdict, because the noise of a session is measured on steady epochs"
)
START_PARTS: Final[Sequence[tuple[str, Task, str]]] = (
    ("first epoch", "train", "first_epoch_s"),
    ("import", "startup", "import_s"),
    ("build", "startup", "build_s"),
    ("first step", "startup", "first_epoch_s"),
)


class CompareError(ValueError):
    """What cannot be compared; the message says what, where, and what to do."""


@dataclass(frozen=True)
class Session:
    """The records of one session, each once, and how far its identical cells differ."""

    records: tuple[Record, ...]
    noise: Noise | None


@dataclass(frozen=True)
class Row:
    """A cell that both sessions measured: its records by process, and what the times say."""

    cell: Cell
    before: tuple[Record, ...]
    after: tuple[Record, ...]
    comparison: stats.Comparison
    verdict: Verdict


@dataclass(frozen=True)
class Compared:
    """Two sessions, compared.

    `left_out` are cells with the reason why they have no row, `overruled` what `anyway` let pass;
    `margin` is the relative difference (0.02 = 2 %) within which times count as the same.
    """

    before: Session
    after: Session
    rows: tuple[Row, ...]
    left_out: tuple[tuple[str, str], ...]
    overruled: tuple[str, ...]
    margin: float


def session_in(files: Iterable[Path], name: str) -> Session:
    """Return the one session that these files hold. Raises CompareError, or OSError if unreadable.

    Args:
        files: records files; a line that stands in several of them counts once.
        name: what a person gave, for the messages.
    """
    placed = [line for path in files for line in _undamaged(path)]
    if not placed:
        raise CompareError(f"no records in {name}; give a file that `fmnist run` wrote")
    firsts = [group[0] for group in sessions_of(one.record for one in placed)]
    groups = list({session_key(r): r for r in reversed(firsts)}.values())[::-1]
    if len(groups) > 1:
        listed = ", ".join(f"{r.session} ({r.dataset}, preset {r.preset})" for r in groups)
        raise CompareError(
            f"{name} holds {len(groups)} sessions: {listed}; "
            "a comparison is of one with one: give the file of the one that you mean"
        )
    _check_one_machine(placed)
    records = _each_once(placed)
    return Session(records, noise_of(records))


def _undamaged(path: Path) -> list[Line]:
    """Return the lines of a file. Raises CompareError if any is damaged."""
    lines, damaged = read_lines(path)
    if damaged:
        raise CompareError("\n".join(f"damaged: {line}" for line in damaged))
    return lines


def _check_one_machine(placed: Sequence[Line]) -> None:
    """Raise CompareError, naming a fact that differs, if the records are of two machines."""
    known = [one for one in placed if one.record.machine]
    for one in known[1:]:
        first, here = known[0].record.machine, one.record.machine
        for fact in {**first, **here}:
            if first.get(fact) != here.get(fact):
                raise CompareError(
                    f"{known[0]} and {one}: two machines in session {one.record.session}, "
                    f"{fact} is {_text(first.get(fact))} and {_text(here.get(fact))}; "
                    "a comparison is of one machine with one: give only the lines of one"
                )


def _each_once(placed: Iterable[Line]) -> tuple[Record, ...]:
    """Return the records without copies. Raises CompareError if two contradict each other.

    Starts are left out of that: each is a process of its own, and schema 1 did not number them.
    """
    by_content = {one.record.to_json(): one for one in placed}
    claimed: dict[tuple[str, Cell, int, int], Line] = {}
    for one in by_content.values():
        r = one.record
        if r.failure is None and r.task in ("train", "noise"):
            first = claimed.setdefault((r.task, r.cell, r.process, r.seed), one)
            if first is not one:
                raise CompareError(
                    f"{first} and {one}: two different records of {r.cell.id}, task {r.task}, "
                    f"process {r.process}; a process measures a cell once: "
                    "remove the line that this session did not write"
                )
    return tuple(one.record for one in by_content.values())


def compare(before: Session, after: Session, margin: float, *, anyway: bool) -> Compared:
    """Return the two sessions compared, as from `session_in`.

    Args:
        before: the session in the denominator of the ratios.
        after: the one in the numerator.
        margin: relative difference within which times count as the same; 0.02 is 2 %.
        anyway: compare different work too, and say so; never another data set.

    Raises:
        CompareError: they have no cell in common, or did different work.
    """
    datasets = (before.records[0].dataset, after.records[0].dataset)
    if datasets[0] != datasets[1]:
        raise CompareError(
            f"data set: {datasets[0]} before and {datasets[1]} after; these are never compared: "
            "measure both on one data set (--data-dir)"
        )
    left_out = _left_out(before.records, after.records)
    ours, theirs = (by_cell(good(s.records, "train")) for s in (before, after))
    cells = sorted(ours.keys() & theirs.keys())
    if not cells:
        listed = "".join(f"\n  {cell}: {reason}" for cell, reason in left_out)
        raise CompareError(
            "no cell was measured in both; measure the same models, backends, devices, batch sizes "
            f"and precisions in both:{listed or ' neither has a training record'}"
        )
    different = _different_work([(ours[cell], theirs[cell]) for cell in cells])
    if different and not anyway:
        raise CompareError(
            f"{'; '.join(different)}; times of different work are not compared: "
            "measure both in the same way, or give --anyway"
        )
    comparisons = [
        stats.compare_apart(samples(theirs[cell]), samples(ours[cell]), margin) for cell in cells
    ]
    verdicts = stats.verdicts(comparisons, _floor(before, after), margin)
    return Compared(
        before,
        after,
        tuple(
            Row(cell, tuple(ours[cell]), tuple(theirs[cell]), comparison, verdict)
            for cell, comparison, verdict in zip(cells, comparisons, verdicts, strict=True)
        ),
        left_out,
        different,
        margin,
    )


def _left_out(before: Sequence[Record], after: Sequence[Record]) -> tuple[tuple[str, str], ...]:
    """Return what has no place in the ratios, and why: cells of one side, failed processes."""
    found: list[tuple[str, str]] = []
    for name, here, there in (("BEFORE", before, after), ("AFTER", after, before)):
        measured = {(r.cell, r.process) for r in good(here, "train")}
        tried_there = {r.cell for r in there if r.task == "train"}
        found += [
            (cell.id, f"only in {name}") for cell in sorted({c for c, _ in measured} - tried_there)
        ]
        found += [
            (r.cell.id, f"process {r.process} failed in {name}: {r.failure}")
            for r in here
            if r.task == "train" and r.failure and (r.cell, r.process) not in measured
        ]
    return tuple(found)


def _recipe(record: Record) -> str:
    recipe = record.recipe
    more = {
        "rising for": recipe.rise_share,
        "beta 2": recipe.beta_2,
        "smoothed by": recipe.label_smoothing or None,
    }
    return ", ".join(
        [
            f"{recipe.optimizer} {recipe.learning_rate:g}",
            recipe.loss,
            f"{recipe.epochs} epoch{'' if recipe.epochs == 1 else 's'}",
            *(f"{name} {value:g}" for name, value in more.items() if value is not None),
        ]
    )


WORK: Final[Mapping[str, Callable[[Record], str | int]]] = {
    "preset": lambda r: r.preset,
    "training images": lambda r: r.train_images,
    "validation images": lambda r: r.validation_images,
    "test images": lambda r: r.test_images,
    "recipe": _recipe,
}
"""What must be equal, beside cell and data set, for times to be of the same work."""


def _different_work(
    pairs: Iterable[tuple[Sequence[Record], Sequence[Record]]],
) -> tuple[str, ...]:
    """Return the terms in which pairs of a cell's records differ in their work, with both values.

    Processes of one side that differ among themselves count too.
    """
    models: dict[tuple[str, str, str], list[str]] = {}
    for before, after in pairs:
        for term, value in WORK.items():
            if len({value(r) for r in (*before, *after)}) > 1:
                key = (term, joined(map(value, before)), joined(map(value, after)))
                models.setdefault(key, []).append(before[0].model)
    return tuple(
        f"{term}: {before} before and {after} after ({joined(names)})"
        for (term, before, after), names in models.items()
    )


def _floor(before: Session, after: Session) -> float:
    """Return the larger |ln ratio| of the two A/A intervals; infinite if one was not measured."""
    return max(floor_of(s.noise) for s in (before, after))


def limit_of(text: str) -> float:
    """Return the share of `slower:P%` (0.05 for 5 %). Raises ValueError that shows the grammar."""
    found = re.fullmatch(r"slower:([0-9]+(?:\.[0-9]+)?)%", text)
    if found is None:
        raise ValueError(f"{text!r} is not of the form {LIMIT_GRAMMAR}")
    return float(found[1]) / 100


def slower_than(compared: Compared, limit: float) -> tuple[str, ...]:
    """Return the cells that are slower by more than a share, with their whole interval."""
    return tuple(
        f"{row.cell.id} ({with_interval(row.comparison.ratio)})"
        for row in compared.rows
        if row.verdict is Verdict.SLOWER and (row.comparison.ratio.low or 0) > 1 + limit
    )


def undecided(compared: Compared) -> tuple[str, ...]:
    """Return why no verdict was possible where none is given; empty if the data alone decided."""
    untold = [row for row in compared.rows if row.verdict is Verdict.CANNOT_TELL]
    few = [row.cell.id for row in untold if row.comparison.p_different is None]
    return (
        *(_without_noise(compared) if untold else ()),
        *([f"too few rounds for a test: {', '.join(few)}; see --rounds"] if few else []),
    )


def tables_of(compared: Compared) -> list[Table]:
    """Return the tables: epochs, starts, what differed, what was not compared."""
    differing, same = _differences(compared.rows)
    differed = Table("What differed", ("term", "before", "after"), differing)
    left_out = Table("Not compared", ("cell", "reason"), compared.left_out)
    starts = _start_table(compared, same)
    return [
        _epoch_table(compared, same),
        *([] if starts is None else [starts]),
        *[table for table in (differed, left_out) if table.rows],
    ]


def _epoch_table(compared: Compared, same: str) -> Table:
    reference = _reference_ratio(compared)
    rows = [
        {
            **_place(row.cell, compared),
            "before [s]": epoch(row.before),
            "after [s]": epoch(row.after),
            "processes x rounds": joined(map(_size, (row.before, row.after))),
            "after / before": with_interval(row.comparison.ratio),
            **_relative(row, reference),
            "verdict": row.verdict,
            "before accuracy [%]": accuracy(row.before),
            "after accuracy [%]": accuracy(row.after),
        }
        for row in compared.rows
    ]
    terms = (
        RATIO_TERM,
        _verdict_term(compared),
        *_noise_terms(compared),
        *_reference_terms(reference),
        accuracy_term([r for row in compared.rows for r in (*row.before, *row.after)]),
        *[f"compared all the same (--anyway): {text}" for text in compared.overruled],
        *([f"{len(compared.left_out)} not compared, see there"] if compared.left_out else []),
        *([UNEQUAL_TERM] if _unequal(compared) else []),
        same,
    )
    return _table("Two sessions: seconds per steady epoch", rows, terms)


def _start_table(compared: Compared, same: str) -> Table | None:
    """Return how long first epochs and starts took, where both sessions measured them."""
    rows = []
    for row in compared.rows:
        for part, task, field in START_PARTS:
            before, after = (
                tuple((getattr(r, field),) for r in good(s.records, task) if r.cell == row.cell)
                for s in (compared.before, compared.after)
            )
            if before and after:
                rows.append(
                    {
                        **_place(row.cell, compared),
                        "part": part,
                        "before [s]": with_interval(stats.nested_mean(before)),
                        "after [s]": with_interval(stats.nested_mean(after)),
                        "processes": joined(map(len, (before, after))),
                        "after / before": with_interval(stats.ratio_apart(after, before)),
                    }
                )
    title = "Two sessions: first epoch and start-up"
    return _table(title, rows, (START_TERM, same)) if rows else None


def _table(title: str, rows: Sequence[Mapping[str, str]], terms: tuple[str, ...]) -> Table:
    return Table(title, tuple(rows[0]), tuple(tuple(row.values()) for row in rows), terms)


def _place(cell: Cell, compared: Compared) -> dict[str, str]:
    """Return the columns that say which cell a row is: of the terms, those that vary."""
    varying = [n for n in CELL_COLUMNS if len({getattr(row.cell, n) for row in compared.rows}) > 1]
    return {
        "model": cell.model + (UNEQUAL if (cell.model, cell.device) in _unequal(compared) else ""),
        "backend": cell.backend,
        **{n.replace("_", " "): str(getattr(cell, n)) or NOTHING for n in varying},
    }


def _unequal(compared: Compared) -> set[tuple[str, str]]:
    """Return the (model, device) whose backends did not do the same work in either session."""
    return unequal([*compared.before.records, *compared.after.records])


def _size(records: Sequence[Record]) -> str:
    return f"{len(records)} x {joined(sorted({len(r.epoch_s) for r in records}))}"


def _reference_ratio(compared: Compared) -> Estimate | None:
    """Return after over before of the matrix product that both sessions timed, or None."""
    before, after = (
        samples([r for r in good(s.records, "noise") if REFERENCE in r.beside_s], REFERENCE)
        for s in (compared.before, compared.after)
    )
    return stats.ratio_apart(after, before) if before and after else None


def _relative(row: Row, reference: Estimate | None) -> dict[str, str]:
    """Return the column of ratios relative to the reference kernel, which runs on a processor."""
    if reference is None:
        return {}
    on_cpu = row.cell.device == "cpu"
    ratio = with_interval(_quotient(row.comparison.ratio, reference)) if on_cpu else NOTHING
    return {"relative to the reference kernel": ratio}


def _quotient(numerator: Estimate, denominator: Estimate) -> Estimate:
    """Return the quotient of two independent ratios.

    Its interval is recovered from theirs on the logarithms: MOVER, Zou and Donner, "Construction of
    confidence limits about effect measures", Statistics in Medicine 27 (2008), 1693-1702.
    """
    value = numerator.value / denominator.value
    n = min(numerator.n, denominator.n)
    processes = min(numerator.processes, denominator.processes)
    if not (numerator.low and numerator.high and denominator.low and denominator.high):
        return Estimate(value, None, None, n, processes)
    below, above = (
        math.hypot(math.log(numerator.value / near), math.log(denominator.value / far))
        for near, far in (
            (numerator.low, denominator.high),
            (numerator.high, denominator.low),
        )
    )
    return Estimate(value, value * math.exp(-below), value * math.exp(above), n, processes)


def _verdict_term(compared: Compared) -> str:
    return (
        "verdict: faster or slower where the ratio differs from 1 by more than the sessions' own "
        "noise, 5 % false discoveries at most over all rows (Benjamini-Hochberg); same: within "
        f"{100 * compared.margin:g} % by two one-sided tests, and the noise is less; "
        "cannot tell: neither is shown"
    )


def _without_noise(compared: Compared) -> tuple[str, ...]:
    """Return what follows if a session did not measure its noise, and what to run."""
    sides = (("BEFORE", compared.before), ("AFTER", compared.after))
    names = [n for n, s in sides if math.isinf(floor_of(s.noise))]
    if not names:
        return ()
    return (
        f"no noise record with an interval in {' and '.join(names)}, so no difference can be told "
        "from noise: measure again with `fmnist run`, which runs a cell against itself",
    )


def _noise_terms(compared: Compared) -> tuple[str, ...]:
    """Return how far identical cells differed in each session, and what cannot be seen below."""
    noises = [s.noise for s in (compared.before, compared.after) if s.noise is not None]
    if missing := _without_noise(compared):
        return missing
    floor = 100 * math.expm1(_floor(compared.before, compared.after))
    effects = [100 * n.smallest_effect for n in noises if n.smallest_effect is not None]
    return (
        f"noise (one cell against itself): {above_one(noises[0].again)} % before, "
        f"{above_one(noises[1].again)} % after: no ratio within {digits(floor)} % of 1 is called a "
        "difference",
        *(
            [f"smallest effect that both sessions would find: {digits(max(effects))} %"]
            if effects
            else []
        ),
    )


def _reference_terms(reference: Estimate | None) -> tuple[str, ...]:
    if reference is None:
        return ()
    return (
        "relative to the reference kernel: the ratio over that of a matrix product by NumPy, "
        f"timed in both sessions, which is {with_interval(reference)}; for processors only",
    )


def _differences(rows: Sequence[Row]) -> tuple[tuple[tuple[str, str, str], ...], str]:
    """Return the terms that differ between a cell's two sides, and what is the same, in a line."""
    pairs = [(_terms(row.before), _terms(row.after)) for row in rows]
    pairs.append((_sizes([row.before for row in rows]), _sizes([row.after for row in rows])))
    differing = dict.fromkeys(
        (name, before.get(name, NOTHING), after.get(name, NOTHING))
        for before, after in pairs
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    )
    changed = {name for name, _, _ in differing}
    one_machine = not any(name.startswith("machine: ") for name in changed)
    same: dict[str, list[str]] = {}
    for before, _ in pairs:
        for name in before.keys() - changed:
            if not (one_machine and name.startswith("machine: ")):
                same.setdefault(name, []).append(before[name])
    shown = [f"{name} {joined(same[name])}" for name in sorted(same)]
    if one_machine:
        shown.insert(0, machine.summary(rows[0].before[0].machine))
    return tuple(differing), f"the same in both: {', '.join(shown)}"


def _terms(records: Sequence[Record]) -> dict[str, str]:
    """Return, by name, the terms that the processes of a cell were measured under."""
    found: dict[str, list[str]] = {}
    for r in records:
        terms: dict[str, Any] = {
            "session": r.session,
            "commit": r.commit or "unknown",
            "seed": r.seed,
            "data set": r.dataset,
            **{name: joined([value(r)]) for name, value in WORK.items()},
            **r.versions,
            **{f"machine: {name}": fact for name, fact in r.machine.items()},
            f"{r.backend} device": r.device_name,
            f"{r.backend} XLA": "on" if r.jit_compile else "off",
            **{f"{r.backend} threads: {name}": fact for name, fact in r.threads.items()},
            **{f"{r.backend} {f}": v for f, v in r.flags.items() if f != "KERAS_BACKEND"},
        }
        for name, value in terms.items():
            found.setdefault(name, []).append(_text(value))
    return {name: joined(values) for name, values in found.items()}


def _sizes(cells: Sequence[Sequence[Record]]) -> dict[str, str]:
    """Return how many processes and rounds the cells of a session had."""
    return {
        "processes": joined(sorted({len(records) for records in cells})),
        "rounds": joined(sorted({len(r.epoch_s) for records in cells for r in records})),
    }


def _text(value: Any) -> str:  # noqa: ANN401  # what JSON can hold
    """Return a fact as text that is equal for equal facts."""
    if value is None:
        return NOTHING
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
