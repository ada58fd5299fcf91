"""The tables, built from records. A column is a row of data; every table carries its terms.

Records of two sessions, data sets or presets are never put into one table without saying so.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fmnist import stats
from fmnist.grid import Cell
from fmnist.record import Parameters, Record
from fmnist.report.choose import backends_of, good, row_key
from fmnist.report.render import NOTHING, Table, digits, joined, percent, with_interval
from fmnist.report.terms import EPOCH_TERM, accuracy_term, failed_terms, terms_of

Rows = Sequence[Record]
"""The records of one row: of one cell, or of the same cell on each backend."""


@dataclass(frozen=True)
class Column:
    """A column: its title, and what it shows of a row."""

    title: str
    value: Callable[[Rows], str]


def of_session(records: Sequence[Record], against: str | None = None) -> list[Table]:
    """Return every table that a session's records fill.

    Args:
        records: of one session, as from `sessions_of`.
        against: the backend in the denominator of the ratios; default: that of the first column.
    """
    others = (dense_against_conv, learning, prediction, startup, overhead, failures)
    made = [speed(records, against), *(build(records) for build in others)]
    return [table for table in made if table is not None]


def speed(records: Sequence[Record], against: str | None = None) -> Table | None:
    """Return the main table: one row per model, backends side by side, and their ratio."""
    trained = good(records, "train")
    if not trained:
        return None
    backends = backends_of(trained)
    columns = [
        *_place_columns(trained),
        Column("parameters", lambda rows: f"{_parameters(rows).total:,}"),
        *[Column(f"{b} epoch [s]", _epoch(b)) for b in backends],
        Column("n", lambda rows: joined(len(r.epoch_s) for r in rows)),
        *[Column(f"{b} / {a} time", _ratio(b, a)) for b, a in _pairs(backends, against)],
        *[Column(f"{b} accuracy [%]", _of(b, _accuracy)) for b in backends],
        Column("epochs trained", _epochs_of_recipe),
    ]
    return Table(
        "Speed: seconds per steady epoch",
        *_filled(columns, _rows(trained)),
        terms=(
            EPOCH_TERM,
            accuracy_term(trained),
            *terms_of(trained),
            *failed_terms(records),
        ),
    )


def dense_against_conv(records: Sequence[Record]) -> Table | None:
    """Return what convolution buys: parameters by kind, accuracy, and what an epoch costs."""
    trained = good(records, "train")
    if not trained:
        return None
    backends = backends_of(trained)
    columns = [
        Column("family", lambda rows: rows[0].family),
        *_place_columns(trained),
        Column("dense parameters", lambda rows: f"{_parameters(rows).dense:,}"),
        Column("conv parameters", lambda rows: f"{_parameters(rows).conv:,}"),
        Column("other", lambda rows: f"{_parameters(rows).other:,}"),
        Column("total", lambda rows: f"{_parameters(rows).total:,}"),
        *[Column(f"{b} accuracy [%]", _of(b, _accuracy)) for b in backends],
        *[Column(f"{b} points per 100,000", _of(b, _per_parameter)) for b in backends],
        *[Column(f"{b} epoch [s]", _epoch(b)) for b in backends],
    ]
    rows = sorted(_rows(trained), key=lambda r: (r[0].family != "dense", _parameters(r).total))
    return Table(
        "Dense against conv: what the parameters buy",
        *_filled(columns, rows),
        terms=(
            "points per 100,000: accuracy above the 10 % of a guess, in points, for each "
            "100,000 parameters; other: batch normalisation",
            EPOCH_TERM,
            accuracy_term(trained),
            *terms_of(trained),
        ),
    )


def learning(records: Sequence[Record]) -> Table | None:
    """Return what was learned: training, validation and test accuracy, and the best epoch."""
    trained = good(records, "train")
    if not trained:
        return None
    rows = tuple(
        (
            r.model,
            r.backend,
            *([] if len({r.device for r in trained}) == 1 else [r.device]),
            percent(r.history[-1].train_accuracy),
            _percent_or_nothing(r.history[-1].validation_accuracy),
            _accuracy(r),
            digits(r.history[-1].test_loss),
            _best_epoch(r),
        )
        for row in _rows(trained)
        for r in sorted(row, key=lambda r: r.backend, reverse=True)
    )
    device = [] if len({r.device for r in trained}) == 1 else ["device"]
    header = ("training [%]", "validation [%]", "test [%]", "test loss", "best test [%] (epoch)")
    terms = (
        "training: Keras's running mean over the last epoch, dropout on; "
        "best: chosen by looking at the test set, so it flatters",
        accuracy_term(trained),
        *terms_of(trained),
    )
    return Table("What was learned", ("model", "backend", *device, *header), rows, terms)


def prediction(records: Sequence[Record]) -> Table | None:
    """Return images per second of `predict`, and the latency of a single image."""
    predicted = [r for r in good(records, "train") if r.predict_s and r.latency_s]
    if not predicted:
        return None
    backends = backends_of(predicted)
    columns = [
        *_place_columns(predicted),
        *[Column(f"{b} predict [images/s]", _of(b, _images_per_s)) for b in backends],
        *[Column(f"{b} latency, batch 1 [ms]", _of(b, _latency_ms)) for b in backends],
    ]
    calls = joined(len(r.latency_s) for r in predicted)
    rounds = joined(len(r.predict_s) for r in predicted)
    terms = (
        f"`predict` of {joined(r.test_images for r in predicted)} test images, n={rounds}, "
        f"after one that compiles; latency: `predict_on_batch` of one image, n={calls} calls "
        f"after 10 that warm up",
    )
    return Table(
        "Prediction", *_filled(columns, _rows(predicted)), terms=(*terms, *terms_of(predicted))
    )


def startup(records: Sequence[Record]) -> Table | None:
    """Return what comes before the first steady step, in fresh processes."""
    started = good(records, "startup")
    if not started:
        return None
    by_cell: dict[Cell, list[Record]] = {}
    for record in started:
        by_cell.setdefault(record.cell, []).append(record)
    columns = [
        *_place_columns(started),
        Column("backend", lambda rows: rows[0].backend),
        Column("import [s]", _mean_of("import_s")),
        Column("build [s]", _mean_of("build_s")),
        Column("first step [s]", _mean_of("first_epoch_s")),
        Column("processes", lambda rows: str(len(rows))),
    ]
    terms = (
        "import: of Keras with its backend; build: weights made and model compiled by Keras; "
        "first step: one batch, nearly all of it the backend's compilation",
        *terms_of(started),
    )
    rows = [by_cell[cell] for cell in sorted(by_cell)]
    return Table("Start-up, in fresh processes", *_filled(columns, rows), terms)


def overhead(records: Sequence[Record]) -> Table | None:
    """Return what the harness adds to the epoch of a plain Keras script, side by side."""
    measured = good(records, "overhead")
    if not measured:
        return None
    columns = [
        *_place_columns(measured),
        Column("backend", lambda rows: rows[0].backend),
        Column("suite epoch [s]", lambda rows: _mean(rows[0].epoch_s)),
        Column("plain script epoch [s]", lambda rows: _mean(rows[0].plain_epoch_s)),
        Column("overhead [%]", lambda rows: _excess_percent(rows[0])),
        Column("pairs", lambda rows: str(len(rows[0].epoch_s))),
    ]
    rows = [[r] for r in sorted(measured, key=lambda r: r.cell)]
    terms = ("epochs of the two programs in turn; overhead: of the pairs", *terms_of(measured))
    title = "Overhead of the suite against a plain Keras script"
    return Table(title, *_filled(columns, rows), terms)


def failures(records: Sequence[Record]) -> Table | None:
    """Return the cells that failed, with their reasons."""
    rows = tuple((r.cell.id, r.task, r.failure) for r in records if r.failure is not None)
    return Table("Failed cells", ("cell", "task", "reason"), rows) if rows else None


def _rows(records: Iterable[Record]) -> list[Rows]:
    """Return the records by what must be equal for backends to stand side by side."""
    rows: dict[tuple[Any, ...], list[Record]] = {}
    for r in records:
        rows.setdefault(row_key(r), []).append(r)
    return sorted(rows.values(), key=lambda row: (_parameters(row).total, row[0].model))


def _filled(
    columns: Sequence[Column], rows: Sequence[Rows]
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    header = tuple(column.title for column in columns)
    return header, tuple(tuple(column.value(row) for column in columns) for row in rows)


def _place_columns(records: Sequence[Record]) -> list[Column]:
    """Return the columns that say which cell a row is: only those that vary, the model always."""
    names = ("device", "mode", "batch_size", "precision")
    varying = [n for n in names if len({getattr(r, n) for r in records}) > 1]
    return [
        Column("model", lambda rows: rows[0].model),
        *[Column(n.replace("_", " "), _attribute(n)) for n in varying],
    ]


def _attribute(name: str) -> Callable[[Rows], str]:
    return lambda rows: str(getattr(rows[0], name))


def _of(backend: str, show: Callable[[Record], str]) -> Callable[[Rows], str]:
    """Return what a row shows of one backend's record."""

    def value(rows: Rows) -> str:
        record = _record_of(rows, backend)
        return NOTHING if record is None else show(record)

    return value


