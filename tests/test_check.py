"""The check of results files: what it finds, where, and what it lets pass."""

import json
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import RESULT, counted, failed, noise, pair, parity, record

from fmnist import models
from fmnist.cli import main
from fmnist.record import Record, append, packed
from fmnist.report import tables
from fmnist.report.check import Checked, check
from fmnist.report.render import render

COMMITTED = Path(__file__).parent.parent / "results" / "raw"
SCHEMA_1 = Path(__file__).parent / "expected" / "schema1.jsonl"
PARAMETERS = {name: models.card(name).parameters for name in models.names()}
NOW = datetime(2024, 1, 2, tzinfo=UTC)
START = {"started_at": "2024-01-01T00:00:00Z"}
A_MINUTE_LATER = {"started_at": "2024-01-01T00:01:00Z"}
TWO_MINUTES_LATER = {"started_at": "2024-01-01T00:02:00Z"}


def session(**own: Any) -> list[Record]:  # noqa: ANN401  # any field of a record
    """Return a sound session; `own` are fields of its first record, of TensorFlow."""
    tensorflow, jax = record(**START | own), pair(**START)[1]
    return [tensorflow, jax, noise(**A_MINUTE_LATER), parity(**TWO_MINUTES_LATER)]


def written(folder: Path, records: Iterable[Record]) -> Path:
    """Return a results file of these records."""
    path = folder / "s.jsonl"
    for one in records:
        append(one, path)
    return path


def found(folder: Path, records: Iterable[Record]) -> list[str]:
    """Return the findings in a results file of these records."""
    return list(map(str, check(written(folder, records), PARAMETERS, NOW).findings))


def call(*arguments: object) -> Result:
    """Run the command in this process; an unexpected exception is raised, not swallowed."""
    return CliRunner().invoke(main, ["check", *map(str, arguments)], catch_exceptions=False)


def test_sound_session_has_no_findings(tmp_path: Path) -> None:
    """A complete, plausible session passes with status 0, and what was checked is said."""
    result = call(written(tmp_path, session()))

    assert result.exit_code == 0
    assert result.output.splitlines() == [
        f"checked {tmp_path / 's.jsonl'}: 4 records, session 20261121-000000-test, "
        "models dense3: no findings"
    ]


@pytest.mark.parametrize("path", sorted(COMMITTED.glob("*.jsonl")), ids=lambda path: path.name)
def test_committed_results_have_no_findings(path: Path) -> None:
    """What this project publishes passes its own check."""
    assert check(path, PARAMETERS, datetime.now(UTC)).findings == ()


def test_lines_of_schema_1_have_no_digest() -> None:
    """Lines from before the digest are said, not failed."""
    result = call(SCHEMA_1)

    assert result.exit_code == 0
    assert "no findings (2 lines of schema 1 have no digest to check)" in result.output


