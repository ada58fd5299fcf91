"""Build wheel and sdist, look into them, and use the wheel where there is no checkout.

Usage: python package.py FOLDER; it needs uv. Ends with an AssertionError, or the failing command.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
LARGEST_BYTES = 1_000_000
"""Of either file: the suite is text."""


def sources() -> set[str]:
    """Return the files of the package that are in git, as paths from the project's root."""
    listed = subprocess.run(
        ["git", "ls-files", "fmnist"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(listed.stdout.split())


def built(folder: Path) -> tuple[Path, Path]:
    """Return a new wheel and a new sdist."""
    subprocess.run(
        [sys.executable, "-m", "uv", "build", "--quiet", "--out-dir", str(folder), str(ROOT)],
        check=True,
    )
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return wheel, sdist


def check_files(wheel: Path, sdist: Path) -> None:
    """Raise AssertionError if either holds a file too many, or lacks one."""
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = set(archive.namelist())
    own = {name for name in in_wheel if ".dist-info/" not in name}
    assert own == sources(), own ^ sources()
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in in_wheel), in_wheel
    with tarfile.open(sdist) as packed:
        in_sdist = {name.partition("/")[2] for name in packed.getnames()}
    beside = {"CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml", ".gitignore"}
    assert in_sdist == sources() | beside, in_sdist ^ (sources() | beside)
    assert max(wheel.stat().st_size, sdist.stat().st_size) < LARGEST_BYTES


def use(wheel: Path, folder: Path) -> None:
    """Install the wheel with JAX in a new environment and run a smoke session in a new folder."""
    away = folder / "away"
    away.mkdir()
    python = str(folder / "venv" / "bin" / "python")
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "--quiet", str(folder / "venv")], check=True)
    pins = ["--constraint", str(ROOT / "requirements" / "newest.txt")]
    install = [*uv, "pip", "install", "--quiet", "--python", python, *pins, f"{wheel}[jax]"]
    subprocess.run(install, check=True)
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    smoke = "run --preset smoke --models dense3 --backends jax --data-dir stand-in"
    for arguments in ("--version", "models", smoke, "check results/raw"):
        command = [str(Path(python).with_name("fmnist")), *arguments.split()]
        subprocess.run(command, cwd=away, env=environ, check=True)


def main(folder: Path) -> None:
    """Do all of it in a folder, which is emptied."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "dist").mkdir(parents=True)
    wheel, sdist = built(folder / "dist")
    check_files(wheel, sdist)
    use(wheel, folder)
    print(f"{wheel.name} and {sdist.name} hold what they should, and the wheel works")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
