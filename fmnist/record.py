"""What one cell measured, under which terms: validated, immutable, one JSON line each.

Raw values are kept and summaries are derived. A record that contradicts itself cannot be built,
nor loaded.

Schema history:
    1  the first one
"""

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from fmnist import grid

SCHEMA: Final = 1
MAX_LINE_BYTES = 4 * 1024 * 1024

NEEDED_ALWAYS = (
    *("import_s", "build_s", "first_epoch_s", "parameters", "jit_compile", "peak_memory_bytes"),
    *("versions", "machine", "threads"),
)
NEEDED_BY_TASK = {
    "train": ("epoch_s", "accuracy", "evaluate_s", "predict_s", "latency_s"),
    "startup": (),
    "overhead": ("epoch_s", "plain_epoch_s"),
}

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Loss = Annotated[float, Field(allow_inf_nan=True)]
Count = Annotated[int, Field(ge=0)]
Task = Literal["train", "startup", "overhead"]


class Part(BaseModel):
    """A value inside a record: immutable, with no fields but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class EpochResult(Part):
    """What an epoch achieved.

    Training figures are Keras's running means over the epoch; test and validation figures are
    evaluated after it, outside the clock.
    """

    train_loss: Loss
    train_accuracy: Share
    validation_loss: Loss | None = None
    validation_accuracy: Share | None = None
    test_loss: Loss
    test_accuracy: Share


class Parameters(Part):
    """Weights by the kind of layer that holds them. Kinds add up to the total."""

    total: Count
    trainable: Count
    dense: Count
    conv: Count
    other: Count

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.total != self.dense + self.conv + self.other or self.trainable > self.total:
            raise ValueError(f"parameters do not add up: {self}")
        return self


class PeakMemory(Part):
    """Peak bytes: of the worker process, and of the device by the allocator's own figure."""

    host: Count
    device: Count | None = None


class Recipe(Part):
    """What the model was compiled with, and how many epochs its recipe asks for."""

    loss: str
    optimizer: str
    learning_rate: Annotated[float, Field(gt=0)]
    epochs: Annotated[int, Field(ge=1)]


