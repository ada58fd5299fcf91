"""The JSON Schema of a record: what it describes, and that what is committed is what it makes."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from samples import RESULT, failed, fields, noise, parity, race, record

from fmnist.record import (
    SCHEMA,
    EpochResult,
    Parameters,
    Parity,
    PeakMemory,
    Recipe,
    Record,
    read,
)
from fmnist.report import schema

ROOT = Path(__file__).parent.parent
RAW = sorted((ROOT / "results" / "raw").glob("*.jsonl"))
SCHEMA_1 = Path(__file__).parent / "expected" / "schema1.jsonl"
VALIDATOR = Draft202012Validator(schema.json_schema())


def problems(line: str) -> list[str]:
    """Return what a validator that knows nothing of fmnist says against a line, by field."""
    return [
        f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(json.loads(line))
    ]


def lines(path: Path) -> Iterator[tuple[str, Record]]:
    """Yield the lines of a records file, each with its record."""
    records, damaged = read(path)
    assert damaged == []
    yield from zip(path.read_text(encoding="utf-8").splitlines(), records, strict=True)


@pytest.mark.parametrize("path", schema.pages(ROOT), ids=lambda path: path.name)
def test_committed_page_is_fresh(path: Path, request: pytest.FixtureRequest) -> None:
    """Schema and page are what `fmnist/record.py` makes; --overwrite takes a new one."""
    wanted = schema.pages(ROOT)[path]
    if request.config.getoption("overwrite"):
        path.write_text(wanted, encoding="utf-8")

    assert path.read_text(encoding="utf-8") == wanted


def test_schema_is_one() -> None:
    """It follows the draft that it names, as a file too."""
    document = json.loads(schema.as_text())

    assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    Draft202012Validator.check_schema(document)


@pytest.mark.parametrize("path", RAW, ids=lambda path: path.stem)
def test_committed_lines_follow_it(path: Path) -> None:
    """Every line of the newest schema follows it as it stands, an older one once it is read."""
    for line, read_from_it in lines(path):
        written = line if json.loads(line)["schema"] == SCHEMA else read_from_it.to_json()
        assert problems(written) == []


@pytest.mark.parametrize(
    "original",
    [
        *(record(), failed(), noise(), parity(), race()),
        record(environment="new-1.0", xla="on", validation_images=100),
        record(epoch_s=(1.0,) * 5_000),
        failed().model_copy(update={"failure": "\x00\n" + "x" * 10_000_000}),
        record(history=[RESULT | {"test_loss": math.nan}] * 4, loss=math.nan),
        record(history=[RESULT | {"train_loss": math.inf}] * 4),
        record(machine={"cpu": "\u2028<script>", "gpus": [{"name": "H200"}], "more": {"a": [1.5]}}),
    ],
    ids=lambda original: original.task,
)
def test_written_lines_follow_it(original: Record) -> None:
    """What `to_json` writes follows it: failures, diverged runs, thousands of rounds, odd text."""
    assert problems(original.to_json()) == []


def test_lines_of_schema_1_do_not_follow_it() -> None:
    """It speaks of the newest schema: an older line must be read by fmnist first."""
    for line, read_from_it in lines(SCHEMA_1):
        assert f"$.schema: {SCHEMA} was expected" in problems(line)
        assert problems(read_from_it.to_json()) == []


@pytest.mark.parametrize(
    ("own", "where"),
    [
        ({"epoch_s": [1.0, -1.0]}, "$.epoch_s[1]"),
        ({"epoch_s": [1.0, "NaN"]}, "$.epoch_s[1]"),
        ({"accuracy": 1.5}, "$.accuracy"),
        ({"loss": "much"}, "$.loss"),
        ({"images_per_s": "NaN"}, "$.images_per_s"),
        ({"session": "../../etc"}, "$.session"),
        ({"dataset": "mnist"}, "$.dataset"),
        ({"parameters": {"total": 1}}, "$.parameters"),
        ({"history": [RESULT | {"test_accuracy": 2}]}, "$.history[0].test_accuracy"),
        ({"surprise": 1}, "$"),
        ({"digest": "0"}, "$.digest"),
        ({"seed": None}, "$.seed"),
        *(({name: "torch"}, f"$.{name}") for name in schema.WORDS),
    ],
)
def test_nonsense_does_not_follow_it(own: dict[str, Any], where: str) -> None:
    """A line that cannot be a record is refused by type, bounds or words, at the right place."""
    line = json.loads(record().to_json()) | own
    found = list(VALIDATOR.iter_errors(line))

    assert [error.json_path for error in found] == [where]


def test_what_it_requires_is_what_a_line_needs() -> None:
    """It requires the fields without which no record is read, and the digest."""
    line = json.loads(record().to_json())
    del line["digest"]
    needed = {"digest"}
    for name in line:
        try:
            Record.from_json(json.dumps({n: value for n, value in line.items() if n != name}))
        except ValueError as error:
            if str(error).startswith((f"{name}: Field required", f"{name} None; this version")):
                needed.add(name)

    assert set(schema.json_schema()["required"]) == needed
    assert {"schema", "session", "recipe", "seed"} <= needed


@pytest.mark.parametrize("field", sorted(schema.WORDS))
def test_words_are_those_that_a_record_takes(field: str) -> None:
    """Each word that the schema lists makes a record."""
    for word in schema.WORDS[field]:
        assert record(**{field: word}).model_dump()[field] == word


@pytest.mark.parametrize("part", [Record, EpochResult, Parameters, Recipe, Parity, PeakMemory])
def test_every_field_is_described(part: type[Record]) -> None:
    """Each field says what it means, in a sentence."""
    for name, field in part.model_fields.items():
        description = field.description or ""
        assert description.endswith("."), name
        assert len(description) > len("All weights"), name


def test_page_has_a_row_for_every_field_of_a_line() -> None:
    """Whatever a line holds, also inside other fields, has its row, and no row is of nothing."""
    line = json.loads(parity().to_json()) | {"history": [RESULT], "recipe": fields()["recipe"]}
    nested = {"history": "history[]", "recipe": "recipe", "parity": "parity"}
    nested |= {"parameters": "parameters", "peak_memory_bytes": "peak_memory_bytes"}
    rows = [row.split(" | ") for row in schema.page().splitlines() if row.startswith("| `")]
    named = {row[0].strip("| `") for row in rows if len(row) == 5}

    assert set(line) == {name for name in named if "." not in name}
    for name, prefix in nested.items():
        inside = line[name][0] if isinstance(line[name], list) else line[name]
        assert set(inside) - {"validation_loss"} <= {
            path.removeprefix(f"{prefix}.") for path in named if path.startswith(f"{prefix}.")
        }


@pytest.mark.parametrize(
    ("path", "row"),
    [
        (
            "epoch_s",
            "list of number ≥ 1e-09, ≤ 1e+09 | s "
            "| `train`, `overhead`, `noise`, `breakdown`, `race`, `learn`, `scale`",
        ),
        ("images_per_s", "number > 0 or `Infinity` or null | images/s | if known"),
        ("machine", "object |  | every task"),
        ("import_s", "number ≥ 1e-09, ≤ 1e+09 or null | s | all but `parity`"),
        ("peak_memory_bytes.host", "integer ≥ 0, ≤ 1e+15 | bytes | "),
        ("parameters.dense", "integer ≥ 0, ≤ 1e+15 | weights | "),
        ("xla", "`auto`, `on`, `off` |  | always"),
        ("loss", "number or `NaN`, `Infinity`, `-Infinity` or null |  | if known"),
        ("started_at", "date and time |  | always"),
    ],
)
def test_rows_say_type_unit_and_when(path: str, row: str) -> None:
    """A row has the type with its bounds, the unit, and the tasks whose records fill the field."""
    assert f"\n| `{path}` | {row} | " in schema.page()
