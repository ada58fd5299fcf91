"""History: the order of sessions, what changed, and where a new level begins."""

import math
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from samples import failed, noise, record

from fmnist.cli import main
from fmnist.record import Record, append
from fmnist.report import history
from fmnist.report.history import HistoryError, of_one_machine
from fmnist.report.render import NOTHING, Table

MACHINE = record().machine
OLD_KERAS: dict[str, Any] = {"versions": {"keras": "3.14.1"}}
NEW_KERAS: dict[str, Any] = {"versions": {"keras": "3.15.1"}}


def session(
    day: int,
    level: float = 2.0,
    processes: int = 3,
    **own: Any,  # noqa: ANN401  # any field of a record
) -> list[Record]:
    """Return the records of a day's session: a cell in so many processes, and a quiet noise."""
    terms = {"session": f"day-{day}", "started_at": f"2024-01-{day:02}T00:00:00Z"} | own
    near = (1.0, 1.001, 0.999)
    beside = noise().beside_s | {"twin": (1.001, 1.0, 1.0)}
    quiet = {"epoch_s": (1.0, 1.001, 1.0), "beside_s": beside}
    return [
        *(
            record(process=i, epoch_s=tuple(level * near[i % 3] * x for x in near), **terms)
            for i in range(processes)
        ),
        *(noise(process=i, **terms, **quiet) for i in range(3)),
    ]


def steady(days: Iterable[int], level: float, **own: Any) -> list[Record]:  # noqa: ANN401  # as above
    """Return sessions of one process each, at one level but for half a per cent."""
    jitter = random.Random(0)  # noqa: S311  # no secret
    return [r for day in days for r in session(day, level * jitter.uniform(0.995, 1.005), 1, **own)]


def table(records: Sequence[Record]) -> Table:
    """Return the only table of these records."""
    (only,) = history.tables(records)
    return only


def column(made: Table, title: str) -> list[str]:
    """Return what a table shows in the column of this title."""
    return [row[made.header.index(title)] for row in made.rows]


def call(*arguments: object) -> Result:
    """Run the command in this process; an unexpected exception is raised, not swallowed."""
    return CliRunner().invoke(main, ["history", *map(str, arguments)], catch_exceptions=False)


def test_sessions_are_in_the_order_of_time() -> None:
    """A session is a row, oldest first, however the records came; the first has no ratio."""
    made = table([*session(3, 4.0), *session(1), *session(2)])

    assert column(made, "session") == ["day-1", "day-2", "day-3"]
    assert column(made, "started at [UTC]")[0] == "2024-01-01 00:00"
    assert column(made, "n") == ["3 + 3 + 3"] * 3
    ratios = column(made, "ratio to the session before")
    assert [ratio.partition(" ")[0] for ratio in ratios] == [NOTHING, "1.00", "2.00"]
    assert [epoch.partition(" ")[0] for epoch in column(made, "epoch [s]")] == [
        *("2.00", "2.00", "4.00")
    ]


@pytest.mark.parametrize(
    ("own", "change"),
    [
        ({}, "nothing recorded"),
        ({"versions": {"keras": "3.14.1"}}, "keras 3.15.1 -> 3.14.1"),
        ({"versions": {"keras": "3.15.1", "jax": "1"}}, "jax none -> 1"),
        ({"flags": {}}, "KERAS_BACKEND tensorflow -> none"),
        ({"commit": "f" * 16}, "commit 0123456789ab -> ffffffffffff"),
        ({"commit": "0123456789abcdef-dirty"}, "commit 0123456789ab -> 0123456789ab-dirty"),
        ({"threads": {"cpus": [0], "pools": {"openmp": 1}}}, "threads cpus [0, 1] -> [0], thr"),
        ({"machine": MACHINE | {"kernel": "6.1"}}, "machine kernel none -> 6.1"),
    ],
)
def test_what_changed_is_named(own: dict[str, Any], change: str) -> None:
    """What the terms of two sessions differ in stands in the later one's row."""
    made = table([*session(1), *session(2, **own)])

    assert column(made, "changed since")[0] == NOTHING
    assert column(made, "changed since")[1].startswith(change)


