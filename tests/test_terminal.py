"""A session on a terminal: what a person sees at which width, in which encoding and colours."""

import io
import os
import pty
import re
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pytest
from rich.console import Console
from samples import failed, noise, pair, parity, record

from fmnist.record import Record, append
from fmnist.report import tables
from fmnist.report.choose import assembled
from fmnist.report.render import percent, render, with_interval
from fmnist.report.summary import summaries
from fmnist.report.terminal import ASCII_LEVELS, LEVELS, compact

ESCAPE = "\x1b"
TERMINAL_VARIABLES = {
    *("NO_COLOR", "FORCE_COLOR", "COLORTERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE"),
    *("TERM", "COLUMNS", "LINES"),
}
"""What says, beside the terminal itself, what it can show."""
CONV = {"total": 2_336_558, "trainable": 2_336_558, "dense": 2_000_000, "conv": 336_558, "other": 0}
SLOW = {"model": "conv_8_24_48", "family": "conv", "parameters": CONV}


def session() -> list[Record]:
    """Return a session with verdicts each way, of two models in three processes."""
    steady = [r for process in range(3) for r in pair(process=process)]
    turned = [
        record(backend=b, process=p, epoch_s=tuple(s * f for f in (1.0, 1.02, 1.01)), **SLOW)
        for p in range(3)
        for b, s in (("tensorflow", 0.0704), ("jax", 0.2205))
    ]
    return [*steady, *turned, *(noise(process=process) for process in range(3))]


def shown(
    records: Sequence[Record],
    width: int = 140,
    encoding: str = "utf-8",
    color_system: Literal["standard"] | None = None,
    **console: Any,  # noqa: ANN401  # what else a console takes
) -> str:
    """Return what a console of that width and encoding writes."""
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding=encoding) as file:
        against = console.pop("against", None)
        drawing = Console(file=file, width=width, color_system=color_system, **console)
        drawing.print(compact(records, against))
        file.flush()
        return raw.getvalue().decode(encoding)


def row(text: str, backend: str, model: int = 0) -> str:
    """Return the line of a backend, of the model-th model."""
    return [line for line in text.splitlines() if line.startswith(f"  {backend} ")][model]


@pytest.mark.parametrize("width", [60, 80, 100, 140, 200])
def test_numbers_are_whole_at_any_width(width: int) -> None:
    """No line is too wide, and each epoch, ratio and accuracy stands in one piece."""
    text = shown(session(), width)

    assert max(map(len, text.splitlines())) <= width
    for cell in summaries(session()):
        assert with_interval(cell.epoch) in text
        assert f" {percent(cell.accuracy)}" in text
        assert cell.ratio is None or with_interval(cell.ratio) in text


def test_narrow_screens_show_less() -> None:
    """Columns go in the order of their rank: what is in a table stays in all wider ones."""
    titles = ["accuracy [%]", "rounds", "bar", "  n  ", "first epoch [s]", "images/s"]
    headers = [_header(shown(session(), width)) for width in range(56, 142, 5)]
    seen = [[title for title in titles if title in header] for header in headers]

    assert seen[0] == titles[:1]
    assert seen[-1] == titles
    assert all(some == titles[: len(some)] for some in seen)
    assert sorted(map(len, seen)) == list(map(len, seen))


def _header(text: str) -> str:
    return next(f"{line}  " for line in text.splitlines() if line.startswith("  backend"))


def test_screen_that_is_too_narrow_is_told() -> None:
    """Instead of cut numbers: how many columns the table needs, and that many are enough."""
    text = shown(session(), 40)
    needed = re.search(r"needs a terminal of\s+(\d+)\s+columns", text)

    assert needed is not None
    assert "backend" not in text
    assert "  backend" in shown(session(), int(needed[1]))
    assert "  backend" not in shown(session(), int(needed[1]) - 1)


def test_verdicts_are_words_in_colours() -> None:
    """Faster is green, slower red, and the word is there without a colour too."""
    plain, coloured = (
        shown(session(), color_system=system, force_terminal=True) for system in (None, "standard")
    )

    assert re.search(r"dense3 .* faster", plain)
    assert re.search(r"conv_8_24_48 .* slower", plain)
    assert f"{ESCAPE}[32mfaster" in coloured
    assert f"{ESCAPE}[31mslower" in coloured


def test_doubt_is_yellow_and_a_word() -> None:
    """Where the session cannot tell, the line says so."""
    doubt = [record(epoch_s=(2.0, 2.2, 1.9)), record(backend="jax", epoch_s=(2.1, 1.9, 2.2))]
    noises = [noise(process=process) for process in range(3)]
    coloured = shown([*doubt, *noises], color_system="standard", force_terminal=True)

    assert f"{ESCAPE}[33mcannot tell" in coloured


def test_without_noise_there_is_no_verdict() -> None:
    """The ratio stands with its interval, and no word beside it."""
    text = shown(pair())

    assert "0.500 [0.500, 0.500]" in text
    assert "jax is" not in text
    assert "no verdicts" in text


