"""No PyTorch: not in the tree of what is installed for us, and every dependency has its reason."""

import importlib.metadata
import re
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent


def requirements_of(name: str) -> list[Requirement]:
    """Return what an installed package needs; nothing for one that is not installed here."""
    try:
        needed = importlib.metadata.requires(name) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [Requirement(text) for text in needed]


def reachable(name: str, extras: set[str]) -> set[str]:
    """Return the names of all packages that an installation with these extras brings."""
    found: set[str] = set()
    waiting = [(name, frozenset(extras))]
    seen = set(waiting)
    while waiting:
        package, wanted = waiting.pop()
        for needed in requirements_of(package):
            holds = needed.marker is None or any(
                needed.marker.evaluate({"extra": extra}) for extra in ("", *wanted)
            )
            if not holds:
                continue
            found.add(needed.name.lower())
            entry = (needed.name, frozenset(needed.extras))
            if entry not in seen:
                seen.add(entry)
                waiting.append(entry)
    return found


def test_torch_cannot_be_reached() -> None:
    """The walk from our package with every extra meets Keras and both backends, and no torch."""
    extras = {"tensorflow", "jax", "cpu", "tensorflow-gpu", "jax-gpu"}
    found = reachable("fmnist", extras)

    assert {"keras", "tensorflow", "jax", "jaxlib", "numpy"} <= found
    assert not {name for name in found if "torch" in name}


def test_every_dependency_has_its_reason() -> None:
    """docs/dependencies.md names each package that pyproject.toml asks for."""
    text = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+) \|", text, flags=re.MULTILINE)
    named = {name.strip() for row in rows for name in row.split(",")}
    needed = {r.name for r in requirements_of("fmnist")} - {"fmnist"}

    assert needed <= named, f"no reason stated for {needed - named}"
