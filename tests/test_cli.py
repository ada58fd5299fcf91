"""The command line, as a person uses it."""

import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pyarrow import csv, parquet
from samples import failed, learned, noise, pair, record

from fmnist import __version__, grid, models
from fmnist.cli import main
from fmnist.record import append, read
from fmnist.report.publish import BEGIN, BLOCKS, END


def call(*arguments: str) -> Result:
    """Run the command in this process; an unexpected exception is raised, not swallowed."""
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


@pytest.fixture
def records_file(tmp_path: Path) -> Path:
    """A results file with one model on both backends."""
    path = tmp_path / "s.jsonl"
    for made in pair():
        append(made, path)
    return path


def test_models_are_listed() -> None:
    """Every model has its line with family and parameters."""
    result = call("models")

    assert result.exit_code == 0
    for name in models.names():
        card = models.card(name)
        line = next(row for row in result.output.splitlines() if row.startswith(f"{name} "))
        assert card.family in line
        assert f"{card.parameters:,}" in line


@pytest.mark.parametrize("form", ["text", "markdown", "html", "latex", "csv"])
def test_report_prints_every_format(records_file: Path, form: str) -> None:
    """A results file is printed in each format, with model and ratio."""
    result = call("report", "--format", form, str(records_file))

    assert result.exit_code == 0
    assert "dense3" in result.output
    assert "0.500" in result.output


def test_report_reads_a_folder(records_file: Path) -> None:
    """A folder stands for the results files in it."""
    result = call("report", str(records_file.parent), "--against", "jax")

    assert result.exit_code == 0
    assert "tensorflow / jax time" in result.output


def test_report_of_a_damaged_file(records_file: Path) -> None:
    """The damaged line is told with its number, the good ones are printed, the status is 2."""
    with records_file.open("a") as file:
        file.write("{torn")
    result = call("report", str(records_file))

    assert result.exit_code == 2
    assert "line 3: not JSON" in result.output
    assert "dense3" in result.output


def test_report_of_nothing(tmp_path: Path) -> None:
    """A file without records is an error, not an empty table."""
    path = tmp_path / "empty.jsonl"
    path.write_text("")
    result = call("report", str(path))

    assert result.exit_code == 2
    assert "no records" in result.output


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["run", "--models", "mixer"], "unknown model 'mixer'; there are: "),
        (["run", "--preset", "huge"], "unknown preset 'huge'; there are: smoke, quick, full"),
        (["run", "--batch-size", "7", "--data-dir", "stand-in"], "batch size 7 does not divide"),
        (["data", "--data-dir", "/no/such/folder"], "/no/such/folder"),
        (["report", "/no/such/file"], "does not exist"),
        (["report"], "Missing argument"),
        (["dance"], "No such command"),
    ],
)
def test_bad_input_is_told(arguments: list[str], complaint: str) -> None:
    """Bad input ends with status 2 and one line that says what is wrong, never a traceback."""
    result = call(*arguments)

    assert result.exit_code == 2
    assert complaint in result.output
    assert "Traceback" not in result.output


def test_data_says_what_is_used() -> None:
    """The stand-in is called by its name."""
    result = call("data", "--data-dir", "stand-in")

    assert result.exit_code == 0
    assert "data set: stand-in" in result.output
    assert "Ankle boot" in result.output


def test_real_data_is_verified(real_data: Path) -> None:
    """The real files are named with their published sums."""
    result = call("data", "--data-dir", str(real_data))

    assert result.exit_code == 0
    assert "data set: fashion-mnist" in result.output
    assert "8181f5470baa50b63fa0f6fddb340f0a" in result.output


@pytest.mark.slow
def test_run_measures_and_prints(tmp_path: Path) -> None:
    """The smallest run: real workers on both backends, a table at the end, records on the disk."""
    result = call(
        *("run", "--preset", "smoke", "--models", "softmax_regression", "--rounds", "1"),
        *("--data-dir", "stand-in", "--results", str(tmp_path)),
    )

    assert result.exit_code == 0
    assert "STAND-IN" in result.output
    assert "jax / tensorflow time" in result.output
    (path,) = (tmp_path / "raw").glob("*.jsonl")
    records, damaged = read(path)
    assert damaged == []
    assert {r.task for r in records} == {"noise", "train", "startup", "parity"}
    assert all(r.failure is None for r in records)


