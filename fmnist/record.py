"""What one cell measured, under which terms: validated, immutable, one JSON line each.

Raw values are kept and summaries are derived. A record that contradicts itself cannot be built,
nor loaded.

Schema history:

- 1: the first one
- 2: processes, XLA and environments as terms; tasks noise, parity, breakdown; processor time;
  `plain_epoch_s` became `beside_s["plain"]`; a digest on every line
- 3: modes made of knobs, and what each did; multiply-accumulates and the machine's peaks; task race
- 4: task learn, with what the trained model makes of each test image
- 5: replicas and hosts as terms, task scale; what a GPU did in each epoch
"""

import base64
import hashlib
import json
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import IO, Annotated, Any, Final, Literal, Self

import numpy as np
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError, model_validator

from fmnist import files, grid

SCHEMA: Final = 5
MAX_LINE_BYTES = 4 * 1024 * 1024
MOST_VALUES = 20_000
"""In a line: each wrong one costs a complaint of some kilobytes."""
MOST_COMPLAINTS = 5
"""About one line that are told."""
LONGEST_COMPLAINT = 500
MOST_BRACKETS = 150
"""In a plain line: what opens fewer is not nested deeper than any reader of JSON allows."""
MOST_DAMAGED_LINES = 1_000
"""In a file: beyond them it is no file of records, and is read no further."""

NEEDED_OF_A_WORKER = (
    *("import_s", "build_s", "first_epoch_s", "parameters", "jit_compile", "peak_memory_bytes"),
    *("versions", "machine", "threads"),
)
NEEDED: Mapping[str, tuple[str, ...]] = {
    "train": (*NEEDED_OF_A_WORKER, "epoch_s", "accuracy", "evaluate_s", "predict_s", "latency_s"),
    "startup": NEEDED_OF_A_WORKER,
    "overhead": (*NEEDED_OF_A_WORKER, "epoch_s", "beside_s"),
    "noise": (*NEEDED_OF_A_WORKER, "epoch_s", "beside_s"),
    "breakdown": (*NEEDED_OF_A_WORKER, "epoch_s", "beside_s"),
    "parity": ("parity", "versions", "machine"),
    "race": (*NEEDED_OF_A_WORKER, "epoch_s", "race"),
    "learn": (*NEEDED_OF_A_WORKER, "epoch_s", "accuracy", "predictions"),
    "scale": (*NEEDED_OF_A_WORKER, "epoch_s", "accuracy", "evaluate_s"),
}
"""What a record of each task holds, unless it says why it failed."""

EVALUATED: Final = ("train", "learn", "scale")
"""The tasks in which the test set is evaluated after each epoch, which `history` holds."""

NEEDED_BESIDE: Mapping[str, tuple[str, ...]] = {
    "overhead": ("plain",),
    "noise": ("twin",),
    "breakdown": grid.BREAKDOWN_VARIANTS,
}
"""By task, the epochs that its own are compared with."""

MACHINE_FACTS: Mapping[str, type | UnionType] = {
    "cpu": str,
    "cpu_family": int | None,
    "cpu_model": int | None,
    "usable_threads": int,
    "memory_bytes": int,
    "gpus": list,
    "system": str,
    "kernel": str,
}
"""What `fmnist.machine.summary` speaks of; a machine may hold more facts, and lack some."""

LARGEST_COUNT = 10**15

FLOP_PER_MAC: Final = 2
MOST_PASSES: Final = 3
"""Forward, for the gradient of the weights, and for the gradient of the inputs."""

