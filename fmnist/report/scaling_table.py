"""What more devices bring: throughput, speed-up and efficiency beside one device."""

from collections.abc import Callable, Sequence
from typing import Any

from fmnist import stats
from fmnist.record import Record, samples
from fmnist.report.choose import Rows, good
from fmnist.report.columns import Column, accuracy, count, epoch, filled, varying
from fmnist.report.judge import neighbours
from fmnist.report.render import NOTHING, Table, digits, with_interval
from fmnist.report.terms import EPOCH_TERM, accuracy_term, terms_of
from fmnist.stats import Estimate

SHARED = "correctness only"
"""What a row says whose replicas share a processor."""


def scaling(records: Sequence[Record]) -> Table | None:
    """Return a row for each number of devices, by model and backend; None where none was asked."""
    measured = good(records, "scale")
    if not measured:
        return None
    rows = _rows(measured)
    speed_up = {id(row): found for row in rows if (found := _speed_up(row, rows)) is not None}
    columns = [
        Column("model", lambda row: row[0].model),
        Column("backend", lambda row: row[0].backend),
        *varying(measured, ("device", "precision", "environment")),
        Column("replicas", lambda row: str(row[0].replicas)),
        *varying(measured, ("hosts",)),
        Column("batch", lambda row: str(row[0].batch_size)),
        Column("scaling", lambda row: _kind(row, rows)),
        Column("epoch [s]", epoch),
        Column("images/s", lambda row: digits(_images_per_s(row))),
        Column("speed-up", _shown(speed_up)),
        Column("efficiency [%]", _shown(speed_up, lambda row: 100 / row[0].replicas)),
        Column("accuracy [%]", accuracy),
        Column("n", count),
        *(
            [Column("good for", lambda row: SHARED if row[0].shared_device else NOTHING)]
            if any(r.shared_device for r in measured)
            else []
        ),
    ]
    return Table(
        "Scaling: one model trained by several devices",
        *filled(columns, rows),
        terms=(*_scaling_terms(measured), EPOCH_TERM, accuracy_term(measured), *terms_of(measured)),
    )


def _scaling_terms(records: Sequence[Record]) -> tuple[str, ...]:
    """Return what the columns mean, and what times of a shared processor are good for."""
    shared = (
        f"{SHARED}: the replicas share a processor (virtual devices of one, or hosts that are one "
        "machine), so these times say nothing of as many devices"
    )
    return (
        "batch: of all replicas together; strong: the same as one device has, weak: the same for "
        "each replica; speed-up: images by the second, by those of one device, of epochs run in "
        "turn in one session; efficiency: speed-up by replicas",
        *([shared] if any(r.shared_device for r in records) else []),
    )


def _rows(records: Sequence[Record]) -> list[Rows]:
    """Return the records by cell: model by model, backend by backend, few replicas first."""
    rows: dict[Any, list[Record]] = {}
    for record in records:
        rows.setdefault((record.session, record.cell), []).append(record)
    return sorted(rows.values(), key=_place)


def _place(row: Rows) -> tuple[Any, ...]:
    first = row[0]
    return (*_base(row)[1:], first.replicas, first.hosts, first.batch_size, first.session)


def _base(row: Rows) -> tuple[str, ...]:
    """Return what a row shares with the one device that it is held against."""
    first = row[0]
    return (
        first.session,
        first.model,
        first.backend,
        first.device,
        first.precision,
        first.environment,
    )


def _alone(row: Rows, rows: Sequence[Rows]) -> Rows | None:
    """Return the row of one device that ran in turn with this one of several; else None."""
    ones = (r for r in rows if r[0].replicas == 1 and _base(r) == _base(row))
    return None if row[0].replicas == 1 else next(ones, None)


def _kind(row: Rows, rows: Sequence[Rows]) -> str:
    """Return how the batch of a row was chosen."""
    alone = _alone(row, rows)
    if alone is None:
        return NOTHING
    own, one = row[0].batch_size, alone[0].batch_size
    return "strong" if own == one else "weak" if own == row[0].replicas * one else NOTHING


def _speed_up(row: Rows, rows: Sequence[Rows]) -> Estimate | None:
    """Return the ratio of one device's time to the row's; None without one device."""
    alone = _alone(row, rows)
    if alone is None:
        return None
    pair = neighbours(alone, row)
    return None if pair is None else stats.nested_ratio(*pair)


def _images_per_s(row: Rows) -> float:
    return row[0].train_images / stats.nested_mean(samples(row)).value


def _shown(
    found: dict[int, Estimate], scale: Callable[[Rows], float] = lambda _: 1.0
) -> Callable[[Rows], str]:
    """Return what shows a row's estimate, times a factor of the row."""

    def show(row: Rows) -> str:
        return with_interval(found[id(row)], scale(row)) if id(row) in found else NOTHING

    return show
