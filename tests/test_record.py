"""Records: what cannot be built, what survives a file."""

import json
import math
import tempfile
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from samples import (
    RESULT,
    certificate,
    counted,
    failed,
    fields,
    learned,
    noise,
    parity,
    race,
    record,
)

from fmnist.record import MIGRATIONS, SCHEMA, Record, append, packed, read, unpacked

SCHEMA_1 = Path(__file__).parent / "expected" / "schema1.jsonl"
OLD_FILES = sorted(SCHEMA_1.parent.glob("schema*.jsonl"))


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
        versions machine threads flags commit failure task process xla environment processor_s
        withheld_s beside_s audit_s correct parity digest forward_macs train_flop_per_image
        peaks""".split()

    assert set(promised) <= set(json.loads(record().to_json()))


@pytest.mark.parametrize(
    ("own", "complaint"),
    [
        ({"epoch_s": (1.0, -1.0)}, "greater than or equal to 0.000000001"),
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
        ({"beside_s": {"plain": (1.0,)}}, "neighbours"),
        ({"processor_s": (1.0,)}, "neighbours"),
        ({"withheld_s": (1.0,)}, "neighbours"),
        ({"withheld_s": (1.0, 1.0, -1.0)}, "greater than or equal to 0"),
        ({"plain_epoch_s": (1.0, 1.0, 1.0)}, "Extra inputs"),
        ({"process": -1}, "greater than or equal to 0"),
        ({"xla": "perhaps"}, "there are: auto, on, off"),
        ({"environment": "no name"}, "pattern"),
        ({"correct": "AAAA"}, "3 bytes cannot say which of 2000 images"),
        ({"task": "overhead"}, "beside_s.plain is missing"),
        ({"task": "noise", "beside_s": {"spike_5": (2.0, 2.0, 2.0)}}, "beside_s.twin is missing"),
        ({"task": "parity"}, "parity is missing"),
        ({"replicas": 2}, "task train is of one device, not 2 replicas"),
        ({"train_images": 0}, "greater than or equal to 1"),
        ({"machine": {"memory_bytes": "much"}}, "machine.memory_bytes must be of type int"),
        ({"machine": {"memory_bytes": 10**400}}, "machine.memory_bytes must be of type int"),
        ({"machine": {"cpu_model": "EPYC"}}, "machine.cpu_model must be of type int"),
        ({"machine": {"gpus": ["fast"]}}, "machine.gpus must hold objects with a name"),
        ({"session": "../../etc"}, "pattern"),
        ({"session": ".."}, "pattern"),
        ({"session": ""}, "pattern"),
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


@pytest.mark.parametrize(
    ("correct", "complaint"),
    [
        ({"tensorflow": "", "jax": ""}, "0 bytes cannot say which of 2000 images"),
        ({"tensorflow": packed(np.ones(2_000, bool))}, "parity.correct lacks jax"),
    ],
)
def test_certificate_tells_of_both_sides(correct: dict[str, str], complaint: str) -> None:
    """What each side recognised can be read: the report reckons with it."""
    certificate = parity().parity
    assert certificate is not None

    with pytest.raises(ValueError, match=complaint):
        parity(parity=certificate.model_dump() | {"correct": correct})


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
    assert [line.number for line in damaged] == [2, 4, 5]
    assert "not JSON" in damaged[0].reason
    assert "schema 99; this version reads 1" in damaged[2].reason
    assert str(damaged[0]).startswith(f"{path}, line 2: ")


@pytest.mark.parametrize(
    ("field", "item"), [("predict_s", "0"), ("history", "{}"), ("latency_s", "[[]]")]
)
def test_a_flood_of_wrong_values_is_refused_before_it_is_looked_at(
    tmp_path: Path, field: str, item: str
) -> None:
    """A line of a million wrong values is one short complaint: telling each took gigabytes."""
    flood = ",".join([item] * 1_000_000)
    path = tmp_path / "s.jsonl"
    path.write_text(json.dumps(fields(**{field: "@"})).replace('"@"', f"[{flood}]") + "\n")

    _, damaged = read(path)
    assert damaged[0].reason == "more than 20,000 values"


def test_complaints_about_a_line_are_few_and_print_as_they_are(tmp_path: Path) -> None:
    """Of a thousand wrong values five are told, and what a stranger wrote moves no cursor."""
    path = tmp_path / "s.jsonl"
    path.write_text(json.dumps(fields(predict_s=[0] * 1_000)) + "\n")
    with path.open("a") as file:
        file.write(json.dumps(fields(**{"\x1b[2J" + "x" * 1_000: 1})) + "\n")

    _, damaged = read(path)
    assert "and 995 more" in damaged[0].reason
    assert damaged[1].reason.startswith("\\x1b[2Jxxx")
    assert max(len(line.reason) for line in damaged) < 1_000


def test_nesting_of_any_depth_is_a_damaged_line(tmp_path: Path) -> None:
    """Python reads a little deeper than it writes: there, too, the line is only damaged."""
    path = tmp_path / "s.jsonl"
    sound = json.dumps(fields(machine="@", digest="0" * 64))
    for depth in (*range(950, 1_010), 100_000):
        path.write_text(sound.replace('"@"', '{"a":' * depth + "1" + "}" * depth) + "\n")
        records, damaged = read(path)
        assert (records, len(damaged)) == ([], 1)


def test_a_file_of_garbage_is_not_read_to_its_end(tmp_path: Path) -> None:
    """After a thousand damaged lines the rest is left, and said to be: memory stays bounded."""
    path = tmp_path / "s.jsonl"
    path.write_text("x\n" * 1_500 + record().to_json() + "\n")

    records, damaged = read(path)
    assert records == []
    assert len(damaged) == 1_001
    assert str(damaged[-1]) == f"{path}, line 1001: too many damaged lines: not read on"


def test_wrong_field_is_named(tmp_path: Path) -> None:
    """The reason names the field that is wrong."""
    path = tmp_path / "s.jsonl"
    path.write_text(json.dumps(fields(accuracy="high")) + "\n")

    _, damaged = read(path)
    assert "accuracy:" in damaged[0].reason


def test_lines_of_schema_1_are_read() -> None:
    """Real lines of schema 1 keep every figure; the plain script's epochs stand beside theirs."""
    written = [json.loads(line) for line in SCHEMA_1.read_text(encoding="utf-8").splitlines()]
    records, damaged = read(SCHEMA_1)

    assert damaged == []
    assert [r.task for r in records] == ["train", "overhead"]
    for before, after in zip(written, records, strict=True):
        now = after.model_dump(mode="json", by_alias=True)
        plain = before.pop("plain_epoch_s")
        assert now["beside_s"] == ({"plain": plain} if plain else {})
        assert before.pop("schema") == 1
        now["recipe"] = {name: now["recipe"][name] for name in before["recipe"]}  # it has grown
        assert {name: now[name] for name in before} == before


