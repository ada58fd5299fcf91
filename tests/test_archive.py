"""Records of many files, a session at a time."""

import os
import threading
import tracemalloc
import weakref
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import failed, noise, pair, parity, record

from fmnist.record import DamagedLine, Record, read
from fmnist.report import archive
from fmnist.report.anonymous import anonymous, names_in, without
from fmnist.report.archive import Archive, ChangedError
from fmnist.report.choose import assembled
from fmnist.report.tables import text_of_session

RAW = Path(__file__).parents[1] / "results" / "raw"


def sessions() -> list[Record]:
    """Return records of sessions of all kinds: joined, apart, equally old, and measured again."""
    later, other = {"session": "later"}, {"session": "other", "started_at": "2026-11-20T00:00:00Z"}
    return [
        *pair(),
        *pair(model="dense_wide"),
        *pair(**later),
        failed(**other),
        *pair(**other),
        parity(**other),
        noise(session="noisy"),
        record(session="noisy"),
        record(session="abroad", machine={"cpu": "Z1"}, flags={"HOME": "/home/jane"}),
        record(session="abroad", dataset="stand-in"),
        failed(session="abroad", model="dense_wide").model_copy(update={"failure": "jane left"}),
    ]


def written(folder: Path, files: Sequence[Sequence[Record]]) -> list[Path]:
    """Return files of these records, with damaged and blank lines between them."""
    paths = []
    for number, records in enumerate(files):
        path = folder / f"{number}.jsonl"
        path.write_text("\n{}\n".join(["", *(r.to_json() for r in records), ""]), encoding="utf-8")
        paths.append(path)
    return paths


def ignored(_: DamagedLine) -> None:
    """Tell nobody of a damaged line."""


@settings(deadline=None, max_examples=15)
@given(st.permutations(range(len(sessions()))), st.lists(st.integers(0, 15), max_size=4))
def test_runs_are_those_of_all_records_at_once(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], cuts: list[int]
) -> None:
    """However lines lie in files, what is read session by session is what is read at once."""
    records = [sessions()[i] for i in order]
    ends = sorted([0, *cuts, len(records)])
    files = [records[a:b] for a, b in pairwise(ends)]
    paths = written(tmp_path_factory.mktemp("records"), files)
    told: list[DamagedLine] = []
    found = Archive([*paths, paths[0]], told.append)

    again = [record.model_copy() for record in files[0]]
    assert list(found.runs()) == assembled([*records, *again])
    assert list(found) == [*records, *files[0]]
    assert found.size == len(records) + len(files[0])
    assert found.damaged == len(told) == sum(len(f) + 1 for f in (*files, files[0]))


def test_published_runs_are_those_of_all_records_at_once() -> None:
    """So it is with the published records, without names too."""
    paths = sorted(RAW.glob("*.jsonl"))
    records = [r for path in paths for r in read(path)[0]]
    found = Archive(paths, ignored)
    nameless = found.changed(partial(without, names_in(found)))

    assert list(found.runs()) == assembled(records)
    assert list(nameless.runs()) == assembled(anonymous(records))


def test_other_processes_make_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several processes make the same texts, in the same order, as one does."""
    paths = written(tmp_path, [sessions(), sessions()[:5], []])
    make = partial(text_of_session, form="text")
    alone = list(Archive(paths, ignored).made(make))
    monkeypatch.setattr(archive, "MANY_BYTES", 0)
    monkeypatch.setattr(archive, "usable_cpus", lambda: (0, 1))
    told: list[DamagedLine] = []

    assert list(Archive(paths, told.append).made(make)) == alone
    assert len(alone) == len(assembled(sessions()))
    assert len(told) == len(sessions()) + 8


def many(folder: Path, n: int) -> list[Path]:
    """Return the files of so many sessions; no two are put together."""
    return written(
        folder,
        [
            [noise(session=f"s{i}"), *(record(session=f"s{i}", process=s) for s in range(39))]
            for i in range(n)
        ],
    )


def test_records_are_let_go_before_the_next_are_read(tmp_path: Path) -> None:
    """When a run is given out, no record of an earlier one is left in memory."""
    earlier: list[weakref.ref[Record]] = []
    runs = Archive(many(tmp_path, 5), ignored).runs()
    for _ in range(5):
        run = next(runs)
        assert not any(reference() for reference in earlier)
        earlier += map(weakref.ref, run)
        del run

    assert len(earlier) == 5 * 40


def peak_bytes(paths: Sequence[Path]) -> int:
    """Return the most memory that Python's objects take while all runs are gone through."""
    tracemalloc.start()
    try:
        assert sum(Archive(paths, ignored).made(len)) == 40 * len(paths)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_records(tmp_path: Path) -> None:
    """Four times as many sessions take less than 1.5 times the memory at once."""
    paths = many(tmp_path, 16)
    peak_bytes(paths[:1])  # what is made once

    assert peak_bytes(paths) < 1.5 * peak_bytes(paths[:4])


def test_file_that_changes_in_between_is_named(tmp_path: Path) -> None:
    """A session that holds other figures when its turn comes is an error; a longer file is none."""
    first, second = many(tmp_path, 2)
    runs = Archive([first, second], ignored).runs()
    before = next(runs)
    with second.open("a") as file:
        file.write(record(session="new").to_json())

    assert len(next(runs)) == len(before)

    runs = Archive([first, second], ignored).runs()
    next(runs)
    second.write_text(second.read_text().replace("Abacus", "Gnomon"))
    with pytest.raises(ChangedError, match=str(second)):
        next(runs)


def test_pipe_is_read_once_and_held(tmp_path: Path) -> None:
    """What can be read only once is shown like a file."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    lines = "".join(f"{r.to_json()}\n" for r in sessions())
    writer = threading.Thread(target=path.write_text, args=(lines,))
    writer.start()
    found = Archive([path], ignored)
    writer.join()

    assert list(found.runs()) == assembled(sessions())
    assert list(found) == sessions()
