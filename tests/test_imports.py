"""The direction of the imports, and who alone may do what."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fmnist

PACKAGE = Path(fmnist.__file__).parent
FRAMEWORKS = ("keras", "tensorflow", "jax", "torch")

# Each module, and the modules of ours that it may import. Values flow down the table.
MAY_IMPORT = {
    "grid": set(),
    "race_rules": set(),
    "measure": set(),
    "stats": set(),
    "standin": set(),
    "preprocess": set(),
    "machine": set(),
    "parity": set(),
    "audit": set(),
    "environments": {"machine"},
    "images": {"preprocess"},
    "convolution": set(),
    "ask": {"grid"},
    "by_keras": {"ask", "convolution", "report"},
    "explore": {"by_keras", "data", "preprocess", "report"},
    "answer": {"measure", "ask", "flops", "layers", "models", "train"},
    "saved": {"ask", "preprocess"},
    "data": {"preprocess", "standin"},
    "blueprint": set(),
    "models": {"blueprint", "grid", "layers"},
    "claims": {"grid", "models"},
    "studies": {"blueprint", "models", "options"},
    "files": set(),
    "bounds": set(),
    "record": {"files", "grid"},
    "gpu_watch": {"record"},
    "schedule": set(),
    "layers": set(),
    "channel": {"measure", "models", "record"},
    "train": {"grid", "layers", "measure", "models", "parity", "record", "schedule"},
    "tuned": {"train"},
    "meeting": {"channel", "measure"},
    "distributed": {"channel", "train", "tuned"},
    "heat": {"channel", "measure", "models", "preprocess", "record", "train"},
    "variants": {"grid", "measure", "train", "tuned"},
    "flops": {"record", "train"},
    "peaks": {"grid", "measure", "record"},
    "worker": {
        *("channel", "data", "flops", "grid", "measure", "models", "parity", "peaks", "preprocess"),
        *("bounds", "distributed", "record", "heat", "train", "tuned", "variants"),
    },
    "options": {"grid"},
    "places": {"environments", "grid", "machine", "options"},
    "resume": {"files", "grid", "machine", "options", "record"},
    "plan": {
        *("channel", "data", "environments", "grid", "machine", "measure", "models", "options"),
        *("files", "gpu_watch", "places", "record", "resume", "standin"),
    },
    "budget": {"measure", "record", "stats"},
    "launch": {
        *("audit", "bounds", "budget", "channel", "files", "grid", "gpu_watch", "measure"),
        *("models", "plan", "record"),
    },
    "selfcheck": {"channel", "grid", "launch", "measure", "parity", "plan", "record"},
    "scaling": {"channel", "grid", "launch", "machine", "meeting", "options", "plan", "record"},
    "session": {"budget", "launch", "plan", "record", "scaling", "selfcheck"},
    "fleet": {
        *("bounds", "files", "grid", "launch", "measure", "options", "plan", "record", "resume"),
        "session",
    },
    "learn": {"channel", "grid", "launch", "models", "options", "plan", "record"},
    "race": {
        *("channel", "grid", "launch", "models", "options", "plan", "race_rules", "record"),
    },
    "progress": {"grid", "measure", "record"},
    "report": {
        *(
            "blueprint",
            "claims",
            "data",
            "grid",
            "machine",
            "models",
            "race_rules",
            "record",
            "stats",
            "studies",
        ),
    },
    "doctor": {"data", "grid", "launch", "machine", "options", "places", "plan", "record"},
    "pytest_options": {"options"},
    "cli": {
        *("claims", "data", "doctor", "files", "grid", "launch", "learn", "machine", "measure"),
        "fleet",
        *("models", "options", "plan", "progress", "race", "race_rules", "record", "report"),
        *("scaling", "session", "studies"),
        *("ask", "by_keras", "convolution", "explore", "images", "places", "saved"),
    },
    "__main__": {"cli"},
    "__init__": set(),
}
FREE_OF_FRAMEWORKS = (
    *("grid", "record", "channel", "measure", "stats", "machine", "plan", "launch", "models"),
    *("report.render", "report.tables", "report.publish", "report.headline", "report.terminal"),
    *(
        "fleet.on_ray",
        "fleet.on_slurm",
        "selfcheck",
        "session",
        "cli",
        "blueprint",
        "studies.tuning",
    ),
)


def sources() -> dict[str, list[Path]]:
    """Return the files of every module of ours, a subpackage counting as one module."""
    found: dict[str, list[Path]] = {}
    for path in PACKAGE.rglob("*.py"):
        relative = path.relative_to(PACKAGE)
        found.setdefault(relative.parts[0].removesuffix(".py"), []).append(path)
    return found


def imported(path: Path) -> set[str]:
    """Return the modules of ours that a file imports."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {a.name.split(".")[1] for a in node.names if a.name.startswith("fmnist.")}
        elif isinstance(node, ast.ImportFrom) and node.module == "fmnist":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fmnist."):
            names.add(str(node.module).split(".")[1])
    return names


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
        (r"\.(fit|evaluate|predict_on_batch)\(|\.compile\(optimizer", "train"),
        (r"==\s*'(jax|tensorflow)'|'(jax|tensorflow)'\s*==", "grid"),
        (r"\.sched_setaffinity", "worker"),
    ],
)
def test_one_module_alone_does_it(pattern: str, owner: str) -> None:
    """Clocks are read in one place, models trained in one, backends told apart in one at most."""
    # They call train's functions of these names.
    callers = {"train": {"heat", "variants", "worker"}}.get(owner, set())
    found = lines_with(pattern)

    assert found <= {owner} | callers
    assert owner in found or owner == "grid"
