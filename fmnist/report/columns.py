"""Columns as data: a title, and what it shows of a row of records."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any

from fmnist import stats
from fmnist.grid import MODES, TRAPS
from fmnist.record import Parameters, Record, samples
from fmnist.report.choose import CELL_COLUMNS, Rows, backends_of, row_key
from fmnist.report.judge import Judged
from fmnist.report.render import NOTHING, joined, percent, with_interval
from fmnist.stats import Estimate


@dataclass(frozen=True)
class Column:
    """A column: its title, and what it shows of a row."""

    title: str
    value: Callable[[Rows], str]


def filled(
    columns: Sequence[Column], rows: Sequence[Rows]
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return the header and the rows of a table."""
    header = tuple(column.title for column in columns)
    return header, tuple(tuple(column.value(row) for column in columns) for row in rows)


def rows_of(
    records: Iterable[Record], key: Callable[[Record], tuple[Any, ...]] = row_key
) -> list[Rows]:
    """Return the records by what must be equal to stand side by side; default: for backends.

    Smaller models come first; of a model, stock before its knobs before all of them.
    """
    rows: dict[tuple[Any, ...], list[Record]] = {}
    for r in records:
        rows.setdefault(key(r), []).append(r)

    def order(row: Rows) -> tuple[Any, ...]:
        mode = min((r.mode in TRAPS, len(MODES[r.mode].knobs)) for r in row)
        return (parameters(row).total, row[0].model, *mode, *key(row[0]))

    return sorted(rows.values(), key=order)


def place_columns(
    records: Sequence[Record], flag: Callable[[Rows], str] = lambda _: ""
) -> list[Column]:
    """Return the columns that say which cell a row is: only those that vary, the model always.

    `flag` adds a mark to the model's name.
    """
    return [
        Column("model", lambda rows: rows[0].model + flag(rows)),
        *varying(records, CELL_COLUMNS),
    ]


def varying(records: Sequence[Record], names: Iterable[str]) -> list[Column]:
    """Return columns for those fields of these names that are not the same in all records."""
    found = [n for n in names if len({getattr(r, n) for r in records}) > 1]
    return [Column(n.replace("_", " "), _attribute(n)) for n in found]


def _attribute(name: str) -> Callable[[Rows], str]:
    return lambda rows: str(getattr(rows[0], name)) or NOTHING


def of_backend(rows: Rows, backend: str) -> list[Record]:
    """Return a row's records of one backend, process by process."""
    return sorted((r for r in rows if r.backend == backend), key=lambda r: r.process)


def on(backend: str, show: Callable[[Rows], str]) -> Callable[[Rows], str]:
    """Return what a row shows of one backend's records."""
    return of_part(partial(of_backend, backend=backend), show)


def of_part(part: Callable[[Rows], Rows], show: Callable[[Rows], str]) -> Callable[[Rows], str]:
    """Return what shows a part of a row's records, where there are any."""

    def value(rows: Rows) -> str:
        records = part(rows)
        return show(records) if records else NOTHING

    return value


def epoch(rows: Rows) -> str:
    """Return the steady epoch of one cell's processes."""
    return with_interval(stats.nested_mean(samples(rows)))


def accuracy(rows: Rows) -> str:
    """Return the accuracy at the end, the mean over processes."""
    return percent(fmean(r.accuracy or 0.0 for r in rows))


def count(rows: Rows) -> str:
    """Return how many rounds the times are of, and of how many processes."""
    rounds = joined(len(r.epoch_s) for r in rows)
    processes = {b: len(of_backend(rows, b)) for b in backends_of(rows)}
    shown = joined(processes.values())
    return rounds if shown == "1" else f"{shown} x {rounds}"


def ratio_columns(top: str, bottom: str, judged: Mapping[int, Judged]) -> list[Column]:
    """Return the ratio of two parts of a row, and the verdict on it, where any is given."""

    def ratio(row: Rows) -> str:
        found = judged.get(id(row))
        return NOTHING if found is None else with_interval(found.ratio)

    def verdict(row: Rows) -> str:
        found = judged.get(id(row))
        return str(found.verdict) if found and found.verdict else NOTHING

    shown = [Column(f"{top} / {bottom} time", ratio)]
    if any(found.verdict for found in judged.values()):
        shown.append(Column(f"{top} is", verdict))
    return shown


def pooled(
    values: Callable[[Record], Sequence[float]], scale: float = 1.0
) -> Callable[[Rows], str]:
    """Return what shows the geometric mean of each process's values, processes first."""
    return lambda rows: with_interval(pooled_estimate(rows, values), scale)


def pooled_estimate(rows: Rows, values: Callable[[Record], Sequence[float]]) -> Estimate:
    """Return the geometric mean of each process's values, processes first."""
    return stats.nested_mean([values(r) for r in rows])


def mean_of(name: str) -> Callable[[Rows], str]:
    """Return what shows the geometric mean of a field that each record has one value of."""
    return lambda rows: with_interval(stats.geometric_mean([getattr(r, name) for r in rows]))


def parameters(rows: Rows) -> Parameters:
    """Return a row's parameters. Raises ValueError for a record that lacks them."""
    found = rows[0].parameters
    if found is None:
        raise ValueError(f"{rows[0].cell.id}: a record without failure has parameters")
    return found
