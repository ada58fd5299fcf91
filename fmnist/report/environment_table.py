"""Environments side by side: the same cell with other packages, such as two versions of Keras."""

import re
from collections.abc import Callable, Sequence

from fmnist import stats
from fmnist.record import Record
from fmnist.report.choose import CELL_COLUMNS, good
from fmnist.report.columns import (
    Column,
    Rows,
    accuracy,
    epoch,
    filled,
    neighbours,
    place_columns,
    ratio_columns,
)
from fmnist.report.render import NOTHING, Table
from fmnist.report.terms import EPOCH_TERM, accuracy_term, terms_of, verdict_terms
from fmnist.report.trust import MARGIN, verdicts


def environments(records: Sequence[Record]) -> Table | None:
    """Return each cell's epoch in each environment, and the verdict against the oldest one."""
    trained = [r for r in good(records, "train") if r.environment]
    names = _oldest_first(trained)
    if len(names) < 2:  # noqa: PLR2004  # a comparison is of two
        return None
    rows = _rows_of(trained)
    base, *others = names
    columns = [
        *[c for c in place_columns(trained) if c.title != "environment"],
        Column("backend", lambda row: row[0].backend),
        *[Column(f"{name} epoch [s]", _in(name, epoch)) for name in names],
        *[column for name in others for column in _against(name, base, rows, records)],
        *[Column(f"{name} accuracy [%]", _in(name, accuracy)) for name in names],
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


def _rows_of(records: Sequence[Record]) -> list[Rows]:
    """Return the records by what must be equal for environments to stand side by side."""
    rows: dict[tuple[object, ...], list[Record]] = {}
    for r in records:
        place = [getattr(r, name) for name in CELL_COLUMNS if name != "environment"]
        rows.setdefault((r.model, r.backend, *place), []).append(r)
    return [rows[key] for key in sorted(rows, key=str)]


def _in(environment: str, show: Callable[[Rows], str]) -> Callable[[Rows], str]:
    def value(row: Rows) -> str:
        records = [r for r in row if r.environment == environment]
        return show(records) if records else NOTHING

    return value


def _against(name: str, base: str, rows: Sequence[Rows], records: Sequence[Record]) -> list[Column]:
    """Return the ratio of two environments, and the verdict on it."""
    comparisons = {}
    for row in rows:
        sides = ([r for r in row if r.environment == e] for e in (name, base))
        pair = neighbours(*sides)
        if pair is not None:
            comparisons[id(row)] = stats.compare_side_by_side(*pair, MARGIN)
    titles = f"{name} / {base} time", f"{name} is"
    return ratio_columns(titles, comparisons, verdicts(comparisons, records))
