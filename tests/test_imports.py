"""The direction of the imports, and who alone may do what."""

import ast
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import fmnist

PACKAGE = Path(fmnist.__file__).parent
FRAMEWORKS = ("keras", "tensorflow", "jax", "torch")

# Whose modules have rows of their own; a module of any other package goes by its package.
OPENED = ("data", "lessons", "session", "training")
# Each module or package, and those of ours that it may import. Values flow down the table.
MAY_IMPORT = {
    "grid": set(),
    "options": {"grid"},
    "pytest_options": {"options"},
    "measure": set(),
    "stats": set(),
    "machine": set(),
    "parity": set(),
    "files": set(),
    "bounds": set(),
    "blueprint": set(),
    "layers": set(),
    "data": {"data.preprocess", "data.standin"},
    "data.preprocess": set(),
    "data.standin": set(),
    "data.images": {"data.preprocess"},
    "models": {"blueprint", "grid", "layers"},
    "record": {"files", "grid"},
    "channel": {"measure", "models", "record"},
    "studies": {"blueprint", "grid", "models", "options"},
    "training": set(),
    "training.schedule": set(),
    "training.train": {
        *("grid", "layers", "measure", "models", "parity", "record", "training.schedule"),
    },
    "training.tuned": {"layers", "training.train"},
    "training.distributed": {"channel", "training.train", "training.tuned"},
    "training.variants": {"grid", "measure", "training.train", "training.tuned"},
    "training.heat": {
        *("channel", "data.preprocess", "measure", "models", "record", "training.train"),
    },
    "training.flops": {"record", "training.train"},
    "training.peaks": {"grid", "measure", "record"},
    "training.worker": {
        *("bounds", "channel", "data", "data.preprocess", "grid", "measure", "models", "parity"),
        *("record", "training.distributed", "training.flops", "training.heat", "training.peaks"),
        *("training.train", "training.tuned", "training.variants"),
    },
    "session": set(),
    "session.audit": set(),
    "session.environments": {"machine"},
    "session.gpu_watch": {"record"},
    "session.places": {"grid", "machine", "options", "session.environments"},
    "session.resume": {"files", "grid", "machine", "options", "record"},
    "session.plan": {
        *("channel", "data", "data.standin", "files", "grid", "machine", "measure", "models"),
        *("options", "record", "session.environments", "session.gpu_watch", "session.places"),
        *("session.patience", "session.resume"),
    },
    "session.budget": {"measure", "record", "stats"},
    "session.patience": {"machine", "measure"},
    "session.launch": {
        *("bounds", "channel", "files", "grid", "measure", "models", "record", "session.audit"),
        *("session.budget", "session.gpu_watch", "session.patience", "session.plan"),
    },
    "session.selfcheck": {
        *("channel", "grid", "measure", "parity", "record", "session.launch", "session.plan"),
    },
    "session.meeting": {"channel", "measure"},
    "session.scaling": {
        *("channel", "grid", "machine", "options", "record"),
        *("session.launch", "session.meeting", "session.plan"),
    },
    "session.learn": {
        *("channel", "grid", "models", "options", "record", "session.launch", "session.plan"),
    },
    "session.race": {
        *("channel", "grid", "models", "options", "record", "session.launch", "session.plan"),
        "studies",
    },
    "session.run": {
        *("record", "session.budget", "session.launch", "session.plan", "session.scaling"),
        "session.selfcheck",
    },
    "session.progress": {"grid", "measure", "record"},
    "fleet": {
        *("bounds", "files", "grid", "measure", "options", "record", "session.launch"),
        *("session.plan", "session.resume", "session.run"),
    },
    "report": {
        *("blueprint", "data", "grid", "machine", "models", "record", "stats", "studies"),
    },
    "lessons": set(),
    "lessons.convolution": set(),
    "lessons.ask": {"grid"},
    "lessons.answer": {
        *("layers", "lessons.ask", "measure", "models", "training.flops", "training.train"),
    },
    "lessons.by_keras": {"lessons.ask", "lessons.convolution", "report"},
    "lessons.explore": {"data", "data.preprocess", "lessons.by_keras", "report"},
    "lessons.saved": {"data.preprocess", "lessons.ask"},
    "cli": {
        *("data", "data.images", "files", "fleet", "grid", "machine", "measure", "models"),
        *("options", "record", "report", "studies"),
        *("lessons.ask", "lessons.by_keras", "lessons.convolution", "lessons.explore"),
        *("lessons.saved", "session.launch", "session.learn", "session.places", "session.plan"),
        *("session.progress", "session.race", "session.run", "session.scaling"),
    },
    "__main__": {"cli"},
    "__init__": set(),
}
FREE_OF_FRAMEWORKS = (
    *("grid", "record", "channel", "measure", "stats", "machine", "models"),
    *("session.plan", "session.launch"),
    *("report.render", "report.tables", "report.publish", "report.headline", "report.terminal"),
    *(
        "fleet.on_ray",
        "fleet.on_slurm",
        "session.selfcheck",
        "session.run",
        "cli",
        "blueprint",
        "studies.tuning",
    ),
)


