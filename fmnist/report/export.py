"""Records as plain tables for other programs: a row for each timed round, or one for each record.

`rounds` and `per_record` make a table of records; `csv_lines` and `parquet` write it. Both tables
number the records alike, so that they can be joined.
"""

import csv
import dataclasses
import importlib.util
import io
import itertools
import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import fmnist
from fmnist import grid
from fmnist.record import SCHEMA, EpochResult, Record, Watched
from fmnist.report import schema

Value = str | int | float | bool | datetime | None
Row = Mapping[str, Value]

INSTALL_PYARROW = 'pip install "fmnist[parquet]"'
ROWS_OF_A_GROUP = 2**16
LARGEST_INTEGER = 2**63 - 1
EXACT_IN_A_FLOAT = 2**53
"""Up to here, every integer is a float."""

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for the beginning of a formula, or drops before it."""
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

WHOLE_EPOCHS = {"plain", "twin", *map(grid.base_of, grid.SPIKES)} | (
    set(grid.BREAKDOWN_VARIANTS) - {"half", "fence"}
)
"""The variants of `beside_s` that pass through as many images as the epochs beside them."""

WRITTEN_AS_THEY_ARE = {int, float, type(None)}
"""By the writer of CSV, and most of a table's cells."""
LISTS_OF_ROUNDS = {
    *("epoch_s", "processor_s", "withheld_s", "watched", "beside_s", "audit_s", "predict_s"),
    "latency_s",
}
KINDS: Mapping[str, type] = {"string": str, "integer": int, "number": float, "boolean": bool}
"""By the type of a field in its JSON Schema, that of a column."""

COLUMNS_OF_ROUNDS: Mapping[str, type] = {
    "record": int,
    "session": str,
    "started_at": datetime,
    "task": str,
    **{
        axis.name: int if axis.name in ("batch_size", "replicas", "hosts") else str
        for axis in dataclasses.fields(grid.Cell)
    },
    "preset": str,
    "dataset": str,
    "process": int,
    "failed": bool,
    "field": str,
    "what": str,
    "round": int,
    "seconds": float,
    "processor_s": float,
    "withheld_s": float,
    "images": int,
    "steps": int,
    "flop": int,
    **dict.fromkeys(EpochResult.model_fields, float),
    **{name: {"power_w": float, "throttled": str}.get(name, int) for name in Watched.model_fields},
}


@dataclass(frozen=True)
class Export:
    """A table in plain values.

    Attributes:
        name: of the table.
        columns: the type of each, which a column without any value has.
        rows: made each time that they are gone through. A column that a row lacks has no value
            there.
    """

    name: str
    columns: Mapping[str, type]
    rows: Iterable[Row]


@dataclass(frozen=True)
class Series:
    """Times of one kind in a record.

    Attributes:
        field: of the record.
        what: tells those of one field apart.
        seconds: of each round.
        images: that each round passed through; None where the record does not say.
        steps: that these were handed over in; None as well.
    """

    field: str
    what: str
    seconds: Sequence[float]
    images: int | None
    steps: int | None


def rounds(records: Iterable[Record]) -> Export:
    """Return a row for each timed round of every record, also of those that failed later.

    `record` counts the records from 1, `round` the rounds of one `what` from 1: equal rounds of
    `epoch_s` and `beside_s` ran next to each other. `processor_s` and `withheld_s` belong to rounds
    of `epoch_s`, and what an epoch achieved to those of task `train`. `flop` are the floating-point
    operations of all images of an epoch of training, where the record has them counted.
    """
    return Export("rounds", COLUMNS_OF_ROUNDS, _Rows(records, _rounds))


@dataclass(frozen=True)
class _Rows:
    """The rows of records, made again for each that goes through them.

    Attributes:
        records: can be gone through again, or the rows cannot.
        of_record: makes the rows of a record, by its number from 1.
    """

    records: Iterable[Record]
    of_record: Callable[[int, Record], Iterable[Row]]

    def __iter__(self) -> Iterator[Row]:
        for number, record in enumerate(self.records, start=1):
            yield from self.of_record(number, record)


