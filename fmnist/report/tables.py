"""The tables, built from records. A column is a row of data; every table carries its terms.

Records of two sessions, data sets or presets are never put into one table without saying so.
"""

from collections.abc import Callable, Sequence
from functools import partial

from fmnist import grid, stats
from fmnist.record import Record, by_cell, samples
from fmnist.report import (
    leaderboard,
    learned,
    reproduction,
    studies,
    trust,
    trust_tables,
    tuned_tables,
)
from fmnist.report.choose import Rows, backends_of, good, of_main_modes
from fmnist.report.columns import (
    Column,
    accuracy,
    count,
    epoch,
    filled,
    mean_of,
    of_backend,
    on,
    parameters,
    place_columns,
    pooled,
    ratio_columns,
    rows_of,
)
from fmnist.report.environment_table import environments
from fmnist.report.judge import judged
from fmnist.report.limits import limit_columns, limit_terms, peaks_of
from fmnist.report.render import (
    NOTHING,
    Table,
    above_one,
    digits,
    joined,
    percent,
    render,
)
from fmnist.report.scaling_table import scaling
from fmnist.report.terms import (
    EPOCH_TERM,
    accuracy_term,
    failed_terms,
    precision_terms,
    steadiness_terms,
    terms_of,
    verdict_terms,
    why_terms,
)

UNEQUAL = " (!)"
UNEQUAL_TERM = "(!): the backends did NOT do the same work, see the parity certificate"


def of_session(records: Sequence[Record], against: str | None = None) -> list[Table]:
    """Return every table that a session's records fill, those that say how far to trust it first.

    Args:
        records: of one session, as from `sessions_of`.
        against: the backend in the denominator of the ratios; default: that of the first column.
    """
    by_model = studies.of_none(records)
    found = learned.learned(by_model)
    made = [
        trust_tables.noise(records),
        trust_tables.parity(records),
        leaderboard.leaderboard(records),
        leaderboard.choosing(records),
        reproduction.table(records),
        *studies.tables(records),
        speed(records, against),
        tuned_tables.tuned(records),
        tuned_tables.reduced_precision(records),
        tuned_tables.traps(records),
        scaling(records),
        environments(records),
        learned.results(by_model),
        *(learned.overfitting(found, by) for by in learned.QUANTITIES),
        *(
            build(records)
            for build in (
                dense_against_conv,
                learning,
                trust_tables.break_even,
                trust_tables.breakdown,
                prediction,
                startup,
                overhead,
                failures,
            )
        ),
    ]
    return [table for table in made if table is not None]


def text_of_session(records: Sequence[Record], form: str, against: str | None = None) -> str:
    """Return every table of a session as text in one of `render.FORMATS`: see `of_session`."""
    return "".join(f"{render(table, form)}\n" for table in of_session(records, against))


def speed(records: Sequence[Record], against: str | None = None) -> Table | None:
    """Return the main table: one row per model, backends side by side, ratio and verdict."""
    trained = of_main_modes(good(records, "train"))
    if not trained:
        return None
    backends = backends_of(trained)
    peaks = peaks_of(records)
    rows = rows_of(trained)
    columns = [
        *place_columns(trained, _flag(records)),
        Column("parameters", lambda rows: f"{parameters(rows).total:,}"),
        *[Column(f"{b} epoch [s]", on(b, epoch)) for b in backends],
        Column("n", count),
        *[
            column
            for top, bottom in _pairs(backends, against)
            for column in ratio_columns(
                top,
                bottom,
                judged(
                    rows,
                    partial(of_backend, backend=top),
                    partial(of_backend, backend=bottom),
                    records,
                ),
            )
        ],
        *limit_columns(trained, peaks),
        *[Column(f"{b} accuracy [%]", on(b, accuracy)) for b in backends],
        Column("epochs trained", _epochs_of_recipe),
    ]
    return Table(
        "Speed: seconds per steady epoch",
        *filled(columns, rows),
        terms=(
            EPOCH_TERM,
            *verdict_terms(records),
            *precision_terms(trained),
            *steadiness_terms(trained),
            *limit_terms(trained, peaks),
            accuracy_term(trained),
            *why_terms(trained),
            *terms_of(trained),
            *_unequal_terms(records),
            *failed_terms(records),
        ),
    )


