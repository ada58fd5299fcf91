"""The parent: starts workers, lets them take turns, and turns what they say into records.

A worker computes only while the parent waits for its answer, so at any moment one process works.
A worker that dies, hangs or talks nonsense costs its own cell, and the record says why.
"""

import dataclasses
import os
import signal
import socket
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Protocol, Self, TypeVar

from pydantic import ValidationError

from fmnist import bounds, grid, models
from fmnist.channel import (
    Answer,
    Channel,
    ChannelError,
    Command,
    EpochDone,
    Job,
    Learned,
    NotAMessageError,
    Order,
    PeaksReached,
    Raced,
    Ready,
    Recognised,
    Stopped,
    Timed,
    Traced,
)
from fmnist.files import last_words, undisturbed
from fmnist.grid import AUDIT_VARIANTS, Cell
from fmnist.measure import Allowance, utc_now
from fmnist.record import Peaks, Recipe, Record, Task, Watched, append, throughput
from fmnist.session import audit
from fmnist.session.budget import Share
from fmnist.session.gpu_watch import GpuWatch
from fmnist.session.patience import is_much
from fmnist.session.plan import Plan

Program = Sequence[str] | None
"""What is started as a worker; None: what the plan says for the cell."""

EXIT_WAIT_S = 10
LONGEST_LOG_BYTES = 2**20
"""Of what a worker printed, so much is kept: its beginning and its end."""

Turn = TypeVar("Turn")
Expected = TypeVar(
    "Expected", Ready, EpochDone, Timed, Recognised, Traced, Raced, Learned, PeaksReached, Stopped
)


class WorkerFailureError(RuntimeError):
    """A worker cannot go on; the message is the reason that the record keeps."""


class Observer(Protocol):
    """Is told of a session's progress; what it does with it is its own affair."""

    def started(self, cell: Cell, task: Task, steps: int) -> None:
        """A cell's worker was started; it will take so many steps."""

    def stepped(self, cell: Cell, task: Task, step: str, seconds: float) -> None:
        """A cell took one step."""

    def ended(self, record: Record) -> None:
        """A cell's record is on the disk."""

    def found(self, record: Record) -> None:
        """An earlier run of the session, which goes on now, has measured this."""

    def waits(self, share: float, left_s: float) -> None:
        """So much of the processor time is withheld; there is patience left for so long."""


class Unwatched:
    """An observer that looks away: nobody sits there."""

    def started(self, cell: Cell, task: Task, steps: int) -> None:
        """Look away."""

    def stepped(self, cell: Cell, task: Task, step: str, seconds: float) -> None:
        """Look away."""

    def ended(self, record: Record) -> None:
        """Look away."""

    def found(self, record: Record) -> None:
        """Look away."""

    def waits(self, share: float, left_s: float) -> None:
        """Look away."""