@pytest.mark.parametrize("path", OLD_FILES, ids=lambda path: path.stem)
def test_lines_of_old_schemas_keep_every_figure(path: Path) -> None:
    """Real lines of each schema, one for each of its tasks, are read with all that they hold."""
    written = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    records, damaged = read(path)

    assert damaged == []
    schemas = {before.pop("schema") for before in written}
    assert schemas == {int(path.stem.removeprefix("schema"))}
    for before, record_now in zip(written, records, strict=True):
        before.pop("digest", None)
        before.pop("plain_epoch_s", None)  # of schema 1, whose own test it has
        assert lacking(before, record_now.model_dump(mode="json", by_alias=True)) == []


def test_every_old_schema_has_its_stored_lines() -> None:
    """No migration is without real lines that it is tried on."""
    assert {path.stem for path in OLD_FILES} == {f"schema{schema}" for schema in MIGRATIONS}


def lacking(before: object, now: object) -> list[object]:
    """Return what one JSON value holds and another lacks, which may hold more fields."""
    if isinstance(before, dict) and isinstance(now, dict):
        return [x for name in before for x in lacking(before[name], now.get(name))]
    return [] if before == now else [before]


@pytest.mark.parametrize("path", OLD_FILES, ids=lambda path: path.stem)
def test_record_of_an_old_schema_is_written_as_the_newest(path: Path) -> None:
    """What was read is written as the newest, with a digest, and read back equal."""
    for original in read(path)[0]:
        line = original.to_json()

        assert json.loads(line)["schema"] == SCHEMA
        assert "digest" in json.loads(line)
        assert Record.from_json(line) == original


