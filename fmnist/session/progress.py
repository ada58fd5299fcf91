"""Where a session is and how long it still takes: a live bar on a terminal, else a line a cell."""

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from fmnist.grid import Cell
from fmnist.measure import Clock, Stopwatch
from fmnist.record import Race, Record, Task

COUNTED = ("train", "race", "learn", "scale")
"""The tasks by whose records the progress of a session is reckoned."""


class SessionProgress:
    """An observer of a session that tells a person. A context manager.

    What is left is reckoned from the share of cells that is done. Models differ a hundredfold, so
    the figure is rough until the last group.
    """

    def __init__(self, cells: int, console: Console, clock: Clock | None = None) -> None:
        self._console = console
        self._cells = cells
        self._found = self._ended = 0
        self._shares: dict[Cell, tuple[int, int]] = {}
        self._stopwatch = Stopwatch(clock) if clock else Stopwatch()
        self._elapsed_s = 0.0
        self._bars: dict[tuple[Cell, Task], TaskID] = {}
        self._steps: dict[TaskID, int] = {}
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f} {task.fields[detail]}"),
            console=console,
            # Drawn only between epochs: a drawing thread would compute while a child is timed.
            auto_refresh=False,
            transient=True,
        )

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar.start()
        self._stopwatch.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._look_at_the_clock()
        if self._console.is_terminal:
            self._bar.stop()

    def started(self, cell: Cell, task: Task, steps: int) -> None:
        """Show a bar for the cell; processes that run together share it."""
        if task in COUNTED:
            self._shares[cell] = (0, steps)
        if (cell, task) not in self._bars:
            description = f"{cell.id} {task}"
            self._bars[cell, task] = self._bar.add_task(description, total=0, detail="starting")
        bar = self._bars[cell, task]
        self._steps[bar] = self._steps.get(bar, 0) + steps
        self._bar.update(bar, total=self._steps[bar])
        self._draw()

    def stepped(self, cell: Cell, task: Task, step: str, seconds: float) -> None:
        """Move the cell's bar on."""
        if task in COUNTED and cell in self._shares:
            done, steps = self._shares[cell]
            self._shares[cell] = (done + 1, steps)
        detail = f"{step} {seconds:.3g} s{self._left()}"
        self._bar.update(self._bars[cell, task], advance=1, detail=detail)
        self._draw()

    def ended(self, record: Record) -> None:
        """Print the cell's line: what came out, and how long the rest may take."""
        self._remove(record)
        place = "[+]"
        node = record.machine.get("node")
        where = f"{node}: " if node else ""
        if record.task in COUNTED:
            self._shares.pop(record.cell, None)
            self._ended += 1
            place = f"[{self._found + self._ended}/{self._cells}{self._left()}]"
        self._console.print(
            f"{place} {where}{record.cell.id} {record.task}: {outcome(record)}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
        self._draw()

    def found(self, record: Record) -> None:
        """Count what is measured already; it took no time of this run."""
        self._found += record.task in COUNTED

    def waits(self, share: float, left_s: float) -> None:
        """Print that nothing is measured now, and why."""
        self._console.print(
            f"waiting: the host withholds {share:.0%} of the processor time; of --patience, "
            f"{left_s:.0f} s are left",
            highlight=False,
            soft_wrap=True,
        )

    def _remove(self, record: Record) -> None:
        """Take the bars away that a record ends; a cell may end before it was started."""
        ended = [(record.cell, record.task)]
        if record.task == "parity":  # one record for the cells of two backends
            ended = [key for key in self._bars if key[1] == "parity"]
        for key in ended:
            bar = self._bars.pop(key, None)
            if bar is not None:
                self._bar.remove_task(bar)

    def _left(self) -> str:
        """Return how long the rest may take, in words; nothing before and after all work."""
        self._look_at_the_clock()
        running = sum(done / steps for done, steps in self._shares.values())
        share = (self._ended + running) / max(1, self._cells - self._found)
        if not 0 < share < 1:
            return ""
        minutes = self._elapsed_s * (1 - share) / share / 60
        return f", about {max(1, round(minutes))} min left"

    def _look_at_the_clock(self) -> None:
        self._elapsed_s += self._stopwatch.stop()
        self._stopwatch.start()

    def _draw(self) -> None:
        if self._console.is_terminal:
            self._bar.refresh()


def outcome(record: Record) -> str:
    """Return a cell's result in one line."""
    if record.failure is not None:
        return f"FAILED {record.failure}"
    if record.task == "startup":
        return (
            f"import {record.import_s:.3g} s, build {record.build_s:.3g} s, "
            f"first step {record.first_epoch_s:.3g} s"
        )
    if record.parity is not None:
        seed, exceeded = record.parity.seed, ", ".join(record.parity.exceeded)
        return f"seed {seed}: {f'DIFFERS in {exceeded}' if exceeded else 'the same work'}"
    if record.race is not None:
        return _raced(record, record.race)
    epochs = sorted(record.epoch_s)
    if record.task == "learn":
        return (
            f"{record.study}, seed {record.seed}, {len(record.history)} epochs, "
            f"accuracy {100 * (record.accuracy or 0.0):.2f} %, loss {record.loss:.4f}"
        )
    text = f"epoch {epochs[0]:.3g} to {epochs[-1]:.3g} s (n={len(epochs)})"
    return text + (
        f", accuracy {100 * record.accuracy:.2f} %" if record.accuracy is not None else ""
    )


def _raced(record: Record, race: Race) -> str:
    """Return what a whole training took, by which recipe, and what it reached."""
    recipe = record.recipe
    views = ""
    if race.views_accuracy is not None and race.views_s is not None:
        views = f"; {recipe.views} views {100 * race.views_accuracy:.2f} % (+{race.views_s:.2g} s)"
    return (
        f"{race.role}, seed {record.seed}, {recipe.epochs} epochs at {recipe.learning_rate:g}, "
        f"batch {record.batch_size}: {race.train_s:.3g} s, {100 * race.accuracy:.2f} %{views}"
    )
