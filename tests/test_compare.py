"""`fmnist compare`: what it calls slower, what it refuses, and what it says of the terms."""

import csv
import io
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from click.testing import CliRunner, Result
from samples import failed, noise, parity, record

from fmnist import stats
from fmnist.cli import main
from fmnist.grid import SPIKES
from fmnist.record import Record, append, samples
from fmnist.report.choose import good
from fmnist.report.render import FORMATS

EPOCHS = "Two sessions: seconds per steady epoch"
STARTS = "Two sessions: first epoch and start-up"
DIFFERED = "What differed"
LEFT_OUT = "Not compared"
PROCESSES, ROUNDS = 5, 6
CELL = "dense3-{}-cpu-stock-b100-float32"


class Shown(NamedTuple):
    """A table that was printed as CSV."""

    rows: list[dict[str, str]]
    terms: str


def times(name: str, mean_s: float, spread: float = 0.003) -> list[tuple[float, ...]]:
    """Return seconds of five processes with six rounds each, both with the same spread."""
    draw = np.random.default_rng(list(name.encode())).standard_normal
    logs = spread * (draw((PROCESSES, 1)) + draw((PROCESSES, ROUNDS)))
    return [tuple(map(float, row)) for row in mean_s * np.exp(logs)]


def quiet(name: str, reference_s: float = 0.5, **own: Any) -> list[Record]:  # noqa: ANN401  # any field of a record
    """Return the noise records of a session in which identical cells differ by 0.4 %."""
    return [
        noise(
            session=name,
            process=process,
            epoch_s=epoch_s,
            beside_s={
                "twin": twin_s,
                **{n: tuple((1 + p / 100) * s for s in twin_s) for n, p in SPIKES.items()},
                "reference": reference,
            },
            **own,
        )
        for process, (epoch_s, twin_s, reference) in enumerate(
            zip(
                times(f"{name} first", 1.0),
                times(f"{name} twin", 1.0),
                times(f"{name} reference", reference_s),
                strict=True,
            )
        )
    ]


def trained(name: str, factor: float = 1.0, **own: Any) -> list[Record]:  # noqa: ANN401  # any field of a record
    """Return the training records of a session: both backends, five processes each."""
    return [
        record(session=name, backend=backend, process=process, epoch_s=epoch_s, **own)
        for backend, mean_s in (("tensorflow", 2.0), ("jax", 1.0))
        for process, epoch_s in enumerate(times(f"{name} {backend}", mean_s * factor))
    ]


def session(name: str, factor: float = 1.0, **own: Any) -> list[Record]:  # noqa: ANN401  # any field of a record
    """Return a session that knows its noise, its epochs longer by a factor."""
    return [*trained(name, factor, **own), *quiet(name, **own)]


def started(name: str, **own: Any) -> Record:  # noqa: ANN401  # any field of a record
    """Return the record of a start."""
    alone: dict[str, Any] = {
        "history": [],
        "accuracy": None,
        "loss": None,
        "epoch_s": (),
        "images_per_s": None,
    }
    return record(session=name, task="startup", **alone, **own)


def written(path: Path, records: Iterable[Record]) -> str:
    """Write a records file and return its name."""
    for one in records:
        append(one, path)
    return str(path)


def call(*arguments: str) -> Result:
    """Run `fmnist compare`; an unexpected exception is raised, not swallowed."""
    return CliRunner().invoke(main, ["compare", *arguments], catch_exceptions=False)


def shown(result: Result) -> dict[str, Shown]:
    """Return by title the tables of a comparison that was printed as CSV."""
    assert result.exit_code == 0, result.output
    found = {}
    for block in result.output.strip().split("\n\n"):
        title, header, *lines = csv.reader(io.StringIO(block))
        rows = [dict(zip(header, line, strict=True)) for line in lines if len(line) > 1]
        terms = [line[0].removeprefix("# ") for line in lines if len(line) == 1]
        found[title[0].removeprefix("# ")] = Shown(rows, "; ".join(terms))
    return found


