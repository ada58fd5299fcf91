"""What the README tells people to type exists."""

import re
from pathlib import Path

import click

from fmnist import cli, grid, models
from fmnist.report import publish

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_commands_exist() -> None:
    """Every `fmnist COMMAND` of the README is a command, and every command is in the README."""
    assert isinstance(cli.main, click.Group)
    named = set(re.findall(r"^fmnist (\w+)", README, flags=re.MULTILINE))

    assert named <= set(cli.main.commands)
    assert set(cli.main.commands) - named <= {"publish"}


def test_options_exist() -> None:
    """Every long option of the README is one of ours, pytest's, tox's or pip's."""
    assert isinstance(cli.main, click.Group)
    commands = cli.main.commands.values()
    ours = {flag for command in commands for p in command.params for flag in p.opts}
    others = {"--help", "--collect-only"}
    named = set(re.findall(r"(--[a-z][a-z-]+)", README))

    assert {name for name in named if not name.startswith("--benchmark-")} <= ours | others


def test_presets_are_described() -> None:
    """Each preset has its row."""
    assert all(f"| `{name}` |" in README for name in grid.PRESETS)


def test_tox_environments_exist() -> None:
    """Every environment that the README runs is in tox.ini."""
    tox = (ROOT / "tox.ini").read_text(encoding="utf-8")
    for name in set(re.findall(r"tox run -e ([\w-]+)", README)):
        word = name.removesuffix("-gpu").removesuffix("-cpu")
        assert re.search(rf"\[testenv:.*{word}.*\]", tox), name


def test_models_named_are_models() -> None:
    """The models that the commands name exist."""
    for names in re.findall(r"--models ([\w,]+)", README):
        for name in names.split(","):
            models.check([name])


def test_readme_can_be_published_into() -> None:
    """The markers of the generated table are in place."""
    for name in publish.BLOCKS:
        assert README.index(publish.BEGIN.format(name)) < README.index(publish.END.format(name))
