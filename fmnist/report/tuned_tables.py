"""How far each backend goes beyond stock, and by which knob; what other numbers and traps cost."""

from collections.abc import Callable, Sequence
from typing import Any

from fmnist.grid import KNOBS, MODES, TRAPS
from fmnist.record import Record
from fmnist.report import trust
from fmnist.report.choose import CELL_COLUMNS, Rows, good
from fmnist.report.columns import (
    Column,
    accuracy,
    epoch,
    filled,
    of_part,
    place_columns,
    rows_of,
)
from fmnist.report.judge import judged
from fmnist.report.render import NOTHING, Table, digits, joined, with_interval
from fmnist.report.terms import EPOCH_TERM, accuracy_term, knob_terms, terms_of

KNOB_MODES = tuple(
    sorted((m for m in MODES if MODES[m].knobs), key=lambda mode: len(MODES[mode].knobs))
)
"""What stands beside stock: fewer knobs first, all of them last."""
PRECISION = "float32"
"""What ratios to stock are of: another precision computes other numbers."""

TIMES_TERM = (
    "times: by how many times an epoch is shorter than the same model's stock epoch on the same "
    "backend, of rounds run in turn, with its 95 % interval"
)
KNOBS_TERM = (
    "knobs: environment (allocator, flags), layers (drop-ins with the same mathematics), loop "
    "(the epoch compiled as far as the backend gains from it)"
)


def tuned(records: Sequence[Record]) -> Table | None:
    """Return each model's stock epoch on each backend, beside its tuned one and the knobs alone."""
    trained = _comparable(records, ("stock", *KNOB_MODES))
    rows = [row for row in rows_of(trained, _place) if _stock(row) and len(_modes(row)) > 1]
    if not rows:
        return None
    modes = [mode for mode in KNOB_MODES if any(mode in _modes(row) for row in rows)]
    columns = [
        *_places(trained),
        Column("stock epoch [s]", of_part(_in("mode", "stock"), epoch)),
        *(
            [Column("tuned epoch [s]", of_part(_in("mode", "tuned"), epoch))]
            if "tuned" in modes
            else []
        ),
        *[_times(_title(mode), rows, "mode", mode, records) for mode in modes],
        *([Column("same work", lambda row: _proof(row, records))] if trust.proofs(records) else []),
        Column("stock accuracy [%]", of_part(_in("mode", "stock"), accuracy)),
        *(
            [Column("tuned accuracy [%]", of_part(_in("mode", "tuned"), accuracy))]
            if "tuned" in modes
            else []
        ),
    ]
    return Table(
        "Tuned: the same model and mathematics, times as fast as stock",
        *filled(columns, rows),
        terms=(
            TIMES_TERM,
            KNOBS_TERM,
            *knob_terms(trained),
            *_proof_terms(records),
            EPOCH_TERM,
            accuracy_term(trained),
            *terms_of(trained),
        ),
    )


def traps(records: Sequence[Record]) -> Table | None:
    """Return what settings cost or bring that people turn on for speed or without a thought."""
    trained = [
        *_comparable(records, ("stock", *TRAPS)),
        *[r for r in good(records, "train") if r.xla == "on" and r.precision == PRECISION],
    ]
    found = [name for name in TRAPS if any(r.mode == name for r in trained)]
    has_xla = any(r.xla == "on" for r in trained)
    if not found and not has_xla:
        return None
    rows = [
        row
        for row in rows_of(trained, _place)
        if any(r.mode in TRAPS or r.xla == "on" for r in row)
    ]
    columns = [
        *_places(trained),
        Column("stock epoch [s]", lambda row: epoch(_stock(row)) if _stock(row) else NOTHING),
        *[_times(name.replace("_", " "), rows, "mode", name, records) for name in found],
        *([_times("XLA forced", rows, "xla", "on", records)] if has_xla else []),
        Column("stock accuracy [%]", of_part(_stock, accuracy)),
        *[
            Column(f"{name.replace('_', ' ')} accuracy [%]", of_part(_in("mode", name), accuracy))
            for name in found
        ],
        *(
            [Column("XLA forced accuracy [%]", of_part(_in("xla", "on"), accuracy))]
            if has_xla
            else []
        ),
    ]
    return Table(
        "Traps: settings that look like speed",
        *filled(columns, rows),
        terms=(
            f"{TIMES_TERM}; below 1 the setting makes it slower",
            "steps per execution: Keras's `steps_per_execution` is all steps of an epoch; "
            "deterministic: `keras.utils.set_random_seed` and the backend's deterministic kernels "
            "(on TensorFlow every epoch then has the same order of batches); XLA forced: "
            "`jit_compile=True`",
            accuracy_term(trained),
            *terms_of(trained),
        ),
    )


