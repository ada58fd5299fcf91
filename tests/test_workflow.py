"""The pages that show the workflow: their commands exist, and what they print is fresh."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from fmnist.cli import main

ROOT = Path(__file__).parents[1]
COVERAGE = ROOT / "docs" / "coverage.md"
WORKFLOW = ROOT / "docs" / "workflow.md"


def commands(path: Path) -> list[str]:
    """Return what a page has of `fmnist` commands, in code within a line or in blocks of it."""
    text = path.read_text(encoding="utf-8")
    typed = re.findall(r"^(?:\$ )?(fmnist [a-z].*?)(?:  #.*)?$", text, flags=re.MULTILINE)
    return [*re.findall(r"`(fmnist [^`]+)`", text), *typed]


@pytest.mark.parametrize("path", [COVERAGE, WORKFLOW], ids=lambda path: path.stem)
def test_commands_exist(path: Path) -> None:
    """Each command of the page is one of the command line, with the options that it is given."""
    found = commands(path)
    for command in found:
        _, name, *arguments = shlex.split(command)
        options = {flag for p in main.commands[name].params for flag in p.opts}
        given = {word for word in arguments if word.startswith("--")}
        assert given <= options, command
        context = click.Context(main.commands[name])
        assert context.command.name == name

    assert len(found) > 5


def test_tests_exist() -> None:
    """Each test that the page of coverage names is a file of tests."""
    named = set(re.findall(r"`(test_\w+\.py)`", COVERAGE.read_text(encoding="utf-8")))

    assert named
    assert {name for name in named if not (ROOT / "tests" / name).exists()} == set()


def test_every_row_names_command_and_test() -> None:
    """No phrase of the five projects is without a command, a test and where its result is."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in COVERAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith("| ") and "---" not in line and "what it shows" not in line
    ]

    assert len(rows) > 30
    for phrase, command, test, published in rows:
        assert phrase
        assert "fmnist" in command, phrase
        assert "test_" in test, phrase
        assert re.search(r"\]\(\S+\)", published), phrase


@pytest.mark.slow
def test_printed_blocks_are_what_the_commands_print(real_data: Path) -> None:
    """`cog --check` runs every command of the page, and finds its output there."""
    answer = subprocess.run(
        [sys.executable, "-m", "cogapp", "--check", "--diff", str(WORKFLOW)],
        env=os.environ | {"FMNIST_DATA": str(real_data)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert answer.returncode == 0, answer.stdout + answer.stderr