@pytest.mark.parametrize(
    ("own", "place", "complaint"),
    [
        ({"started_at": "2016-01-01T00:00:00Z"}, 1, "the release of Fashion-MNIST (2017-08-25)"),
        ({"started_at": "2024-01-03T00:00:00Z"}, 1, "and now (2024-01-02T00:00:00+00:00)"),
        ({"test_images": 20_000}, 1, "more than 10,000 test images; the data set has no more"),
        ({"validation_images": 60_000}, 1, "more than 60,000 training images"),
        ({"model": "mixer"}, 1, "unknown model 'mixer'; there are: conv_8_24_48,"),
        (
            {"parameters": {"total": 7, "trainable": 7, "dense": 7, "conv": 0, "other": 0}},
            *(1, "7 parameters; fmnist/models/dense3.py has 109,386"),
        ),
        (
            {"history": [*[RESULT] * 3, RESULT | {"test_accuracy": 0.75005}], "accuracy": 0.75005},
            *(1, "test_accuracy 0.75005 of epoch 4; of 2,000 images, 1,500 are 0.75"),
        ),
        (
            {"correct": packed(np.arange(2_000) < 1_497)},
            *(1, "correct counts 1,497 recognised images; the accuracy 0.75 is 1,500 of 2,000"),
        ),
        ({"machine": {"cpu": "Z1"}}, 2, "machine's cpu Abacus (in line 1 Z1)"),
        ({"commit": "f" * 16}, 2, "commit 0123456789abcdef (in line 1 ffffffffffffffff)"),
        ({"dataset": "stand-in"}, 2, "data set fashion-mnist (in line 1 stand-in)"),
        ({"versions": {"keras": "3.0"}}, 3, "keras on tensorflow 3.15.1 (in line 1 3.0)"),
        ({"model": "dense_wide"}, 1, "no train record of dense_wide-jax-cpu-stock-b100-float32,"),
        ({"process": 1}, 1, "no train record of dense3-tensorflow-cpu-stock-b100-float32, pro"),
        (
            {"epoch_s": (150.0, 5.0, 5.0)},
            4,
            "s; from its first start to the end of its last records 121 s passed",
        ),
    ],
)
def test_finding_names_line_fault_and_remedy(
    own: dict[str, Any], place: int, complaint: str, tmp_path: Path
) -> None:
    """What is wrong with a record is told with its line, and with what it should be."""
    findings = found(tmp_path, session(**own))

    assert [f for f in findings if f.startswith(f"{tmp_path / 's.jsonl'}, line {place}: ")]
    assert any(f", line {place}: " in f and complaint in f for f in findings), findings


def test_more_than_ten_times_the_peak_is_impossible(tmp_path: Path) -> None:
    """Training that outruns the fastest matrix product of its own machine tenfold is found."""
    flop = {"forward_macs": {"dense": 10**8}, "train_flop_per_image": 6 * 10**8}
    (finding,) = found(tmp_path, session(**counted() | flop))

    assert "line 1: train_flop_per_image 600,000,000 at 3,000 images/s are 1.8e+12" in finding
    assert "its own machine's fastest matrix product is 1e+11 FLOP/s" in finding


def test_training_near_the_peak_is_possible(tmp_path: Path) -> None:
    """Another dtype or a better kernel may come out above the peak, and is no finding."""
    flop = {"forward_macs": {"dense": 10**7}, "train_flop_per_image": 6 * 10**7}

    assert found(tmp_path, session(**counted() | flop)) == []


@pytest.mark.parametrize("recognised", [1_498, 1_502])
def test_bits_may_differ_by_two_images(recognised: int, tmp_path: Path) -> None:
    """Two images more or less than the accuracy says are rounding of another pass."""
    bits = packed(np.arange(2_000) < recognised)

    assert found(tmp_path, session(correct=bits)) == []


@pytest.mark.parametrize(("recognised", "findings"), [(1_490, 0), (1_510, 0), (1_489, 1)])
def test_more_images_tip_in_reduced_precision(
    recognised: int, findings: int, tmp_path: Path
) -> None:
    """Of logits of eight bits the largest are often equal: ten images of 2,000 may be apart."""
    bits = packed(np.arange(2_000) < recognised)
    lines = session(correct=bits, precision="mixed_bfloat16")

    assert sum("recognised images" in each for each in found(tmp_path, lines)) == findings


def test_share_of_single_precision_is_no_image(tmp_path: Path) -> None:
    """1,643 of 2,000 are 0.8215000033 in float32: 1,641 recognised images are two apart."""
    share = float(np.float32(1_643) / np.float32(2_000))
    history = [RESULT | {"test_accuracy": share}] * 4
    bits = packed(np.arange(2_000) < 1_641)
    lines = session(history=history, accuracy=share, correct=bits)

    assert not any("recognised images" in each for each in found(tmp_path, lines))