class Child:
    """A worker process that serves one job over a channel of its own. A context manager."""

    def __init__(
        self,
        environ: Mapping[str, str],
        log_path: Path,
        limit_s: float,
        program: Sequence[str],
    ) -> None:
        self.log_path = log_path
        self._allowance = Allowance(limit_s)
        log_path.parent.mkdir(parents=True, exist_ok=True)
        ours, theirs = socket.socketpair()
        self._channel = Channel(ours)
        with log_path.open("wb") as log, theirs:
            try:
                self._process = _start([*program, str(theirs.fileno())], environ, log, theirs)
            except OSError:
                self._channel.close()
                raise

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
        if status == -signal.SIGKILL:
            cause = "killed by SIGKILL, as the system does when memory runs out"
        elif status < 0:
            cause = f"killed by {signal.Signals(-status).name}"
        else:
            cause = f"{error}; exit status {status}"
        if self.log_path.stat().st_size >= bounds.MOST_FILE_BYTES:
            cause = f"it printed more than {bounds.MOST_FILE_BYTES:,} bytes; {cause}"
        return f"{cause}{self._log_tail()}"

    def _log_tail(self) -> str:
        with self.log_path.open("rb") as log:
            end = last_words(log)
        return f"; its log ends: {end}" if end else "; its log is empty"

    def kill(self) -> None:
        """End the worker's process group, which it leads."""
        # macOS answers with a refusal for a group of which only the dead are left.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._shorten_log()

    def _shorten_log(self) -> None:
        """Leave out the middle of a long log: a session of many floods would fill the disk."""
        size = self.log_path.stat().st_size
        if size <= LONGEST_LOG_BYTES:
            return
        note = f"\n... here {size - LONGEST_LOG_BYTES:,} bytes or more are left out ...\n".encode()
        half = (LONGEST_LOG_BYTES - len(note)) // 2
        with self.log_path.open("rb+") as log:
            log.seek(-half, os.SEEK_END)
            end = log.read()
            log.seek(half)
            log.write(note + end)
            log.truncate()


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
    """One process of a cell while it runs: its worker, and what was measured so far.

    Args:
        job: what the worker is told.
        process: which of the cell's processes this is, from 0.
        role: tells processes of one cell and task apart that run together.
    """

    def __init__(
        self,
        plan: Plan,
        cell: Cell,
        job: Job,
        observer: Observer,
        *,
        process: int = 0,
        role: str = "worker",
    ) -> None:
        self.cell = cell
        self.failure: str | None = None
        self.ready: Ready | None = None
        self.traced: Traced | None = None
        self._plan = plan
        self.job = job
        self._task = job.task
        self._observer = observer
        self._process = process
        self._log_path = plan.log_path(cell, job.task, f"{role}{process}")
        self._child: Child | None = None
        self._started_at = utc_now()
        self._epochs: list[EpochDone] = []
        self._last: EpochDone | None = None
        self._variants: dict[str, list[EpochDone]] = {}
        self._timed: dict[str, list[float]] = {"predict": [], "latency": []}
        self._correct: str | None = None
        self._raced: Raced | None = None
        self._learned: Learned | None = None
        self._peaks: Peaks | None = None
        self._stopped: Stopped | None = None
        self._kept: Record | None = None
        self._watched: list[Watched] = []
        self._watch = watch_of(plan, cell)

    def start(self, resources: ExitStack, program: Program, steps: int) -> None:
        """Start the worker, which will take so many steps, and wait until it is ready."""
        self._observer.started(self.cell, self._task, steps)
        self._started_at = utc_now()
        try:
            self._child = resources.enter_context(
                Child(
                    grid.env_for(self.cell, os.environ, deterministic=self._task == "parity"),
                    self._log_path,
                    self._plan.time_limit_s,
                    program or self._plan.program(self.cell),
                )
            )
            if self.failure is not None:  # of another host, in the meantime
                self._child.kill()
            self._child.tell(self.job)
            self.ready = self._expect(Ready)
        except (WorkerFailureError, OSError) as error:
            self.fail(f"before its first epoch: {error}")

    def take(self, order: Order) -> None:
        """Have the worker take one step; after a failure, none."""
        if self.failure is not None or self._child is None:
            return
        try:
            self._child.tell(order)
            seconds = self._carry_out(order)
        except WorkerFailureError as error:
            self.fail(f"{self._place(order)}: {error}")
        else:
            self._observer.stepped(self.cell, self._task, order.variant or order.command, seconds)

    def fail(self, reason: str) -> None:
        """Note why the cell goes no further, and end its worker: it must not disturb the others."""
        self.failure = self.failure or reason
        if self._child is not None:
            self._child.kill()

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be measured."""
        return self.failure is not None or self._stopped is not None

    @property
    def was_disturbed(self) -> bool:
        """Whether the host withheld much of the processor time that the last epoch wanted."""
        done = self._last
        return done is not None and is_much(done.processor_s, done.withheld_s or 0.0)

    @property
    def has_trained(self) -> bool:
        """Whether a callback of the recipe has ended the training."""
        return bool(self._epochs) and self._epochs[-1].last

    def seconds_of(self, variant: str) -> tuple[float, ...]:
        """Return the seconds of a variant's rounds, without the first one, which compiles."""
        return tuple(done.epoch_s for done in self._variants.get(variant, ())[1:])

    def _carry_out(self, order: Order) -> float:
        """Take the answer to an order, keep it, and return its seconds."""
        if order.command in ("epoch", "variant"):
            done = self._watched_epoch() if order.command == "epoch" else self._expect(EpochDone)
            variants = self._variants.setdefault(order.variant, [])
            (self._epochs if order.variant in ("", "epoch") else variants).append(done)
            self._last = done
            return done.epoch_s
        if order.command == "race":
            self._raced = self._expect(Raced)
            return self._raced.race.train_s
        if order.command in self._timed:
            seconds = self._expect(Timed).seconds
            self._timed[order.command] += seconds
            return sum(seconds)
        if order.command == "recognise":
            self._correct = self._expect(Recognised).correct
        elif order.command == "trace":
            self.traced = self._expect(Traced)
        elif order.command == "learned":
            self._learned = self._expect(Learned)
        elif order.command == "peaks":
            self._peaks = self._expect(PeaksReached).peaks
        else:
            self._stopped = self._expect(Stopped)
        return 0.0

    def _watched_epoch(self) -> EpochDone:
        """Wait for the end of an epoch, and look at the GPU in the meantime."""
        if self._watch is None:
            return self._expect(EpochDone)
        self._watch.start()
        try:
            return self._expect(EpochDone)
        finally:
            self._watched.append(self._watch.stop())

    def _expect(self, kind: type[Expected]) -> Expected:
        """Return the worker's answer. Raises WorkerFailureError for one of another kind."""
        if self._child is None:
            raise WorkerFailureError("no worker was started")
        answer = self._child.answer()
        if not isinstance(answer, kind):
            raise WorkerFailureError(f"expected {kind.__name__}, the worker said {answer}")
        return answer

    def _place(self, order: Order) -> str:
        if order.command == "epoch":
            return f"in epoch {len(self._epochs) + 1}"
        return f"in step {order.variant or order.command}"

    def keep(self, **fields: Any) -> Record:  # noqa: ANN401  # fields of a record
        """Write the cell's record to disk, once, and return it.

        Before the cell is over, the record says that it was interrupted. `fields` are what this
        worker cannot know, such as what was measured beside it.
        """
        if self._kept is None:
            if not self.is_over:
                self.fail("interrupted")
            record = self._record(fields)
            with undisturbed():
                append(record, self._plan.records_path)
                self._kept = record
            self._observer.ended(record)
        return self._kept

    def _record(self, fields: Mapping[str, Any]) -> Record:
        """Return the cell's record: complete, or with the failure and what was measured.

        Answers that contradict each other make a record of the terms alone: one worker's nonsense
        must not cost the records of others.
        """
        measured = self._measured()
        terms = {
            **terms_of(self._plan, self.cell, self._task, self._started_at),
            "process": self._process,
        }
        failure = self.failure or audit.disagreement(measured["audit_s"], self.job.steps)
        try:
            return Record.model_validate({**terms, **measured, **fields, "failure": failure})
        except ValidationError as error:
            wrong = error.errors(include_url=False)[0]
            place = ".".join(map(str, wrong["loc"]))
            reason = f"the worker's answers make no record: {place} {wrong['msg']}"
            told = f"{failure}; {reason}" if failure else reason
            return Record.model_validate({**terms, **self._images(), "failure": told})

    def _images(self) -> dict[str, int]:
        """Return how many images the worker was told to take."""
        return {
            "train_images": self.job.train_images - self.job.validation_images,
            "validation_images": self.job.validation_images,
            "test_images": self.job.test_images,
        }

    def _measured(self) -> dict[str, Any]:
        """Return the fields that the worker's answers fill."""
        results = tuple(e.result for e in self._epochs if e.result is not None)
        steady = self._epochs[1:]
        epoch_s = tuple(e.epoch_s for e in steady)
        processor_s = tuple(e.processor_s for e in steady)
        withheld_s = tuple(e.withheld_s for e in steady)
        if self._raced is not None:
            epoch_s, processor_s = self._raced.epoch_s, self._raced.processor_s
            withheld_s = self._raced.withheld_s
        fields: dict[str, Any] = {
            **self._images(),
            "epoch_s": epoch_s,
            "processor_s": processor_s,
            "withheld_s": () if None in withheld_s else withheld_s,
            "watched": self._watched[1 : 1 + len(steady)],
            "audit_s": {n: s for n in AUDIT_VARIANTS if (s := self.seconds_of(n))},
            "history": results,
            # The first prediction compiles and is left out.
            "predict_s": self._timed["predict"][1:],
            "latency_s": self._timed["latency"],
            "correct": self._correct,
            "peaks": self._peaks,
        }
        if self.ready is not None:
            fields |= self.ready.model_dump(exclude={"kind"})
        if self._task in ("noise", "breakdown"):  # the worker holds images for the longest spike
            fields["train_images"] = self.job.steps * self.job.batch_size
        fields["images_per_s"] = throughput(fields["train_images"], epoch_s)
        if self._epochs:
            fields["first_epoch_s"] = self._epochs[0].epoch_s
            fields["evaluate_s"] = self._epochs[-1].evaluate_s
        if results:
            fields |= {"accuracy": results[-1].test_accuracy, "loss": results[-1].test_loss}
        if self._learned is not None:
            fields |= self._learned.model_dump(exclude={"kind"})
        if self._raced is not None:
            fields |= {"first_epoch_s": self._raced.first_epoch_s, "race": self._raced.race}
        if self._stopped is not None:
            fields["peak_memory_bytes"] = self._stopped.peak_memory_bytes
        return fields


