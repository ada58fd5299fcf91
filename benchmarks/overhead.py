"""Runs a cell in turn with a plain Keras script that trains the same model on the same images."""

import os
import select
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from fmnist import data, grid
from fmnist.channel import Order
from fmnist.grid import Cell
from fmnist.record import Record
from fmnist.session.launch import CellRun, Observer, in_turn
from fmnist.session.plan import SMALLEST_SAMPLE, Plan

SCRIPT = Path(__file__).with_name("plain_script.py")


class PlainScriptError(RuntimeError):
    """The plain script ended, or says nothing more."""


class PlainScript:
    """The plain script in a process of its own, one epoch for each line it is given."""

    def __init__(self, plan: Plan, cell: Cell, images: Path, epochs: int) -> None:
        self.seconds: list[float] = []
        self._limit_s = plan.time_limit_s
        log = plan.log_path(cell, "overhead", "plain")
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, str(SCRIPT), str(images), str(cell.batch_size), str(epochs)],
                env=grid.env_for(cell, os.environ),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the script, whatever state it is in."""
        self._process.kill()
        self._process.communicate()

    def wait_until_ready(self) -> None:
        """Wait until it has built its model. Raises PlainScriptError if it cannot."""
        self._expect("ready")

    def take(self) -> None:
        """Have it train one epoch. Raises PlainScriptError if it cannot."""
        if self._process.stdin is None or self._process.poll() is not None:
            raise PlainScriptError(f"the plain script ended with status {self._process.poll()}")
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self.seconds.append(float(self._expect("epoch")))

    def _expect(self, word: str) -> str:
        """Return what follows the word on the script's next such line; others are a library's."""
        lines = self._process.stdout
        while lines is not None and select.select([lines], [], [], self._limit_s)[0]:
            line = lines.readline()
            if line.startswith(f"{word} "):
                return line.removeprefix(f"{word} ")
            if not line:
                raise PlainScriptError(f"the plain script ended, status {self._process.wait()}")
        raise PlainScriptError(f"the plain script said nothing for {self._limit_s:g} s")


def run_overhead(plan: Plan, cell: Cell, observer: Observer) -> Record:
    """Return the record of the cell with the plain script's epochs beside its own, on the disk."""
    if (measured := plan.measured_one(cell, "overhead", 0)) is not None:
        observer.found(measured)
        return measured
    job = plan.job(cell, "overhead")
    run = CellRun(plan, cell, job, observer)
    plain: PlainScript | None = None
    try:
        with ExitStack() as resources:
            run.start(resources, None, job.epochs + 1)
            folder = Path(resources.enter_context(tempfile.TemporaryDirectory()))
            plain = PlainScript(plan, cell, _images(plan, folder), job.epochs)
            resources.enter_context(plain)
            _take_turns(run, plain, job.epochs)
    except PlainScriptError as error:
        run.fail(str(error))
    finally:
        record = run.keep(beside_s={"plain": tuple(plain.seconds[1:] if plain else ())})
    return record


def _take_turns(run: CellRun, plain: PlainScript, epochs: int) -> None:
    """Train both, an epoch each in turn, for as long as the cell goes on."""
    plain.wait_until_ready()
    sides = (lambda: run.take(Order(command="epoch")), plain.take)
    for number in range(epochs):
        for take in in_turn(sides, number):
            if run.failure is None:
                take()
    run.take(Order(command="stop"))


def _images(plan: Plan, folder: Path) -> Path:
    """Write the images that the cell trains on to a file, as a user has them."""
    images = plan.preset.overhead_images
    dataset = data.load_sample(plan.source, images, SMALLEST_SAMPLE, plan.seed)
    path = folder / "images.npz"
    np.savez(path, images=dataset.train_images, labels=dataset.train_labels)
    return path