def test_field_of_schema_1_is_unknown_to_the_newest() -> None:
    """A line that mixes two schemas is refused, with the field's name."""
    mixed = fields() | {"schema": SCHEMA, "plain_epoch_s": [2.0, 2.0, 2.0]}

    with pytest.raises(ValueError, match="plain_epoch_s: Extra inputs"):
        Record.from_json(json.dumps(mixed))


@pytest.mark.parametrize("original", [record(), failed(), noise(), parity()])
def test_changed_figure_is_refused(original: Record) -> None:
    """A line in which one figure was changed by hand is refused, with the reason."""
    changed = original.to_json().replace('"seed":0', '"seed":1', 1)

    with pytest.raises(ValueError, match="its digest does not match"):
        Record.from_json(changed)


@pytest.mark.parametrize("original", [record(), failed(), noise(), parity()])
def test_line_laid_out_anew_is_the_same_record(original: Record) -> None:
    """Other spaces and another order of the fields change nothing that the digest covers."""
    document = json.loads(original.to_json())
    backwards = json.dumps(dict(reversed(document.items())), separators=(" , ", " : "))

    assert backwards != original.to_json()
    assert Record.from_json(backwards) == original


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_packed_bits_come_back(recognised: list[bool]) -> None:
    """Which of n images were recognised survives as text, for any n."""
    n = len(recognised)

    assert unpacked(packed(np.array(recognised)), n).tolist() == recognised


@pytest.mark.parametrize(
    ("own", "exceeded"),
    [({}, ()), ({"outputs": 1e-4}, ("outputs",)), ({"first_loss": math.nan}, ("first_loss",))],
)
def test_certificate_names_what_is_exceeded(
    own: dict[str, float], exceeded: tuple[str, ...]
) -> None:
    """A difference above its tolerance is named, and so is one that is not a number."""
    differences = certificate().differences | own

    assert certificate().model_copy(update={"differences": differences}).exceeded == exceeded


def test_views_have_both_accuracy_and_time() -> None:
    """What is gained by more views and what they cost come together."""
    with pytest.raises(ValueError, match="come together"):
        race(views_accuracy=0.93)


def test_predictions_are_of_the_same_images() -> None:
    """A class, a true class and a confidence for each image, or none can be read."""
    said = learned().predictions
    assert said is not None

    with pytest.raises(ValueError, match="of the same images"):
        learned(predictions=said.model_dump() | {"labels": "012"})


def test_certificate_tolerates_what_it_compares() -> None:
    """A certificate with a difference that has no tolerance cannot be built."""
    with pytest.raises(ValueError, match="the same keys"):
        parity(parity=certificate().model_dump() | {"tolerances": {"outputs": 1e-5}})


def test_certificate_differs_by_nothing_or_more() -> None:
    """A difference is a distance: one below 0 is refused."""
    with pytest.raises(ValueError, match="must not be below 0"):
        certificate(differences={"outputs": -1.0, "first_loss": 0.0})