def watch_of(plan: Plan, cell: Cell) -> GpuWatch | None:
    """Return what looks at the cell's GPUs; None for one without, or where nobody can look."""
    if cell.device != "gpu" or plan.nvml is None:
        return None
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    try:
        return GpuWatch(plan.nvml, visible, cell.local_replicas)
    except plan.nvml.NVMLError:  # a name that CUDA knows and the driver's library does not
        return None


def terms_of(plan: Plan, cell: Cell, task: Task, started_at: datetime) -> dict[str, Any]:
    """Return the fields of a record that were decided before anything was measured."""
    card = models.card(cell.model)
    return {
        "session": plan.session,
        "started_at": started_at,
        "task": task,
        **dataclasses.asdict(cell),
        "family": card.family,
        "preset": plan.preset_name,
        "dataset": plan.source.kind,
        "recipe": recipe_of(card.recipe),
        "seed": plan.seed,
        "machine": dict(plan.machine),
        "commit": plan.commit,
    }


def recipe_of(recipe: models.Recipe) -> Recipe:
    """Return a model's recipe as a record keeps it: without what the record says elsewhere."""
    return Recipe(**recipe.model_dump(exclude={"batch_size", "validation_share"}))


def orders(plan: Plan, cell: Cell, task: Task) -> list[Order]:
    """Return what a cell's worker is told to do, in turn with the others of its group."""
    commands: list[Command] = ["epoch"] * plan.job(cell, task).epochs
    variants: list[str] = []
    last: list[Command] = ["stop"]
    if task == "scale":
        commands.append("recognise")
    if task == "train":
        predictions: list[Command] = ["predict"] * (1 + plan.preset.predict_rounds)
        commands += ["recognise", *predictions, "latency"]
        variants = list(AUDIT_VARIANTS) * (1 + plan.preset.audit_rounds)
        last = ["peaks", "stop"]
    return [
        *(Order(command=command) for command in commands),
        *(Order(command="variant", variant=name) for name in variants),
        *(Order(command=command) for command in last),
    ]