@pytest.mark.parametrize(
    ("environment", "kinds"),
    [
        ({}, {"colour", "weight"}),
        ({"NO_COLOR": "1"}, {"weight"}),
        ({"TERM": "dumb"}, set()),
    ],
)
def test_colour_is_the_person_s_choice(
    environment: dict[str, str], kinds: set[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """NO_COLOR keeps bold and dim alone; a dumb terminal gets no escape sequence at all."""
    for name in TERMINAL_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in ({"TERM": "xterm"} | environment).items():
        monkeypatch.setenv(name, value)
    text = io.StringIO()
    Console(file=text, force_terminal=True, width=80).print(compact(session()))

    codes = set(re.findall(r"\x1b\[([\d;]+)m", text.getvalue())) - {"0"}
    assert {"weight" if code in ("1", "2") else "colour" for code in codes} == kinds
    assert (ESCAPE in text.getvalue()) == bool(kinds)


def test_pipes_get_no_escape_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    """Written to something that is no terminal, it is plain text."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    text = io.StringIO()
    Console(file=text, width=100).print(compact(session()))

    assert ESCAPE not in text.getvalue()


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_encoding_without_blocks_gets_ascii(encoding: str) -> None:
    """Where the encoding has no block elements, other marks and escapes take their place."""
    records = [
        *session(),
        *pair(model="größtes…模型", session="s" * 100),
        failed(model="é").model_copy(update={"failure": "…" * 200}),
    ]
    text = shown(records, 80, encoding)

    assert text.isascii()
    assert "gr\\xf6\\xdftes..." in text
    assert set(row(text, "jax").split()[4]) <= set(ASCII_LEVELS)


def test_rounds_are_marked_on_one_scale() -> None:
    """The slowest round of all has the highest mark, the fastest the lowest, in every cell."""
    text = shown([record(epoch_s=(1.0, 2.0, 1.0, 1.0)), record(backend="jax", epoch_s=(1.0,) * 4)])

    noisy, calm = (row(text, backend).split()[-5] for backend in ("tensorflow", "jax"))
    assert noisy == f"{LEVELS[0]}{LEVELS[-1]}{LEVELS[0]}{LEVELS[0]}"
    assert len(set(calm)) == 1
    assert calm[0] in LEVELS[1:-1]
    # Against the geometric mean of 1, 2, 1, 1: from 2 ** -0.25 to 2 ** 0.75.
    assert "▁ -16 % to █ +68 %" in " ".join(text.split())


def test_processes_are_marked_apart() -> None:
    """Rounds of three processes stand in three groups."""
    text = shown([record(process=p, epoch_s=(1.0, 2.0)) for p in range(3)])

    assert "▁█ ▁█ ▁█" in row(text, "tensorflow")


def test_many_rounds_share_marks() -> None:
    """Where rounds do not fit, each mark is of several, and the legend says of how many."""
    text = shown([record(epoch_s=(1.0,) * 60 + (1.0, 1.0, 1.0, 1.0, 8.0) * 6)], 80)

    assert f"{LEVELS[0] * 12}{LEVELS[-1] * 6}" in row(text, "tensorflow")
    assert "each mark the mean of 5 rounds" in " ".join(text.split())


def test_more_processes_than_room_leave_the_rounds_out() -> None:
    """Forty processes have no marks on a small screen; no legend speaks of them."""
    text = shown([record(process=p) for p in range(40)], 80)

    assert "rounds" not in _header(text)
    assert "rounds:" not in text
    assert "3" in row(text, "tensorflow")


def test_bars_are_linear_from_zero() -> None:
    """The slowest fills its bar; JAX at a quarter of the time has a quarter of it."""
    text = shown([record(epoch_s=(4.0, 4.0)), record(backend="jax", epoch_s=(1.0, 1.0))])

    long, short = (row(text, backend).count("━") for backend in ("tensorflow", "jax"))
    assert (long, short) == (24, 6)


def test_backend_alone_has_no_bar() -> None:
    """One backend has nothing to be shorter than: no bar, no ratio, and a line that says so."""
    text = shown([record(), record(model="dense_wide")])

    assert "bar" not in _header(text)
    assert "bar:" not in text
    assert "/ tensorflow" not in text
    assert "only TensorFlow was trained" in text


def test_gap_is_a_dash() -> None:
    """A model that one backend lacks has no ratio."""
    text = shown([*session(), record(model="alone", epoch_s=(5.0, 5.0))])

    assert re.search(r"^alone +109,386 +- +- *$", text, re.MULTILINE)


def test_ratio_is_against_the_named_backend() -> None:
    """TensorFlow against JAX takes twice the time."""
    assert "2.00 [2.00, 2.00]" in shown(pair(), against="jax")
    assert "tensorflow / jax time" in shown(pair(), against="jax")


def test_what_varies_stands_beside_the_model() -> None:
    """Two precisions of a model are two lines that say which."""
    text = shown([*pair(), *pair(precision="mixed_bfloat16", batch_size=500)])

    assert "dense3 (batch 100, float32)" in text
    assert "dense3 (batch 500, mixed_bfloat16)" in text


def test_other_work_is_marked() -> None:
    """A model whose certificate failed has its mark, and the mark its meaning."""
    some = parity().parity
    assert some is not None
    apart = some.model_copy(update={"differences": {"outputs": 1.0, "first_loss": 1.0}})
    text = shown([*pair(), parity(parity=apart)])

    assert "dense3 (!)" in text
    assert "(!): the backends did NOT do the same work" in " ".join(text.split())


def test_terms_stand_below() -> None:
    """Data set, preset, images, versions, machine, commit and session end the table."""
    text = " ".join(shown(session()).split("  backend", 1)[1].split())

    for term in (
        "data set: fashion-mnist; preset quick; 6,000 training, 0 validation, 2,000 test images",
        "2 x Abacus, 16.0 GiB, Linux",
        "keras 3.15.1",
        "commit 0123456789ab",
        "session 20261121-000000-test",
        "noise: dense3-tensorflow-cpu-stock-b100-float32 against itself +0.00 [+0.00, +0.00] %; "
        "more steps found: 1 % yes, 2 % yes, 3 % yes, 5 % yes",
        "fmnist report FILE | less",
    ):
        assert term in text


def test_stand_in_is_the_first_thing_said() -> None:
    """Stand-in data is named above all figures."""
    lines = shown(pair(dataset="stand-in")).splitlines()

    assert "stand-in, NOT on Fashion-MNIST" in lines[1]


def test_failures_are_listed_and_counted() -> None:
    """Failed cells come with their reasons, the first eight of them; the rest are counted."""
    text = shown([failed(model=f"m{n}") for n in range(11)])

    assert "FAILED m0-tensorflow-cpu-stock-b100-float32 train: killed by SIGKILL" in text
    assert text.count("killed by SIGKILL") == 1 + 8
    assert "FAILED 3 more" in text
    assert "backend" not in text


def test_nothing_is_said_to_be_nothing() -> None:
    """No records make a sentence and no table."""
    assert shown([]).strip() == "- There are no records."


@pytest.mark.parametrize("width", [60, 80, 200])
def test_hostile_text_is_inert(width: int) -> None:
    """Markup, emoji codes, escape sequences and long names are shown as text, in their place."""
    name = "[red]:boom:[/red]\x1b[2J\r\n\x9b1A\u202e" + "x" * 150
    flags = {"XLA_FLAGS": "\x1b]0;owned\x07" + "y" * 100_000}
    broken = failed(model=name).model_copy(update={"failure": f"\x1b[31m{'z' * 9_000}"})
    text = shown([*pair(model=name, flags=flags), broken], width, force_terminal=True)

    assert all(character.isprintable() or character == "\n" for character in text)
    assert "[red]:boom:[/red]\\x1b[2J \\x9b1A\\u202exxx" in " ".join(text.split())
    assert "\\x1b]0;owned\\x07" in text
    assert "\\x1b[31mzzz" in text
    assert len(text) < 10_000
    assert max(map(len, text.splitlines())) <= width


def on_a_terminal(command: Sequence[str], environ: Mapping[str, str], columns: int) -> str:
    """Return what a process writes to a terminal of so many columns; it must end well."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (40, columns))
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environ
    ) as child:
        os.close(theirs)
        written = []
        # Linux says by an error that the last one who had the terminal open has gone.
        with suppress(OSError):
            while part := os.read(ours, 65_536):
                written.append(part)
        os.close(ours)
    text = b"".join(written).decode()
    assert child.returncode == 0, text
    return text


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Return a records file of the session."""
    path = tmp_path / "session.jsonl"
    for one in session():
        append(one, path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize(("own", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_report_draws_on_a_terminal(*, file: Path, own: dict[str, str], coloured: bool) -> None:
    """`fmnist report` in a terminal shows the compact table, as wide as it, coloured if wanted."""
    kept = {n: value for n, value in os.environ.items() if n not in TERMINAL_VARIABLES}
    command = [sys.executable, "-m", "fmnist", "report", str(file)]
    text = on_a_terminal(command, {**kept, "TERM": "xterm", "PYTHONUTF8": "1", **own}, 100)

    assert (f"{ESCAPE}[32mfaster" in text) == coloured
    lines = re.sub(r"\x1b\[[\d;]*m", "", text).splitlines()
    assert 80 < max(map(len, lines)) <= 100
    assert any(line.split()[:2] == ["backend", "epoch"] for line in lines)


@pytest.mark.slow
def test_report_into_a_pipe_is_the_plain_tables(file: Path) -> None:
    """Into a pipe it prints every table as text, even where colour is forced."""
    answer = subprocess.run(
        [sys.executable, "-m", "fmnist", "report", str(file)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "FORCE_COLOR": "1"},
    )

    shown_as_text = [
        render(table, "text") for run in assembled(session()) for table in tables.of_session(run)
    ]
    assert answer.stdout == "".join(f"{text}\n" for text in shown_as_text)