def test_failed_cell_is_in_the_exit_status(tmp_path: Path) -> None:
    """A cell that cannot finish in its time is listed with the reason, and the status is 1."""
    result = call(
        *("run", "--preset", "smoke", "--models", "softmax_regression", "--time-limit", "0.05"),
        *("--data-dir", "stand-in", "--results", str(tmp_path), "--backends", "jax"),
    )

    assert result.exit_code == 1
    assert "Failed cells" in result.output
    assert "time limit of 0.05 s is used up" in result.output


def test_publish_check_fails_when_stale(tmp_path: Path) -> None:
    """`publish --check` writes nothing and fails; `publish` writes; then the check passes."""
    blocks = (line.format(name) for name in BLOCKS for line in (BEGIN, END))
    (tmp_path / "README.md").write_text("\n".join(blocks))
    append(record(preset="full"), tmp_path / "results" / "raw" / "s.jsonl")
    append(failed(preset="full"), tmp_path / "results" / "raw" / "s.jsonl")
    before = call("publish", "--check", "--root", str(tmp_path))
    written = (tmp_path / "results" / "README.md").exists()
    made = call("publish", "--root", str(tmp_path))
    after = call("publish", "--check", "--root", str(tmp_path))

    assert (before.exit_code, written, made.exit_code, after.exit_code) == (2, False, 0, 0)
    assert "run `fmnist publish`" in before.output


@pytest.mark.slow
def test_doctor_tries_each_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    """The doctor really trains on both backends here, and names machine and data."""
    monkeypatch.setenv("FMNIST_DATA", "stand-in")
    result = call("doctor")

    assert result.exit_code == 0
    assert "tensorflow on cpu: works" in result.output
    assert "jax on cpu: works" in result.output
    assert "keras.json: " in result.output


@pytest.mark.slow
@pytest.mark.parametrize("precision", grid.PRECISIONS)
def test_doctor_measures_peaks(precision: str) -> None:
    """A row for each backend: a matrix product and a triad, with their terms."""
    result = call("doctor", "--peaks", "--precision", precision)

    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.output.splitlines()]
    for backend in grid.BACKENDS:
        (row,) = [row for row in rows if row[:3] == [backend, "cpu", precision]]
        assert row[5] == precision.removeprefix("mixed_")
        assert all(float(figure) > 0 for figure in (row[3], row[6]))
    assert "2 n³ operations" in result.output