def dense_against_conv(records: Sequence[Record]) -> Table | None:
    """Return what convolution buys: parameters by kind, accuracy, and what an epoch costs."""
    trained = of_main_modes(good(records, "train"))
    if not trained:
        return None
    backends = backends_of(trained)
    columns = [
        Column("family", lambda rows: rows[0].family),
        *place_columns(trained, _flag(records)),
        Column("dense parameters", lambda rows: f"{parameters(rows).dense:,}"),
        Column("conv parameters", lambda rows: f"{parameters(rows).conv:,}"),
        Column("other", lambda rows: f"{parameters(rows).other:,}"),
        Column("total", lambda rows: f"{parameters(rows).total:,}"),
        *[Column(f"{b} accuracy [%]", on(b, accuracy)) for b in backends],
        *[Column(f"{b} points per 100,000", on(b, _per_parameter)) for b in backends],
        *[Column(f"{b} epoch [s]", on(b, epoch)) for b in backends],
    ]
    rows = sorted(rows_of(trained), key=lambda r: (r[0].family != "dense", parameters(r).total))
    return Table(
        "Dense against conv: what the parameters buy",
        *filled(columns, rows),
        terms=(
            "points per 100,000: accuracy above the 10 % of a guess, in points, for each "
            "100,000 parameters; other: batch normalisation",
            EPOCH_TERM,
            accuracy_term(trained),
            *terms_of(trained),
            *_unequal_terms(records),
        ),
    )


def learning(records: Sequence[Record]) -> Table | None:
    """Return what was learned: training, validation and test accuracy, and the best epoch."""
    trained = of_main_modes(good(records, "train"))
    if not trained:
        return None
    flag = _flag(records)
    columns = [
        *place_columns(trained, flag),
        Column("backend", lambda rows: rows[0].backend),
        Column("training [%]", _last_epoch("train_accuracy")),
        Column("validation [%]", _last_epoch("validation_accuracy")),
        Column("test [%]", _last_epoch("test_accuracy")),
        Column("test loss", lambda rows: digits(rows[0].history[-1].test_loss)),
        Column("best test [%] (epoch)", _best_epoch),
    ]
    rows = [
        of_backend(row, backend)[:1] for row in rows_of(trained) for backend in backends_of(row)
    ]
    terms = (
        "of each cell's first process; training: Keras's running mean over the last epoch, dropout "
        "on; best: chosen by looking at the test set, so it flatters",
        accuracy_term(trained),
        *terms_of(trained),
        *_unequal_terms(records),
    )
    return Table("What was learned", *filled(columns, rows), terms)


def prediction(records: Sequence[Record]) -> Table | None:
    """Return images per second of `predict`, and the latency of a single image."""
    predicted = [r for r in of_main_modes(good(records, "train")) if r.predict_s and r.latency_s]
    if not predicted:
        return None
    backends = backends_of(predicted)
    images_per_s = pooled(lambda r: [r.test_images / seconds for seconds in r.predict_s])
    latency_ms = pooled(lambda r: r.latency_s, scale=1_000)
    columns = [
        *place_columns(predicted, _flag(records)),
        *[Column(f"{b} predict [images/s]", on(b, images_per_s)) for b in backends],
        *[Column(f"{b} latency, batch 1 [ms]", on(b, latency_ms)) for b in backends],
    ]
    calls = joined(len(r.latency_s) for r in predicted)
    rounds = joined(len(r.predict_s) for r in predicted)
    terms = (
        f"`predict` of {joined(r.test_images for r in predicted)} test images, n={rounds}, "
        f"after one that compiles; latency: `predict_on_batch` of one image, n={calls} calls "
        f"after 10 that warm up",
        *terms_of(predicted),
        *_unequal_terms(records),
    )
    return Table("Prediction", *filled(columns, rows_of(predicted)), terms)


def startup(records: Sequence[Record]) -> Table | None:
    """Return what comes before the first steady step, in fresh processes."""
    started = good(records, "startup")
    if not started:
        return None
    columns = [
        *place_columns(started, _flag(records)),
        Column("backend", lambda rows: rows[0].backend),
        Column("import [s]", mean_of("import_s")),
        Column("build [s]", mean_of("build_s")),
        Column("first step [s]", mean_of("first_epoch_s")),
        Column("processes", lambda rows: str(len(rows))),
    ]
    terms = (
        "import: of Keras with its backend; build: weights made and model compiled by Keras; "
        "first step: one batch, nearly all of it the backend's compilation",
        *_also_imported_terms(started),
        *terms_of(started),
        *_unequal_terms(records),
    )
    cells = by_cell(started)
    return Table(
        "Start-up, in fresh processes",
        *filled(columns, [cells[cell] for cell in sorted(cells)]),
        terms,
    )


