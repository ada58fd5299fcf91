"""The machine's facts: collected, and free of names that identify a person."""

import getpass
import json
import os
import py_compile
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from fmnist import machine

ROOT = Path(__file__).parent.parent


def test_facts_can_be_kept_and_name_nobody() -> None:
    """The facts are JSON, know processor and memory, and hold no host or user name."""
    facts = machine.facts()
    text = json.dumps(facts)

    assert facts["memory_bytes"] > 2**28
    assert facts["threads"] >= facts["usable_threads"] >= 1
    assert f'"{socket.gethostname()}"' not in text
    assert f'"{getpass.getuser()}"' not in text


def test_summary_is_a_line_for_people() -> None:
    """Processor, GPU and memory are in the line; what is unknown does not break it."""
    known = {
        "cpu": "Abacus",
        "usable_threads": 2,
        "memory_bytes": 2**34,
        "gpus": [{"name": "H200"}],
        "system": "Linux",
        "kernel": "6.1",
        "virtual": True,
    }
    assert machine.summary(known) == "2 x Abacus, H200, 16.0 GiB, Linux 6.1, virtual machine"
    assert machine.summary({}).startswith("? x unknown processor")


def test_virtual_processors_of_one_name_are_told_apart() -> None:
    """A host may name a processor without its model: then its numbers are in the line."""
    known = {"cpu": "Abacus", "cpu_family": 25, "virtual": True}
    older, newer = (machine.summary(known | {"cpu_model": model}) for model in (1, 17))

    assert older.startswith("? x Abacus (family 25, model 1), ")
    assert newer.startswith("? x Abacus (family 25, model 17), ")
    assert "family" not in machine.summary(known | {"cpu_model": None})
    assert "family" not in machine.summary(known | {"cpu_model": 1, "virtual": False})


def test_commit_is_a_hash_or_absent() -> None:
    """In a checkout the commit is forty digits, marked where files differ from it."""
    commit = machine.commit()

    assert commit is None or len(commit.removesuffix("-dirty")) == 40


@pytest.mark.parametrize("content", ["", "gitdir: nowhere"])
def test_folder_that_git_does_not_know_has_no_commit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str
) -> None:
    """Neither without `.git` nor with one that leads nowhere a commit is made up."""
    if content:
        (tmp_path / ".git").write_text(content)
    monkeypatch.setattr(machine, "CHECKOUT", tmp_path)

    assert machine.commit() is None


def driver_says(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    """Put a program in the place of the driver's own tool."""
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def test_gpus_are_those_that_the_driver_lists(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each line of the driver's tool is a GPU; memory that others hold would disturb, if much."""
    lines = ("0, H200, 580.1, 143771 MiB, 501 MiB", "1, H200, 580.1, 143771 MiB, [N/A]")
    driver_says(monkeypatch, tmp_path, "\n".join(f"echo '{line}'" for line in lines))

    assert [(gpu["index"], gpu["name"]) for gpu in machine.gpus()] == [("0", "H200"), ("1", "H200")]
    assert "memory.used" not in machine.facts()["gpus"][0]
    told = [trouble for trouble in machine.disturbances() if trouble.startswith("GPU")]
    assert told == ["GPU 0 has 501 MiB in use by others"]


def test_driver_that_fails_has_no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A tool without a device to talk to ends with an error: there is no GPU."""
    driver_says(monkeypatch, tmp_path, "echo 'No devices were found'; exit 6")

    assert machine.gpus() == []


def test_what_makes_clocks_and_memory_uneven_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A governor that follows load, a battery, and swap in use beside full memory are named."""
    governor = tmp_path / "governor"
    governor.write_text("powersave\n")
    monkeypatch.setattr(machine, "GOVERNOR", governor)
    monkeypatch.setattr(
        psutil, "sensors_battery", lambda: SimpleNamespace(power_plugged=False), raising=False
    )
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(used=1))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(percent=99.0))
    told = "; ".join(machine.disturbances())

    assert all(word in told for word in ("'powersave'", "battery", "swap")), told


@pytest.mark.parametrize(
    ("times", "told"),
    [
        ({"user": 80.0, "system": 10.0, "steal": 10.0}, True),
        ({"user": 80.0, "system": 20.0, "steal": 0.5}, False),
        ({"user": 80.0, "system": 20.0}, False),
        ({"user": 0.0, "system": 0.0, "steal": 0.0}, False),
    ],
    ids=["other-guests", "few", "not-linux", "just-started"],
)
def test_host_that_withholds_time_is_told(
    monkeypatch: pytest.MonkeyPatch, times: dict[str, float], *, told: bool
) -> None:
    """A tenth of its time withheld from a guest would disturb, half a percent would not."""
    monkeypatch.setattr(psutil, "cpu_times", lambda: SimpleNamespace(**times))
    found = [text for text in machine.disturbances() if "withheld" in text]

    assert bool(found) is told
    assert all("withheld 10% of the processor time" in text for text in found)


def test_packages_without_bytecode_are_told(tmp_path: Path) -> None:
    """Where Python may not write bytecode and Keras has none, each import compiles it anew."""
    (tmp_path / "keras").mkdir()
    (tmp_path / "keras" / "__init__.py").touch()
    code = "from fmnist import machine; print(machine.disturbances())"

    def told(**environ: str) -> str:
        environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}", **environ}
        command = [sys.executable, "-c", code]
        answer = subprocess.run(command, env=environment, capture_output=True, check=True)
        return answer.stdout.decode()

    assert "import times hold that" in told(PYTHONDONTWRITEBYTECODE="1")
    assert "import times hold that" not in told(PYTHONDONTWRITEBYTECODE="")
    py_compile.compile(str(tmp_path / "keras" / "__init__.py"))
    assert "import times hold that" not in told(PYTHONDONTWRITEBYTECODE="1")


def test_busy_machine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A load of a thousand would disturb a measurement, a load of zero would not."""
    monkeypatch.setattr("os.getloadavg", lambda: (1000.0, 0.0, 0.0))
    assert any("the load is 1000.00" in trouble for trouble in machine.disturbances())

    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0))
    assert not any("load" in trouble.split() for trouble in machine.disturbances())