@pytest.fixture
def only_jax(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has JAX alone: where `sys.modules` has None, Python finds no package."""
    monkeypatch.setenv("FMNIST_DATA", "stand-in")
    monkeypatch.setitem(sys.modules, "tensorflow", None)


@pytest.mark.slow
@pytest.mark.usefixtures("only_jax")
def test_doctor_tells_what_is_missing_and_what_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that is not there has its command; one that crashes has its reason, status 1."""
    monkeypatch.setenv("XLA_FLAGS", "--xla_no_such_flag")
    found = call("doctor")
    peaks = call("doctor", "--peaks")

    assert (found.exit_code, peaks.exit_code) == (1, 1)
    install = grid.BACKENDS["tensorflow"].install["cpu"]
    assert f"tensorflow: not installed: {install}" in found.output
    assert "jax on cpu: BROKEN: " in found.output
    assert "jax on cpu: BROKEN: " in peaks.output
    assert "--xla_no_such_flag" in peaks.output


@pytest.mark.usefixtures("only_jax")
def test_doctor_names_a_broken_configuration(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A keras.json that Keras would ignore silently is named, and what it keeps from running."""
    (tmp_path / "keras.json").write_text("{")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    found = call("doctor")
    peaks = call("doctor", "--peaks")

    assert found.exit_code == 1
    assert f"broken: {tmp_path / 'keras.json'}: " in found.output
    assert f"jax on cpu: cannot be used: {tmp_path / 'keras.json'}: " in found.output
    assert f"jax on cpu: cannot be used: {tmp_path / 'keras.json'}: " in peaks.output


@pytest.mark.usefixtures("only_jax")
def test_layers_that_keras_cannot_tell_have_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the backend crashes while it builds a model, its last words are the error."""
    monkeypatch.setenv("XLA_FLAGS", "--xla_no_such_flag")
    result = call("models", "softmax_regression")

    assert result.exit_code == 1
    assert "--xla_no_such_flag" in result.output


def test_precision_without_peaks_is_refused() -> None:
    """The doctor's other findings have no precision."""
    result = call("doctor", "--precision", "float32")

    assert result.exit_code == 2
    assert "--peaks" in result.output


def test_version_is_the_packages_own() -> None:
    """The version on the command line is the one of the package."""
    assert __version__ in call("--version").output


@pytest.mark.parametrize("name", ["out.csv", "out.parquet"])
@pytest.mark.parametrize(("rows", "n"), [("rounds", 2 * (4 + 2 + 2)), ("records", 2)])
def test_export_writes_a_table(
    records_file: Path, tmp_path: Path, name: str, rows: str, n: int
) -> None:
    """Epochs, predictions and latencies, or records, come out as CSV or Parquet, a row each."""
    target = tmp_path / name
    result = call("export", str(records_file), "--to", str(target), "--rows", rows)

    assert (result.exit_code, result.output) == (0, f"wrote {target}\n")
    read_table = csv.read_csv if target.suffix == ".csv" else parquet.read_table
    assert read_table(target).num_rows == n


def test_export_of_nothing_leaves_nothing(tmp_path: Path) -> None:
    """Another kind of file is refused, and files without a record make no empty table."""
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    target = tmp_path / "out.csv"
    refused = call("export", str(empty), "--to", str(tmp_path / "out.xlsx"))
    nothing = call("export", str(empty), "--to", str(target))

    assert (refused.exit_code, nothing.exit_code) == (2, 2)
    assert "--to must end in .csv or .parquet" in refused.output
    assert "no records" in nothing.output
    assert not target.exists()


def test_report_writes_page_and_pictures(records_file: Path, tmp_path: Path) -> None:
    """`--html` and `--pictures` write what they name, each picture as SVG and PNG."""
    page, folder = tmp_path / "page.html", tmp_path / "pictures"
    result = call("report", str(records_file), "--html", str(page), "--pictures", str(folder))

    assert result.exit_code == 0
    assert page.read_text().startswith("<!doctype html>")
    assert len(list(folder.glob("*.svg"))) == len(list(folder.glob("*.png"))) > 0


def test_report_prints_epochs_or_says_that_there_are_none(tmp_path: Path) -> None:
    """`--epochs` prints a table for each training; without any history it is an error."""
    trained, raced = tmp_path / "trained.jsonl", tmp_path / "raced.jsonl"
    append(learned(), trained)
    append(noise(), raced)
    found, none = call("report", "--epochs", str(trained)), call("report", "--epochs", str(raced))

    assert found.exit_code == 0
    assert "Epochs of dense3 on TensorFlow" in found.output
    assert none.exit_code == 2
    assert "no training in these files has a history" in none.output


def test_publish_removes_what_no_record_makes(tmp_path: Path) -> None:
    """A picture that no record makes is named by `--check`, and removed; damage is an error."""
    (tmp_path / "docs").mkdir()
    blocks = "\n".join(f"{BEGIN.format(b)}\n{END.format(b)}" for b in BLOCKS)
    (tmp_path / "README.md").write_text(blocks)
    raw = tmp_path / "results" / "raw" / "s.jsonl"
    for made in pair():
        append(made, raw)
    call("publish", "--root", str(tmp_path))
    old = tmp_path / "results" / "pictures" / "old.svg"
    old.write_text("")
    checked = call("publish", "--check", "--root", str(tmp_path))
    assert checked.exit_code == 2
    assert str(old) in checked.output

    assert f"removed {old}" in call("publish", "--root", str(tmp_path)).output
    assert not old.exists()
    raw.write_text("{}\n")
    assert "raw" in (broken := call("publish", "--root", str(tmp_path))).output
    assert broken.exit_code == 2


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--resume", "raw/s.jsonl"], "--resume is for sessions of one host"),
        (["--python", "jax=python3"], "--python: with --hosts, start the command itself"),
    ],
)
def test_hosts_are_started_anew_and_by_their_own_python(option: list[str], message: str) -> None:
    """What a session of several hosts cannot do is refused before any of them is waited for."""
    result = call("scale", "--hosts", "a:1,b:1", "--host", "0", *option)

    assert result.exit_code == 2
    assert message in result.output
    assert "--hosts and --host come together" in call("scale", "--host", "0").output


def test_projects_are_left_out_of_what_goes_on() -> None:
    """`reproduce KEY --resume` is refused: a session is resumed by what it began with."""
    result = call("reproduce", "uta", "--resume", "raw/s.jsonl")

    assert result.exit_code == 2
    assert "leave KEY out" in result.output