def _record_of(rows: Rows, backend: str) -> Record | None:
    return next((r for r in rows if r.backend == backend), None)


def _epoch(backend: str) -> Callable[[Rows], str]:
    return _of(backend, lambda r: with_interval(stats.geometric_mean(r.epoch_s)))


def _pairs(backends: Sequence[str], against: str | None) -> list[tuple[str, str]]:
    """Return the (numerator, denominator) pairs of the ratio columns."""
    base = against or backends[0]
    return [(b, base) for b in backends if b != base] if base in backends else []


def _epochs_of_recipe(rows: Rows) -> str:
    """Return how many epochs were trained, and of how many where the recipe asks for others."""
    trained, asked = 1 + len(rows[0].epoch_s), rows[0].recipe.epochs
    return str(trained) if trained == asked else f"{trained} of {asked}"


def _ratio(numerator: str, denominator: str) -> Callable[[Rows], str]:
    def value(rows: Rows) -> str:
        top, bottom = _record_of(rows, numerator), _record_of(rows, denominator)
        if top is None or bottom is None or len(top.epoch_s) != len(bottom.epoch_s):
            return NOTHING
        return with_interval(stats.paired_ratio(top.epoch_s, bottom.epoch_s))

    return value


def _accuracy(record: Record) -> str:
    return _percent_or_nothing(record.accuracy)