@pytest.mark.parametrize(
    ("level", "mark"),
    [
        (3.0, "slower: keras 3.14.1 -> 3.15.1"),
        (1.0, "faster: keras 3.14.1 -> 3.15.1"),
        (2.001, "same"),
    ],
)
def test_few_sessions_have_a_verdict(level: float, mark: str) -> None:
    """Below six sessions each is judged against the one before, and a change is named."""
    made = table([*session(1, **OLD_KERAS), *session(2, level, **NEW_KERAS)])

    assert column(made, "change") == [NOTHING, mark]


def test_unknown_noise_tells_nothing() -> None:
    """A session that was not run against itself makes no difference count."""
    alone = [r for r in session(2, 4.0) if r.task != "noise"]
    made = table([*session(1), *alone])

    assert column(made, "change") == [NOTHING, "cannot tell"]


def test_changepoint_is_named_by_what_changed() -> None:
    """A new level among six sessions or more is marked where it begins, with its cause."""
    made = table([*steady(range(1, 6), 2.0, **OLD_KERAS), *steady(range(6, 11), 2.2, **NEW_KERAS)])

    assert column(made, "change") == [
        *[NOTHING] * 5,
        "new level: keras 3.14.1 -> 3.15.1",
        *[NOTHING] * 4,
    ]


def test_changepoint_without_a_change_says_so() -> None:
    """A new level under the same terms is marked too: its cause was not recorded."""
    made = table([*steady(range(1, 6), 2.0), *steady(range(6, 11), 2.2)])

    assert column(made, "change")[5] == "new level: nothing recorded"


def test_steady_sessions_have_no_changepoint() -> None:
    """Sessions that differ by half a per cent are one level."""
    made = table(steady(range(1, 11), 2.0))

    assert column(made, "change") == [NOTHING] * 10


def test_every_level_is_found() -> None:
    """Two changes of level are two changepoints, each where its level begins."""
    records = [
        *steady(range(1, 8), 2.0),
        *steady(range(8, 15), 3.0),
        *steady(range(15, 22), 2.0),
    ]
    levels = [r.epoch_s[0] for r in records if r.task == "train"]

    assert history.changepoints(levels) == [7, 14]


def drifting(n: int, seed: int) -> np.ndarray:
    """Return n logarithms of times with a spread of 2 %, each half like the one before it."""
    generator = np.random.default_rng(seed)
    values = [generator.normal()]
    for _ in range(n - 1):
        values.append(0.5 * values[-1] + math.sqrt(0.75) * generator.normal())
    return 0.02 * np.array(values)


@pytest.mark.parametrize("n", [6, 10, 20])
def test_steady_histories_are_seldom_marked(n: int) -> None:
    """Of 300 machines that drift without a change, at most 7 % get a mark in n sessions."""
    marked = [history.changepoints(np.exp(drifting(n, seed)).tolist()) for seed in range(300)]

    assert np.mean([bool(found) for found in marked]) <= 0.07


@pytest.mark.parametrize("changes", [[10], [7, 14]])
def test_levels_are_found_in_drift(changes: list[int]) -> None:
    """Of 100 machines with levels 6 spreads apart, 80 % or more get each mark within a session."""
    hits = 0
    for seed in range(100):
        logs = drifting(21, seed)
        for i in changes:
            logs[i:] += 0.12 if i == changes[0] else -0.12
        found = history.changepoints(np.exp(logs).tolist())
        hits += len(found) == len(changes) and np.allclose(found, changes, atol=1)

    assert hits >= 80


