"""The parent: starts workers, lets them take turns, and turns what they say into records.

A worker computes only while the parent waits for its answer, so at any moment one process works.
A worker that dies, hangs or talks nonsense costs its own cell, and the record says why.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self, TypeVar

from fmnist import grid, models
from fmnist.channel import (
    Answer,
    Channel,
    ChannelError,
    Command,
    EpochDone,
    Job,
    NotAMessageError,
    Order,
    Ready,
    Stopped,
    Timed,
)
from fmnist.grid import Cell
from fmnist.measure import Allowance, utc_now
from fmnist.plan import Plan
from fmnist.record import Recipe, Record, Task, append, throughput

WORKER = (sys.executable, "-m", "fmnist.worker")
EXIT_WAIT_S = 10
LOG_TAIL_BYTES = 2_048
LOG_TAIL_LINES = 5

Turn = TypeVar("Turn")
Expected = TypeVar("Expected", Ready, EpochDone, Timed, Stopped)


class WorkerFailureError(RuntimeError):
    """A worker cannot go on; the message is the reason that the record keeps."""


class Observer(Protocol):
    """Is told of a session's progress; what it does with it is its own affair."""

    def started(self, cell: Cell, task: Task, steps: int) -> None:
        """A cell's worker was started; it will take so many steps."""

    def stepped(self, cell: Cell, step: str, seconds: float) -> None:
        """A cell took one step."""

    def ended(self, record: Record) -> None:
        """A cell's record is on the disk."""


class Child:
    """A worker process that serves one job over a channel of its own. A context manager."""

    def __init__(
        self,
        environ: Mapping[str, str],
        log_path: Path,
        limit_s: float,
        program: Sequence[str] = WORKER,
    ) -> None:
        self.log_path = log_path
        self._allowance = Allowance(limit_s)
        log_path.parent.mkdir(parents=True, exist_ok=True)
        ours, theirs = socket.socketpair()
        self._channel = Channel(ours)
        with log_path.open("wb") as log, theirs:
            self._process = _start([*program, str(theirs.fileno())], environ, log, theirs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the process and all that it started, whatever state it is in."""
        self._channel.close()
        if kind is None:
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(EXIT_WAIT_S)
        self.kill()

    def tell(self, message: Job | Order) -> None:
        """Tell the worker its job, or what to do next. Raises WorkerFailureError if it is gone."""
        try:
            self._channel.send(message)
        except ChannelError as error:
            raise WorkerFailureError(self._reason_of_end(error)) from error

    def answer(self) -> Answer:
        """Wait for the worker's next message.

        Raises WorkerFailureError with the reason if it dies, uses its time up or talks nonsense.
        """
        self._allowance.run()
        try:
            message = self._channel.receive(self._allowance.left_s or 1e-3)
        except TimeoutError:
            limit = f"its time limit of {self._allowance.limit_s:g} s is used up"
            raise WorkerFailureError(f"{limit}{self._log_tail()}") from None
        except NotAMessageError as error:
            raise WorkerFailureError(f"{error}{self._log_tail()}") from error
        except ChannelError as error:
            raise WorkerFailureError(self._reason_of_end(error)) from error
        finally:
            self._allowance.rest()
        if isinstance(message, Order):
            raise WorkerFailureError(f"the worker sent an order: {message}")
        return message

    def _reason_of_end(self, error: ChannelError) -> str:
        """Return why the worker ended: its exit status and the last words of its log."""
        try:
            status = self._process.wait(EXIT_WAIT_S)
        except subprocess.TimeoutExpired:
            return f"{error}, and the process went on{self._log_tail()}"
        if status < 0:
            return f"killed by {signal.Signals(-status).name}{self._log_tail()}"
        return f"{error}; exit status {status}{self._log_tail()}"

    def _log_tail(self) -> str:
        with self.log_path.open("rb") as log:
            log.seek(max(0, self.log_path.stat().st_size - LOG_TAIL_BYTES))
            lines = log.read().decode(errors="replace").strip().splitlines()
        end = " / ".join(line.strip() for line in lines[-LOG_TAIL_LINES:] if line.strip())
        return f"; its log ends: {end}" if end else "; its log is empty"

    def kill(self) -> None:
        """End the worker's process group, which it leads."""
        # macOS answers with a refusal for a group of which only the dead are left.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _start(
    command: Sequence[str], environ: Mapping[str, str], log: IO[bytes], end: socket.socket
) -> subprocess.Popen[bytes]:
    """Start a worker in a session of its own, so that a Ctrl-C reaches it through us only."""
    return subprocess.Popen(  # noqa: S603  # our own program
        command,
        env=dict(environ),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        pass_fds=[end.fileno()],
        start_new_session=True,
    )


