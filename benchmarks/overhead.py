"""Runs a cell in turn with a plain Keras script that trains the same model on the same images."""

import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from fmnist import data, grid
from fmnist.grid import Cell
from fmnist.launch import WORKER, CellRun, Observer, in_turn
from fmnist.plan import Plan
from fmnist.preprocess import sample
from fmnist.record import Record, append

SCRIPT = Path(__file__).with_name("plain_script.py")


class PlainScript:
    """The plain script in a process of its own, one epoch for each line it is given."""

    def __init__(self, plan: Plan, cell: Cell, images: Path, epochs: int) -> None:
        self.seconds: list[float] = []
        log = plan.log_path(cell, "overhead").with_suffix(".plain.log")
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, str(SCRIPT), str(images), str(cell.batch_size), str(epochs)],
                env=grid.env_for(cell, os.environ),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._expect("ready")

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

    def take(self) -> None:
        """Have it train one epoch."""
        if self._process.stdin is None:
            raise RuntimeError("the plain script has no standard input")
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        self.seconds.append(float(self._expect("epoch")))

    def _expect(self, word: str) -> str:
        """Return what follows the word on the script's next such line; others are a library's."""
        for line in self._process.stdout or ():
            if line.startswith(f"{word} "):
                return line.removeprefix(f"{word} ")
        raise RuntimeError(f"the plain script ended with status {self._process.wait()}")


def run_overhead(plan: Plan, cell: Cell, observer: Observer) -> Record:
    """Return the record of the cell with the plain script's epochs beside its own, on the disk."""
    run = CellRun(plan, cell, "overhead", observer)
    epochs = run.steps().count("epoch")
    dataset = data.load(plan.source)
    with ExitStack() as resources:
        folder = Path(resources.enter_context(tempfile.TemporaryDirectory()))
        images, labels = sample(
            dataset.train_images, dataset.train_labels, plan.preset.overhead_images, plan.seed
        )
        np.savez(folder / "images.npz", images=images, labels=labels)
        plain = resources.enter_context(PlainScript(plan, cell, folder / "images.npz", epochs))
        run.start(resources, WORKER)
        sides = (lambda: run.take("epoch"), plain.take)
        for number in range(epochs):
            for take in in_turn(sides, number):
                take()
        run.take("stop")
    record = run.record(plain_epoch_s=plain.seconds[1:])
    append(record, plan.records_path)
    observer.ended(record)
    return record
