"""Exports: what is read back is what the records hold."""

import csv
import dataclasses
import io
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import RESULT, WATCHED, counted, failed, noise, pair, parity, record

import fmnist
from fmnist import grid
from fmnist.record import SCHEMA, Record, read
from fmnist.report import export

RAW = sorted((Path(__file__).parent.parent / "results" / "raw").glob("*.jsonl"))
Make = Callable[[Iterable[Record]], export.Export]
MAKES = pytest.mark.parametrize("make", [export.rounds, export.per_record])


def session() -> list[Record]:
    """Return records of every task, and a failure."""
    audit = {"fenced": (0.25,), "unfenced": (0.125,), "steps": (0.5,)}
    untimed: dict[str, Any] = {"history": [], "accuracy": None, "loss": None}
    return [
        noise(),
        parity(),
        *pair(processor_s=(0.1, 0.2, 0.3), audit_s=audit, **counted()),
        noise(task="breakdown", beside_s=dict.fromkeys(grid.BREAKDOWN_VARIANTS, (0.1, 0.2, 0.3))),
        failed(),
        record(task="overhead", beside_s={"plain": (1.5, 2.5, 3.5)}, **untimed),
        record(task="startup", epoch_s=(), images_per_s=None, **untimed),
    ]


def csv_text(made: export.Export) -> str:
    """Return all of a table as CSV."""
    return "".join(export.csv_lines(made))


def from_csv(made: export.Export) -> list[dict[str, str]]:
    """Return what a reader of CSV finds, row by row."""
    csv.field_size_limit(sys.maxsize)
    return list(csv.DictReader(io.StringIO(csv_text(made), newline=""), strict=True))


def from_parquet(made: export.Export) -> list[dict[str, Any]]:
    """Return what pyarrow finds, row by row."""
    rows: list[dict[str, Any]] = pq.read_table(
        pa.BufferReader(b"".join(export.parquet(made)))
    ).to_pylist()
    return rows


def times(r: Record) -> dict[tuple[str, str], tuple[float, ...]]:
    """Return all times of a record that are of rounds, by field and what tells them apart."""
    found = {
        ("first_epoch_s", "first_epoch"): () if r.first_epoch_s is None else (r.first_epoch_s,),
        ("epoch_s", "epoch"): r.epoch_s,
        ("predict_s", "predict"): r.predict_s,
        ("latency_s", "latency"): r.latency_s,
        **{("beside_s", name): seconds for name, seconds in r.beside_s.items()},
        **{("audit_s", name): seconds for name, seconds in r.audit_s.items()},
    }
    return {key: seconds for key, seconds in found.items() if seconds}