class CellRun:
    """One cell of a group while it runs: its worker, and what was measured so far."""

    def __init__(self, plan: Plan, cell: Cell, task: Task, observer: Observer) -> None:
        self.cell = cell
        self.failure: str | None = None
        self._plan = plan
        self._task = task
        self._observer = observer
        self._job = plan.job(cell, task)
        self._child: Child | None = None
        self._started_at = utc_now()
        self._epochs: list[EpochDone] = []
        self._timed: dict[str, list[float]] = {"predict": [], "latency": []}
        self._ready: Ready | None = None
        self._stopped: Stopped | None = None
        self._kept: Record | None = None

    def start(self, resources: ExitStack, program: Sequence[str]) -> None:
        """Start the worker and wait until it is ready."""
        self._observer.started(self.cell, self._task, len(self.steps()))
        self._started_at = utc_now()
        try:
            self._child = resources.enter_context(
                Child(
                    grid.env_for(self.cell, os.environ),
                    self._plan.log_path(self.cell, self._task),
                    self._plan.time_limit_s,
                    program,
                )
            )
            self._child.tell(self._job)
            self._ready = self._expect(Ready)
        except (WorkerFailureError, OSError) as error:
            self.fail(f"before its first epoch: {error}")

    def steps(self) -> list[Command]:
        """Return the orders that this cell's worker is given, in turn with the others'."""
        steps: list[Command] = ["epoch"] * self._job.epochs
        if self._task == "train":
            steps += ["predict"] * (1 + self._plan.preset.predict_rounds)
            steps += ["latency", "stop"]
        else:
            steps += ["stop"]
        return steps

    def take(self, command: Command) -> None:
        """Have the worker take one step; after a failure, none."""
        if self.failure is not None or self._child is None:
            return
        try:
            self._child.tell(Order(command=command))
            seconds = self._carry_out(command)
        except WorkerFailureError as error:
            self.fail(f"{self._place(command)}: {error}")
        else:
            self._observer.stepped(self.cell, command, seconds)

    def fail(self, reason: str) -> None:
        """Note why the cell goes no further, and end its worker: it must not disturb the others."""
        self.failure = self.failure or reason
        if self._child is not None:
            self._child.kill()

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be measured."""
        return self.failure is not None or self._stopped is not None

    def _carry_out(self, command: Command) -> float:
        """Take the answer to an order, keep it, and return its seconds."""
        if command == "epoch":
            self._epochs.append(self._expect(EpochDone))
            return self._epochs[-1].epoch_s
        if command == "stop":
            self._stopped = self._expect(Stopped)
            return 0.0
        seconds = self._expect(Timed).seconds
        self._timed[command] += seconds
        return sum(seconds)

    def _expect(self, kind: type[Expected]) -> Expected:
        """Return the worker's answer. Raises WorkerFailureError for one of another kind."""
        if self._child is None:
            raise WorkerFailureError("no worker was started")
        answer = self._child.answer()
        if not isinstance(answer, kind):
            raise WorkerFailureError(f"expected {kind.__name__}, the worker said {answer}")
        return answer

    def _place(self, command: Command) -> str:
        return f"in epoch {len(self._epochs) + 1}" if command == "epoch" else f"in step {command}"

    def keep(self, plain_epoch_s: Sequence[float] = ()) -> Record:
        """Write the cell's record to disk, once, and return it.

        Before the cell is over, the record says that it was interrupted. Task `overhead` gives the
        seconds of the plain script's epochs, pairs of this cell's own.
        """
        if self._kept is None:
            if not self.is_over:
                self.fail("interrupted")
            self._kept = self._record(plain_epoch_s)
            append(self._kept, self._plan.records_path)
            self._observer.ended(self._kept)
        return self._kept

    def _record(self, plain_epoch_s: Sequence[float]) -> Record:
        """Return the cell's record: complete, or with the failure and what was measured."""
        card = models.card(self.cell.model)
        measured = self._measured()
        return Record.model_validate(
            {
                "session": self._plan.session,
                "started_at": self._started_at,
                "task": self._task,
                "model": self.cell.model,
                "family": card.family,
                "backend": self.cell.backend,
                "device": self.cell.device,
                "mode": self.cell.mode,
                "preset": self._plan.preset_name,
                "dataset": self._plan.source.kind,
                "batch_size": self.cell.batch_size,
                "precision": self.cell.precision,
                "recipe": Recipe(
                    **card.recipe.model_dump(exclude={"batch_size", "validation_share"})
                ),
                "seed": self._plan.seed,
                "machine": dict(self._plan.machine),
                "commit": self._plan.commit,
                "failure": self.failure,
                "plain_epoch_s": tuple(plain_epoch_s),
                **measured,
            }
        )

    def _measured(self) -> dict[str, Any]:
        """Return the fields that the worker's answers fill."""
        results = tuple(e.result for e in self._epochs if e.result is not None)
        epoch_s = tuple(e.epoch_s for e in self._epochs[1:])
        fields: dict[str, Any] = {
            "train_images": self._job.train_images - self._job.validation_images,
            "validation_images": self._job.validation_images,
            "test_images": self._job.test_images,
            "epoch_s": epoch_s,
            "history": results,
            # The first prediction compiles and is left out.
            "predict_s": self._timed["predict"][1:],
            "latency_s": self._timed["latency"],
        }
        if self._ready is not None:
            fields |= self._ready.model_dump(exclude={"kind"})
        fields["images_per_s"] = throughput(fields["train_images"], epoch_s)
        if self._epochs:
            fields["first_epoch_s"] = self._epochs[0].epoch_s
            fields["evaluate_s"] = self._epochs[-1].evaluate_s
        if results:
            fields |= {"accuracy": results[-1].test_accuracy, "loss": results[-1].test_loss}
        if self._stopped is not None:
            fields["peak_memory_bytes"] = self._stopped.peak_memory_bytes
        return fields