ODD_VALUES = st.recursive(
    st.one_of(
        *(st.none(), st.booleans(), st.floats(), st.text(max_size=5), st.just("\ud800")),
        st.sampled_from([0, 1, -1, 2**53 + 1, 2**63, 10**16, 10**400, 1e300, 1e400, 3.0, -0.0]),
        st.sampled_from(["1", " 1 ", "1_0", "1.0", "NaN", "inf", "true", "1e-3", "-0", ""]),
        st.sampled_from(["2026-11-21T00:00:00Z", "2026-11-21T00:00", "2026-11-21", "1700000000"]),
        st.sampled_from([RESULT, counted()["peaks"], [[[[[]]]]], {"": {"": []}}, 1_700_000_000]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
VALID = [
    record(correct=packed(np.arange(2_000) < 1_500), **counted()).to_json(),
    *(make().to_json() for make in (noise, parity, race, learned, failed)),
]


def places(value: Any) -> list[tuple[Any, str | int]]:  # noqa: ANN401  # what JSON holds
    """Return where values are in a JSON value: what each is in, and its key or index."""
    if not isinstance(value, dict | list):
        return []
    keys: list[Any] = list(value) if isinstance(value, dict) else list(range(len(value)))
    return [found for key in keys for found in [(value, key), *places(value[key])]]


def outcome(read_line: Callable[[str], Record], line: str) -> str | None:
    """Return all of a record that is read, types and order of names included, or None."""
    try:
        return repr(read_line(line))
    except (ValueError, OverflowError, RecursionError):
        return None


@settings(deadline=None, max_examples=400)
@given(st.sampled_from(VALID), st.lists(st.tuples(st.integers(0), ODD_VALUES), max_size=3))
def test_a_line_is_as_valid_as_its_json_is_to_pydantic(
    line: str, changes: list[tuple[int, Any]]
) -> None:
    """Whatever stands in a line, it is read if, and as, pydantic reads it as JSON."""
    document = json.loads(line)
    del document["digest"]
    for number, value in changes:
        there = places(document)
        inside, key = there[number % len(there)]
        inside[key] = deepcopy(value)
    changed = json.dumps(document)

    assert outcome(Record.from_json, changed) == outcome(Record.model_validate_json, changed)


@pytest.mark.parametrize(
    "fact",
    [
        *("[" * depth + "]" * depth for depth in (10, 149, 198, 199, 200, 201, 500)),
        *(r'"\ud800"', r'"\udfff\ud800"', r'"\ud83d\ude00"', r'"\u0000"', r'{"\uD800": 1}'),
        *("NaN", "-Infinity", "1e400", "-0", "9" * 4_300, "9" * 4_301),
    ],
)
def test_a_fact_is_as_valid_as_it_is_to_pydantic(fact: str) -> None:
    """Where a record may hold anything, that is refused too which pydantic's JSON cannot hold."""
    content = json.loads(record().to_json())
    del content["digest"]
    content["machine"]["fact"] = None
    line = json.dumps(content).replace('"fact": null', f'"fact": {fact}')

    assert outcome(Record.from_json, line) == outcome(Record.model_validate_json, line)


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


@pytest.mark.parametrize(
    "own",
    [
        {"train_flop_per_image": 399_999},
        {"train_flop_per_image": 1_200_001},
        {"forward_macs": {"dense": 200_000, "lstm": None}},
        {"forward_macs": {}},
        {"peaks": counted()["peaks"] | {"matmul_flop_per_s": 0.0}},
        {"peaks": counted()["peaks"] | {"triad_bytes_per_s": math.inf}},
    ],
)
def test_operations_are_those_of_the_layers(own: dict[str, Any]) -> None:
    """Training is two to six operations for each multiply-accumulate forward, of all layers."""
    with pytest.raises(ValidationError):
        record(**counted() | own)


@pytest.mark.parametrize("flop", [400_000, 1_200_000, None])
def test_operations_may_be_of_one_pass_to_three(flop: int | None) -> None:
    """Forward alone, or with both gradients; or not known."""
    assert record(**counted() | {"train_flop_per_image": flop}).train_flop_per_image == flop
