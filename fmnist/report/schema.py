"""The record for other programs: its JSON Schema, and a page about every field, both generated."""

import inspect
import json
import math
import operator
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from fmnist import grid
from fmnist.record import NEEDED, NEEDED_BESIDE, SCHEMA, Record

Node = Mapping[str, Any]
"""A part of a JSON Schema."""

WORDS: Mapping[str, Collection[str]] = {
    "backend": grid.BACKENDS,
    "device": grid.DEVICES,
    "mode": grid.MODES,
    "precision": grid.PRECISIONS,
    "xla": grid.XLA,
    "preset": grid.PRESETS,
}
"""What a field may be by the grid; its type does not say."""

DIGEST: Node = {
    "description": "SHA-256 of the rest of the line, as JSON with sorted keys and without spaces.",
    "pattern": "^[0-9a-f]{64}$",
    "type": "string",
}

NOT_FINITE: Mapping[str, float] = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
"""JSON has no such numbers: a line holds them as these texts."""

BOUNDS: Mapping[str, tuple[str, Callable[[float, float], bool]]] = {
    "exclusiveMinimum": (">", operator.gt),
    "minimum": ("≥", operator.ge),
    "exclusiveMaximum": ("<", operator.lt),
    "maximum": ("≤", operator.le),
}

UNITS: Mapping[str, str] = {
    r"images_per_s$": "images/s",
    r"flop_per_s$": "FLOP/s",
    r"bytes_per_s$": "bytes/s",
    r"^train_flop_per_image$": "FLOP/image",
    r"_s$": "s",
    r"_bytes(\.|$)": "bytes",
    r"_images$|batch_size$": "images",
    r"^parameters\.": "weights",
    r"accuracy$": "share",
}
"""By what a field's path matches, its unit; the first that matches counts."""

PAGE = """\
# The record

A line of `results/raw/*.jsonl` is a record: what one process of a cell measured, and every term it
was measured under. This page and [record.schema.json](record.schema.json), the JSON Schema of a
line, are generated from `fmnist/record.py`.

A line holds every field that the suite knew when it was written. What was not measured is `null`,
or an empty list or object. The column "filled" names the tasks whose records have a value unless
they state a `failure`; "if known" leaves it to the record.

{record}

## Fields

{fields}

## Variants

`beside_s` holds at least:

{variants}

## What a schema cannot say

`fmnist` reads no line that breaks one of these rules; `fmnist check` says which.

- Without a `failure`, all is there that the task promises, and the lists of `beside_s` and
  `processor_s` and `withheld_s`, if there are any, are as long as `epoch_s`.
- `accuracy` and `loss` are those of the last epoch in `history`.
- `images_per_s` is `train_images` over the geometric mean of `epoch_s`.
- `train_flop_per_image` is 2 to 6 times the sum of `forward_macs`, and `null` if one of these is.
- `parameters.dense`, `conv` and `other` add up to `total`.
- `machine` has what it has of these as text: `cpu`, `system`, `kernel`; as integers:
  `usable_threads`, `memory_bytes`; as integers or `null`: `cpu_family`, `cpu_model`; and `gpus` as
  a list of objects with a `name`.
- `correct` has a bit for each test image: base 64 of NumPy's `packbits`.
- `parity.differences` and `parity.tolerances` have the same keys, and no difference is below 0.
- `digest` is that of the line.

Lines of older schemas are read too: they lack what came later, those of schema 1 a `digest`.
`fmnist` turns them into records of schema {schema} as it reads.
"""


class WrittenLine(GenerateJsonSchema):
    """Describes numbers as a line really holds them: as text where JSON has none."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002  # pydantic's signature
        """Return that no title is wanted: it would be the field's name again."""
        return False

    def float_schema(self, schema: core_schema.FloatSchema) -> dict[str, Any]:
        """Return the schema of a number, or of the text that stands for one JSON does not have."""
        number = super().float_schema(schema)
        bounds = [(holds, number[name]) for name, (_, holds) in BOUNDS.items() if name in number]
        texts = [
            text
            for text, value in NOT_FINITE.items()
            if all(holds(value, bound) for holds, bound in bounds)
        ]
        if not texts or not schema.get("allow_inf_nan", True):
            return number
        return {"anyOf": [number, {"enum": texts, "type": "string"}]}