def test_accuracy_is_a_share_in_single_precision(tmp_path: Path) -> None:
    """A share as a backend divides it, in float32, is a share of the images."""
    share = float(np.float32(1_675) / np.float32(2_000))
    history = [RESULT | {"test_accuracy": share}] * 4

    assert share != 1_675 / 2_000
    assert found(tmp_path, session(history=history, accuracy=share)) == []


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{torn", "line 5: not JSON"),
        (
            '{"schema": 99}',
            "line 5: schema 99; this version reads 1 to 5: the line was written by a newer fmnist",
        ),
        (
            record(**START).to_json().replace('"seed":0', '"seed":1'),
            "line 5: its digest does not match",
        ),
    ],
)
def test_damaged_line_is_a_finding(line: str, complaint: str, tmp_path: Path) -> None:
    """A line that holds no record is told with its number; the others are checked all the same."""
    path = written(tmp_path, session())
    with path.open("a", encoding="utf-8") as file:
        file.write(line + "\n")
    result = call(path)

    assert result.exit_code == 1
    assert complaint in result.output
    assert "4 records" in result.output
    assert "1 finding\n" in result.output


def test_line_without_digest_is_a_finding(tmp_path: Path) -> None:
    """From schema 2 on, a line that lost its digest is found."""
    path = written(tmp_path, session())
    document = json.loads(record(process=0, seed=1, **START).to_json())
    del document["digest"]
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(document) + "\n")
    (finding,) = check(path, PARAMETERS, NOW).findings

    assert "line 5: no digest; from schema 2 on" in str(finding)


@pytest.mark.parametrize(
    ("absent", "complaint"),
    [
        (0, "no train record of dense3-tensorflow-cpu-stock-b100-float32, process 0"),
        (2, "session 20261121-000000-test has no noise record"),
        (3, "session 20261121-000000-test has no parity record of dense3"),
    ],
)
def test_absent_record_is_named(absent: int, complaint: str, tmp_path: Path) -> None:
    """A session without one of its records says which one."""
    records = session()
    del records[absent]
    findings = found(tmp_path, records)

    assert len(findings) == 1
    assert complaint in findings[0]


def test_absent_process_is_named(tmp_path: Path) -> None:
    """A backend that ran in fewer processes than the other one lacks a record."""
    findings = found(tmp_path, [*session(), record(process=2, **START)])

    assert sorted(finding.partition("no train record of ")[2][:60] for finding in findings) == [
        "dense3-jax-cpu-stock-b100-float32, process 1; each backend a",
        "dense3-jax-cpu-stock-b100-float32, process 2; each backend a",
        "dense3-tensorflow-cpu-stock-b100-float32, process 1; each ba",
    ]


def test_failure_is_a_record(tmp_path: Path) -> None:
    """A cell that failed and says why is not absent."""
    records = session()
    records[1] = failed(backend="jax", **START)

    assert found(tmp_path, records) == []


@pytest.mark.parametrize("own", [{}, {"epoch_s": (3.0, 2.0, 2.0)}])
def test_doubled_record_is_found(own: dict[str, Any], tmp_path: Path) -> None:
    """A second record of a cell, process and seed is found: another one, or a copy."""
    findings = found(tmp_path, [*session(), record(**START | own)])

    assert len(findings) == 1
    assert "line 5: a second train record of dense3-tensorflow-cpu" in findings[0]
    assert "the first is in line 1" in findings[0]


def test_failure_may_be_followed_by_a_success(tmp_path: Path) -> None:
    """A cell that was measured again after it failed is not doubled."""
    assert found(tmp_path, [failed(**START), *session()]) == []


def test_other_seed_is_another_record(tmp_path: Path) -> None:
    """A cell may be trained from several seeds."""
    assert found(tmp_path, [*session(), record(seed=1, **START)]) == []


def test_workers_in_turn_may_end_a_session(tmp_path: Path) -> None:
    """The last workers ran in turn: each went on for longer than the other one's seconds."""
    first = [noise(**START), parity(**START | {"started_at": "2024-01-01T00:00:30Z"})]
    last = pair(first_epoch_s=90.0, **A_MINUTE_LATER)

    assert found(tmp_path, [*first, *last]) == []


def published(records: list[Record]) -> str:
    """Return the tables of a session as they are published."""
    return "\n".join(render(table, "markdown") for table in tables.of_session(records))


def checked_against(text: str, folder: Path) -> Checked:
    """Return what is found in a sound session whose tables were published like this."""
    return check(written(folder, session()), PARAMETERS, NOW, text)


