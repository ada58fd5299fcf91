"""Tables from records, on tabulate. A column is a row of data; every table carries its terms.

One unit per column, three significant digits, the interval in brackets, n beside it. Records of
two sessions, data sets or presets are never put into one table.
"""

import csv
import io
import math
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tabulate import tabulate

from fmnist import machine, stats
from fmnist.record import Record
from fmnist.stats import Estimate

FORMATS: Mapping[str, str] = {
    "text": "simple",
    "markdown": "github",
    "html": "html",
    "latex": "latex_booktabs",
    "csv": "csv",
}
NOTHING = "-"
TERMS_WIDTH = 100


@dataclass(frozen=True)
class Table:
    """A title, a header, rows of text, and the terms that hold for all of it."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    terms: tuple[str, ...] = field(default=())


Rows = Sequence[Record]
"""The train records of one row: one for each backend that was run."""


@dataclass(frozen=True)
class Column:
    """A column: its title, and what it shows of a row."""

    title: str
    value: Callable[[Rows], str]


def digits(value: float) -> str:
    """Return three significant digits without an exponent, like 0.0413, 4.13, 413, 4130."""
    if value == 0 or not math.isfinite(value):
        return str(value)
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{places}f}"


def with_interval(estimate: Estimate, scale: float = 1.0) -> str:
    """Return `4.62 [4.55, 4.70]`, or the value alone where n allows no interval."""
    if estimate.low is None or estimate.high is None:
        return digits(estimate.value * scale)
    low, high = digits(estimate.low * scale), digits(estimate.high * scale)
    return f"{digits(estimate.value * scale)} [{low}, {high}]"


def percent(accuracy: float) -> str:
    """Return an accuracy in per cent with two decimals: as fine as 10,000 images show."""
    return f"{100 * accuracy:.2f}"


def sessions_of(records: Iterable[Record]) -> list[list[Record]]:
    """Return the records grouped by what may stand in one table, oldest first."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in sorted(records, key=lambda r: (r.started_at, r.model, r.backend)):
        groups.setdefault((record.session, record.dataset, record.preset), []).append(record)
    return list(groups.values())


def of_session(records: Sequence[Record], against: str | None = None) -> list[Table]:
    """Return every table that a session's records fill.

    Args:
        records: of one session, as from `sessions_of`.
        against: the backend in the denominator of the ratios; default: the first by name that
            is not alone.
    """
    others = (dense_against_conv, learning, prediction, startup, overhead, failures)
    made = [speed(records, against), *(build(records) for build in others)]
    return [table for table in made if table is not None]


def speed(records: Sequence[Record], against: str | None = None) -> Table | None:
    """Return the main table: one row per model, backends side by side, and their ratio."""
    trained = _good(records, "train")
    if not trained:
        return None
    backends = _backends(trained)
    columns = [
        *_place_columns(trained),
        Column("parameters", lambda rows: f"{_parameters(rows).total:,}"),
        *[Column(f"{b} epoch [s]", _epoch(b)) for b in backends],
        Column("n", lambda rows: _joined(len(r.epoch_s) for r in rows)),
        *[Column(f"{b} / {a} time", _ratio(b, a)) for b, a in _pairs(backends, against)],
        *[Column(f"{b} accuracy [%]", _of(b, _accuracy)) for b in backends],
    ]
    return Table(
        "Speed: seconds per steady epoch",
        *_filled(columns, _rows(trained)),
        terms=(
            EPOCH_TERM,
            _accuracy_term(trained),
            *_terms(trained),
            *_failed_terms(records),
        ),
    )


def dense_against_conv(records: Sequence[Record]) -> Table | None:
    """Return what convolution buys: parameters by kind, accuracy, and what an epoch costs."""
    trained = _good(records, "train")
    if not trained:
        return None
    backends = _backends(trained)
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
            _accuracy_term(trained),
            *_terms(trained),
        ),
    )


def learning(records: Sequence[Record]) -> Table | None:
    """Return what was learned: training, validation and test accuracy, and the best epoch."""
    trained = _good(records, "train")
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
        _accuracy_term(trained),
        *_terms(trained),
    )
    return Table("What was learned", ("model", "backend", *device, *header), rows, terms)