def test_other_work_is_another_history() -> None:
    """Another preset, data set or number of images is never put beside the first."""
    others: list[dict[str, Any]] = [
        *({"preset": "full"}, {"dataset": "stand-in"}, {"train_images": 12_000})
    ]
    made = history.tables([*session(1), *(r for own in others for r in session(2, **own))])

    assert len(made) == 4
    assert all(len(one.rows) == 1 for one in made)


def test_terms_stand_under_the_table() -> None:
    """Data set, machine and versions of the first session stand under its history."""
    terms = "; ".join(table([*session(1, **OLD_KERAS), *session(2, **NEW_KERAS)]).terms)

    assert "data set: fashion-mnist" in terms
    assert "Abacus" in terms
    assert "keras 3.14.1" in terms
    assert "keras 3.15.1" not in terms


def test_two_machines_are_refused_and_one_is_chosen() -> None:
    """Records of two machines name both; a part of a name chooses one."""
    others = session(2, machine=MACHINE | {"cpu": "Z1"})
    both = [*session(1), *others]

    with pytest.raises(HistoryError, match=r"2 machines(.|\n)*2 x Abacus(.|\n)*2 x Z1"):
        of_one_machine(both)
    assert of_one_machine(both, "z1") == others
    with pytest.raises(HistoryError, match=r"no records of a machine 'Z9'(.|\n)*2 x Z1"):
        of_one_machine(both, "Z9")


def test_whole_name_chooses_a_machine_that_begins_another_ones() -> None:
    """A name that is part of another one's still chooses its own machine."""
    larger = session(2, machine=MACHINE | {"virtual": True})
    both = [*session(1), *larger]

    assert of_one_machine(both, "2 x Abacus, 16.0 GiB, Linux") == both[: -len(larger)]


def test_kernel_makes_no_other_machine() -> None:
    """A machine may be updated: that is a change, not another machine."""
    both = [*session(1), *session(2, machine=MACHINE | {"kernel": "6.1"})]

    assert of_one_machine(both) == both


@pytest.fixture
def two_files(tmp_path: Path) -> list[Path]:
    """Two results files of one machine."""
    paths = [tmp_path / "later.jsonl", tmp_path / "first.jsonl"]
    for path, records in zip(paths, (session(2), session(1)), strict=True):
        for one in records:
            append(one, path)
    return paths


@pytest.mark.parametrize("form", ["text", "markdown", "html", "latex", "csv"])
def test_history_prints_every_format(form: str, two_files: list[Path]) -> None:
    """Results files are printed in each format, with both sessions."""
    result = call("--format", form, *two_files)

    assert result.exit_code == 0
    assert result.output.index("day-1") < result.output.index("day-2")


def test_history_of_a_damaged_file(two_files: list[Path]) -> None:
    """The damaged line is told with its number, the good ones are printed, the status is 2."""
    with two_files[0].open("a", encoding="utf-8") as file:
        file.write("{torn")
    result = call(two_files[0].parent)

    assert result.exit_code == 2
    assert "line 7: not JSON" in result.output
    assert "day-2" in result.output


def test_history_of_two_machines_is_bad_input(tmp_path: Path) -> None:
    """The command refuses two machines with status 2, and takes the one that is named."""
    path = tmp_path / "s.jsonl"
    for one in [*session(1), *session(2, machine=MACHINE | {"cpu": "Z1"})]:
        append(one, path)
    refused, chosen = call(path), call(path, "--machine", "Z1")

    assert (refused.exit_code, chosen.exit_code) == (2, 0)
    assert "2 x Abacus" in refused.output
    assert "day-1" not in chosen.output


def test_history_of_no_records(tmp_path: Path) -> None:
    """A folder without records is named as such."""
    result = call(tmp_path)

    assert result.exit_code == 2
    assert "no record" in result.output


def test_history_of_failures_only(tmp_path: Path) -> None:
    """Without a training record that did not fail there is nothing to show, and that is told."""
    path = tmp_path / "s.jsonl"
    append(failed(), path)
    result = call(path)

    assert result.exit_code == 2
    assert "no training record" in result.output
