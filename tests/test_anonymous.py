"""Records without names: what goes, and that nothing else does."""

import re
import string
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import failed, noise, pair, parity, record

from fmnist.record import Record, read
from fmnist.report.anonymous import FREE_TEXT, anonymous

RAW = sorted((Path(__file__).parent.parent / "results" / "raw").glob("*.jsonl"))
NAMES = st.text(string.ascii_lowercase, max_size=8).map("zq{}".format)
"""Nothing else in a record begins like these."""

PLACES = (
    "{}",
    'File "{}", line 3, in fit',
    "--xla_dump_to={},--xla_gpu_autotune_level=4",
    "LD_PRELOAD of {} failed: no such file",
    "before its first epoch: OSError: [Errno 2] {}",
    "file://{}",
    "https://keras.io{}",
    "-I{} -O2",
    "cc -L{}",
    "ours:{}:theirs",
    "[{}]({})",
    "first line\n{}\nthird",
    "<{}>",
    "and/or {}",
)


def texts(value: object) -> Iterator[str]:
    """Yield every text in a JSON document, names of fields too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, inside in value.items():
            yield from texts(name)
            yield from texts(inside)
    elif isinstance(value, list | tuple):
        for inside in value:
            yield from texts(inside)


def holding(text: str) -> Record:
    """Return a record that holds a text wherever any text may be."""
    return record(
        failure=text,
        device_name=text,
        flags={"XLA_FLAGS": text},
        versions={"keras": text},
        machine={"cpu": text, "disks": [{"mounted at": text, text: 1}]},
        threads={"pools": {"openmp": 2}, "library": text},
        commit=text,
    )


def cleaned(text: str) -> str:
    """Return what a failure says of a text, once the record is anonymous."""
    (made,) = anonymous([holding(text)])
    assert made.failure is not None
    return made.failure


@st.composite
def paths(draw: st.DrawFn) -> tuple[str, list[str]]:
    """Draw an absolute path, and the names in it."""
    names = draw(st.lists(NAMES, min_size=1, max_size=4))
    spaced = [f"{name} {name}" if draw(st.booleans()) else name for name in names[:-1]]
    shape = draw(st.sampled_from(["/{}", "//{}", "/home/{}", "~/{}", "~{}/x", "C:{}", "\\\\{}"]))
    if shape.startswith(("C", "\\")):
        joined = "\\".join([*spaced, names[-1]])
        return shape.format(f"\\{joined}" if shape == "C:{}" else f"{joined}\\x"), names
    return shape.format("/".join([*spaced, names[-1]] if "~{}" not in shape else names)), names


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(PLACES), paths())
def test_no_absolute_path_survives_anywhere(place: str, drawn: tuple[str, list[str]]) -> None:
    """Of a path, wherever in whichever text it stands, no folder's name is left."""
    path, names = drawn
    document = anonymous([holding(place.replace("{}", path))])[0].model_dump()
    for text in texts(document):
        assert not any(name in text for name in names), text


@settings(deadline=None, max_examples=300)
@given(st.text(st.sampled_from("/\\:~@.-=a1_ b'\"()\n"), max_size=12))
def test_no_text_is_an_absolute_path(text: str) -> None:
    """What is left of any text has no word that a POSIX or Windows system takes for a path."""
    for word in re.split(r"[\s\"'`=;,()<>]+", cleaned(f"x {text}")):
        assert not (PurePosixPath(word).is_absolute() and word.strip("/")), word
        assert not (PureWindowsPath(word).is_absolute() and word.strip("/\\")), word


@settings(deadline=None, max_examples=200)
@given(st.text(st.sampled_from("/\\:~@.-=aho_m e'\"()\n"), max_size=15) | st.text(max_size=15))
def test_anonymous_record_stays_as_it_is(text: str) -> None:
    """Once nothing is left to leave out, nothing is left out."""
    once = anonymous([holding(f"x{text}")])

    assert anonymous(once) == once


@pytest.mark.parametrize(
    "text",
    [
        "and/or 10 MB/s at 3/4, killed by SIGKILL; its log ends: a / b",
        "Intel(R) Xeon(R) CPU @ 2.20GHz",
        "--xla_gpu_deterministic_ops=true --xla_force_host_platform_device_count=8",
        "src/models/dense3.py:12: ./x ../y a\\b",
        "glibc.malloc.arena_max=1:glibc.malloc.trim=2 {0:4:16} 12:30:59 cpu:0 1 // 2",
        "6.18.44-fc-v669",
        "the user's own path, and its host",
        "ü € \x00 \u2028",
    ],
)
def test_other_text_stays(text: str) -> None:
    """What is no path and no name is not touched, wherever it stands."""
    assert anonymous([holding(text)]) == [holding(text)]