def prediction(records: Sequence[Record]) -> Table | None:
    """Return images per second of `predict`, and the latency of a single image."""
    predicted = [r for r in _good(records, "train") if r.predict_s and r.latency_s]
    if not predicted:
        return None
    backends = _backends(predicted)
    columns = [
        *_place_columns(predicted),
        *[Column(f"{b} predict [images/s]", _of(b, _images_per_s)) for b in backends],
        *[Column(f"{b} latency, batch 1 [ms]", _of(b, _latency_ms)) for b in backends],
    ]
    calls = _joined(len(r.latency_s) for r in predicted)
    rounds = _joined(len(r.predict_s) for r in predicted)
    terms = (
        f"`predict` of {_joined(r.test_images for r in predicted)} test images, n={rounds}, "
        f"after one that compiles; latency: `predict_on_batch` of one image, n={calls} calls "
        f"after 10 that warm up",
    )
    return Table(
        "Prediction", *_filled(columns, _rows(predicted)), terms=(*terms, *_terms(predicted))
    )


def startup(records: Sequence[Record]) -> Table | None:
    """Return what comes before the first steady step, in fresh processes."""
    started = _good(records, "startup")
    if not started:
        return None
    by_cell: dict[tuple[str, ...], list[Record]] = {}
    for record in sorted(started, key=lambda r: (r.model, r.device, r.backend)):
        by_cell.setdefault((record.model, record.backend, record.device), []).append(record)
    rows = tuple(
        (
            *cell,
            *(
                _mean(getattr(r, name) for r in group)
                for name in ("import_s", "build_s", "first_epoch_s")
            ),
            str(len(group)),
        )
        for cell, group in by_cell.items()
    )
    header = (
        "model",
        "backend",
        "device",
        "import [s]",
        "build [s]",
        "first step [s]",
        "processes",
    )
    terms = (
        "import: of Keras with its backend; build: weights made and model compiled by Keras; "
        "first step: one batch, nearly all of it the backend's compilation",
        *_machine_terms(started),
    )
    return Table("Start-up, in fresh processes", header, rows, terms)


def overhead(records: Sequence[Record]) -> Table | None:
    """Return what the harness adds to the epoch of a plain Keras script, side by side."""
    measured = _good(records, "overhead")
    if not measured:
        return None
    rows = []
    for r in measured:
        ratio = stats.paired_ratio(r.epoch_s, r.plain_epoch_s)
        plain = stats.geometric_mean(r.plain_epoch_s)
        rows.append(
            (
                r.model,
                r.backend,
                r.device,
                with_interval(stats.geometric_mean(r.epoch_s)),
                with_interval(plain),
                with_interval(Estimate(*_excess_percent(ratio), n=ratio.n)),
                str(ratio.n),
            )
        )
    header = (
        "model",
        "backend",
        "device",
        "suite epoch [s]",
        "plain script epoch [s]",
        "overhead [%]",
        "pairs",
    )
    terms = (
        f"{_joined(r.train_images for r in measured)} images per epoch, epochs of the two "
        "programs in turn",
        *_machine_terms(measured),
    )
    return Table("Overhead of the suite against a plain Keras script", header, tuple(rows), terms)


def failures(records: Sequence[Record]) -> Table | None:
    """Return the cells that failed, with their reasons."""
    rows = tuple((r.cell.id, r.task, r.failure) for r in records if r.failure is not None)
    return Table("Failed cells", ("cell", "task", "reason"), rows) if rows else None


def render(table: Table, form: str) -> str:
    """Return the table as text in one of FORMATS, its terms under it (CSV: as comment lines)."""
    if form == "csv":
        return _csv(table)
    body = tabulate(
        table.rows,
        table.header,
        tablefmt=FORMATS[form],
        disable_numparse=True,
        colalign=["left", *["right"] * (len(table.header) - 1)] if table.rows else None,
    )
    terms = "; ".join(table.terms)
    if form == "markdown":
        return f"### {table.title}\n\n{body}\n\n{terms}\n"
    if form == "html":
        caption = tabulate([[table.title], [terms]], tablefmt="html")
        return f"{caption}\n{body}\n"
    if form == "latex":
        return f"% {table.title}\n{body}\n% {terms}\n"
    return f"{table.title}\n\n{body}\n\n{textwrap.fill(terms, TERMS_WIDTH)}\n"


def _csv(table: Table) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([f"# {table.title}"])
    writer.writerow(table.header)
    writer.writerows(table.rows)
    writer.writerows([f"# {term}"] for term in table.terms)
    return text.getvalue()


