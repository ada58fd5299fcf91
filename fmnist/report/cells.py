"""The table of all cells, one row each: what a page lets its reader sort, filter and copy.

A column is a row of data here, as in `fmnist.report.columns`; there, backends stand side by side.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Final, Literal

from fmnist import stats
from fmnist.grid import BACKENDS
from fmnist.record import PeakMemory, Record
from fmnist.report import trust
from fmnist.report.choose import placed_name
from fmnist.report.limits import GIGA, REACHED_TERM, SHARE_TERM
from fmnist.report.render import NOTHING, digits, joined, percent
from fmnist.report.summary import Summary, summaries
from fmnist.report.tables import UNEQUAL, UNEQUAL_TERM
from fmnist.report.terms import EPOCH_TERM, accuracy_term
from fmnist.stats import Estimate

MIB: Final = 2**20
FILTERS: Final = ("model", "backend", "device", "mode")
"""What can always be chosen among; other terms where they vary."""

RATIO_TERM: Final = (
    "ratio: this cell's time by that of the backend that it is compared with, of epochs run in "
    "turn in the same session; verdict: corrected for the number of rows of its session, and held "
    "against that session's noise; none where the session did not run a cell against itself"
)
APART_TERM: Final = (
    "rows of different sessions did not run side by side: what a machine did in between is in them"
)

Shown = Literal["always", "varying", "known", "asked"]
"""When a column is seen at first: always, where it varies, where any row has a value, or only if a
reader asks for it."""


@dataclass(frozen=True)
class Measured:
    """A cell's summary, and whether its session has a certificate of it.

    That its backends agree or, of a tuned cell, that it does what stock does.
    """

    summary: Summary
    certified: bool


@dataclass(frozen=True)
class CellColumn:
    """A column: its title with the unit, what it shows of a cell, and when it is seen at first.

    Rows are sorted by `number`, which is None for a gap; a column without one, by its text.
    """

    title: str
    text: Callable[[Measured], str]
    number: Callable[[Measured], float | None] | None = None
    shown: Shown = "asked"


@dataclass(frozen=True)
class Header:
    """A column as the page needs it."""

    title: str
    numeric: bool
    shown: bool


@dataclass(frozen=True)
class Entry:
    """What a row shows in a column; `order` is its number with six digits, "" for a gap."""

    text: str
    order: str | None


@dataclass(frozen=True)
class Filter:
    """A column of whose values one can be chosen."""

    column: int
    title: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class CellTable:
    """All cells that were measured on one data set."""

    dataset: str
    columns: tuple[Header, ...]
    rows: tuple[tuple[Entry, ...], ...]
    filters: tuple[Filter, ...]
    terms: tuple[str, ...]


def cell_tables(
    sessions: Sequence[Sequence[Record]], against: str | None = None
) -> list[CellTable]:
    """Return a table of all cells for each data set, in the order of the sessions.

    Args:
        sessions: the records of each, as from `choose.sessions_of`.
        against: the backend in the denominator of the ratios; default: that of the first column.
    """
    by_dataset: dict[str, list[Measured]] = {}
    for records in sessions:
        certified, proved = trust.certificates(records), trust.proofs(records)
        for summary in summaries(records, against):
            first = summary.first
            place = (first.model, first.backend, first.device)
            is_certified = {
                "stock": (first.model, first.device) in certified,
                "tuned": place in proved,
            }.get(first.mode, False)
            measured = Measured(summary, is_certified)
            by_dataset.setdefault(first.dataset, []).append(measured)
    return [_table(dataset, cells) for dataset, cells in by_dataset.items()]


def _table(dataset: str, cells: Sequence[Measured]) -> CellTable:
    """Return the table of at least one cell, all measured on one data set."""
    texts = [tuple(column.text(cell) for column in COLUMNS) for cell in cells]
    values = [tuple(dict.fromkeys(of_column)) for of_column in zip(*texts, strict=True)]
    rows = tuple(
        tuple(Entry(text, _order(c, cell)) for c, text in zip(COLUMNS, row, strict=True))
        for cell, row in zip(cells, texts, strict=True)
    )
    columns = tuple(
        Header(c.title, c.number is not None, _is_shown(c, of_column))
        for c, of_column in zip(COLUMNS, values, strict=True)
    )
    filters = tuple(
        Filter(i, c.title, values[i])
        for i, c in enumerate(COLUMNS)
        if c.title in FILTERS or (c.shown == "varying" and len(values[i]) > 1)
    )
    return CellTable(dataset, columns, rows, filters, _terms(cells, values))


def _is_shown(column: CellColumn, values: Sequence[str]) -> bool:
    return {
        "always": True,
        "varying": len(values) > 1,
        "known": any(value != NOTHING for value in values),
        "asked": False,
    }[column.shown]


def _order(column: CellColumn, cell: Measured) -> str | None:
    if column.number is None:
        return None
    number = column.number(cell)
    return "" if number is None else f"{number:.6g}" if isinstance(number, float) else str(number)


def _terms(cells: Sequence[Measured], values: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return what holds for all rows: a term that varies is in a column instead."""
    records = [record for cell in cells for record in cell.summary.records]
    sessions = joined(record.session for record in records)
    return (
        EPOCH_TERM,
        RATIO_TERM,
        accuracy_term(records),
        f"data set {joined(record.dataset for record in records)}",
        *(
            f"{column.title} {of_column[0]}"
            for column, of_column in zip(COLUMNS, values, strict=True)
            if column.shown == "varying" and len(of_column) == 1 and of_column[0] != NOTHING
        ),
        f"sessions {sessions}",
        *([APART_TERM] if "/" in sessions else []),
        *([REACHED_TERM] if any(cell.summary.flop_per_s for cell in cells) else []),
        *([SHARE_TERM] if any(cell.summary.share_of_peak for cell in cells) else []),
        *([UNEQUAL_TERM] if any(cell.summary.unequal for cell in cells) else []),
    )