def in_turn(runs: Sequence[Turn], round_number: int) -> Iterable[Turn]:
    """Return the order of a round: A B, then B A, so that a drift falls on all alike."""
    return runs if round_number % 2 == 0 else reversed(runs)


def run_group(
    plan: Plan,
    cells: Sequence[Cell],
    observer: Observer,
    task: Task = "train",
    program: Sequence[str] = WORKER,
) -> list[Record]:
    """Run cells side by side, step by step in turn; return their records, already on the disk.

    A record is written as soon as its cell is over; whatever ends the group early (a Ctrl-C, say),
    the records of what was measured until then are written before it is raised again.
    """
    runs = [CellRun(plan, cell, task, observer) for cell in cells]
    with ExitStack() as records:
        for run in reversed(runs):
            records.callback(run.keep)
        with ExitStack() as resources:
            for run in runs:
                run.start(resources, program)
            for number, command in enumerate(runs[0].steps()):
                for run in in_turn(runs, number):
                    run.take(command)
                    if run.is_over:
                        run.keep()
    return [run.keep() for run in runs]


def run_startups(
    plan: Plan, cells: Sequence[Cell], observer: Observer, program: Sequence[str] = WORKER
) -> list[Record]:
    """Start each cell in fresh processes, one at a time and in turn; return their records."""
    order: list[Cell] = []
    for number in range(plan.preset.startup_processes):
        order += cells if number % 2 == 0 else reversed(cells)
    return [r for cell in order for r in run_group(plan, [cell], observer, "startup", program)]


def run_session(
    plan: Plan, observer: Observer, program: Sequence[str] = WORKER
) -> Iterator[Record]:
    """Run every group of the plan; yield each record once it is on the disk."""
    for group in plan.groups:
        yield from run_group(plan, group, observer, program=program)
        yield from run_startups(plan, group, observer, program)
