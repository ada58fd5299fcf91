"""The options that a session is resumed by come from a folder, and folders travel."""

from pathlib import Path
from typing import Any

import pytest
from samples import record

from fmnist.options import OPTIONS, PlanError
from fmnist.record import append
from fmnist.session import resume

LEFT_OUT = {o.name: list(o.default) if o.multiple else o.default for o in OPTIONS}


def kept(folder: Path, text: str) -> Path:
    """Keep a session's options, and return the file of records that it is resumed by."""
    path = resume.options_path(folder, "s")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    return folder / "raw" / "s.jsonl"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"python": ["jax=/tmp/anything"]}', "--python was .* give it again, no program is"),
        ('{"env": ["a=evil"]}', "--env was .* give it again"),
        ("[1]", "not a JSON object"),
        ('{"surprise": 1}', "surprise is 1, which is no option"),
        ('{"models": ["dense3"]}', "models is .*, which is no option"),
        ("[" * 100_000, "recursion"),
        (" " * 2**20 + "{}", "more than 1,048,576 bytes"),
    ],
    ids=["python", "env", "list", "unknown", "kind", "deep", "large"],
)
def test_options_of_a_stranger_start_nothing(tmp_path: Path, text: str, complaint: str) -> None:
    """A results folder that was handed on names no program to start, and nothing that is odd."""
    with pytest.raises(PlanError, match=complaint):
        resume.options_of(kept(tmp_path, text), LEFT_OUT)


@pytest.mark.parametrize(
    ("own", "complaint"),
    [
        ({"commit": "f" * 40}, "its commit is f{40}, now it is 0123"),
        ({"machine": {"cpu": "Another"}}, "its machine is .*Another.*, now it is .*Abacus"),
    ],
)
def test_other_machine_or_commit_is_refused(
    tmp_path: Path, own: dict[str, Any], complaint: str
) -> None:
    """What was measured elsewhere, or of other code, is not gone on with: times would not be one's.

    On several machines, which may be others, the commit alone counts.
    """
    here = record()
    append(record(**own), tmp_path / "s.jsonl")

    with pytest.raises(PlanError, match=f"(?s){complaint}.*: start a new session"):
        resume.measured(tmp_path / "s.jsonl", here.machine, here.commit)
    if "machine" in own:
        assert len(resume.measured(tmp_path / "s.jsonl", None, here.commit).records) == 1


def test_a_program_that_is_given_again_is_taken(tmp_path: Path) -> None:
    """With the same --env on the command line the session goes on."""
    records = kept(tmp_path, '{"env": ["old=keras==3.14.1"], "rounds": 2}')
    options = resume.options_of(records, LEFT_OUT | {"env": ["old=keras==3.14.1"]})

    assert options["env"] == ["old=keras==3.14.1"]
    assert options["rounds"] == 2
