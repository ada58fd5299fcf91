"""Records: what cannot be built, what survives a file."""

import json
import math
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import RESULT, failed, fields, record

from fmnist.record import Record, append, read


def test_record_survives_its_line() -> None:
    """A record read from its own JSON line equals itself."""
    original = record()

    assert Record.from_json(original.to_json()) == original
    assert "\n" not in original.to_json()


def test_line_has_the_names_that_are_promised() -> None:
    """The fields that others read are there by name."""
    promised = """schema session started_at model family backend device mode preset dataset
        train_images test_images batch_size precision epoch_s first_epoch_s import_s build_s
        evaluate_s images_per_s accuracy loss history parameters peak_memory_bytes jit_compile seed
        versions machine threads flags commit failure""".split()

    assert set(promised) <= set(json.loads(record().to_json()))


@pytest.mark.parametrize(
    ("own", "complaint"),
    [
        ({"epoch_s": (1.0, -1.0)}, "greater than 0"),
        ({"epoch_s": (1.0, math.inf)}, "finite"),
        ({"accuracy": 1.5}, "less than or equal to 1"),
        ({"accuracy": 0.5}, "those of the last epoch"),
        ({"backend": "torch"}, "there are: tensorflow, jax"),
        ({"device": "tpu"}, "there are: cpu, gpu"),
        ({"mode": "secret"}, "unknown mode"),
        ({"preset": "huge"}, "unknown preset"),
        ({"dataset": "mnist"}, "fashion-mnist"),
        ({"family": "transformer"}, "dense"),
        ({"images_per_s": 1.0}, "geometric mean"),
        ({"history": [RESULT]}, "every epoch"),
        ({"history": [], "accuracy": None, "loss": None}, "accuracy is missing"),
        ({"history": []}, "needs the history"),
        ({"import_s": None}, "import_s is missing"),
        ({"versions": {}}, "versions is missing"),
        ({"predict_s": ()}, "predict_s is missing"),
        ({"plain_epoch_s": (1.0,)}, "pairs"),
        ({"train_images": 0}, "greater than or equal to 1"),
        ({"session": "../../etc"}, "pattern"),
        ({"started_at": "2026-11-21T00:00:00"}, "timezone"),
        ({"failure": ""}, "at least 1"),
        ({"surprise": 1}, "Extra inputs"),
        (
            {"parameters": {"total": 3, "trainable": 3, "dense": 1, "conv": 1, "other": 0}},
            "do not add up",
        ),
    ],
)
def test_nonsense_cannot_be_built(own: dict[str, Any], complaint: str) -> None:
    """A record that contradicts itself or the grid is refused, with the reason."""
    with pytest.raises(ValueError, match=complaint):
        record(**own)


def test_failure_may_lack_what_was_not_measured() -> None:
    """A failed cell keeps its reason and needs no figures."""
    assert Record.from_json(failed().to_json()).failure == "killed by SIGKILL"


def test_diverged_run_is_still_a_record() -> None:
    """A loss that is not a number survives the file: it is what happened."""
    result = RESULT | {"test_loss": math.nan}
    diverged = record(history=[result] * 4, loss=math.nan)

    again = Record.from_json(diverged.to_json())
    assert again.loss is not None
    assert math.isnan(again.loss)


def test_throughput_from_another_machine_may_differ_in_the_last_digit() -> None:
    """Machines round logarithms differently: that is no contradiction."""
    exact = fields()["images_per_s"]

    assert record(images_per_s=exact * (1 + 1e-12)).images_per_s == exact * (1 + 1e-12)


def test_appended_records_are_read_back(tmp_path: Path) -> None:
    """Two appended records are two lines, and both come back."""
    path = tmp_path / "raw" / "s.jsonl"
    append(record(), path)
    append(failed(), path)

    records, damaged = read(path)
    assert [r.failure for r in records] == [None, "killed by SIGKILL"]
    assert damaged == []


def test_damaged_line_is_named_and_the_good_ones_are_used(tmp_path: Path) -> None:
    """A torn, a foreign and a newer line are told with number and reason; the rest is read."""
    good = record().to_json()
    newer = json.dumps(json.loads(good) | {"schema": 99})
    path = tmp_path / "s.jsonl"
    path.write_text("\n".join([good, good[:100], "", "[1]", newer, good]) + "\n")

    records, damaged = read(path)
    assert len(records) == 2
    assert [line.line_number for line in damaged] == [2, 4, 5]
    assert "not JSON" in damaged[0].reason
    assert "schema 99; this version reads 1" in damaged[2].reason
    assert str(damaged[0]).startswith(f"{path}, line 2: ")


def test_wrong_field_is_named(tmp_path: Path) -> None:
    """The reason names the field that is wrong."""
    path = tmp_path / "s.jsonl"
    path.write_text(json.dumps(fields(accuracy="high")) + "\n")

    _, damaged = read(path)
    assert "accuracy:" in damaged[0].reason


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_a_damaged_line_or_nothing(content: bytes) -> None:
    """Whatever a file holds, reading it ends in records and damaged lines, not in a crash."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.jsonl"
        path.write_bytes(content)
        records, damaged = read(path)

    assert records == []
    assert len(damaged) == len([line for line in content.split(b"\n") if line.strip()])
