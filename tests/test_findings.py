"""The findings run as written: their commands work and print what docs/findings.md shows."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = ROOT / "benchmarks" / "findings"
PAGE = (ROOT / "docs" / "findings.md").read_text(encoding="utf-8")
SHOWN = dict(
    re.findall(
        r"^```sh\npython ([^\n]+)\n```\n+```text\n(.*?)^```$", PAGE, flags=re.MULTILINE | re.DOTALL
    )
)
"""Each command of the page after the word `python`, and what the page shows that it printed."""


def names(printed: str) -> list[str]:
    """Return what stands before the colon in each line: what is measured, not how much."""
    return [line.partition(":")[0] for line in printed.splitlines()]


def test_page_has_every_script() -> None:
    """Every script has a command on the page, and every command is of a script."""
    shared = {"measured"}
    files = {path.stem for path in SCRIPTS.glob("*.py")} - shared

    assert {Path(shlex.split(command)[0]).stem for command in SHOWN} == files
    assert all((ROOT / shlex.split(command)[0]).is_file() for command in SHOWN)


def test_scripts_are_no_part_of_us() -> None:
    """A script needs nothing of this project but its own folder."""
    for path in SCRIPTS.glob("*.py"):
        assert "fmnist" not in re.findall(
            r"^\s*(?:from|import) (\w+)", path.read_text(), re.MULTILINE
        )


@pytest.mark.slow
@pytest.mark.parametrize("command", SHOWN)
def test_command_prints_what_is_shown(command: str) -> None:
    """A quick run prints lines that the page shows, in its order."""
    done = subprocess.run(
        [sys.executable, *shlex.split(command), "--quick"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )

    assert done.returncode == 0, done.stderr
    printed = names(done.stdout)
    assert printed[0] == "terms"
    assert len(printed) > 1
    assert printed == [name for name in names(SHOWN[command]) if name in printed]
