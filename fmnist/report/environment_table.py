"""Environments side by side: the same cell with other packages, such as two versions of Keras."""

import re
from collections.abc import Callable, Sequence
from typing import Any

from fmnist.record import Record
from fmnist.report.choose import CELL_COLUMNS, Rows, good
from fmnist.report.columns import (
    Column,
    accuracy,
    epoch,
    filled,
    of_part,
    place_columns,
    ratio_columns,
    rows_of,
)
from fmnist.report.judge import judged
from fmnist.report.render import Table
from fmnist.report.terms import EPOCH_TERM, accuracy_term, terms_of, verdict_terms


def environments(records: Sequence[Record]) -> Table | None:
    """Return each cell's epoch in each environment, and the verdict against the oldest one."""
    trained = [r for r in good(records, "train") if r.environment]
    names = _oldest_first(trained)
    if len(names) < 2:  # noqa: PLR2004  # a comparison is of two
        return None
    rows = rows_of(trained, _place)
    base, *others = names
    columns = [
        *[c for c in place_columns(trained) if c.title != "environment"],
        Column("backend", lambda row: row[0].backend),
        *[Column(f"{name} epoch [s]", of_part(_in(name), epoch)) for name in names],
        *[
            column
            for name in others
            for column in ratio_columns(name, base, judged(rows, _in(name), _in(base), records))
        ],
        *[Column(f"{name} accuracy [%]", of_part(_in(name), accuracy)) for name in names],
    ]
    terms = (
        *(f"{name}: {_versions(trained, name)}" for name in names),
        EPOCH_TERM,
        *verdict_terms(records),
        accuracy_term(trained),
        *terms_of(trained),
    )
    return Table("Environments side by side", *filled(columns, rows), terms)


def _oldest_first(records: Sequence[Record]) -> list[str]:
    """Return the environments by the versions in them, the oldest first."""
    return sorted(
        {r.environment for r in records},
        key=lambda name: [int(n) for n in re.findall(r"\d+", _versions(records, name))],
    )


def _versions(records: Sequence[Record], name: str) -> str:
    """Return what an environment holds, by all of its workers."""
    versions = {n: v for r in records if r.environment == name for n, v in r.versions.items()}
    return ", ".join(f"{package} {version}" for package, version in sorted(versions.items()))


def _place(record: Record) -> tuple[Any, ...]:
    """Return what must be equal for environments to stand side by side."""
    others = (getattr(record, name) for name in CELL_COLUMNS if name != "environment")
    return (record.model, record.backend, *others)


def _in(environment: str) -> Callable[[Rows], Rows]:
    """Return what takes a row's records of one environment."""
    return lambda row: [r for r in row if r.environment == environment]
