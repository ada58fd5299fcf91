"""What is fuzzed by the million elsewhere, on the kept inputs and a few drawn ones."""

from collections.abc import Callable
from pathlib import Path

import fuzz_channel
import fuzz_idx
import fuzz_record
import fuzz_report
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

HERE = Path(__file__).parent
FAST = {"idx": fuzz_idx.one, "record": fuzz_record.one, "channel": fuzz_channel.one}
KEPT = [(name, path) for name in FAST for path in sorted((HERE / "corpus" / name).iterdir())]
REPORTED = sorted((HERE / "corpus" / "report").iterdir())


@pytest.mark.parametrize(("name", "path"), KEPT, ids=[f"{n}-{p.name}" for n, p in KEPT])
def test_kept_inputs_are_refused_or_read(name: str, path: Path) -> None:
    """Each input of the corpus, and each that once broke a reader, is refused or read."""
    FAST[name](path.read_bytes())


@pytest.mark.parametrize("one", FAST.values(), ids=FAST)
@given(how=st.sampled_from([b"\0", b"\1", b"\2"]), rest=st.binary(max_size=64))
@settings(max_examples=50, deadline=None)
def test_drawn_inputs_are_refused_or_read(
    one: Callable[[bytes], None], how: bytes, rest: bytes
) -> None:
    """Nothing but the error that its contract names comes out of a reader."""
    one(how + rest)


@pytest.mark.slow
@pytest.mark.parametrize("path", REPORTED, ids=lambda path: path.name)
def test_kept_records_are_reported_as_text(path: Path) -> None:
    """Whatever can be a record makes tables and a page in which nothing is active."""
    fuzz_report.one(path.read_bytes())


@pytest.mark.slow
@given(data=st.binary(min_size=20, max_size=40))
@settings(max_examples=30, deadline=None)
def test_drawn_records_are_reported_as_text(data: bytes) -> None:
    """As the kept ones."""
    fuzz_report.one(data)
