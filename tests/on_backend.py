"""Runs a script of the tests in a process of its own, on one backend."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from fmnist import grid


def answer(script: Path, backend: str, *arguments: str) -> dict[str, Any]:
    """Return what the script prints as JSON after the word RESULT; fail with its errors."""
    environment = grid.env_for(grid.Cell("dense3", backend, "cpu"), os.environ)
    ended = subprocess.run(
        [sys.executable, str(script), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    line = next(line for line in ended.stdout.splitlines() if line.startswith("RESULT "))
    told: dict[str, Any] = json.loads(line.removeprefix("RESULT "))
    return told