@pytest.mark.parametrize("path", RAW, ids=lambda path: path.stem)
def test_committed_records_stay(path: Path) -> None:
    """Records that hold no name come out equal, to the last field: no figure, no term is lost."""
    records, _ = read(path)

    assert anonymous(records) == records


@pytest.mark.parametrize("original", [*pair(), failed(), noise(), parity()])
def test_figures_and_cells_stay(original: Record) -> None:
    """Beside texts that hold paths all times, results, cells, dates and certificates are equal."""
    telling = {name: getattr(holding("/home/somebody/x"), name) for name in FREE_TEXT}
    changed = Record.model_validate(original.model_dump(by_alias=True) | telling)
    (made,) = anonymous([changed])
    rest = set(FREE_TEXT) - {"recipe"}

    assert made.model_dump(exclude=rest) == original.model_dump(exclude=rest)
    assert made.cell == original.cell
    assert "somebody" not in made.to_json()
    assert Record.from_json(made.to_json()) == made


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("/home/alice/x: alice has no quota", "(path) (user) has no quota"),
        ("/home/alice ALICE alices alice's alice_1", "(path) (user) alices (user)'s (user)_1"),
        ("cannot open ../home/alice/x", "cannot open ../home/(user)/x"),
        ("C:\\Users\\alice\\x is alice's", "(path) is (user)'s"),
        ("alice@box.lab: box is full, box2 not", "(user)@(host): (host) is full, box2 not"),
        ("/home/jax/x: jax was killed on cpu", "(path) jax was killed on cpu"),
        ("/home/al/x: al", "(path) al"),
        ("/home/svc.bench/x by svc-bench", "(path) by (user)-(user)"),
    ],
)
def test_names_are_left_out_as_words(text: str, left: str) -> None:
    """A name seen in a home's path or beside a host's goes wherever it is a word of its own."""
    made = anonymous([record(failure=text)])

    assert made[0].failure == left
    assert anonymous(made) == made


def test_name_known_from_one_record_is_left_out_of_all() -> None:
    """The flags of a cell give away whose failure another cell tells."""
    seen = record(flags={"XLA_FLAGS": "--xla_dump_to=/Users/alice/x", "OMP_PROC_BIND": "alice"})
    told = failed().model_copy(update={"failure": "quota of alice used up"})
    made = anonymous([told, seen])

    assert made[0].failure == "quota of (user) used up"
    assert made[1].flags == {"XLA_FLAGS": "--xla_dump_to=(path)", "OMP_PROC_BIND": "(user)"}


def test_name_does_not_reach_into_collected_facts() -> None:
    """Somebody called like the system or a package does not change what the machine is."""
    made = record(failure="/home/linux/x, /home/keras/x, /home/abacus/x", flags={})

    assert anonymous([made]) == [made.model_copy(update={"failure": "(path), (path), (path)"})]


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("JAX_COORDINATOR_ADDRESS", "box.lab:1234"),
        ("JAX_COORDINATOR_BIND_ADDRESS", "[::]:1234"),
        ("KERAS_DISTRIBUTION_JOB_ADDRESSES", "box1:1,box2:2"),
        ("TF_CONFIG", '{"cluster": {"worker": ["box.lab:1234"]}}'),
    ],
)
def test_flag_that_is_an_address_says_only_that(flag: str, value: str) -> None:
    """The flag stays, because it changes a time; its value does not."""
    own: dict[str, Any] = {"flags": {flag: value, "TF_NUM_INTEROP_THREADS": "1234"}}

    assert anonymous([record(**own)])[0].flags == {flag: "(host)", "TF_NUM_INTEROP_THREADS": "1234"}


def test_host_of_an_address_is_left_out_of_a_failure() -> None:
    """What failed to connect does not say whereto."""
    own: dict[str, Any] = {"flags": {"JAX_COORDINATOR_ADDRESS": "box.example:1234"}}
    made = anonymous([record(failure="no answer from box:1234", **own)])

    assert made[0].failure == "no answer from (host):1234"


def test_no_records_are_none() -> None:
    """Nothing in, nothing out."""
    assert anonymous(iter([])) == []


@pytest.mark.parametrize(
    "text", ["x" * 300_000, "/a b/c " * 40_000, "a@" * 99_999, "\\" * 300_000, "~a" * 150_000]
)
def test_long_texts_take_no_longer_than_their_length(text: str) -> None:
    """A long text is gone through once: were its parts tried over and over, this would not end."""
    (made,) = anonymous([failed().model_copy(update={"failure": text})])

    assert "/" not in str(made.failure)
