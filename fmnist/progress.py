"""Where a session is and how long it still takes: a live bar on a terminal, else a line a cell."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from fmnist.grid import Cell
from fmnist.measure import Clock, Stopwatch
from fmnist.record import Record, Task


class SessionProgress:
    """An observer of a session that tells a person. A context manager.

    What is left is reckoned from the groups that are done: models differ a hundredfold, so the
    figure is rough until the last group.
    """

    def __init__(self, cells: int, console: Console, clock: Clock | None = None) -> None:
        self._console = console
        self._cells = cells
        self._done = 0
        self._stopwatch = Stopwatch(clock) if clock else Stopwatch()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f} steps"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[detail]}"),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self._bars: dict[tuple[Cell, Task], TaskID] = {}
        self._elapsed_s = 0.0

    def __enter__(self) -> Self:
        self._bar.start()
        self._stopwatch.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def started(self, cell: Cell, task: Task, steps: int) -> None:
        """Show a bar for the cell."""
        self._bars[cell, task] = self._bar.add_task(
            f"{cell.id} {task}", total=steps, detail="starting"
        )

    def stepped(self, cell: Cell, step: str, seconds: float) -> None:
        """Move the cell's bar on."""
        for (known, _), bar in self._bars.items():
            if known == cell:
                self._bar.update(bar, advance=1, detail=f"{step} {seconds:.3g} s")

    def noticed(self, cell: Cell, text: str) -> None:
        """Print what a worker wants a person to know."""
        self._console.print(f"{cell.id}: {text}", highlight=False, markup=False)

    def ended(self, record: Record) -> None:
        """Print the cell's line: what came out, and how long the rest may take."""
        bar = self._bars.pop((record.cell, record.task), None)
        if bar is not None:
            self._bar.remove_task(bar)
        self._elapsed_s += self._stopwatch.stop()
        self._stopwatch.start()
        self._done += record.task == "train"
        self._console.print(
            f"{self._place(record)} {record.cell.id} {record.task}: {outcome(record)}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )

    def _place(self, record: Record) -> str:
        if record.task != "train":
            return "[+]"
        # A group's cells end together, so the groups done have the cells done in them.
        left_s = self._elapsed_s / self._done * (self._cells - self._done)
        left = f", about {max(1, round(left_s / 60))} min left" if self._done < self._cells else ""
        return f"[{self._done}/{self._cells}{left}]"


def outcome(record: Record) -> str:
    """Return a cell's result in one line."""
    if record.failure is not None:
        return f"FAILED {record.failure}"
    if record.accuracy is None:
        return (
            f"import {record.import_s:.3g} s, build {record.build_s:.3g} s, "
            f"first step or epoch {record.first_epoch_s:.3g} s"
        )
    epochs = sorted(record.epoch_s)
    return (
        f"epoch {epochs[0]:.3g} to {epochs[-1]:.3g} s (n={len(epochs)}), "
        f"accuracy {100 * record.accuracy:.2f} %"
    )