Seconds = Annotated[float, Field(ge=1e-9, le=1e9, allow_inf_nan=False)]
"""From a nanosecond to 30 years: outside, no clock was read, and intervals would overflow."""
ProcessorSeconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0, le=1e21, allow_inf_nan=False)]
"""By the second. A zettaflop or a zettabyte is beyond any machine."""
Loss = Annotated[float, Field(allow_inf_nan=True)]
Count = Annotated[int, Field(ge=0, le=LARGEST_COUNT)]
Positive = Annotated[int, Field(ge=1, le=LARGEST_COUNT)]
Task = Literal[
    "train",
    "startup",
    "overhead",
    "noise",
    "breakdown",
    "parity",
    "race",
    "learn",
    "scale",
]
RaceRole = Literal["entrant", "reference", "choosing"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Name = Annotated[str, Field(max_length=40, pattern=r"^[\w.-]*$")]
Digits = Annotated[str, Field(pattern=r"^[0-9]+$")]


class Part(BaseModel):
    """A value inside a record: immutable, with no fields but its own."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", ser_json_inf_nan="strings", use_attribute_docstrings=True
    )


class EpochResult(Part):
    """What an epoch achieved.

    Training figures are Keras's running means over the epoch; test and validation figures are
    evaluated after it, outside the clock.
    """

    train_loss: Loss
    """Mean loss of the epoch's batches."""
    train_accuracy: Share
    """Share of the training images recognised, each when its batch came."""
    validation_loss: Loss | None = None
    """Loss on the validation set; null without one."""
    validation_accuracy: Share | None = None
    """Share of the validation images recognised; null without a validation set."""
    test_loss: Loss
    """Loss on the test set."""
    test_accuracy: Share
    """Share of the test images recognised."""


class Parameters(Part):
    """Weights by the kind of layer that holds them. Kinds add up to the total."""

    total: Count
    """All weights."""
    trainable: Count
    """Those that training moves."""
    dense: Count
    """In fully connected layers."""
    conv: Count
    """In convolutional layers."""
    other: Count
    """In all other layers, such as batch normalisation."""

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        if self.total != self.dense + self.conv + self.other or self.trainable > self.total:
            raise ValueError(f"parameters do not add up: {self}")
        return self


class PeakMemory(Part):
    """Peak bytes: of the worker process, and of the device by the allocator's own figure."""

    host: Count
    """Resident memory of the worker process."""
    device: Count | None = None
    """Memory of the GPU; null on a CPU."""


class Watched(Part):
    """What the GPUs of a cell did from the order of an epoch until its answer, evaluation included.

    By the driver, looked at every fifth of a second; of a shorter epoch, once after it.
    """

    lowest_clock_mhz: Count | None
    """The lowest clock of the multiprocessors; null where the driver does not tell."""
    highest_clock_mhz: Count | None
    """The highest clock of the multiprocessors; null where the driver does not tell."""
    power_w: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None
    """Mean power of a GPU; null where the driver does not tell."""
    temperature_c: Count | None
    """The highest temperature; null where the driver does not tell."""
    throttled: tuple[Name, ...]
    """Why the clocks were held down while the epoch ran, as the driver names it; empty: they were
    not."""


class Peaks(Part):
    """The most that a cell's backend reached on its device, in the cell's process, by one kernel.

    The best of several rounds, so it is what the machine gives and not what an epoch is given.
    """

    matmul_flop_per_s: Rate
    """Floating-point operations by the second in a product of two square matrices: 2 n³ of them."""
    matmul_size: Positive
    """n of the size that was best."""
    matmul_dtype: Name
    """Of the matrices: what the cell's precision computes with."""
    triad_bytes_per_s: Rate
    """Bytes by the second that `a = b + s * a` reads and writes in memory, three arrays of them."""
    triad_array_bytes: Positive
    """Size of each array."""


class Recipe(Part):
    """What the model was compiled with, and how many epochs its recipe asks for."""

    loss: str
    """Keras's name of the loss."""
    optimizer: str
    """Keras's name of the optimizer."""
    learning_rate: Annotated[float, Field(gt=0)]
    """What the optimizer starts with."""
    epochs: Annotated[int, Field(ge=1)]
    """How many the model's recipe asks for; the session may have trained fewer."""
    rise_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Share of the steps in which the learning rate rises from a tenth to `learning_rate`, to fall
    to zero in the others; null where it is constant."""
    beta_2: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of Adam's second moment; null: Keras's own."""
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of each label that is spread over all classes."""
    views: Count = 0
    """Views of an image that are averaged at test time; 0: none."""
    stop_after: Positive | None = None
    """Epochs without a lower validation loss after which training ends, the weights of the lowest
    one put back; null: it goes on."""
    halve_after: Positive | None = None
    """Epochs without a lower validation loss after which the learning rate is halved; null:
    never."""
    keep_best: bool = False
    """Whether the trained weights are those of the best validation accuracy, not the last ones."""


class Parity(Part):
    """What two sides computed from the same weights on the same batches, and how it differed.

    `differences` and `tolerances` have the same keys, those of `fmnist.parity.TOLERANCES`; all are
    relative and without unit.
    """

    between: Literal["backend", "mode"] = "backend"
    """In what the two sides differ: the record's own backend, or its mode."""
    against: str
    """The backend, or mode, that the record's own is compared with."""
    seed: int
    """Seed of the weights and of the batches."""
    weights_sha256: Sha256
    """Of the weights that both sides started from."""
    steps: Annotated[int, Field(ge=1)]
    """How many both followed."""
    dither: Share = 0.0
    """By how much at most the images' pixels were raised at random, so that no two are equal."""
    differences: dict[str, Annotated[float, Field(allow_inf_nan=True)]]
    """By what is compared, how far the two sides differ; NaN if one diverged."""
    tolerances: dict[str, Annotated[float, Field(gt=0, allow_inf_nan=False)]]
    """By what is compared, the largest difference that passes."""
    correct: dict[str, str]
    """By backend or mode, which test images were recognised after the last step: see `packed`."""

    @model_validator(mode="after")
    def _compares_what_it_tolerates(self) -> Self:
        if not self.differences or self.differences.keys() != self.tolerances.keys():
            raise ValueError("differences and tolerances must have the same keys")
        if any(difference < 0 for difference in self.differences.values()):
            raise ValueError("a difference must not be below 0")
        return self

    @property
    def exceeded(self) -> tuple[str, ...]:
        """What differs by more than is tolerated (NaN does); empty for a certificate."""
        return tuple(n for n, d in self.differences.items() if not d <= self.tolerances[n])


class Race(Part):
    """One whole training of one entrant, by a schedule fixed before, and what it reached.

    A whole epoch was trained first (`first_epoch_s`, with compilation in it); then weights,
    optimizer, metrics and random states were put back to what they were, and the clock started.
    """

    role: RaceRole
    """`entrant`: trained on the whole training set; the test set was read once, after the last
    epoch. `reference`: the same, trained on 80 % of it. `choosing`: trained on 80 % of it; the
    other 20 % were read instead of the test set, which was not."""
    adapt_s: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """Wall time of setting layers by the training images before training; 0: there are none."""
    fit_s: Seconds
    """Wall time of the training, from the call until the trained weights can be read: all epochs
    and whatever the loop does before, between and after them."""
    accuracy: Share
    """Share of the images read that were recognised, each seen once."""
    views_accuracy: Share | None = None
    """The same with the mean log probability of `recipe.views` views; null without."""
    views_s: Seconds | None = None
    """Wall time of predicting all those views and joining them; null without."""

    @model_validator(mode="after")
    def _has_both_or_neither(self) -> Self:
        if (self.views_accuracy is None) != (self.views_s is None):
            raise ValueError("views_accuracy and views_s come together")
        return self

    @property
    def train_s(self) -> float:
        """Seconds of training, without compilation."""
        return self.adapt_s + self.fit_s


class Predictions(Part):
    """What a trained model makes of each image of the test set, in the order of the set."""

    labels: Digits
    """By image, a digit: the class that it is of."""
    classes: Digits
    """By image, a digit: the class that it is given."""
    confidences: str
    """By image, a byte, all in base 64: the probability of the class that is given, in 255ths."""

    @classmethod
    def of(cls, labels: np.ndarray, logits: np.ndarray) -> Self:
        """Return the predictions of logits (n, 10) for images of the classes labels (n,)."""
        highest = logits.astype(np.float64).max(axis=1, keepdims=True)
        confidences = 1 / np.exp(logits - highest).sum(axis=1)  # softmax of the highest
        return cls(
            labels="".join(map(str, labels)),
            classes="".join(map(str, logits.argmax(axis=1))),
            confidences=base64.b64encode(np.rint(255 * confidences).astype(np.uint8)).decode(),
        )

    @model_validator(mode="after")
    def _is_of_the_same_images(self) -> Self:
        n = len(base64.b64decode(self.confidences, validate=True))
        if not len(self.labels) == len(self.classes) == n:
            raise ValueError("labels, classes and confidences are of the same images")
        return self

    def true(self) -> np.ndarray:
        """Return the class of each image, uint8 (n,)."""
        return np.frombuffer(self.labels.encode(), np.uint8) - ord("0")

    def given(self) -> np.ndarray:
        """Return the class that each image is given, uint8 (n,)."""
        return np.frombuffer(self.classes.encode(), np.uint8) - ord("0")

    def confidence(self) -> np.ndarray:
        """Return the probability of the class that each image is given, float64 (n,)."""
        return np.frombuffer(base64.b64decode(self.confidences), np.uint8) / 255


class Record(Part):
    """One cell's measurement by one process. Without `failure`, all of its task is there.

    - Task `train`: `first_epoch_s` (with compilation), then `epoch_s`, evaluated after each epoch;
      at its end, `audit_s`: one short epoch by fence, without it, and as the sum of its steps.
    - Task `startup`: a fresh process; `first_epoch_s` is one batch, nearly all of it compilation.
    - Task `overhead`: `beside_s["plain"]` are the same epochs by a plain Keras script.
    - Task `noise`: `beside_s` are epochs of a second process of the same cell: `twin` the same
      epochs, `spike_P` with P % more steps; `reference` is a matrix product, no epoch.
    - Task `breakdown`: `beside_s` are epochs from which one part after the other was taken away.
    - Task `parity`: the numbers, not the times, of two backends, or of two modes; no timing in it.
    - Task `race`: a whole training from the first step to the last: see `race`.
    - Task `scale`: epochs by `replicas` devices, on one host or several, evaluated on one of them.
    - Task `learn`: a whole training by the recipe, evaluated after each epoch, and `predictions`
      after the last. Other work may have run beside it: its seconds are no timing.

    The lists of `beside_s` were measured in turn with `epoch_s`: the i-th of each are neighbours.
    """

    schema_: Literal[5] = Field(SCHEMA, alias="schema")
    """Version of this format."""
    session: Annotated[str, Field(max_length=100, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
    """The run that the record is of: when it began, in UTC, and four random digits."""
    started_at: AwareDatetime
    """When the first worker of the record was started."""
    task: Task
    """What was measured."""
    model: Annotated[str, Field(min_length=1, max_length=200)]
    """Stem of the model's file in `fmnist/models/`."""
    family: Literal["dense", "conv"]
    """Whether the model is of fully connected layers alone, or has convolutions."""
    backend: str
    """What Keras ran on."""
    device: str
    """What the backend ran on."""
    mode: str
    """`stock`: as Keras comes; `tuned`: all knobs; or the knobs that are on, joined by
    `+`; or a trap: `steps_per_execution`, `deterministic`."""
    preset: str
    """How much was run: see `fmnist.grid.PRESETS`."""
    dataset: Literal["fashion-mnist", "stand-in"]
    """Fashion-MNIST, or the drawn images that stand in where it cannot be had."""
    train_images: Positive
    """Training images in an epoch; of task `parity`, those that batches are drawn from."""
    validation_images: Count = 0
    """Images held out of training; 0 without a validation set."""
    test_images: Positive
    """Images in the test set."""
    batch_size: Positive
    """Images in a step, on all replicas together."""
    precision: str
    """Keras's dtype policy."""
    xla: str = "auto"
    """What Keras was given as `jit_compile`; by `auto` it chooses, see `jit_compile`."""
    environment: Name = ""
    """Name that `--env` gave to the packages the worker ran with; empty: the session's own."""
    replicas: Positive = 1
    """Devices that trained one model together, each on its part of every batch."""
    hosts: Positive = 1
    """Processes on machines of their own that the replicas were spread over."""
    shared_device: bool = False
    """Whether replicas shared a processor (virtual devices of one, or hosts that are one machine):
    their times say nothing of as many devices."""
    process: Count = 0
    """Which of the cell's processes in this task, from 0; of tasks `parity` and `learn`, which
    seed."""
    study: Name = ""
    """Of task `learn`: what the training is a part of."""
    recipe: Recipe
    """What the model was compiled with."""
    epoch_s: tuple[Seconds, ...] = ()
    """Wall time of each steady epoch; the first epoch of the process is not among them."""
    processor_s: tuple[ProcessorSeconds, ...] = ()
    """Seconds of processor time of all threads in each of `epoch_s`: an epoch that is longer than
    others and used no more has waited."""
    withheld_s: tuple[ProcessorSeconds, ...] = ()
    """Seconds of processor time that a virtual machine wanted during each of `epoch_s` and its
    host gave to others, of all processors together; empty where the system does not tell."""
    beside_s: dict[Name, tuple[Seconds, ...]] = {}
    """By variant, wall times of what was run in turn with `epoch_s`."""
    watched: tuple[Watched, ...] = ()
    """Of a GPU: what it did while each of `epoch_s` ran; empty where nobody could look."""
    audit_s: dict[Name, tuple[Seconds, ...]] = {}
    """By way of timing (`fenced`, `unfenced`, `steps`), wall times of a short epoch."""
    first_epoch_s: Seconds | None = None
    """Wall time of the first epoch, with tracing and compilation in it."""
    import_s: Seconds | None = None
    """Wall time of importing Keras and its backend."""
    build_s: Seconds | None = None
    """Wall time of building and compiling the model, until its weights can be read."""
    evaluate_s: Seconds | None = None
    """Wall time of evaluating the test set after the last epoch."""
    predict_s: tuple[Seconds, ...] = ()
    """Wall time of each prediction of the test set, without the first, which compiles."""
    latency_s: tuple[Seconds, ...] = ()
    """Wall time of each prediction of a single image, without ten to warm up."""
    images_per_s: Annotated[float, Field(gt=0)] | None = None
    """`train_images` over the geometric mean of `epoch_s`."""
    accuracy: Share | None = None
    """Share of the test images recognised after the training."""
    loss: Loss | None = None
    """Loss on the test set after the training, regularisation included; NaN if it diverged."""
    validation_accuracy: Share | None = None
    """Of task `learn`: share of the validation images recognised after the training; null without
    a validation set."""
    validation_loss: Loss | None = None
    """Of task `learn`: loss on the validation set after the training; null without one."""
    history: tuple[EpochResult, ...] = ()
    """Of tasks `train`, `learn` and `scale`: what each epoch achieved, the first one included."""
    correct: str | None = None
    """Which test images were recognised after the last epoch: see `packed`."""
    parity: Parity | None = None
    """Of task `parity`: the certificate."""
    race: Race | None = None
    """Of task `race`: what the training took and what it reached."""
    predictions: Predictions | None = None
    """Of task `learn`: what the trained model makes of each test image."""
    parameters: Parameters | None = None
    """Weights of the model."""
    forward_macs: dict[str, Count | None] = {}
    """By layer with a matrix of weights, multiply-accumulates for one image; null for a layer that
    the suite cannot count. Layers of a nested model are named `model/layer`."""
    train_flop_per_image: Count | None = None
    """Floating-point operations of training by the image, counted from `forward_macs`: 2 for each,
    forward and for each gradient; null if a layer is not counted."""
    peaks: Peaks | None = None
    """Of task `train`: what the machine gave right after the training."""
    peak_memory_bytes: PeakMemory | None = None
    """The most memory that was in use at once, before `peaks` were measured."""
    tuning: dict[Name, str] = {}
    """By knob of the mode, what it put in place of Keras's own, or why nothing."""
    jit_compile: bool | None = None
    """Whether XLA compiled the training step, as Keras resolved `xla`."""
    seed: int
    """Of the sample of images, the weights, dropout and, on JAX, the order of batches."""
    versions: dict[str, str] = {}
    """By package imported in the worker, its version; and Python's."""
    machine: dict[str, Any] = {}
    """Facts of hardware and operating system: see `fmnist.machine.facts`."""
    device_name: str | None = None
    """Keras's name of the device."""
    threads: dict[str, Any] = {}
    """Processors that the worker may use, and the size of each native thread pool."""
    flags: dict[str, str] = {}
    """Environment variables that can change a timing, and settings of keras.json overruled."""
    commit: str | None = None
    """Of the suite, with `-dirty` if files differed from it; null outside a checkout."""
    failure: Annotated[str, Field(min_length=1)] | None = None
    """Why the cell got no further; null if all of its task is there."""

    @model_validator(mode="after")
    def _uses_the_words_of_the_grid(self) -> Self:
        grid.known("backend", [self.backend], grid.BACKENDS)
        grid.known("device", [self.device], grid.DEVICES)
        grid.known("mode", [self.mode], grid.MODES)
        grid.known("precision", [self.precision], grid.PRECISIONS)
        grid.known("xla", [self.xla], grid.XLA)
        grid.known("preset", [self.preset], grid.PRESETS)
        if self.task == "scale":
            _ = self.cell  # which cannot be spread anyhow
        elif (self.replicas, self.hosts) != (1, 1):
            raise ValueError(f"task {self.task} is of one device, not {self.replicas} replicas")
        return self

    @model_validator(mode="after")
    def _tells_a_machine(self) -> Self:
        for name, kind in MACHINE_FACTS.items():
            if name not in self.machine:
                continue
            fact = self.machine[name]
            if not isinstance(fact, kind) or (isinstance(fact, int) and fact > LARGEST_COUNT):
                wanted = getattr(kind, "__name__", kind)
                raise ValueError(f"machine.{name} must be of type {wanted}, got {fact!r:.40}")
        if not all(isinstance(gpu, dict) and "name" in gpu for gpu in self.machine.get("gpus", [])):
            raise ValueError("machine.gpus must hold objects with a name")
        return self

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        self._reached_what_its_history_says()
        expected = throughput(self.train_images, self.epoch_s)
        if not (self.images_per_s == expected or _close(self.images_per_s, expected)):
            raise ValueError("images_per_s must be train_images over the geometric mean of epoch_s")
        self._counts_what_its_layers_do()
        if self.correct is not None:
            unpacked(self.correct, self.test_images)
        self._certifies_both_sides()
        if self.race is not None and self.race.fit_s < (1 - 1e-9) * sum(self.epoch_s):
            raise ValueError("a whole training cannot take less than its epochs")
        if self.failure is None:
            neighbours = [
                *self.beside_s.values(),
                *([self.processor_s] if self.processor_s else []),
                *([self.withheld_s] if self.withheld_s else []),
            ]
            if any(len(seconds) != len(self.epoch_s) for seconds in neighbours):
                raise ValueError(
                    "epoch_s, processor_s, withheld_s and beside_s are neighbours, equally many"
                )
            if self.watched and len(self.watched) != len(self.epoch_s):
                raise ValueError("watched must hold every epoch in epoch_s")
        return self

    def _reached_what_its_history_says(self) -> None:
        last = self.history[-1] if self.history else None
        if last is None and self.accuracy is not None:
            raise ValueError("an accuracy needs the history that it came from")
        # A callback may put earlier weights back at the end of task learn.
        if last is not None and self.task != "learn":
            reached = (last.test_accuracy, str(last.test_loss))  # NaN equals itself as text
            if (self.accuracy, str(self.loss)) != reached:
                raise ValueError("accuracy and loss must be those of the last epoch in history")
        if self.predictions is not None:
            hits = self.predictions.true() == self.predictions.given()
            half_an_image = 0.5 / self.test_images
            if (
                len(hits) != self.test_images
                or abs(hits.mean() - (self.accuracy or 0.0)) > half_an_image
            ):
                raise ValueError("accuracy must be that of predictions, one for each test image")

    def _certifies_both_sides(self) -> None:
        if self.parity is None:
            return
        sides = {getattr(self, self.parity.between), self.parity.against}
        if absent := sides - self.parity.correct.keys():
            raise ValueError(f"parity.correct lacks {', '.join(sorted(absent))}")
        for recognised in self.parity.correct.values():
            unpacked(recognised, self.test_images)

    def _counts_what_its_layers_do(self) -> None:
        if self.train_flop_per_image is None:
            return
        macs = [count for count in self.forward_macs.values() if count is not None]
        flop = FLOP_PER_MAC * sum(macs)
        if len(macs) < len(self.forward_macs) or not (
            flop <= self.train_flop_per_image <= MOST_PASSES * flop
        ):
            raise ValueError(
                "train_flop_per_image must be 2 to 6 for each of forward_macs, all of them counted"
            )

    @model_validator(mode="after")
    def _is_complete(self) -> Self:
        if self.failure is not None:
            return self
        absent = [name for name in NEEDED[self.task] if getattr(self, name) in (None, (), {})]
        absent += [
            f"beside_s.{n}" for n in NEEDED_BESIDE.get(self.task, ()) if n not in self.beside_s
        ]
        if absent:
            raise ValueError(f"no failure is stated, but {', '.join(absent)} is missing")
        if self.task in EVALUATED and len(self.history) != 1 + len(self.epoch_s):
            raise ValueError("history must hold the first epoch and every epoch in epoch_s")
        return self

    @property
    def cell(self) -> grid.Cell:
        """The cell that was run."""
        return grid.Cell(
            *(self.model, self.backend, self.device, self.mode, self.batch_size),
            *(self.precision, self.xla, self.environment, self.replicas, self.hosts),
        )

    def to_json(self) -> str:
        """Return the record as one line of JSON, with a digest of its content at the end."""
        body = self.model_dump_json(by_alias=True)
        return f'{body[:-1]},"digest":"{_digest(json.loads(body))}"}}'

    @classmethod
    def from_json(cls, line: str, *, was_checked: bool = False) -> Self:
        """Return the record of a line, of any schema.

        Args:
            line: of JSON.
            was_checked: whether the line is known to be one whose digest was right.

        Raises:
            ValueError: it says what is wrong, and where.
        """
        return cls.of_document(_document(line), line, was_checked=was_checked)

    @classmethod
    def of_document(cls, written: Mapping[str, Any], line: str, *, was_checked: bool) -> Self:
        """Return the record of a line that holds this JSON object: see `from_json`."""
        try:
            return cls._of_document(written, line, was_checked=was_checked)
        except RecursionError as error:  # what can just be read may be too deep to be written
            raise ValueError(f"nested too deeply: {error}") from error

    @classmethod
    def _of_document(cls, written: Mapping[str, Any], line: str, *, was_checked: bool) -> Self:
        document = dict(written)
        digest = document.pop("digest", None)
        if not was_checked and digest is not None and digest != _digest(document):
            raise ValueError("its digest does not match: the line was changed after it was written")
        for schema in range(document["schema"], SCHEMA):
            document = MIGRATIONS[schema](document)
        if _is_plain(line):
            # Takes a third of the time of writing JSON for pydantic. That decides in doubt.
            with suppress(ValueError, OverflowError):
                return cls.model_validate(document)
        try:
            return cls.model_validate_json(json.dumps(document))
        except ValidationError as error:
            problems = error.errors(include_url=False, include_context=False, include_input=False)
            told = [
                f"{'.'.join(map(str, problem['loc'])) or 'record'}: {problem['msg']}"
                for problem in problems[:MOST_COMPLAINTS]
            ]
            more = [f"and {n:,} more"] if (n := len(problems) - len(told)) else []
            raise ValueError("; ".join([*told, *more])) from error


def _brief(reason: str) -> str:
    """Return a reason on one line, shortened: it quotes strangers, and is printed in terminals."""
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in reason[:LONGEST_COMPLAINT])
    return line if len(reason) <= LONGEST_COMPLAINT else f"{line}…"


class NewerSchemaError(ValueError):
    """A line was written by a newer version of the suite, which the message names."""

    def __init__(self, schema: int, versions: object) -> None:
        by = versions.get("fmnist") if isinstance(versions, dict) else None
        writer = f"fmnist {by}" if isinstance(by, str) else "a newer fmnist"
        super().__init__(
            f"schema {schema}; this version reads 1 to {SCHEMA}: the line was written by "
            f"{writer:.60}, install that one to read it"
        )


def _document(line: str) -> dict[str, Any]:
    """Return a line's JSON object, of a schema that is known. Raises ValueError."""
    if line.count(",") >= MOST_VALUES:
        raise ValueError(f"more than {MOST_VALUES:,} values")
    try:
        document = json.loads(line)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ValueError(f"not a JSON object: {line[:40]}")  # noqa: TRY004  # what is caught
    found = document.get("schema")
    if type(found) is int and found > SCHEMA:
        raise NewerSchemaError(found, document.get("versions"))
    if type(found) is not int or found not in (SCHEMA, *MIGRATIONS):
        raise ValueError(f"schema {found!r}; this version reads 1 to {SCHEMA}")
    return document


def _digest(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a record's content, however its line was laid out."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _is_plain(text: str) -> bool:
    """Tell whether what is valid as Python's objects is valid JSON to pydantic as well.

    That refuses halves of surrogate pairs, which are among what is escaped, and deep nesting.
    """
    return "\\u" not in text and text.count("{") + text.count("[") < MOST_BRACKETS


def _from_1(document: dict[str, Any]) -> dict[str, Any]:
    """Return a record of schema 1 as one of schema 2."""
    kept = {name: value for name, value in document.items() if name != "plain_epoch_s"}
    plain = document.get("plain_epoch_s")
    return {**kept, "schema": 2, **({"beside_s": {"plain": plain}} if plain else {})}


def _next_with_more_fields(document: dict[str, Any]) -> dict[str, Any]:
    """Return a record as one of the next schema, which only adds fields."""
    return {**document, "schema": document["schema"] + 1}


MIGRATIONS: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {
    1: _from_1,
    2: _next_with_more_fields,
    3: _next_with_more_fields,
    4: _next_with_more_fields,
}
"""By schema, what makes the next one of it."""


def packed(recognised: np.ndarray) -> str:
    """Return which of n images were recognised, bool (n,), as text: bits in base 64."""
    return base64.b64encode(np.packbits(recognised).tobytes()).decode()


def unpacked(text: str, n: int) -> np.ndarray:
    """Return what was `packed`, bool (n,). Raises ValueError for text that holds no n bits."""
    content = base64.b64decode(text, validate=True)
    if len(content) != math.ceil(n / 8):
        raise ValueError(f"{len(content)} bytes cannot say which of {n} images were recognised")
    return np.unpackbits(np.frombuffer(content, np.uint8), count=n).astype(bool)


def by_cell(records: Iterable[Record]) -> dict[grid.Cell, list[Record]]:
    """Return the records of each cell, in the order in which they came."""
    cells: dict[grid.Cell, list[Record]] = {}
    for record in records:
        cells.setdefault(record.cell, []).append(record)
    return cells


def samples(records: Iterable[Record], beside: str | None = None) -> list[tuple[float, ...]]:
    """Return the steady epochs of one cell's records, process by process.

    `beside` names a list of `beside_s` to be taken instead.
    """
    in_order = sorted(records, key=lambda r: r.process)
    return [r.epoch_s if beside is None else r.beside_s[beside] for r in in_order]


def throughput(images: int, epoch_s: tuple[float, ...]) -> float | None:
    """Return images per second over the geometric mean of the epochs, or None for no epochs."""
    if not epoch_s:
        return None
    return images / math.exp(math.fsum(map(math.log, epoch_s)) / len(epoch_s))


def _close(a: float | None, b: float | None) -> bool:
    """Tell whether two figures agree but for how another machine rounds a logarithm."""
    return a is not None and b is not None and math.isclose(a, b, rel_tol=1e-9)


def append(record: Record, path: Path) -> None:
    """Append the record as a whole line and return once it is on the disk.

    Raises OSError where that cannot be done; the file is then as it was.
    """
    files.append_line(path, record.to_json().encode())


@dataclass(frozen=True)
class Line:
    """A line that holds a record.

    Attributes:
        path: of the file.
        number: of the line, from 1.
        record: what it holds.
        schema: the one that it was written in.
        has_digest: whether it ends with one.
        start: bytes before it in the file.
        checksum: CRC-32 of its bytes.
    """

    path: Path
    number: int
    record: Record
    schema: int
    has_digest: bool
    start: int
    checksum: int

    def __str__(self) -> str:
        return f"{self.path}, line {self.number}"


@dataclass(frozen=True)
class DamagedLine:
    """A line that holds no record, and why."""

    path: Path
    number: int
    reason: str
    is_newer: bool = False
    """Whether a newer version wrote it: the line is sound, and cannot be read here."""

    def __str__(self) -> str:
        return f"{self.path}, line {self.number}: {self.reason}"


def read(path: Path) -> tuple[list[Record], list[DamagedLine]]:
    """Return the good records of a file, and its damaged lines. Raises OSError if unreadable."""
    good, damaged = read_lines(path)
    return [line.record for line in good], damaged


def raw_lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines of a file as they are; one longer than MAX_LINE_BYTES as several."""
    return iter(lambda: file.readline(MAX_LINE_BYTES), b"")


def read_lines(path: Path) -> tuple[list[Line], list[DamagedLine]]:
    """Return a file's lines, those that hold records and those that are damaged: see `walk`."""
    good: list[Line] = []
    damaged: list[DamagedLine] = []
    for line in walk(path):
        if isinstance(line, Line):
            good.append(line)
        else:
            damaged.append(line)
    return good, damaged


def walk(
    path: Path, start: int = 0, end: float = math.inf, *, were_checked: bool = False
) -> Iterator[Line | DamagedLine]:
    """Yield a file's lines as they are read, those with records and the damaged; no blank ones.

    A line longer than MAX_LINE_BYTES is damaged, and counts as several. After MOST_DAMAGED_LINES
    the rest of the file is left unread, as the last of them says. Raises OSError if the file is
    unreadable.

    Args:
        path: the file.
        start: bytes before the first line to be read; that one has the number 1.
        end: bytes from which on no line is read.
        were_checked: whether the digests of these lines are known to be right.
    """
    n_damaged = 0
    with path.open("rb") as file:
        if start:
            file.seek(start)
        for number, line in enumerate(raw_lines(file), start=1):
            if start >= end:
                return
            if line.strip():
                if n_damaged == MOST_DAMAGED_LINES:
                    yield DamagedLine(path, number, "too many damaged lines: not read on")
                    return
                told = _line(path, number, start, line, was_checked=were_checked)
                n_damaged += isinstance(told, DamagedLine)
                yield told
            start += len(line)


def _line(
    path: Path, number: int, start: int, line: bytes, *, was_checked: bool
) -> Line | DamagedLine:
    try:
        text = line.decode()
        written = _document(text)
        record = Record.of_document(written, text, was_checked=was_checked)
    except (ValueError, OverflowError) as error:  # of an integer that no float holds
        is_newer = isinstance(error, NewerSchemaError)
        return DamagedLine(path, number, _brief(str(error)), is_newer)
    signed = written.get("digest") is not None
    return Line(path, number, record, written["schema"], signed, start, zlib.crc32(line))
