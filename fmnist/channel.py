"""What parent and worker say to each other: JSON lines on a socket of their own.

Libraries print to stdout and stderr, so neither carries a message. The parent says what to do
next; the worker answers, and does nothing that it was not told to do.
"""

import json
import socket
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from fmnist.measure import Allowance
from fmnist.models import Recipe
from fmnist.record import (
    Count,
    EpochResult,
    Loss,
    Parameters,
    PeakMemory,
    Peaks,
    Predictions,
    ProcessorSeconds,
    Race,
    RaceRole,
    Seconds,
    Sha256,
    Share,
    Task,
)

MAX_MESSAGE_BYTES = 1024 * 1024
PIECE_BYTES = 65_536

Command = Literal[
    "epoch",
    "predict",
    "latency",
    "recognise",
    "variant",
    "trace",
    "race",
    "learned",
    "peaks",
    "stop",
]


class ChannelError(RuntimeError):
    """The other side closed the channel, or said something that is no message."""


class NotAMessageError(ChannelError):
    """The other side is there, and talks nonsense."""


class Said(BaseModel):
    """One message: immutable, with no fields but its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")


class Job(Said):
    """All that a worker needs to know, in the parent's first message."""

    task: Task
    model: str
    backend: str
    device: str
    mode: str
    batch_size: int
    precision: str
    xla: str
    data_kind: Literal["fashion-mnist", "stand-in"]
    data_folder: str | None
    data_found_by: str
    train_images: int
    """Taken from the training set, the validation images among them."""
    validation_images: int
    test_images: int
    seed: int
    epochs: int
    latency_calls: int
    steps: int
    """Of an epoch that is run in variants, or of a trace."""
    recipe: Recipe
    role: RaceRole | None = None
    """Of task `race`: what the run is for."""
    trace_path: str | None
    """Where task `parity` leaves its arrays."""
    model_path: str | None = None
    """Where task `learn` leaves the trained model."""
    cpus: tuple[int, ...] | None
    replicas: int = 1
    addresses: tuple[str, ...] = ()
    """Of all hosts, `NAME:PORT`, the first one's first; none: the training is on one host."""
    host: int = 0
    """Which of them this worker is on."""
    wait_s: float = 0.0
    """How long the others are waited for."""
    share_a_machine: bool = False
    """Whether two of the hosts are one machine."""

    @property
    def local_replicas(self) -> int:
        """The devices of this host that train."""
        return self.replicas // max(1, len(self.addresses))


class Order(Said):
    """The parent: do this next."""

    kind: Literal["order"] = "order"
    command: Command
    variant: str = ""
    """Which one, for the command of that name: a key of `fmnist.training.variants.VARIANTS`."""


class Ready(Said):
    """The worker: the model is compiled and the data is loaded."""

    kind: Literal["ready"] = "ready"
    import_s: Seconds
    build_s: Seconds
    parameters: Parameters
    forward_macs: dict[str, Count | None]
    train_flop_per_image: Count | None
    jit_compile: bool
    train_images: Count
    validation_images: Count
    test_images: Count
    device_name: str
    versions: dict[str, str]
    threads: dict[str, Any]
    flags: dict[str, str]
    tuning: dict[str, str]
    """By knob of the mode, what it did."""
    shared_device: bool = False
    """Whether replicas share a processor."""


class EpochDone(Said):
    """The worker: one epoch's seconds, and what it achieved (absent where nobody asked)."""

    kind: Literal["epoch"] = "epoch"
    epoch_s: Seconds
    processor_s: ProcessorSeconds
    withheld_s: ProcessorSeconds | None
    evaluate_s: Seconds | None
    result: EpochResult | None
    last: bool = False
    """Whether a callback of the recipe has ended the training."""


class Timed(Said):
    """The worker: the seconds of one prediction of the test set, or of single images."""

    kind: Literal["timed"] = "timed"
    seconds: tuple[Seconds, ...]


class Recognised(Said):
    """The worker: which test images it recognises, as `record.packed` writes it."""

    kind: Literal["recognised"] = "recognised"
    correct: str


class Traced(Said):
    """The worker: the arrays are in the job's `trace_path`."""

    kind: Literal["traced"] = "traced"
    weights_sha256: Sha256


class Raced(Said):
    """The worker: the whole training of one entrant, and what it reached."""

    kind: Literal["raced"] = "raced"
    first_epoch_s: Seconds
    epoch_s: tuple[Seconds, ...]
    processor_s: tuple[ProcessorSeconds, ...]
    withheld_s: tuple[ProcessorSeconds | None, ...]
    race: Race


class Learned(Said):
    """The worker: what the trained model reaches; it lies in the job's `model_path`."""

    kind: Literal["learned"] = "learned"
    accuracy: Share
    loss: Loss
    validation_accuracy: Share | None
    validation_loss: Loss | None
    predictions: Predictions


class PeaksReached(Said):
    """The worker: what its backend reaches here with nothing else to do."""

    kind: Literal["peaks"] = "peaks"
    peaks: Peaks


class Stopped(Said):
    """The worker: its last word."""

    kind: Literal["stopped"] = "stopped"
    peak_memory_bytes: PeakMemory


Answer = Ready | EpochDone | Timed | Recognised | Traced | Raced | Learned | PeaksReached | Stopped
Message = Annotated[Answer | Order, Field(discriminator="kind")]
MESSAGE: TypeAdapter[Answer | Order] = TypeAdapter(Message)


class Channel:
    """One end of the conversation."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._buffer = bytearray()

    def send(self, message: Said) -> None:
        """Send one message. Raises ChannelError if the other side is gone."""
        try:
            self._end.sendall(message.model_dump_json().encode() + b"\n")
        except OSError as error:
            raise ChannelError(f"the other side is gone: {error}") from error

    def receive_line(self, timeout_s: float | None = None) -> bytes:
        """Return the next whole line.

        Raises TimeoutError if the line is not whole after `timeout_s`, ChannelError at the end of
        the channel, NotAMessageError for a line above the size limit.
        """
        allowance = None if timeout_s is None else Allowance(timeout_s)
        if allowance is not None:
            allowance.run()
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > MAX_MESSAGE_BYTES:
                raise NotAMessageError(f"a message of more than {MAX_MESSAGE_BYTES:,} bytes")
            self._buffer += self._piece(allowance)
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line

    def _piece(self, allowance: Allowance | None) -> bytes:
        """Return what has come, at least one byte. Raises as `receive_line`."""
        # What is left for the whole line: one that comes in drips is late as well.
        self._end.settimeout(None if allowance is None else allowance.left_s or 1e-3)
        try:
            piece = self._end.recv(PIECE_BYTES)
        except TimeoutError:
            raise
        except OSError as error:
            raise ChannelError(f"the channel broke: {error}") from error
        if not piece:
            raise ChannelError("the other side closed the channel")
        return piece

    def receive(self, timeout_s: float | None = None) -> Answer | Order:
        """Return the next message. Raises as `receive_line`, and NotAMessageError for garbage."""
        line = self.receive_line(timeout_s)
        try:
            return MESSAGE.validate_json(line)
        except ValidationError as error:
            shown = json.dumps(line[:200].decode(errors="replace"))
            raise NotAMessageError(f"not a message: {shown}") from error

    def close(self) -> None:
        """Close this end."""
        self._end.close()
