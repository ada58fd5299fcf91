"""No PyTorch: not in the tree of what is installed for us, and every dependency has its reason."""

import importlib.metadata
import re
import tomllib
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
    extras = {"tensorflow", "jax", "cpu", "tensorflow-gpu", "jax-gpu", "ray", "slurm"}
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


# Each lets a program under the MIT licence use the package, and be handed on with it.
ALLOWED = re.compile(
    r"(Apache|MIT|BSD|0BSD|ISC|PSF|Python Software Foundation|Mozilla Public License 2\.0"
    r"|MPL-2\.0|CC0|Zlib|HPND|Unlicense|3-Clause BSD|Public Domain)[^;]*"
)
NOT_IN_ITS_METADATA = {"namex": "Apache-2.0"}
"""Packages that carry their licence as a file alone."""


def licences(name: str) -> list[str]:
    """Return what an installed package says of its licence; nothing for one not installed here."""
    try:
        about = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return []
    classified = [
        line.rpartition("::")[2].strip()
        for line in about.get_all("Classifier", [])
        if line.startswith("License ::") and line.count("::") > 1
    ]
    if about["License-Expression"]:
        return re.split(r" (?:AND|OR) ", str(about["License-Expression"]).strip("()"))
    first_line = (str(about["License"] or "").strip().splitlines() or ["unknown"])[0]
    return classified or [NOT_IN_ITS_METADATA.get(name, first_line)]


def test_licences_are_compatible() -> None:
    """Nothing that an installation brings forbids what our MIT licence allows."""
    extras = {"tensorflow", "jax", "cpu", "ray", "slurm"}
    found = {name: licences(name) for name in reachable("fmnist", extras)}
    assert sum(map(bool, found.values())) > 50

    foreign = {
        name: said
        for name, said in found.items()
        if not all(ALLOWED.fullmatch(licence) for licence in said)
    }
    assert foreign == {}


def test_pinned_packages_have_hashes_and_no_host() -> None:
    """Each package that CI tests with is pinned by hash, and no place to get it from is named."""
    for path in (ROOT / "requirements").glob("*.txt"):
        text = path.read_text(encoding="utf-8")
        pins = re.split(r"\n(?=\S)", text)[1:]
        assert len(pins) > 60
        assert all("==" in pin and "--hash=sha256:" in pin for pin in pins)
        assert not re.search(r"://|index-url|find-links", text)


def test_pinned_packages_are_those_that_are_asked_for() -> None:
    """Whatever pyproject.toml wants for the tests is pinned, oldest and newest."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"]["optional-dependencies"]
    wanted = [*project["project"]["dependencies"], *project["dependency-groups"]["test"]]
    names = {Requirement(r).name for r in (*wanted, *extras["tensorflow"], *extras["jax"])}

    for path in (ROOT / "requirements").glob("*.txt"):
        pinned = set(re.findall(r"^([\w.-]+)==", path.read_text(encoding="utf-8"), re.MULTILINE))
        assert names <= pinned, f"{path.name} lacks {names - pinned}: see docs/upgrading.md"
