"""Progress: one line per cell in a log, with what is left."""

import io

import pytest
from rich.console import Console
from samples import certificate, failed, learned, parity, race, record

from fmnist.record import Record
from fmnist.session.progress import SessionProgress, outcome


class TurnedClock:
    """A clock that a minute goes by on between two looks."""

    def __init__(self) -> None:
        self._now_s = 0.0

    def __call__(self) -> float:
        """Show the next time."""
        self._now_s += 60
        return self._now_s


def test_log_has_a_line_for_each_cell_and_says_what_is_left() -> None:
    """After one of three cells, which took two looks at the clock, two more such times are left."""
    text = io.StringIO()
    made = record()
    console = Console(file=text, width=500, force_terminal=False)
    with SessionProgress(3, console, TurnedClock()) as progress:
        progress.started(made.cell, "train", 1)
        progress.stepped(made.cell, "train", "epoch", 2.0)
        progress.ended(made)

    assert text.getvalue().splitlines() == [
        "[1/3, about 4 min left] dense3-tensorflow-cpu-stock-b100-float32 train: "
        "epoch 2 to 2 s (n=3), accuracy 75.00 %",
    ]


def test_what_an_earlier_run_measured_counts_and_took_no_time() -> None:
    """Of three cells one was found and one has taken two looks at the clock: as long is left."""
    text = io.StringIO()
    made = record()
    console = Console(file=text, width=500, force_terminal=False)
    with SessionProgress(3, console, TurnedClock()) as progress:
        progress.found(made)
        progress.started(made.cell, "train", 1)
        progress.stepped(made.cell, "train", "epoch", 2.0)
        progress.ended(made)

    assert text.getvalue().startswith("[2/3, about 2 min left] ")


def test_terminal_shows_a_bar() -> None:
    """On a terminal each step is drawn when it was taken."""
    text = io.StringIO()
    made = record()
    console = Console(file=text, force_terminal=True, width=200)
    with SessionProgress(1, console) as progress:
        progress.started(made.cell, "train", 4)
        progress.stepped(made.cell, "train", "epoch", 2.0)
        drawn = text.getvalue()
        progress.ended(made)

    assert "1/4 epoch 2 s" in drawn


def test_cell_that_was_never_started_may_end() -> None:
    """After a Ctrl-C, cells end that no worker was started for: that is told like any other."""
    text = io.StringIO()
    console = Console(file=text, width=500, force_terminal=False)
    with SessionProgress(1, console) as progress:
        progress.ended(failed())

    assert "[1/1] dense3-tensorflow-cpu" in text.getvalue()


def test_fresh_starts_of_a_cell_count_for_nothing() -> None:
    """Steps of start-ups, which come after a cell's training, leave the estimate as it is."""
    text = io.StringIO()
    made = record()
    console = Console(file=text, width=500, force_terminal=False)
    with SessionProgress(2, console, TurnedClock()) as progress:
        progress.started(made.cell, "train", 1)
        progress.ended(made)
        for _ in range(3):
            progress.started(made.cell, "startup", 2)
            progress.stepped(made.cell, "startup", "epoch", 1.0)
            progress.stepped(made.cell, "startup", "stop", 0.0)
        progress.started(made.cell, "train", 1)
        progress.ended(made)

    assert text.getvalue().splitlines()[0].startswith("[1/2, about 1 min left]")
    assert text.getvalue().splitlines()[1].startswith("[2/2]")


def test_processes_that_run_together_share_a_bar() -> None:
    """A noise pair is two workers of one cell: one bar with the steps of both, gone at the end."""
    text = io.StringIO()
    made = record()
    with SessionProgress(1, Console(file=text, force_terminal=True, width=200)) as progress:
        progress.started(made.cell, "noise", 4)
        progress.started(made.cell, "noise", 6)
        progress.stepped(made.cell, "noise", "twin", 2.0)

    assert "1/10 twin 2 s" in text.getvalue()


def test_failure_is_told_with_its_reason() -> None:
    """The line of a failed cell is the reason."""
    assert outcome(failed()) == "FAILED killed by SIGKILL"


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (
            record(task="startup", epoch_s=(), history=(), accuracy=None, loss=None),
            "import 1 s, build 0.1 s, first step 3 s",
        ),
        (parity(), "seed 0: the same work"),
        (
            parity(parity=certificate(differences={"outputs": 1.0, "first_loss": 0.0})),
            "seed 0: DIFFERS in outputs",
        ),
        (race(), "entrant, seed 0, 3 epochs at 0.001, batch 100: 4 s, 92.00 %"),
        (
            race(views_accuracy=0.93, views_s=1.7),
            "entrant, seed 0, 3 epochs at 0.001, batch 100: 4 s, 92.00 %; 5 views 93.00 % (+1.7 s)",
        ),
        (learned(), "reproduce, seed 0, 4 epochs, accuracy 90.00 %, loss 0.6000"),
    ],
)
def test_each_task_is_told_in_its_words(made: Record, told: str) -> None:
    """What a process was for decides what its line says of it."""
    assert outcome(made) == told


def test_certificate_ends_the_bars_of_both_sides() -> None:
    """Two backends are certified by one record: neither's bar is left on the terminal."""
    text = io.StringIO()
    made = parity()
    other = record(backend="jax")
    with SessionProgress(1, Console(file=text, force_terminal=True, width=200)) as progress:
        progress.started(made.cell, "parity", 4)
        progress.started(other.cell, "parity", 4)
        progress.ended(made)
        text.truncate(0)
        progress.started(made.cell, "train", 1)
        drawn = text.getvalue()

    assert "train" in drawn
    assert "parity" not in drawn
