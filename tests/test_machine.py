"""The machine's facts: collected, and free of names that identify a person."""

import getpass
import json
import socket

import pytest

from fmnist import machine


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


def test_commit_is_a_hash_or_absent() -> None:
    """In a checkout the commit is forty digits, marked where files differ from it."""
    commit = machine.commit()

    assert commit is None or len(commit.removesuffix("-dirty")) == 40


def test_busy_machine_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A load of a thousand would disturb a measurement, a load of zero would not."""
    monkeypatch.setattr("os.getloadavg", lambda: (1000.0, 0.0, 0.0))
    assert any("the load is 1000.00" in trouble for trouble in machine.disturbances())

    monkeypatch.setattr("os.getloadavg", lambda: (0.0, 0.0, 0.0))
    assert not any("load" in trouble.split() for trouble in machine.disturbances())
