"""Questions to Keras from a process that imports no framework: `answer` answers them.

Each question is answered by a child process on one backend, in the environment of a worker on the
CPU. What goes there and back are arrays and JSON in a folder of their own, which is deleted.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from fmnist import grid

TIMEOUT_S: Final = 600
LAST_LINES: Final = 3
QUESTION: Final = "question"
ANSWER: Final = "answer"

Arrays = Mapping[str, npt.NDArray[Any]]


class Answer(NamedTuple):
    """Arrays by name, and what else was told."""

    arrays: Arrays
    told: dict[str, Any]


class Refused(ValueError):  # noqa: N818  # it is the answer
    """What was asked about is wrong; the message is for who gave it."""


class NoAnswerError(RuntimeError):
    """The child process crashed or did not end; the message holds its last lines."""


def keras(question: str, backend: str, arrays: Arrays, told: Mapping[str, Any]) -> Answer:
    """Have Keras answer a question on a backend.

    Args:
        question: one of `fmnist.lessons.answer.ANSWERS`.
        backend: one of `grid.BACKENDS`, installed.
        arrays: of numbers, by name.
        told: what else the question needs, as JSON has it.

    Raises:
        Refused: What was asked about is wrong.
        NoAnswerError: The process failed.
    """
    with tempfile.TemporaryDirectory(prefix="fmnist-") as name:
        folder = Path(name)
        write(folder / QUESTION, Answer(arrays, {**told, "question": question}))
        ended = _run(folder, backend)
        if ended.returncode != 0:
            lines = ended.stderr.strip().splitlines()[-LAST_LINES:]
            how = "; ".join(lines) or f"exit status {ended.returncode}"
            raise NoAnswerError(f"{question} on {backend} failed: {how}")
        answer = read(folder / ANSWER)
    if "refused" in answer.told:
        raise Refused(answer.told["refused"])
    return answer


def write(stem: Path, content: Answer) -> None:
    """Write arrays and JSON, for the other process."""
    np.savez(stem.with_suffix(".npz"), **dict(content.arrays), allow_pickle=False)
    stem.with_suffix(".json").write_text(json.dumps(content.told), encoding="utf-8")


def read(stem: Path) -> Answer:
    """Read what the other process wrote."""
    with np.load(stem.with_suffix(".npz"), allow_pickle=False) as arrays:
        found = {name: arrays[name] for name in arrays.files}
    return Answer(found, json.loads(stem.with_suffix(".json").read_text(encoding="utf-8")))


def _run(folder: Path, backend: str) -> "subprocess.CompletedProcess[str]":
    environment = grid.env_for(grid.Cell("none", backend, "cpu"), os.environ)
    try:
        return subprocess.run(  # noqa: S603  # our own program
            [sys.executable, "-m", "fmnist.lessons.answer", str(folder)],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NoAnswerError(f"{backend} gave no answer in {TIMEOUT_S} s") from error