class Record(Part):
    """One cell's measurement. Without `failure`, everything that its task measures is there.

    Task `train`: `first_epoch_s` (with compilation), then `epoch_s`, evaluated after each epoch.
    Task `startup`: a fresh process; `first_epoch_s` is one batch, nearly all of it compilation.
    Task `overhead`: `epoch_s` beside `plain_epoch_s`, the same epochs by a plain Keras script.
    """

    schema_: Literal[1] = Field(SCHEMA, alias="schema")
    session: Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[\w.-]+$")]
    started_at: AwareDatetime
    task: Task
    model: Annotated[str, Field(min_length=1, max_length=200)]
    family: Literal["dense", "conv"]
    backend: str
    device: str
    mode: str
    preset: str
    dataset: Literal["fashion-mnist", "stand-in"]
    train_images: Annotated[int, Field(ge=1)]
    validation_images: Count = 0
    test_images: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)]
    precision: str
    recipe: Recipe
    epoch_s: tuple[Seconds, ...] = ()
    plain_epoch_s: tuple[Seconds, ...] = ()
    first_epoch_s: Seconds | None = None
    import_s: Seconds | None = None
    build_s: Seconds | None = None
    evaluate_s: Seconds | None = None
    predict_s: tuple[Seconds, ...] = ()
    latency_s: tuple[Seconds, ...] = ()
    images_per_s: Annotated[float, Field(gt=0)] | None = None
    accuracy: Share | None = None
    loss: Loss | None = None
    history: tuple[EpochResult, ...] = ()
    parameters: Parameters | None = None
    peak_memory_bytes: PeakMemory | None = None
    jit_compile: bool | None = None
    seed: int
    versions: dict[str, str] = {}
    machine: dict[str, Any] = {}
    device_name: str | None = None
    threads: dict[str, Any] = {}
    flags: dict[str, str] = {}
    commit: str | None = None
    failure: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _uses_the_words_of_the_grid(self) -> Self:
        grid.known("backend", [self.backend], grid.BACKENDS)
        grid.known("device", [self.device], grid.DEVICES)
        grid.known("mode", [self.mode], grid.MODES)
        grid.known("precision", [self.precision], grid.PRECISIONS)
        grid.known("preset", [self.preset], grid.PRESETS)
        return self

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        last = self.history[-1] if self.history else None
        if last is not None and (self.accuracy, str(self.loss)) != (
            last.test_accuracy,
            str(last.test_loss),  # as text: a diverged run's NaN equals itself
        ):
            raise ValueError("accuracy and loss must be those of the last epoch in history")
        if last is None and self.accuracy is not None:
            raise ValueError("an accuracy needs the history that it came from")
        expected = throughput(self.train_images, self.epoch_s)
        if not (self.images_per_s == expected or _close(self.images_per_s, expected)):
            raise ValueError("images_per_s must be train_images over the geometric mean of epoch_s")
        if (
            self.failure is None
            and self.plain_epoch_s
            and len(self.plain_epoch_s) != len(self.epoch_s)
        ):
            raise ValueError("epoch_s and plain_epoch_s are pairs and must be equally many")
        return self

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.failure is not None:
            return self
        needed = (*NEEDED_ALWAYS, *NEEDED_BY_TASK[self.task])
        absent = [name for name in needed if getattr(self, name) in (None, (), {})]
        if absent:
            raise ValueError(f"no failure is stated, but {', '.join(absent)} is missing")
        if self.task == "train" and len(self.history) != 1 + len(self.epoch_s):
            raise ValueError("history must hold the first epoch and every epoch in epoch_s")
        return self

    @property
    def cell(self) -> grid.Cell:
        """The cell that was run."""
        return grid.Cell(
            self.model, self.backend, self.device, self.mode, self.batch_size, self.precision
        )

    def to_json(self) -> str:
        """Return the record as one line of JSON."""
        return self.model_dump_json(by_alias=True)

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Return the record of a line. Raises ValueError saying what is wrong, and where."""
        try:
            document = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(f"not JSON: {error}") from error
        if isinstance(document, dict) and document.get("schema") != SCHEMA:
            raise ValueError(f"schema {document.get('schema')!r}; this version reads {SCHEMA}")
        try:
            return cls.model_validate_json(line)
        except ValidationError as error:
            problems = [
                f"{'.'.join(map(str, problem['loc'])) or 'record'}: {problem['msg']}"
                for problem in error.errors(include_url=False)
            ]
            raise ValueError("; ".join(problems)) from error


def throughput(images: int, epoch_s: tuple[float, ...]) -> float | None:
    """Return images per second over the geometric mean of the epochs, or None for no epochs."""
    if not epoch_s:
        return None
    return images / math.exp(math.fsum(map(math.log, epoch_s)) / len(epoch_s))


def _close(a: float | None, b: float | None) -> bool:
    """Tell whether two figures agree but for how another machine rounds a logarithm."""
    return a is not None and b is not None and math.isclose(a, b, rel_tol=1e-9)


def append(record: Record, path: Path) -> None:
    """Append the record as a whole line and return once it is on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(record.to_json().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


@dataclass(frozen=True)
class DamagedLine:
    """A line that holds no record, and why."""

    path: Path
    line_number: int
    reason: str

    def __str__(self) -> str:
        return f"{self.path}, line {self.line_number}: {self.reason}"


def read(path: Path) -> tuple[list[Record], list[DamagedLine]]:
    """Return the good records of a file, and its damaged lines. Raises OSError if unreadable."""
    records, damaged = [], []
    for number, line in _lines(path):
        try:
            records.append(Record.from_json(line.decode()))
        except ValueError as error:
            damaged.append(DamagedLine(path, number, str(error)))
    return records, damaged


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield numbered lines that are not blank; none is longer than is read at a time."""
    with path.open("rb") as file:
        number = 1
        while line := file.readline(MAX_LINE_BYTES):
            if line.strip():
                yield number, line
            number += 1