def in_turn(runs: Sequence[Turn], round_number: int) -> Iterable[Turn]:
    """Return the order of a round: A B, then B A, so that a drift falls on all alike."""
    return runs if round_number % 2 == 0 else reversed(runs)


def wait_for_host(plan: Plan, observer: Observer, runs: Sequence[CellRun]) -> None:
    """Wait before a round, if the plan has patience and the host withheld much from the last one.

    Where it did not, nothing is looked for: to look is to compute.
    """
    if any(run.was_disturbed for run in runs):
        plan.patience.wait(observer.waits)


def run_group(
    plan: Plan,
    cells: Sequence[Cell],
    observer: Observer,
    task: Task = "train",
    program: Program = None,
    process: int = 0,
) -> list[Record]:
    """Run cells side by side, a process each, step by step in turn; return their records.

    What an earlier run of a resumed session has measured is returned as it is.

    A record is on the disk as soon as its cell is over; whatever ends the group early (a Ctrl-C,
    say), the records of what was measured until then are written before it is raised again.
    """
    measured = plan.measured(cells, task, process)
    if measured is not None:
        for record in measured:
            observer.found(record)
        return measured
    plan.patience.wait(observer.waits)
    runs = [CellRun(plan, c, plan.job(c, task), observer, process=process) for c in cells]
    steps = orders(plan, cells[0], task)
    with ExitStack() as records:
        for run in reversed(runs):
            records.callback(run.keep)
        with ExitStack() as resources:
            for run in runs:
                run.start(resources, program, len(steps))
            for number, order in enumerate(steps):
                wait_for_host(plan, observer, runs)
                for run in in_turn(runs, number):
                    run.take(order)
                    if run.is_over:
                        run.keep()
    return [run.keep() for run in runs]


def run_processes(
    plan: Plan,
    cells: Sequence[Cell],
    observer: Observer,
    share: Share | None = None,
    program: Program = None,
) -> Iterator[Record]:
    """Run a group in one fresh process of each cell after the other; yield each record.

    As many as the plan says, or as the group's share of the budget allows. The order of the cells
    turns round with every process. No record is kept, but for a share to judge.
    """
    judged: list[Record] = []
    process = 0
    while process < plan.processes or (share is not None and share.allows_another(judged)):
        turned = list(in_turn(cells, process))
        records = run_group(plan, turned, observer, program=program, process=process)
        if share is not None:
            judged += records
        yield from records
        process += 1


def run_startups(
    plan: Plan, cells: Sequence[Cell], observer: Observer, program: Program = None
) -> list[Record]:
    """Start each cell in fresh processes, one at a time and in turn; return their records."""
    started = [cell for cell in cells if cell in plan.startup_cells]
    return [
        record
        for process in range(plan.preset.startup_processes)
        for cell in in_turn(started, process)
        for record in run_group(plan, [cell], observer, "startup", program, process)
    ]