def _also_imported_terms(records: Sequence[Record]) -> tuple[str, ...]:
    """Return which backend's processes held the package of another one too."""
    found = {
        f"{package} by {record.backend}"
        for record in records
        for name, backend in grid.BACKENDS.items()
        if (package := backend.package) in record.versions and name != record.backend
    }
    return (f"also imported, as it is installed: {joined(sorted(found))}",) if found else ()


def overhead(records: Sequence[Record]) -> Table | None:
    """Return what the harness adds to the epoch of a plain Keras script, side by side."""
    measured = good(records, "overhead")
    if not measured:
        return None
    columns = [
        *place_columns(measured, _flag(records)),
        Column("backend", lambda rows: rows[0].backend),
        Column("suite epoch [s]", epoch),
        Column("plain script epoch [s]", pooled(lambda r: r.beside_s["plain"])),
        Column("overhead, mean [%]", _mean_excess),
        Column("overhead, median [%]", _median_excess),
        Column("pairs", lambda rows: str(sum(len(r.epoch_s) for r in rows))),
    ]
    cells = by_cell(measured)
    terms = (
        "epochs of the two programs in turn; overhead: of the ratios of pairs, their geometric "
        "mean and their median, which a few disturbed epochs do not move; what the suite's fence "
        "alone takes: see where an epoch goes",
        *terms_of(measured),
    )
    title = "Overhead of the suite against a plain Keras script"
    return Table(title, *filled(columns, [cells[cell] for cell in sorted(cells)]), terms)


def failures(records: Sequence[Record]) -> Table | None:
    """Return the cells that failed, with their reasons."""
    rows = tuple((r.cell.id, r.task, r.failure) for r in records if r.failure is not None)
    return Table("Failed cells", ("cell", "task", "reason"), rows) if rows else None


def _flag(records: Sequence[Record]) -> Callable[[Rows], str]:
    """Return what marks a model whose backends did not do the same work."""
    unequal = trust.unequal(records)
    return lambda rows: UNEQUAL if (rows[0].model, rows[0].device) in unequal else ""


def _unequal_terms(records: Sequence[Record]) -> tuple[str, ...]:
    return (UNEQUAL_TERM,) if trust.unequal(records) else ()


def _pairs(backends: Sequence[str], against: str | None) -> list[tuple[str, str]]:
    """Return the (numerator, denominator) pairs of the ratio columns."""
    base = against or backends[0]
    return [(b, base) for b in backends if b != base] if base in backends else []


def _epochs_of_recipe(rows: Rows) -> str:
    """Return how many epochs were trained, and of how many where the recipe asks for others."""
    trained, asked = 1 + len(rows[0].epoch_s), rows[0].recipe.epochs
    return str(trained) if trained == asked else f"{trained} of {asked}"


def _last_epoch(name: str) -> Callable[[Rows], str]:
    """Return what shows an accuracy of the last epoch, where it was measured."""

    def value(rows: Rows) -> str:
        share = getattr(rows[0].history[-1], name)
        return NOTHING if share is None else percent(share)

    return value


def _best_epoch(rows: Rows) -> str:
    history = rows[0].history
    best = max(range(len(history)), key=lambda i: history[i].test_accuracy)
    return f"{percent(history[best].test_accuracy)} ({best + 1})"


def _per_parameter(rows: Rows) -> str:
    """Return accuracy above the 10 % of a guess, in points per 100,000 parameters."""
    gained = max(0.0, 100 * (rows[0].accuracy or 0.0) - 10)
    return digits(gained / (parameters(rows).total / 100_000))


def _mean_excess(rows: Rows) -> str:
    """Return by how much the suite's epochs took longer than the plain script's, in per cent."""
    return above_one(stats.nested_ratio(samples(rows), samples(rows, "plain")))


def _median_excess(rows: Rows) -> str:
    pairs = zip(samples(rows), samples(rows, "plain"), strict=True)
    ratios = [s / p for suite, plain in pairs for s, p in zip(suite, plain, strict=True)]
    return above_one(stats.median(ratios))