def _text(title: str, text: Callable[[Summary], str | None], shown: Shown = "asked") -> CellColumn:
    """Return a column of text."""
    return CellColumn(title, lambda cell: text(cell.summary) or NOTHING, shown=shown)


def _count(
    title: str, count: Callable[[Summary], int | None], shown: Shown = "asked"
) -> CellColumn:
    """Return a column of whole numbers."""
    return _number(title, count, shown, lambda value: f"{value:,}")


def _number(
    title: str,
    number: Callable[[Summary], float | None],
    shown: Shown = "asked",
    form: Callable[[float], str] = digits,
) -> CellColumn:
    """Return a column of numbers, by default shown with three digits."""

    def text(cell: Measured) -> str:
        value = number(cell.summary)
        return NOTHING if value is None else form(value)

    return CellColumn(title, text, lambda cell: number(cell.summary), shown)


def _estimate(
    title: str,
    estimate: Callable[[Summary], Estimate | None],
    shown: Shown = "asked",
    scale: float = 1.0,
) -> tuple[CellColumn, ...]:
    """Return an estimate's columns, value and interval; `title` has a {} for which of them."""

    def part(pick: Callable[[Estimate], float | None]) -> Callable[[Summary], float | None]:
        def number(summary: Summary) -> float | None:
            found = estimate(summary)
            value = None if found is None else pick(found)
            return None if value is None else value * scale

        return number

    parts: Mapping[str, Callable[[Estimate], float | None]] = {
        "": lambda found: found.value,
        " low": lambda found: found.low,
        " high": lambda found: found.high,
    }
    return tuple(_number(title.format(name), part(pick), shown) for name, pick in parts.items())


def _steady(summary: Summary) -> str:
    if summary.unsteady:
        return f"no: process {joined(summary.unsteady)}"
    tested = all(stats.changepoint(r.epoch_s).certified for r in summary.records)
    return "yes" if tested else "not tested"


def _work(cell: Measured) -> str:
    if cell.summary.unequal:
        return "DIFFERS"
    return "the same" if cell.certified else NOTHING


def _peak_mib(
    part: Callable[[PeakMemory], int | None],
) -> Callable[[Summary], float | None]:
    """Return what takes the most memory that any process of a cell held, in MiB."""

    def number(summary: Summary) -> float | None:
        peaks = [part(r.peak_memory_bytes) for r in summary.records if r.peak_memory_bytes]
        known = [peak for peak in peaks if peak is not None]
        return max(known) / MIB if known else None

    return number


def _scaled(value: float | None, scale: float) -> float | None:
    return None if value is None else value * scale


def _epochs_trained(summary: Summary) -> int:
    return 1 + len(summary.first.epoch_s)


COLUMNS: Final = (
    _text("model", lambda s: s.cell.model + (UNEQUAL if s.unequal else ""), "always"),
    _text("family", lambda s: s.first.family),
    _text("backend", lambda s: s.cell.backend, "always"),
    _text("device", lambda s: s.cell.device, "varying"),
    _text("mode", lambda s: s.cell.mode, "varying"),
    _count("batch size", lambda s: s.cell.batch_size, "varying"),
    _text("precision", lambda s: s.cell.precision, "varying"),
    _text("XLA asked for", lambda s: s.cell.xla, "varying"),
    _text("environment", lambda s: s.cell.environment, "varying"),
    _text("preset", lambda s: s.first.preset, "varying"),
    _count("parameters", lambda s: s.parameters.total, "always"),
    *_estimate("epoch{} [s]", lambda s: s.epoch, "always"),
    _count("n", lambda s: s.epoch.n, "always"),
    *_estimate("ratio{}", lambda s: s.ratio, "always"),
    _text("compared with", lambda s: s.against if s.ratio else None),
    _text("verdict", lambda s: s.verdict, "always"),
    _number("GFLOP/s", lambda s: _scaled(s.flop_per_s, 1 / GIGA), "known"),
    _number("% of peak", lambda s: _scaled(s.share_of_peak, 100), "known"),
    _number("accuracy [%]", lambda s: s.accuracy, "always", percent),
    _text("machine", lambda s: placed_name(s.first), "varying"),
    _text("session", lambda s: s.first.session, "varying"),
    _number("first epoch [s]", lambda s: fmean(r.first_epoch_s or 0.0 for r in s.records)),
    _count("epochs trained", _epochs_trained),
    _count("processes", lambda s: s.epoch.processes),
    CellColumn("same work", _work),
    _text("steady", _steady),
    _number("training [images/s]", lambda s: s.images_per_s),
    *_estimate("predict{} [images/s]", lambda s: s.predict_images_per_s),
    *_estimate("latency{} [ms]", lambda s: s.latency_s, scale=1_000),
    _number("peak memory, process [MiB]", _peak_mib(lambda peak: peak.host)),
    _number("peak memory, device [MiB]", _peak_mib(lambda peak: peak.device)),
    _text("XLA", lambda s: "on" if s.first.jit_compile else "off"),
    _count("training images", lambda s: s.first.train_images),
    _count("seed", lambda s: s.first.seed),
    _text("date", lambda s: f"{s.first.started_at:%Y-%m-%d}"),
    _text("backend version", lambda s: s.first.versions.get(BACKENDS[s.cell.backend].package)),
    _text("Keras version", lambda s: s.first.versions.get("keras")),
    _text("commit", lambda s: s.first.commit and s.first.commit[:12]),
)
"""The cells' columns in order; a new one is a row here."""
