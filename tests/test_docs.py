"""What the documentation shows and tells people to type is there."""

import ast
import re
import runpy
from pathlib import Path

import click
import pytest
from samples import record

import fmnist
from fmnist import stats
from fmnist.cli import main
from fmnist.record import append

ROOT = Path(__file__).parent.parent
PAGES = {path.stem: path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("docs/*.md"))}
PACKAGE = Path(fmnist.__file__).parent
OF_OTHERS = {
    *("--help", "--version"),
    "--real",
    *("--extra", "--group", "--python-version", "--universal", "--resolution", "--quiet"),
    *("--generate-hashes", "--no-header", "--no-annotate", "--upgrade", "--output-file"),
    "--benchmark-only",
    "--overwrite",
    "--backend",
    # of `ray start`, of a job of Slurm, of `scancel`
    *("--head", "--port", "--num-cpus", "--address", "--exclusive", "--gres", "--name"),
    "--resources",
    "--quick",
    "--repeats",
}


def modules() -> set[str]:
    """Return the names of the package's modules, those of single models aside."""
    names = {
        ".".join(["fmnist", *path.relative_to(PACKAGE).with_suffix("").parts])
        for path in PACKAGE.rglob("*.py")
        if not path.stem.startswith("__")
    }
    one_model = {name for name in names if name.startswith("fmnist.models.")}
    packages = {f"fmnist.{path.parent.name}" for path in PACKAGE.glob("*/__init__.py")}
    return (names - one_model) | packages


def test_reference_has_every_module() -> None:
    """The reference is made of all modules of the package, and of no other."""
    named = re.findall(r"^\.\. automodule:: (\S+)$", PAGES["api"], flags=re.MULTILINE)

    assert sorted(named) == sorted(modules())


def test_reference_can_be_read_without_frameworks() -> None:
    """A union with a framework's type stands in quotes: where it is mocked, `|` has no meaning."""
    evaluated = [
        f"{path.name}:{node.lineno} {ast.unparse(node)}"
        for path in PACKAGE.rglob("*.py")
        for signature in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(signature, ast.FunctionDef)
        for annotation in annotations(signature)
        for node in ast.walk(annotation)
        if isinstance(node, ast.BinOp) and re.search(r"\b(keras|jax|tf)\.", ast.unparse(node))
    ]

    assert evaluated == []


def annotations(function: ast.FunctionDef) -> list[ast.expr]:
    """Return the types of a signature, as far as they are given."""
    takes = function.args
    named = [*takes.posonlyargs, *takes.args, *takes.kwonlyargs, takes.vararg, takes.kwarg]
    types = [function.returns, *(argument.annotation for argument in named if argument)]
    return [one for one in types if one is not None]


@pytest.mark.parametrize("page", PAGES)
def test_commands_exist(page: str) -> None:
    """Every `fmnist COMMAND` and every long option that a page names exists."""
    assert isinstance(main, click.Group)
    commands = main.commands
    named = set(re.findall(r"(?:^\s*|`)fmnist ([a-z]+)", PAGES[page], flags=re.MULTILINE))
    flags = {flag for c in commands.values() for p in c.params for flag in p.opts}

    assert named <= set(commands)
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGES[page])) <= flags | OF_OTHERS


def test_example_prints_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The example prints each cell's epoch as the statistics have it, and names damaged lines."""
    path = tmp_path / "records.jsonl"
    append(record(epoch_s=(2.0, 2.1, 2.2)), path)
    with path.open("a", encoding="utf-8") as file:
        file.write("torn\n")
    monkeypatch.setattr("sys.argv", ["read_results.py", str(path)])
    runpy.run_path(str(ROOT / "docs" / "examples" / "read_results.py"), run_name="__main__")

    printed = capsys.readouterr()
    epoch = stats.geometric_mean((2.0, 2.1, 2.2))
    assert f"{epoch.value} {epoch.low} {epoch.high}\n" in printed.out
    assert "line 2" in printed.err