def _good(records: Iterable[Record], task: str) -> list[Record]:
    return [r for r in records if r.task == task and r.failure is None]


def _backends(records: Iterable[Record]) -> list[str]:
    return sorted({r.backend for r in records}, reverse=True)


def _rows(records: Iterable[Record]) -> list[Rows]:
    """Return the records by what must be equal for backends to stand side by side."""
    rows: dict[tuple[Any, ...], list[Record]] = {}
    for r in records:
        key = (r.model, r.device, r.mode, r.batch_size, r.precision)
        rows.setdefault(key, []).append(r)
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


def _mean(values: Iterable[float]) -> str:
    return with_interval(stats.geometric_mean(list(values)))


def _excess_percent(ratio: Estimate) -> tuple[float, float | None, float | None]:
    low, high = (None if v is None else 100 * (v - 1) for v in (ratio.low, ratio.high))
    return 100 * (ratio.value - 1), low, high


def _parameters(rows: Rows) -> Any:  # noqa: ANN401
    return rows[0].parameters


def _joined(values: Iterable[Any]) -> str:
    """Return the distinct values, in order: one if all agree."""
    shown = (f"{v:,}" if isinstance(v, int) else str(v) for v in values)
    return "/".join(dict.fromkeys(shown)) or NOTHING


def _terms(records: Sequence[Record]) -> tuple[str, ...]:
    """Return what the numbers of a training table were measured under."""
    xla = ", ".join(
        f"{b} {_joined('on' if r.jit_compile else 'off' for r in records if r.backend == b)}"
        for b in _backends(records)
    )
    train, validation, test = (
        _joined(sorted({getattr(r, f"{name}_images") for r in records}))
        for name in ("train", "validation", "test")
    )
    return (
        f"data set: {_joined(r.dataset for r in records)}",
        f"preset {_joined(r.preset for r in records)}",
        f"{train} training, {validation} validation, {test} test images",
        f"batch {_joined(r.batch_size for r in records)}",
        f"{_joined(r.precision for r in records)}",
        f"mode {_joined(r.mode for r in records)}",
        f"XLA (`jit_compile` as Keras resolved it): {xla}",
        f"epochs trained {_epochs_trained(records)}",
        *_machine_terms(records),
    )


EPOCH_TERM = (
    "epoch: geometric mean of n steady epochs of one process with its 95 % interval (Student's t "
    "on logarithms); ratio: of epochs run in turn, side by side"
)


def _accuracy_term(records: Sequence[Record]) -> str:
    return (
        f"accuracy: test set, after the last epoch, one seed ({_joined(r.seed for r in records)}), "
        f"95 % of the sampling error within {_sampling_error(records)} points"
    )


def _epochs_trained(records: Sequence[Record]) -> str:
    trained = sorted({1 + len(r.epoch_s) for r in records})
    cut = [r for r in records if 1 + len(r.epoch_s) != r.recipe.epochs]
    asked = _joined(sorted({r.recipe.epochs for r in cut}))
    return _joined(trained) + (f" (the models' own recipes ask for {asked})" if cut else "")


def _sampling_error(records: Sequence[Record]) -> str:
    """Return half the widest Wilson interval of the accuracies, in points."""
    intervals = [stats.proportion(r.accuracy or 0.0, r.test_images) for r in records]
    return f"±{max(50 * ((i.high or 0) - (i.low or 0)) for i in intervals):.2f}"


def _machine_terms(records: Sequence[Record]) -> tuple[str, ...]:
    versions = {name: v for r in records for name, v in r.versions.items()}
    flags = {f"{n}={v}" for r in records for n, v in r.flags.items() if not n.startswith("KERAS_")}
    return (
        _joined(machine.summary(r.machine) for r in records),
        f"device {_joined(r.device for r in records)}",
        ", ".join(f"{name} {version}" for name, version in sorted(versions.items())),
        *([f"environment {' '.join(sorted(flags))}"] if flags else []),
        f"commit {_joined((r.commit or 'unknown')[:12] for r in records)}",
        f"session {_joined(r.session for r in records)}",
    )


def _failed_terms(records: Sequence[Record]) -> tuple[str, ...]:
    failed = [r for r in records if r.failure is not None]
    return (f"{len(failed)} cells failed, see there",) if failed else ()