def _rounds(number: int, record: Record) -> Iterator[Row]:
    terms: dict[str, Value] = {
        "record": number,
        **{name: getattr(record, name) for name in ("session", "started_at", "task")},
        **dataclasses.asdict(record.cell),
        **{name: getattr(record, name) for name in ("preset", "dataset", "process")},
        "failed": record.failure is not None,
    }
    for series in _series(record):
        for index, seconds in enumerate(series.seconds):
            yield {
                **terms,
                "field": series.field,
                "what": series.what,
                "round": index + 1,
                "seconds": seconds,
                "images": series.images,
                "steps": series.steps,
                **_known_of_round(record, series.field, index),
            }


def _series(record: Record) -> Iterator[Series]:
    """Yield what was timed in a record, round by round, the first epoch first."""
    n, batch_size = record.train_images, record.batch_size
    epoch = n, math.ceil(n / batch_size)
    first = () if record.first_epoch_s is None else (record.first_epoch_s,)
    yield Series("first_epoch_s", "first_epoch", first, *epoch)
    yield Series("epoch_s", "epoch", record.epoch_s, *epoch)
    for name, seconds in record.beside_s.items():
        yield Series("beside_s", name, seconds, *_size_of_variant(name, *epoch, batch_size))
    for name, seconds in record.audit_s.items():
        yield Series("audit_s", name, seconds, None, None)
    test = record.test_images
    yield Series("predict_s", "predict", record.predict_s, test, math.ceil(test / batch_size))
    yield Series("latency_s", "latency", record.latency_s, 1, 1)


def _size_of_variant(
    name: str, images: int, steps: int, batch_size: int
) -> tuple[int | None, int | None]:
    """Return the images and steps of a variant, beside epochs of so many, if its name says."""
    if name in WHOLE_EPOCHS:
        return images, steps
    if name in grid.SPIKES:
        steps += steps * grid.SPIKES[name] // 100
    elif name == "half":
        steps //= 2
    else:
        return None, None
    return steps * batch_size, steps


def _known_of_round(record: Record, field: str, index: int) -> Row:
    """Return what else is known of a round: its operations, and what the epoch achieved."""
    known: dict[str, Value] = {}
    if field == "epoch_s" and index < len(record.processor_s):
        known["processor_s"] = record.processor_s[index]
    if field == "epoch_s" and index < len(record.withheld_s):
        known["withheld_s"] = record.withheld_s[index]
    if field == "epoch_s" and index < len(record.watched):
        watched = record.watched[index].model_dump()
        known |= watched | {"throttled": " ".join(watched["throttled"])}
    epoch = {"first_epoch_s": 0, "epoch_s": 1 + index}.get(field)
    if epoch is not None and record.train_flop_per_image is not None:
        known["flop"] = record.train_flop_per_image * record.train_images
    if epoch is not None and epoch < len(record.history):
        known |= record.history[epoch].model_dump()
    return known


def per_record(records: Iterable[Record]) -> Export:
    """Return a row for each record with its fields, those inside others by names with dots.

    Lists that have a value for each round are left out: `rounds` has them. Of `history` the last
    epoch stays, under `history.last`. Other lists, such as `machine.gpus`, are JSON text.

    The records are gone through at once, for the names of the columns, and again for the rows.
    """
    rows = _Rows(records, lambda number, record: [dict(_row(number, record))])
    columns: dict[str, type] = {"record": int}
    fields = schema.fields()
    for field in fields:
        first = field.options[0]
        kind = KINDS.get(first.get("type", ""))
        is_listed = field.path.startswith("watched[]")
        if kind is not None and not is_listed and field.path != "digest":  # which is the line's
            name = field.path.replace("history[]", "history.last")
            columns[name] = datetime if first.get("format") == "date-time" else kind
    named = {name for row in rows for name in row}  # by a record: a version, a flag
    own = named - columns.keys() - {field.path for field in fields}
    return Export("records", columns | dict.fromkeys(sorted(own), str), rows)


def _row(number: int, record: Record) -> Iterator[tuple[str, Value]]:
    yield "record", number
    document = record.model_dump(by_alias=True, exclude=LISTS_OF_ROUNDS)
    document["history"] = {"last": document["history"][-1]} if document["history"] else {}
    yield from _flat(document, "")


def _flat(document: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Value]]:
    """Yield the values of an object and of those inside it, by names with dots."""
    for name, value in document.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            is_list = isinstance(value, list | tuple)
            yield f"{prefix}{name}", json.dumps(value) if is_list else value