def leaves(value: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Yield the values in a JSON document that are neither objects nor lists nor null."""
    if isinstance(value, Mapping):
        for name, inside in value.items():
            yield from leaves(inside, f"{path}.{name}".removeprefix("."))
    elif value is not None and not isinstance(value, list | tuple):
        yield path, value


def of_file(path: Path | None) -> list[Record]:
    """Return the records of a file; those of every kind for none."""
    return session() if path is None else read(path)[0]


FILES = pytest.mark.parametrize("path", [None, *RAW], ids=lambda path: path.stem if path else "all")
READ_BACK = pytest.mark.parametrize("read_back", [from_csv, from_parquet])


@FILES
@READ_BACK
def test_rounds_are_all_the_times_of_the_records(
    path: Path | None, read_back: Callable[[export.Export], list[dict[str, Any]]]
) -> None:
    """Every time of every record is a row, in order, to the last digit, and there is no other."""
    records = of_file(path)
    expected = {
        (number, *key): list(enumerate(seconds, start=1))
        for number, r in enumerate(records, start=1)
        for key, seconds in times(r).items()
    }
    found: dict[tuple[Any, ...], list[tuple[int, float]]] = {}
    for row in read_back(export.rounds(records)):
        key = int(row["record"]), row["field"], row["what"]
        found.setdefault(key, []).append((int(row["round"]), float(row["seconds"])))

    assert found == expected


@FILES
def test_every_value_of_a_record_is_in_its_row(path: Path | None) -> None:
    """Parquet has each number, text and flag of a record under its name, unchanged."""
    records = of_file(path)
    for number, (r, row) in enumerate(
        zip(records, from_parquet(export.per_record(records)), strict=True), start=1
    ):
        assert row["record"] == number
        for name, value in leaves(r.model_dump(by_alias=True)):
            assert row[name] == value, name


@FILES
def test_csv_says_the_same(path: Path | None) -> None:
    """CSV has the same numbers to the last digit, words and dates; nothing where nothing is."""
    records = of_file(path)
    says: dict[type, Callable[[str], object]] = {
        bool: json.loads,
        int: int,
        float: float,
        datetime: datetime.fromisoformat,
        str: lambda text: text.removeprefix("'"),  # CUDA_VISIBLE_DEVICES=-1 is text
    }
    written = export.per_record(records)
    for row, value_by_name in zip(from_csv(written), written.rows, strict=True):
        for name, text in row.items():
            value = value_by_name.get(name)
            assert (says[type(value)](text) == value) if value is not None else text == "", name


def test_round_carries_its_terms() -> None:
    """A row says which record, cell, process and data it is of, and whether that failed later."""
    late = record(
        failure="killed", process=3, xla="on", environment="new", dataset="stand-in", preset="full"
    )
    row = from_parquet(export.rounds([*pair(), late]))[-1]

    assert row["started_at"] == late.started_at
    assert (row["record"], row["failed"]) == (3, True)
    document = late.model_dump()
    for name in ["session", "task", "preset", "dataset", "process", *dataclasses.asdict(late.cell)]:
        assert row[name] == document[name], name
    assert not any(r["failed"] for r in from_parquet(export.rounds(pair())))


def test_epoch_carries_what_it_took_and_achieved() -> None:
    """Processor time, withheld time and results stand in the row of their own epoch."""
    history = [RESULT | {"train_loss": loss} for loss in (4.0, 3.0, 2.0, 1.0)]
    trained = record(history=history, processor_s=(0.1, 0.2, 0.3), withheld_s=(0.0, 0.5, 0.0))
    rows = {(r["what"], r["round"]): r for r in from_parquet(export.rounds([trained]))}

    losses = [rows[what]["train_loss"] for what in [("first_epoch", 1), ("epoch", 1), ("epoch", 3)]]
    assert losses == [4.0, 3.0, 1.0]
    assert [rows["epoch", n]["processor_s"] for n in (1, 2, 3)] == [0.1, 0.2, 0.3]
    assert [rows["epoch", n]["withheld_s"] for n in (1, 2, 3)] == [0.0, 0.5, 0.0]
    assert rows["epoch", 2]["validation_loss"] is None
    assert rows["predict", 1]["train_loss"] is None
    assert rows["first_epoch", 1]["processor_s"] is None


def test_epoch_carries_what_its_gpu_did() -> None:
    """Clocks and the reasons that held them down are in the row of their own epoch, as text."""
    hot = WATCHED | {"throttled": ("SwPowerCap", "HwSlowdown")}
    made = export.rounds([record(device="gpu", watched=[WATCHED, hot, WATCHED])])
    rows = [row for row in csv.DictReader(io.StringIO(csv_text(made))) if row["what"] == "epoch"]

    assert [row["throttled"] for row in rows] == ["", "SwPowerCap HwSlowdown", ""]
    assert {row["lowest_clock_mhz"] for row in rows} == {"1900"}


def test_epoch_carries_its_operations() -> None:
    """6,000 images of a million operations each, in the rows of epochs of training alone."""
    rows = from_parquet(export.rounds([record(**counted())]))

    assert {r["field"]: r["flop"] for r in rows} == {
        "first_epoch_s": 6 * 10**9,
        "epoch_s": 6 * 10**9,
        "predict_s": None,
        "latency_s": None,
    }


@pytest.mark.parametrize(
    ("made", "what", "images", "steps"),
    [
        (noise(), "epoch", 6_000, 60),
        (noise(), "twin", 6_000, 60),
        (noise(), "base_of_spike_5", 6_000, 60),
        (noise(), "spike_5", 6_300, 63),
        (noise(), "reference", None, None),
        (session()[4], "no_input", 6_000, 60),
        (session()[4], "half", 3_000, 30),
        (session()[4], "fence", None, None),
        (session()[6], "plain", 6_000, 60),
        (session()[2], "fenced", None, None),
        (record(), "first_epoch", 6_000, 60),
        (record(), "predict", 2_000, 20),
        (record(), "latency", 1, 1),
        (record(train_images=6_050), "epoch", 6_050, 61),
        (record(beside_s={"of_a_stranger": (1.0, 1.0, 1.0)}), "of_a_stranger", None, None),
    ],
)
def test_round_says_how_much_work_it_was(
    made: Record, what: str, images: int | None, steps: int | None
) -> None:
    """Images and steps are those of the variant, and absent where the record does not say."""
    found = {
        (r["images"], r["steps"]) for r in from_parquet(export.rounds([made])) if r["what"] == what
    }

    assert found == {(images, steps)}


def test_lists_that_are_no_times_are_text() -> None:
    """A GPU is found in a record's row, as JSON."""
    gpus = [{"index": "0", "name": "H200"}]
    (row,) = from_parquet(export.per_record([record(machine={"gpus": gpus})]))

    assert json.loads(row["machine.gpus"]) == gpus


@MAKES
def test_parquet_has_types_and_says_what_it_is(make: Make) -> None:
    """Columns are typed, dates in UTC; version, schema and table are in the file's metadata."""
    table = pq.read_table(pa.BufferReader(b"".join(export.parquet(make(session())))))
    types = dict(zip(table.schema.names, table.schema.types, strict=True))

    assert types["started_at"] == pa.timestamp("us", tz="UTC")
    assert types["process"] == types["record"] == pa.int64()
    assert types["session"] == pa.string()
    assert types["failed" if make is export.rounds else "jit_compile"] == pa.bool_()
    assert types["seconds" if make is export.rounds else "accuracy"] == pa.float64()
    assert table.schema.metadata == {
        b"fmnist.version": fmnist.__version__.encode(),
        b"fmnist.schema": str(SCHEMA).encode(),
        b"fmnist.table": b"rounds" if make is export.rounds else b"records",
    }


@MAKES
def test_groups_of_rows_are_one_table(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is written three rows at a time holds what one written at once does."""
    whole = pq.read_table(pa.BufferReader(b"".join(export.parquet(make(session())))))
    monkeypatch.setattr(export, "ROWS_OF_A_GROUP", 3)
    parts = list(export.parquet(make(session())))
    file = pq.ParquetFile(pa.BufferReader(b"".join(parts)))

    assert file.read().equals(whole, check_metadata=True)
    assert file.num_row_groups == math.ceil(len(whole) / 3) == len(parts) - 1


@MAKES
@pytest.mark.parametrize("records", [[], [failed()], [failed(), failed(backend="jax")]])
def test_columns_are_there_whatever_the_records_hold(make: Make, records: list[Record]) -> None:
    """No records, or only failures, make a table with the columns and types of any other."""
    own = {
        "flags",
        "forward_macs",
        "machine",
        "threads",
        "versions",
        "parity",
    }  # named by what a record holds
    full, few = (
        pq.read_table(pa.BufferReader(b"".join(export.parquet(make(r)))))
        for r in (session(), records)
    )
    fields = [field for field in full.schema if field.name.partition(".")[0] not in own]

    assert [field for field in few.schema if field.name.partition(".")[0] not in own] == fields
    assert len(csv_text(make(records)).splitlines()) == 1 + few.num_rows


def test_failure_is_told_with_its_reason() -> None:
    """A cell that failed has its row among the records, and no times."""
    (row,) = from_csv(export.per_record([failed()]))

    assert row["failure"] == "killed by SIGKILL"
    assert row["accuracy"] == ""
    assert from_csv(export.rounds([failed()])) == []


def test_diverged_run_keeps_what_happened() -> None:
    """A loss that is no number, or infinite, is that in both formats."""
    for loss in (math.nan, math.inf):
        diverged = record(history=[RESULT | {"test_loss": loss}] * 4, loss=loss)
        (row,) = from_parquet(export.per_record([diverged]))
        (text,) = from_csv(export.per_record([diverged]))
        assert str(row["loss"]) == text["loss"] == text["history.last.test_loss"] == str(loss)


TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)


@settings(deadline=None, max_examples=50)
@given(TEXTS, TEXTS.filter(bool), st.floats(1e-9, 1e9))
def test_any_text_and_number_come_back_from_parquet(flag: str, reason: str, seconds: float) -> None:
    """Whatever a text holds, and however long a number is, Parquet gives it back as it was."""
    made = record(flags={"XLA_FLAGS": flag}, failure=reason, build_s=seconds)
    (row,) = from_parquet(export.per_record([made]))

    assert (row["flags.XLA_FLAGS"], row["failure"], row["build_s"]) == (flag, reason, seconds)


@settings(deadline=None, max_examples=100)
@given(
    st.text(st.sampled_from("=+-@\t\r\n\0\v\x1c\x85\u2028\"',;a1"), max_size=6) | TEXTS,
    st.floats(1e-9, 1e9),
)
def test_no_text_breaks_a_csv_line_or_is_a_formula(text: str, seconds: float) -> None:
    """Each row stays a line to any reader, no cell of text starts a formula, numbers stay exact."""
    made = export.per_record([record(flags={"A": text, "=B": "1"}, build_s=seconds)])
    header, line = csv_text(made).splitlines()
    cells = dict(zip(*csv.reader([header, line]), strict=True))
    cell = cells["flags.A"]

    assert float(cells["build_s"]) == seconds
    assert cells["flags.=B"] == "1"
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
    assert cell.startswith("'") == text.startswith(("=", "+", "-", "@", "\t", "\r", "'"))


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ('=HYPERLINK("http://x")', '\'=HYPERLINK("http://x")'),
        ("-1+1", "'-1+1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\tcmd", "'\\tcmd"),
        ("first\r\nsecond\0", "first\\r\\nsecond\\x00"),
        ("one\u2028two\x85", "one\\u2028two\\x85"),
        ("plain, \"quoted\" 'text' = 1 ü", "plain, \"quoted\" 'text' = 1 ü"),
    ],
)
def test_text_in_csv_is_inert(text: str, cell: str) -> None:
    """A formula is shown, not reckoned; a control character is written as its escape."""
    (row,) = from_csv(export.per_record([failed().model_copy(update={"failure": text})]))

    assert row["failure"] == cell


def test_column_is_text_where_records_disagree() -> None:
    """Facts of several types, or integers beyond any column's, are told in full as text."""
    facts: list[object] = [1, "two", 2.5, True, 10**30]
    records = [record(machine={"mixed": fact, "large": 10**30, "n": 2 * 53}) for fact in facts]
    records.append(record(machine={"n": 0.5}))
    rows = from_parquet(export.per_record(records))

    assert [row["machine.mixed"] for row in rows] == ["1", "two", "2.5", "true", f"{10**30}", None]
    assert rows[0]["machine.large"] == f"{10**30}"
    assert [row["machine.n"] for row in rows] == [106.0] * 5 + [0.5]


def test_very_long_texts_and_very_many_rounds_are_written() -> None:
    """10 MB of text and thousands of rounds come back whole, in both formats."""
    text = "x" * 10_000_000
    many = [record(epoch_s=(2.0,) * 5_000), failed().model_copy(update={"failure": text})]

    assert from_csv(export.per_record(many))[1]["failure"] == text
    assert from_parquet(export.per_record(many))[1]["failure"] == text
    assert len(from_csv(export.rounds(many))) == len(from_parquet(export.rounds(many))) == 5_005


def test_csv_is_written_as_it_comes() -> None:
    """Rounds are handed out before the next record is asked for: no table is held in memory."""
    asked = []

    def coming() -> Iterator[Record]:
        for number in range(100):
            asked.append(number)
            yield record()

    lines = export.csv_lines(export.rounds(coming()))
    next(lines)
    assert asked == []
    next(lines)
    assert asked == [0]


@MAKES
def test_parquet_without_pyarrow_says_what_to_install(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where pyarrow is missing CSV is written all the same, and Parquet names the extra."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "pyarrow"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # what Python takes for: cannot be imported

    assert csv_text(make(session()))
    with pytest.raises(ValueError, match=r'pip install "fmnist\[parquet\]"'):
        export.parquet(make(session()))