def reduced_precision(records: Sequence[Record]) -> Table | None:
    """Return epochs of other numbers than float32 beside the float32 stock epoch."""
    trained = [r for r in good(records, "train") if r.xla == "auto"]
    others = sorted({r.precision for r in trained} - {PRECISION})
    modes = [m for m in ("stock", "tuned") if any(r.mode == m for r in trained)]
    if not others or not any(r.precision == PRECISION and r.mode == "stock" for r in trained):
        return None
    shown = [r for r in trained if r.mode in modes]
    rows = [row for row in rows_of(shown, _model) if {r.precision for r in row} & set(others)]
    pairs = [(mode, precision) for precision in others for mode in modes]
    columns = [
        *[c for c in _places(shown) if c.title != "precision"],
        Column("float32 stock epoch [s]", of_part(_at("stock", PRECISION), epoch)),
        Column("float32 stock accuracy [%]", of_part(_at("stock", PRECISION), accuracy)),
        *[
            column
            for mode, precision in pairs
            for column in _of_precision(mode, precision, rows, records)
        ],
    ]
    terms = (
        "other numbers, so another result: never part of a ratio of tuned to stock above",
        f"{TIMES_TERM}; here: than the float32 stock epoch",
        accuracy_term(shown),
        *terms_of(shown),
    )
    return Table("Reduced precision, against float32 stock", *filled(columns, rows), terms)


def _of_precision(
    mode: str, precision: str, rows: Sequence[Rows], records: Sequence[Record]
) -> list[Column]:
    found = judged(rows, _at("stock", PRECISION), _at(mode, precision), records)
    name = f"{precision} {mode}"
    return [
        Column(
            f"{name} [times]",
            lambda row: with_interval(found[id(row)].ratio) if id(row) in found else NOTHING,
        ),
        Column(f"{name} accuracy [%]", of_part(_at(mode, precision), accuracy)),
    ]


def _times(
    title: str, rows: Sequence[Rows], axis: str, name: str, records: Sequence[Record]
) -> Column:
    """Return the column of by how many times a part of each row is faster than its stock part."""
    found = judged(rows, _stock, _in(axis, name), records)

    def value(row: Rows) -> str:
        if id(row) not in found:
            return NOTHING
        return with_interval(found[id(row)].ratio)

    return Column(f"{title} [times]", value)


def _title(mode: str) -> str:
    """Return a mode's title as the ablation reads: by what is added or by what is left out."""
    left_out = [knob for knob in KNOBS if knob not in MODES[mode].knobs]
    if mode in ("tuned", "environment") or len(left_out) != 1:
        return mode
    return f"{mode} (all but {left_out[0]})"


def _comparable(records: Sequence[Record], modes: Sequence[str]) -> list[Record]:
    """Return the training records that ratios of modes are of."""
    return [
        r
        for r in good(records, "train")
        if r.mode in modes and r.xla == "auto" and r.precision == PRECISION
    ]


def _place(record: Record) -> tuple[Any, ...]:
    """Return what must be equal for modes to stand side by side."""
    others = (getattr(record, n) for n in CELL_COLUMNS if n not in ("mode", "xla"))
    return (record.model, record.backend, *others)


def _model(record: Record) -> tuple[Any, ...]:
    """Return what must be equal for precisions to stand side by side."""
    others = (getattr(record, n) for n in CELL_COLUMNS if n not in ("mode", "precision"))
    return (record.model, record.backend, *others)


def _places(records: Sequence[Record]) -> list[Column]:
    columns = [c for c in place_columns(records) if c.title not in ("mode", "xla")]
    return [*columns, Column("backend", lambda row: row[0].backend)]


def _in(axis: str, name: str) -> Callable[[Rows], Rows]:
    return lambda row: [r for r in row if getattr(r, axis) == name]


def _modes(row: Rows) -> set[str]:
    return {r.mode for r in row}


def _stock(row: Rows) -> Rows:
    return [r for r in row if r.mode == "stock" and r.xla == "auto"]


def _at(mode: str, precision: str) -> Callable[[Rows], Rows]:
    return lambda row: [r for r in row if r.mode == mode and r.precision == precision]


def _proof(row: Rows, records: Sequence[Record]) -> str:
    """Return whether tuned did the same work as stock, by the certificate of the cell."""
    first = row[0]
    found = trust.proofs(records).get((first.model, first.backend, first.device), [])
    parts = [r.parity for r in found if r.parity is not None]
    if not parts:
        return NOTHING
    exceeded = sorted({name for part in parts for name in part.exceeded})
    return f"DIFFERS: {', '.join(exceeded)}" if exceeded else "the same"


def _proof_terms(records: Sequence[Record]) -> tuple[str, ...]:
    """Return the proof: how far tuned is from stock on the same work, the worst of all cells."""
    found = [r for of_cell in trust.proofs(records).values() for r in of_cell]
    parts = [r.parity for r in found if r.parity is not None]
    if not parts:
        return ("same work: NOT PROVED in this session",)
    worst = ", ".join(
        f"{name.replace('_', ' ')} {max(p.differences[name] for p in parts):.1e}"
        f" (allowed {allowed:g})"
        for name, allowed in parts[0].tolerances.items()
    )
    points = [abs(d) for d in trust.accuracy_differences(found)]
    return (
        "proof: tuned and stock from the same weights on the same "
        f"{joined(p.steps for p in parts)} batches ({len(parts)} certificates), the largest "
        f"relative difference: {worst}; "
        f"accuracy then differs by {digits(max(points))} points at most",
    )