def _percent_or_nothing(accuracy: float | None) -> str:
    return NOTHING if accuracy is None else percent(accuracy)


def _best_epoch(record: Record) -> str:
    best = max(range(len(record.history)), key=lambda i: record.history[i].test_accuracy)
    return f"{percent(record.history[best].test_accuracy)} ({best + 1})"


def _per_parameter(record: Record) -> str:
    """Return accuracy above the 10 % of a guess, in points per 100,000 parameters."""
    if record.accuracy is None or record.parameters is None:
        return NOTHING
    return digits(max(0.0, 100 * record.accuracy - 10) / (record.parameters.total / 100_000))


def _images_per_s(record: Record) -> str:
    return with_interval(
        stats.geometric_mean([record.test_images / seconds for seconds in record.predict_s])
    )


def _latency_ms(record: Record) -> str:
    return with_interval(stats.geometric_mean(record.latency_s), scale=1_000)


def _mean(values: Sequence[float]) -> str:
    return with_interval(stats.geometric_mean(values))


def _mean_of(name: str) -> Callable[[Rows], str]:
    """Return what a row shows of a field that each of its records has one value of."""
    return lambda rows: _mean([getattr(record, name) for record in rows])


def _excess_percent(record: Record) -> str:
    """Return by how much the suite's epochs took longer than the plain script's, in per cent."""
    ratio = stats.paired_ratio(record.epoch_s, record.plain_epoch_s)
    shown = f"{100 * (ratio.value - 1):+.2f}"
    if ratio.low is None or ratio.high is None:
        return shown
    return f"{shown} [{100 * (ratio.low - 1):+.2f}, {100 * (ratio.high - 1):+.2f}]"


def _parameters(rows: Rows) -> Parameters:
    parameters = rows[0].parameters
    if parameters is None:
        raise ValueError(f"{rows[0].cell.id}: a record without failure has parameters")
    return parameters