def csv_lines(export: Export) -> Iterator[str]:
    r"""Yield a table as CSV, the header first, a line at a time.

    What is absent is an empty cell. Numbers have all their digits, `true` and `false` are JSON's,
    dates are in ISO 8601.

    Text is for reading only: where a spreadsheet would take it for a formula, because it begins
    with `=`, `+`, `-`, `@`, TAB or CR, it gets a `'` in front; control characters are written as
    escapes, such as `\n`, so that each row is a line.
    """
    line = io.StringIO()
    writer = csv.writer(line, lineterminator="\n")
    rows = ([row.get(name) for name in export.columns] for row in export.rows)
    for cells in itertools.chain([export.columns], rows):
        writer.writerow([c if type(c) in WRITTEN_AS_THEY_ARE else _cell(c) for c in cells])
        yield line.getvalue()
        line.seek(0)
        line.truncate()


def _cell(value: Value) -> str:
    if not isinstance(value, str):
        return _text(value)
    inert = f"'{value}" if value.startswith(FORMULA) else value
    return CONTROL.sub(lambda c: c[0].encode("unicode_escape").decode(), inert)


def _text(value: Value) -> str:
    """Return a value as text that says it exactly."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, datetime) else str(value)


def parquet(export: Export) -> Iterator[bytes]:
    """Return a table as the parts of a Parquet file, every value as it is.

    Columns have types, by their values; where these are of several, they are text. The file's
    metadata holds `fmnist.version`, `fmnist.schema` (of records) and `fmnist.table`. The rows are
    gone through twice: for the types, and to be written, ROWS_OF_A_GROUP at a time.

    Raises ValueError, saying what to install, without pyarrow.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise ValueError(f"Parquet needs pyarrow: {INSTALL_PYARROW}")
    return _parts(export)


def _parts(export: Export) -> Iterator[bytes]:
    import pyarrow as pa  # noqa: PLC0415  # an extra: what else is here does without it
    import pyarrow.parquet as pq  # noqa: PLC0415  # as above

    types = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    types[datetime] = pa.timestamp("us", tz="UTC")
    metadata = {
        "fmnist.version": fmnist.__version__,
        "fmnist.schema": str(SCHEMA),
        "fmnist.table": export.name,
    }
    kinds = _kinds(export)
    columns = pa.schema([(name, types[kind]) for name, kind in kinds.items()], metadata)
    file = _Parts()
    rows = iter(export.rows)
    with pq.ParquetWriter(pa.PythonFile(file, "w"), columns) as writer:
        while group := list(itertools.islice(rows, ROWS_OF_A_GROUP)):
            arrays = [
                pa.array([_as(kind, row.get(name)) for row in group], types[kind])
                for name, kind in kinds.items()
            ]
            writer.write_table(pa.table(arrays, schema=columns))
            yield file.taken()
    yield file.taken()


class _Parts(io.RawIOBase):
    """A file whose content is taken out as it grows."""

    def __init__(self) -> None:
        self._content = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:  # noqa: ANN401  # any buffer of bytes
        self._content += content
        return len(content)

    def taken(self) -> bytes:
        """Return what was written since the last time."""
        content, self._content = bytes(self._content), bytearray()
        return content


def _as(kind: type, value: Value) -> Value:
    return value if value is None or kind is not str else _text(value)


def _kinds(export: Export) -> dict[str, type]:
    """Return, by column, the type that holds all its values exactly; that declared, for none."""
    found: dict[str, set[type]] = {name: set() for name in export.columns}
    largest = dict.fromkeys(export.columns, 0)
    for row in export.rows:
        for name, value in row.items():
            if value is not None:
                found[name].add(type(value))
                if type(value) is int:
                    largest[name] = max(largest[name], abs(value))
    return {
        name: _kind(found[name], largest[name], declared)
        for name, declared in export.columns.items()
    }


def _kind(kinds: Collection[type], largest: int, declared: type) -> type:
    """Return the type for values of these types, and whole numbers no larger than that."""
    if len(kinds) == 1 and largest <= LARGEST_INTEGER:
        return next(iter(kinds))
    if set(kinds) == {int, float} and largest <= EXACT_IN_A_FLOAT:
        return float
    return str if kinds else declared