@dataclass(frozen=True)
class Field:
    """A field of a record, or one inside it.

    Attributes:
        path: its names from the record on, with dots; `[]` stands for each item of a list.
        node: its JSON Schema.
    """

    path: str
    node: Node

    @property
    def options(self) -> list[Node]:
        """The schemas that its value may follow."""
        return list(self.node.get("anyOf", [self.node]))


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a line as `Record.to_json` writes it.

    What has a default is not required: it may have come with a later version of the suite.
    """
    document = Record.model_json_schema(schema_generator=WrittenLine, mode="serialization")
    for name, words in WORDS.items():
        document["properties"][name]["enum"] = list(words)
    document["properties"]["digest"] = dict(DIGEST)
    document["required"] = ["schema", *document["required"], "digest"]
    heading = {
        "$schema": GenerateJsonSchema.schema_dialect,
        "title": f"A record of fmnist, schema {SCHEMA}",
    }
    return {**document, **heading}


def as_text() -> str:
    """Return the JSON Schema as it is published."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


@cache
def fields() -> tuple[Field, ...]:
    """Return every field of a line, those inside a field after it."""
    document = json_schema()
    return tuple(_fields(document, document["$defs"], ""))


def _fields(node: Node, definitions: Node, prefix: str) -> Iterator[Field]:
    for name, value in node["properties"].items():
        field = Field(f"{prefix}{name}", value)
        yield field
        for option in field.options:
            item, mark = (option["items"], "[]") if "items" in option else (option, "")
            if "$ref" in item:
                inside = definitions[item["$ref"].rpartition("/")[2]]
                yield from _fields(inside, definitions, f"{field.path}{mark}.")


def page() -> str:
    """Return the page about the record's fields, in Markdown."""
    rows = [
        (f"`{f.path}`", _type(f.node), _unit(f.path), _filled(f.path), _meaning(f.node))
        for f in fields()
    ]
    variants = [(f"`{task}`", _words(names)) for task, names in NEEDED_BESIDE.items()]
    return PAGE.format(
        record=inspect.getdoc(Record),
        fields=_table(("field", "type", "unit", "filled", "meaning"), rows),
        variants=_table(("task", "variants"), variants),
        schema=SCHEMA,
    )


def pages(root: Path) -> dict[Path, str]:
    """Return what is generated about records under the project's root, with its text."""
    return {
        root / "docs" / "record.schema.json": as_text(),
        root / "docs" / "record.md": page(),
    }


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return a Markdown table without padding, so that a changed field changes one line."""
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _type(node: Node) -> str:
    """Return a field's type in words."""
    if "anyOf" in node:
        return " or ".join(map(_type, node["anyOf"]))
    if "enum" in node or "const" in node:
        return _words(node.get("enum", [node.get("const")]))
    kind = node.get("type", "object")  # that of a reference
    if kind == "array":
        return f"list of {_type(node['items'])}"
    if kind == "object":
        values = [*node.get("patternProperties", {}).values(), node.get("additionalProperties")]
        return f"object of {_type(values[0])}" if isinstance(values[0], Mapping) else "object"
    bounds = [f"{sign} {node[name]:g}" for name, (sign, _) in BOUNDS.items() if name in node]
    shown = "date and time" if node.get("format") == "date-time" else kind
    return f"{shown} {', '.join(bounds)}".strip()


def _words(words: Collection[object]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _unit(path: str) -> str:
    return next((unit for pattern, unit in UNITS.items() if re.search(pattern, path)), "")


def _filled(path: str) -> str:
    """Return when a field of the record itself has a value; nothing for one inside another."""
    if "." in path:
        return ""
    model = Record.model_fields.get(path)
    if model is None or model.get_default() not in (None, (), {}):
        return "always"
    tasks = [task for task, needed in NEEDED.items() if path in needed]
    others = [task for task in NEEDED if task not in tasks]
    if len(others) <= 1:
        return f"all but {_words(others)}" if others else "every task"
    return _words(tasks) or "if known"


def _meaning(node: Node) -> str:
    return str(node.get("description", "")).replace("\n", " ").replace("|", "\\|")