def test_published_rows_are_made_again(tmp_path: Path) -> None:
    """Tables made from the records have no findings, whatever else was published with them."""
    text = f"# Results\n\n{published(pair(model='dense_wide'))}\n{published(session())}"

    assert checked_against(text, tmp_path).findings == ()


def test_changed_figure_in_a_published_table_is_found(tmp_path: Path) -> None:
    """A row that its records do not make is found, with the row that they make."""
    (finding,) = checked_against(
        published(session()).replace("0.500", "0.400", 1), tmp_path
    ).findings

    assert finding.line_number == 1
    assert "0.500" in finding.wrong
    assert "of 'Speed: seconds per steady epoch' is not published" in finding.wrong


def test_exchanged_columns_in_a_published_table_are_found(tmp_path: Path) -> None:
    """Figures under another header are other figures."""
    text = published(session()).replace("tensorflow epoch [s]", "jax epoch [s]", 1)

    assert checked_against(text, tmp_path).findings


def test_published_file_is_named_on_the_command_line(tmp_path: Path) -> None:
    """The command compares with the file that is given, and fails where a row is not in it."""
    path = written(tmp_path, session())
    page = tmp_path / "README.md"
    page.write_text(published(session()), encoding="utf-8")
    sound = call(path, "--published", page)
    page.write_text("# Results\n", encoding="utf-8")
    empty = call(path, "--published", page)

    assert (sound.exit_code, empty.exit_code) == (0, 1)
    assert "run `fmnist publish`" in empty.output


def test_empty_file_is_a_finding(tmp_path: Path) -> None:
    """A file without any record does not pass."""
    path = tmp_path / "s.jsonl"
    path.write_text("\n")
    result = call(path)

    assert result.exit_code == 1
    assert f"{path}, line 1: no record in this file" in result.output


def test_unreadable_path_is_bad_input(tmp_path: Path) -> None:
    """A path that cannot be read is another kind of end than a finding."""
    folder = tmp_path / "s.jsonl"
    folder.mkdir()

    assert call("/no/such/file").exit_code == 2
    assert "no records files" in call(folder).output
    assert call(folder).exit_code == 2
    assert call(tmp_path).exit_code == 2


@settings(deadline=None)
@given(st.binary(min_size=1, max_size=300))
def test_any_bytes_are_findings(content: bytes) -> None:
    """Whatever a file holds, its check ends in findings, not in a crash."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.jsonl"
        path.write_bytes(content)

        assert check(path, PARAMETERS, NOW).findings


def test_number_beyond_any_float_is_a_finding(tmp_path: Path) -> None:
    """An integer that no float can hold is a damaged line, not a crash."""
    path = tmp_path / "s.jsonl"
    document = json.loads(record().to_json()) | {"digest": None, "train_images": 10**400}
    path.write_text(json.dumps(document), encoding="utf-8")

    found = str(check(path, PARAMETERS, NOW).findings[0])
    assert "line 1: train_images: Input should be less than" in found


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=5,
)


@settings(deadline=None)
@given(line=st.integers(0, 3), field=st.sampled_from(sorted(Record.model_fields)), value=ANY_JSON)
def test_any_field_may_hold_anything(line: int, field: str, value: object) -> None:
    """Whatever a field of a line holds, the file is checked: lines without digests are found."""
    documents = [json.loads(r.to_json()) for r in session()]
    documents[line][field] = value
    del documents[line]["digest"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "s.jsonl"
        path.write_text("\n".join(map(json.dumps, documents)), encoding="utf-8")

        assert check(path, PARAMETERS, NOW).findings


def test_tuned_cell_without_its_proof_is_a_finding(tmp_path: Path) -> None:
    """A tuned cell needs a certificate of its own, against stock; one of the backends is none."""
    tuned = pair(mode="tuned")
    path = written(tmp_path, [*session(), *tuned])
    findings = [str(finding) for finding in check(path, PARAMETERS, NOW).findings]

    assert [f for f in findings if "dense3-jax-cpu-tuned-b100-float32" in f]
    assert [f for f in findings if "dense3-tensorflow-cpu-tuned-b100-float32" in f]
    assert sum("tuned is proved against stock" in f for f in findings) == len(tuned)