class Files:
    """Compares two sessions by way of their files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def call(self, before: Iterable[Record], after: Iterable[Record], *options: str) -> Result:
        """Return what the command answers."""
        files = [
            written(self.folder / f"{name}.jsonl", records)
            for name, records in (("before", before), ("after", after))
        ]
        return call(*files, *options)

    def tables(
        self, before: Iterable[Record], after: Iterable[Record], *options: str
    ) -> dict[str, Shown]:
        """Return the tables that the command prints."""
        return shown(self.call(before, after, "--format", "csv", *options))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """Two files that do not exist yet."""
    return Files(tmp_path)


@pytest.mark.parametrize(
    ("factor", "ratio", "verdict"), [(1.2, 1.2, "slower"), (0.8, 0.8, "faster"), (1.0, 1.0, "same")]
)
def test_verdict_is_of_after_over_before(
    files: Files, factor: float, ratio: float, verdict: str
) -> None:
    """A longer epoch afterwards is slower, a ratio above 1; a shorter one faster; else same."""
    (table, *_) = files.tables(session("a"), session("b", factor)).values()

    assert [row["verdict"] for row in table.rows] == [verdict, verdict]
    for row in table.rows:
        value, low, high = numbers(row["after / before"])
        assert value == pytest.approx(ratio, abs=0.02)
        assert low < value < high
        assert row["processes x rounds"] == f"{PROCESSES} x {ROUNDS}"
        assert row["before accuracy [%]"] == row["after accuracy [%]"] == "75.00"


def numbers(text: str) -> list[float]:
    """Return value, low and high of `1.20 [1.19, 1.21]`."""
    return [float(word.strip("[],")) for word in text.split()]


@pytest.mark.parametrize("records", [session("a"), trained("a"), [record()]])
def test_file_with_itself_is_the_same(tmp_path: Path, records: list[Record]) -> None:
    """A file against itself is `same` with ratio 1 in every row, whatever it holds of noise."""
    path = written(tmp_path / "a.jsonl", records)
    tables = shown(call(path, path, "--format", "csv", "--fail-if", "slower:0%"))

    assert {row["verdict"] for row in tables[EPOCHS].rows} == {"same"}
    assert {numbers(row["after / before"])[0] for row in tables[EPOCHS].rows} == {1.0}
    assert DIFFERED not in tables


@pytest.mark.parametrize("missing", ["BEFORE", "AFTER"])
def test_without_noise_no_difference_is_called(files: Files, missing: str) -> None:
    """A session that did not measure its noise leaves `cannot tell`, with what to run."""
    sessions = {
        "BEFORE": session("a"),
        "AFTER": session("b", 1.5),
        missing: trained(missing, 1.5 if missing == "AFTER" else 1.0),
    }
    table = files.tables(sessions["BEFORE"], sessions["AFTER"])[EPOCHS]

    assert {row["verdict"] for row in table.rows} == {"cannot tell"}
    assert f"no noise record with an interval in {missing}," in table.terms
    assert "measure again with `fmnist run`" in table.terms


def test_the_noisier_session_decides(files: Files) -> None:
    """Five per cent are slower beside quiet sessions and cannot be told where one is noisy."""
    loud = [noise(session="c")]
    quiet_table = files.tables(session("a"), session("b", 1.05))[EPOCHS]
    files.folder = files.folder / "loud"
    loud_table = files.tables(session("a"), [*trained("c", 1.05), *loud])[EPOCHS]

    assert {row["verdict"] for row in quiet_table.rows} == {"slower"}
    assert {row["verdict"] for row in loud_table.rows} == {"cannot tell"}


def test_noise_above_the_margin_hides_that_two_are_the_same(tmp_path: Path) -> None:
    """Equal sessions with a noise of some 4 % are the same within 10 %, not within 2 %."""
    loud = [
        noise(
            session="a", process=process, epoch_s=(1.0,) * ROUNDS, beside_s=dict.fromkeys(parts, s)
        )
        for process, s in enumerate(times("loud", 1.0, spread=0.02))
        for parts in [("twin", *SPIKES)]
    ]
    before = written(tmp_path / "a.jsonl", [*trained("a"), *loud])
    after = written(tmp_path / "b.jsonl", session("b"))
    wide = shown(call(before, after, "--format", "csv", "--margin", "10"))[EPOCHS]
    narrow = shown(call(before, after, "--format", "csv"))[EPOCHS]

    assert {row["verdict"] for row in wide.rows} == {"same"}
    assert {row["verdict"] for row in narrow.rows} == {"cannot tell"}


def test_margin_is_what_counts_as_the_same(tmp_path: Path) -> None:
    """Sessions 1.5 % apart are the same within 10 % and not within 1 %."""
    before = written(tmp_path / "a.jsonl", session("a"))
    after = written(tmp_path / "b.jsonl", session("b", 1.015))
    wide = shown(call(before, after, "--format", "csv", "--margin", "10"))[EPOCHS]
    narrow = shown(call(before, after, "--format", "csv", "--margin", "1"))[EPOCHS]

    assert {row["verdict"] for row in wide.rows} == {"same"}
    assert "same" not in {row["verdict"] for row in narrow.rows}
    assert "within 10 %" in wide.terms


OTHER_RECIPE = record().recipe.model_dump() | {"learning_rate": 0.01}
LOSS = "sparse_categorical_crossentropy, 4 epochs"


@pytest.mark.parametrize(
    ("own", "term", "complaint"),
    [
        ({"preset": "full"}, "preset", "quick before and full after"),
        ({"train_images": 6_100}, "training images", "6,000 before and 6,100 after"),
        ({"validation_images": 100}, "validation images", "0 before and 100 after"),
        ({"test_images": 1_000}, "test images", "2,000 before and 1,000 after"),
        (
            {"recipe": OTHER_RECIPE},
            "recipe",
            f"adam 0.001, {LOSS} before and adam 0.01, {LOSS} after",
        ),
    ],
)
def test_different_work_is_refused_unless_told(
    tmp_path: Path, own: dict[str, Any], term: str, complaint: str
) -> None:
    """Another preset, size or recipe ends with status 2, both values and the remedy."""
    before = written(tmp_path / "a.jsonl", trained("a"))
    after = written(tmp_path / "b.jsonl", trained("b", **own))
    refused = call(before, after)
    overruled = shown(call(before, after, "--anyway", "--format", "csv"))

    assert refused.exit_code == 2
    assert f"{term}: {complaint}" in refused.output
    assert "give --anyway" in refused.output
    assert f"compared all the same (--anyway): {term}: {complaint}" in overruled[EPOCHS].terms
    assert term in {row["term"] for row in overruled[DIFFERED].rows}


def test_stand_in_is_never_compared_with_the_real_data(files: Files) -> None:
    """Another data set ends with status 2, even with --anyway."""
    result = files.call(session("a"), session("b", dataset="stand-in"), "--anyway")

    assert result.exit_code == 2
    assert "data set: fashion-mnist before and stand-in after" in result.output
    assert "--data-dir" in result.output


def test_what_has_no_partner_is_listed(files: Files) -> None:
    """A cell of one file and a process that failed are listed with the reason, not dropped."""
    dead = {"family": "conv", "model": "leaky_cnn", "session": "b"}
    before = [*session("a"), record(session="a", model="leaky_cnn"), record(model="x", session="a")]
    late = failed(session="b", process=PROCESSES)
    after = [*session("b"), late, failed(**dead), record(session="b", batch_size=125)]
    tables = files.tables(before, after)

    assert {(row["cell"], row["reason"]) for row in tables[LEFT_OUT].rows} == {
        ("x-tensorflow-cpu-stock-b100-float32", "only in BEFORE"),
        ("dense3-tensorflow-cpu-stock-b125-float32", "only in AFTER"),
        (CELL.format("tensorflow"), "process 5 failed in AFTER: killed by SIGKILL"),
        (
            "leaky_cnn-tensorflow-cpu-stock-b100-float32",
            "process 0 failed in AFTER: killed by SIGKILL",
        ),
    }
    assert len(tables[EPOCHS].rows) == 2
    assert "4 not compared, see there" in tables[EPOCHS].terms


def test_failure_that_was_made_good_is_not_listed(files: Files) -> None:
    """A process that failed and was measured again has its row and no reproach."""
    tables = files.tables(session("a"), [failed(session="b"), *session("b")])

    assert LEFT_OUT not in tables


def test_no_cell_in_common_is_an_error(files: Files) -> None:
    """Two sessions of different batch sizes share no cell: status 2, and the cells of both."""
    result = files.call(trained("a"), trained("b", batch_size=125))

    assert result.exit_code == 2
    assert "no cell was measured in both" in result.output
    assert f"{CELL.format('jax')}: only in BEFORE" in result.output
    assert f"{CELL.format('jax').replace('b100', 'b125')}: only in AFTER" in result.output


def test_what_differed_has_its_table(files: Files) -> None:
    """Versions, flags, hardware, threads, commit, seed, rounds that differ are listed; no other."""
    machine = {"cpu": "Abacus", "usable_threads": 4, "memory_bytes": 2**34, "system": "Linux"}
    after = trained(
        "b",
        versions={"keras": "3.16.0", "jax": "0.11"},
        flags={"KERAS_BACKEND": "tensorflow", "OMP_NUM_THREADS": "1"},
        machine=machine,
        threads={"cpus": [0]},
        commit="f" * 40,
        seed=7,
    )
    tables = files.tables(trained("a"), [r for r in after if r.process < 4])
    differed = {row["term"]: (row["before"], row["after"]) for row in tables[DIFFERED].rows}

    assert differed == {
        "session": ("a", "b"),
        "commit": ("0123456789abcdef", "f" * 40),
        "seed": ("0", "7"),
        "keras": ("3.15.1", "3.16.0"),
        "jax": ("-", "0.11"),
        "machine: usable_threads": ("2", "4"),
        "tensorflow OMP_NUM_THREADS": ("-", "1"),
        "jax OMP_NUM_THREADS": ("-", "1"),
        "tensorflow threads: cpus": ("[0, 1]", "[0]"),
        "jax threads: cpus": ("[0, 1]", "[0]"),
        "processes": ("5", "4"),
    }


def test_fact_that_one_session_lacks_is_told(files: Files) -> None:
    """A commit that is not known is said to be, and a fact that could not be read is a gap."""
    machine = record().machine
    before = trained("a", commit=None, machine={**machine, "l3_bytes": None})
    after = trained("b", machine={**machine, "l3_bytes": 2**20})
    rows = files.tables(before, after)[DIFFERED].rows
    differed = {row["term"]: (row["before"], row["after"]) for row in rows}

    assert differed["commit"] == ("unknown", "0123456789abcdef")
    assert differed["machine: l3_bytes"] == ("-", "1048576")


def test_what_is_the_same_is_one_line(files: Files) -> None:
    """Data set, preset, versions and the machine stand under the table where they agree."""
    terms = files.tables(session("a"), session("b"))[EPOCHS].terms
    (same,) = [part for part in terms.split("; ") if part.startswith("the same in both: ")]

    for part in ("2 x Abacus", "data set fashion-mnist", "preset quick", "keras 3.15.1", "seed 0"):
        assert part in same
    assert "session" not in same


def test_columns_appear_for_what_varies(files: Files) -> None:
    """Two environments of a cell are two rows that say which."""
    before = [*trained("a"), *trained("a", environment="old")]
    after = [*trained("b"), *trained("b", environment="old")]
    table = files.tables(before, after)[EPOCHS]

    assert list(table.rows[0])[:3] == ["model", "backend", "environment"]
    assert [row["environment"] for row in table.rows] == ["-", "old", "-", "old"]


def test_reference_kernel_takes_the_machine_out(files: Files) -> None:
    """On a machine that is twice as slow in all, the relative ratio is 1, its interval wider."""
    after = [*trained("b", 2.0), *quiet("b", reference_s=1.0)]
    table = files.tables(session("a"), after)[EPOCHS]

    for row in table.rows:
        ratio, low, high = numbers(row["after / before"])
        relative, relative_low, relative_high = numbers(row["relative to the reference kernel"])
        assert ratio == pytest.approx(2.0, abs=0.03)
        assert relative == pytest.approx(1.0, abs=0.03)
        assert relative_low < 1.0 < relative_high
        assert math.log(relative_high / relative_low) > math.log(high / low)


def test_ratio_of_too_few_rounds_has_no_interval(files: Files) -> None:
    """One process of one round tells a ratio, and relative to the kernel one without interval."""
    before, after = (
        [record(session=n, epoch_s=(s,)), *quiet(n)] for n, s in (("a", 2.0), ("b", 2.2))
    )
    (row,) = files.tables(before, after)[EPOCHS].rows

    for column in ("after / before", "relative to the reference kernel"):
        assert float(row[column]) == pytest.approx(1.1, abs=0.03)


def test_reference_kernel_is_of_both_or_not_shown(files: Files) -> None:
    """One session without the kernel leaves the column out."""
    spikes = [{n: s for n, s in r.beside_s.items() if n != "reference"} for r in quiet("b")]
    without = [noise(session="b", epoch_s=spikes[0]["twin"], beside_s=spikes[0])]
    table = files.tables(session("a"), [*trained("b"), *without])[EPOCHS]

    assert "relative to the reference kernel" not in table.rows[0]


def test_reference_kernel_says_nothing_of_a_gpu(files: Files) -> None:
    """The kernel runs on the processor: a cell on a GPU has no ratio relative to it."""
    before, after = ([*session(n), *trained(n, device="gpu")] for n in "ab")
    table = files.tables(before, after)[EPOCHS]
    relative = {row["device"]: row["relative to the reference kernel"] for row in table.rows}

    assert relative["gpu"] == "-"
    assert numbers(relative["cpu"])[0] == pytest.approx(1.0, abs=0.03)


def test_model_without_parity_is_marked(files: Files) -> None:
    """A model whose backends did other work in one of the sessions has its mark and the term."""
    certificate = parity().parity
    assert certificate is not None
    wrong = certificate.model_dump() | {"differences": {"outputs": 1.0, "first_loss": 0.0}}
    table = files.tables(session("a"), [*session("b"), parity(session="b", parity=wrong)])[EPOCHS]

    assert {row["model"] for row in table.rows} == {"dense3 (!)"}
    assert "(!): the backends did NOT do the same work" in table.terms


def test_starts_are_compared_where_both_have_them(files: Files) -> None:
    """First epochs and each part of a start have their rows; a start of one side alone has none."""
    before = [*session("a"), started("a"), started("a", import_s=1.1)]
    after = [*session("b"), started("b", import_s=2.0), started("b", import_s=2.2)]
    table = files.tables([*before, started("a", backend="jax")], after)[STARTS]

    assert [(row["backend"], row["part"]) for row in table.rows] == [
        ("jax", "first epoch"),
        ("tensorflow", "first epoch"),
        ("tensorflow", "import"),
        ("tensorflow", "build"),
        ("tensorflow", "first step"),
    ]
    assert numbers(table.rows[2]["after / before"])[0] == 2.0
    assert table.rows[2]["processes"] == "2"
    assert "no verdict" in table.terms


def test_fail_if_slower_fails(files: Files) -> None:
    """Slower by more than the limit is status 1, and the message names the cells."""
    result = files.call(session("a"), session("b", 1.2), "--fail-if", "slower:5%")

    assert result.exit_code == 1
    assert f"slower by more than 5 %: {CELL.format('jax')} (1." in result.output
    assert CELL.format("tensorflow") in result.output


@pytest.mark.parametrize("factor", [1.2, 1.0, 0.8])
def test_fail_if_passes_below_its_limit(files: Files, factor: float) -> None:
    """What is not shown to be slower by more than the limit is status 0."""
    result = files.call(session("a"), session("b", factor), "--fail-if", "slower:25%")

    assert result.exit_code == 0


def test_fail_if_wants_the_whole_interval(files: Files) -> None:
    """Slower by more than the limit, but with an interval that begins below it, is status 0."""
    before, after = (
        [r for r in session(n, factor) if r.backend == "tensorflow"]
        for n, factor in (("a", 1.0), ("b", 1.2))
    )
    ratio = stats.ratio_apart(*(samples(good(side, "train")) for side in (after, before)))
    assert ratio.low is not None
    between = 100 * (math.sqrt(ratio.low * ratio.value) - 1)

    assert files.call(before, after, "--fail-if", f"slower:{between:.4f}%").exit_code == 0


def test_fail_if_without_noise_is_an_error(files: Files) -> None:
    """A limit that nothing could ever exceed is told, not passed."""
    result = files.call(session("a"), trained("b", 1.5), "--fail-if", "slower:5%")

    assert result.exit_code == 2
    assert "--fail-if cannot be decided: no noise record with an interval in AFTER" in result.output


@pytest.mark.parametrize(
    "text", ["5%", "slower", "slower:5", "slower:-5%", "faster:5%", "slower:5%%"]
)
def test_malformed_limit_shows_the_grammar(files: Files, text: str) -> None:
    """What is not `slower:P%` is status 2 and shows how it is written."""
    result = files.call(session("a"), session("b"), "--fail-if", text)

    assert result.exit_code == 2
    assert f"{text!r} is not of the form slower:P%" in " ".join(result.output.split())


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_is_printed(files: Files, form: str) -> None:
    """The tables come in every format, with title and verdict."""
    result = files.call(session("a"), session("b", 1.2), "--format", form)

    assert result.exit_code == 0
    assert EPOCHS in result.output
    assert "slower" in result.output


def test_damaged_line_is_an_error(tmp_path: Path) -> None:
    """A damaged file is refused with file, line and reason."""
    path = tmp_path / "a.jsonl"
    written(path, [record()])
    with path.open("a") as file:
        file.write("\n{torn\n")
    result = call(str(path), str(path))

    assert result.exit_code == 2
    assert f"damaged: {path}, line 3: not JSON" in result.output


def test_two_machines_in_a_session_are_refused(files: Files) -> None:
    """Two machines in one session are told with both lines, blank ones counted, and the fact."""
    other = record(session="a", process=9, machine={"cpu": "Z1"})
    path = Path(written(files.folder / "two.jsonl", [*trained("a"), other]))
    path.write_text(path.read_text().replace("\n", "\n\n", 1))
    result = call(str(path), str(path))

    assert result.exit_code == 2
    assert "two.jsonl, line 1 and" in result.output
    assert "two.jsonl, line 12: two machines in session a, cpu is Abacus and Z1" in result.output


def test_two_records_of_one_process_are_refused(files: Files) -> None:
    """A process that measured a cell twice, with other seconds, is told with both lines."""
    again = record(session="b", epoch_s=(3.0, 3.0))
    result = files.call(session("a"), [*trained("b"), again])

    assert result.exit_code == 2
    assert "after.jsonl, line 1 and" in result.output
    assert f"after.jsonl, line 11: two different records of {CELL.format('tensorflow')}" in (
        result.output
    )


def test_copied_line_counts_once(files: Files) -> None:
    """The same line twice is one process, not two."""
    before = trained("a")
    table = files.tables([*before, before[0]], trained("b"))[EPOCHS]

    assert {row["processes x rounds"] for row in table.rows} == {f"{PROCESSES} x {ROUNDS}"}


def test_folder_of_one_session_is_taken(tmp_path: Path) -> None:
    """A folder stands for the files in it, which may share a session."""
    for name, backend in (("a", "jax"), ("b", "tensorflow")):
        part = [r for r in trained("s") if r.backend == backend]
        written(tmp_path / "one" / f"{name}.jsonl", part)
    result = call(str(tmp_path / "one"), str(tmp_path / "one"), "--format", "csv")

    assert len(shown(result)[EPOCHS].rows) == 2


def test_folder_of_two_sessions_is_refused(tmp_path: Path) -> None:
    """Two sessions on one side are told by name: a comparison is of one with one."""
    for name in ("a", "b"):
        written(tmp_path / f"{name}.jsonl", trained(name))
    result = call(str(tmp_path), str(tmp_path / "a.jsonl"))

    assert result.exit_code == 2
    assert "holds 2 sessions: a (fashion-mnist, preset quick), b (" in result.output
    assert "give the file of the one" in result.output


def test_nothing_to_compare_is_an_error(tmp_path: Path) -> None:
    """A file without records, or without training, is told."""
    empty = written(tmp_path / "empty.jsonl", [])
    (tmp_path / "empty.jsonl").touch()
    starts = written(tmp_path / "s.jsonl", [started("s")])

    assert "no records in" in call(empty, starts).output
    assert "neither has a training record" in call(starts, starts).output
