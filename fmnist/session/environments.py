"""Other packages to run a worker with: environments built by uv, once for their pins.

`--env old="keras==3.14.1"` names one; its cells run interleaved with those of the others.
"""

import hashlib
import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import platformdirs

from fmnist import machine

GRAMMAR = re.compile(r"([\w.-]{1,40})=(.+)")
INSTALL_UV = 'pip install -e ".[environments]"'
LAST_LINES = 5


class BuildError(ValueError):
    """An environment that cannot be had; the message says why and what to do."""


@dataclass(frozen=True)
class Environment:
    """A name, and what is installed beside the suite: requirements as pip takes them."""

    name: str
    requirements: tuple[str, ...]


def parse(texts: Iterable[str]) -> list[Environment]:
    """Return the environments of texts like `old=keras==3.14.1 jax==0.10.1`."""
    found: dict[str, Environment] = {}
    for text in texts:
        match = GRAMMAR.fullmatch(text)
        if match is None:
            raise BuildError(
                f"--env must be NAME=REQUIREMENTS, like 'old=keras==3.14.1', got {text!r}"
            )
        if match[1] in found:
            raise BuildError(f"--env names {match[1]!r} twice: each needs a name of its own")
        found[match[1]] = Environment(match[1], tuple(sorted(match[2].split())))
    return list(found.values())


def parse_pythons(texts: Iterable[str], backends: Iterable[str]) -> dict[str, str]:
    """Return the interpreters of texts like `tensorflow=/opt/tf/bin/python`, by backend."""
    found = {}
    for text in texts:
        backend, _, path = text.partition("=")
        if backend not in backends or not path:
            raise BuildError(
                f"--python must be BACKEND=PATH with a backend of {', '.join(backends)}, "
                f"got {text!r}"
            )
        _check_interpreter(path)
        found[backend] = path
    return found


def _check_interpreter(path: str) -> None:
    """Raise if the program cannot import the suite."""
    try:
        answer = _run([path, "-c", "import fmnist.channel"])
    except OSError as error:
        raise BuildError(f"--python: {path} cannot be started: {error}") from error
    if answer.returncode != 0:
        raise BuildError(
            f"--python: {path} cannot import fmnist, install it there: "
            f"{path} -m pip install -e {machine.CHECKOUT}; {_end(answer.stderr)}"
        )


def build(environment: Environment, backends: Sequence[str]) -> str:
    """Return the Python of an environment with the suite in it; built if it is not there yet.

    It is kept in the user's cache under the digest of all that decides its content. Raises
    BuildError if uv is missing or cannot install the requirements.
    """
    suite = f"{machine.CHECKOUT}[{','.join(sorted(backends))}]"
    decided_by = (*environment.requirements, suite, sys.version, _project())
    digest = hashlib.sha256("\n".join(decided_by).encode()).hexdigest()[:16]
    folder = platformdirs.user_cache_path("fmnist") / "environments" / digest
    python = folder / "bin" / "python"
    done = folder / "complete"
    if not done.exists():
        uv = _uv()
        _do([*uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)])
        install = ["pip", "install", "--quiet", "--python", str(python), "--editable", suite]
        _do([*uv, *install, *environment.requirements])
        done.touch()
    return str(python)


def _project() -> str:
    """Return the text of the project's own requirements. Raises outside of a checkout."""
    path = machine.CHECKOUT / "pyproject.toml"
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise BuildError(
            f"--env installs the suite from its checkout, and {path} cannot be read: {error}"
        ) from error


def _uv() -> list[str]:
    if importlib.util.find_spec("uv") is None:
        raise BuildError(f"--env needs uv to build environments: {INSTALL_UV}")
    return [sys.executable, "-m", "uv"]


def _do(command: Sequence[str]) -> None:
    answer = _run(command)
    if answer.returncode != 0:
        raise BuildError(f"--env: `{' '.join(command)}` failed: {_end(answer.stderr)}")


def _run(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # a program that the user named, or uv


def _end(text: str) -> str:
    return " / ".join(line.strip() for line in text.strip().splitlines()[-LAST_LINES:])