def row_of(parts: Sequence[str]) -> str:
    """Return which row of the table a dotted name belongs to, or may belong to."""
    return ".".join(parts[:2]) if parts[0] in OPENED and len(parts) > 1 else parts[0]


def sources() -> dict[str, list[Path]]:
    """Return the files of each row of the table."""
    found: dict[str, list[Path]] = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        own = parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts
        found.setdefault(row_of(own), []).append(path)
    return found


def imported(path: Path) -> set[str]:
    """Return the rows of the table that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    ours = (name.split(".")[1:] for name in names if name.startswith("fmnist."))
    # What is imported from a package may be a module of it, or a name in its __init__.
    return {row if (row := row_of(parts)) in MAY_IMPORT else parts[0] for parts in ours}


@pytest.mark.parametrize("module", sorted(sources()))
def test_imports_go_one_way(module: str) -> None:
    """A module imports only what the table allows it."""
    used = {name for path in sources()[module] for name in imported(path)} - {module}

    assert used <= MAY_IMPORT[module], f"{module} imports {used - MAY_IMPORT[module]}"


def test_table_has_no_cycle() -> None:
    """The table itself goes one way: every module can be placed after all that it imports."""
    placed: set[str] = set()
    while ready := {m for m, needs in MAY_IMPORT.items() if m not in placed and needs <= placed}:
        placed |= ready

    assert placed == set(MAY_IMPORT)


def test_packages_have_no_cycle() -> None:
    """Not only modules go one way, but the packages that hold them."""
    needs: dict[str, set[str]] = {}
    for row, allowed in MAY_IMPORT.items():
        own = row.partition(".")[0]
        needs.setdefault(own, set()).update({name.partition(".")[0] for name in allowed} - {own})
    placed: set[str] = set()
    while ready := {p for p, others in needs.items() if p not in placed and others <= placed}:
        placed |= ready

    assert placed == set(needs)


def test_parent_starts_no_framework() -> None:
    """Importing them leaves Keras and its backends out: tables render without any of them."""
    code = (
        "import importlib, sys\n"
        f"for name in {FREE_OF_FRAMEWORKS!r}:\n"
        "    importlib.import_module('fmnist.' + name)\n"
        f"    print(name, [f for f in {FRAMEWORKS!r} if f in sys.modules])\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert answer.stdout.splitlines() == [f"{name} []" for name in FREE_OF_FRAMEWORKS]


def lines_with(pattern: str) -> set[str]:
    """Return the modules of ours in which a line matches, comments and docstrings aside."""
    matching = set()
    for module, paths in sources().items():
        for path in paths:
            code = ast.unparse(ast.parse(path.read_text(encoding="utf-8")))
            code = re.sub(r'""".*?"""|\'\'\'.*?\'\'\'', "", code, flags=re.DOTALL)
            if re.search(pattern, code):
                matching.add(module)
    return matching


@pytest.mark.parametrize(
    ("pattern", "owner"),
    [
        (r"\btime\.(time|monotonic|perf_counter)|datetime\.now", "measure"),
        (r"\.(fit|evaluate|predict_on_batch)\(|\.compile\(optimizer", "training.train"),
        (r"==\s*'(jax|tensorflow)'|'(jax|tensorflow)'\s*==", "grid"),
        (r"\.sched_setaffinity", "training.worker"),
    ],
)
def test_one_module_alone_does_it(pattern: str, owner: str) -> None:
    """Clocks are read in one place, models trained in one, backends told apart in one at most."""
    # They call train's functions of these names.
    callers = {
        "training.train": {"training.heat", "training.variants", "training.worker"},
    }.get(owner, set())
    found = lines_with(pattern)

    assert found <= {owner} | callers
    assert owner in found or owner == "grid"
