"""Tables: their text as a person sees it, and what never shares a table."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from samples import CONV, RESULT, counted, failed, noise, pair, parity, record

from fmnist.record import Record
from fmnist.report import tables
from fmnist.report.choose import assembled, sessions_of
from fmnist.report.columns import rows_of
from fmnist.report.render import FORMATS, NOTHING, digits, inert, render
from fmnist.report.terms import waited_terms

EXPECTED = Path(__file__).parent / "expected"


def session() -> list[Record]:
    """Return a session of two models on both backends, with starts, overhead and a failure."""
    alone: dict[str, Any] = {
        "history": [],
        "accuracy": None,
        "loss": None,
        "epoch_s": (),
        "images_per_s": None,
    }
    beside: dict[str, Any] = {"history": [], "accuracy": None, "loss": None}
    parts = {"no_work": 0.8, "no_input": 0.6, "no_metrics": 0.5, "half": 0.3, "hooked": 1.2}
    return [
        *(noise(process=process) for process in range(3)),
        parity(),
        *pair(),
        *pair(**CONV),
        noise(
            task="breakdown",
            epoch_s=(1.0, 1.0, 1.0),
            beside_s={n: (s,) * 3 for n, s in (parts | {"fence": 0.001}).items()},
        ),
        record(task="startup", **alone),
        record(task="startup", **alone | {"import_s": 4.0}),
        record(task="overhead", **beside, beside_s={"plain": (1.9, 2.0, 2.1)}),
        failed(model="leaky_cnn", family="conv"),
    ]


@pytest.mark.parametrize("form", FORMATS)
def test_tables_read_as_expected(form: str, request: pytest.FixtureRequest) -> None:
    """Every table in every format is the text that was looked at; --overwrite takes a new one."""
    shown = "\n".join(render(table, form) for table in tables.of_session(session()))
    path = EXPECTED / f"tables.{form}"
    if request.config.getoption("overwrite"):
        path.write_text(shown, encoding="utf-8")

    assert shown == path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.00012345, "0.000123"),
        (0.9996, "1.000"),
        (4.1234, "4.12"),
        (41.234, "41.2"),
        (412.34, "412"),
        (41234.5, "41234"),
        (-3.771, "-3.77"),
        (0, "0"),
        (float("nan"), "nan"),
    ],
)
def test_numbers_have_three_digits(value: float, shown: str) -> None:
    """A number is shown with three significant digits and never with an exponent."""
    assert digits(value) == shown


def test_start_up_names_what_else_its_processes_imported() -> None:
    """A process of TensorFlow that imported JAX says so; one without says nothing."""
    own = {"tensorflow": "2.21.0"}
    with_jax, alone = (
        tables.startup([record(task="startup", first_epoch_s=2.0, versions=versions)])
        for versions in (own | {"jax": "0.10.2"}, own)
    )
    assert with_jax is not None
    assert alone is not None

    assert "also imported, as it is installed: jax by tensorflow" in with_jax.terms
    assert not [term for term in alone.terms if "also imported" in term]


def test_ratio_is_against_the_named_backend() -> None:
    """JAX at half the time is 0.5 of TensorFlow's, and TensorFlow's is twice JAX's."""
    forward = tables.speed(pair())
    backward = tables.speed(pair(), against="jax")
    assert forward is not None
    assert backward is not None

    assert dict(zip(forward.header, forward.rows[0], strict=True))[
        "jax / tensorflow time"
    ].startswith("0.500")
    assert dict(zip(backward.header, backward.rows[0], strict=True))[
        "tensorflow / jax time"
    ].startswith("2.00")


def test_reached_operations_have_columns_where_they_were_counted() -> None:
    """GFLOP/s and their share of the peak, for the backend that has them, explained below."""
    table = tables.speed([record(**counted()), pair()[1]])
    assert table is not None
    shown = dict(zip(table.header, table.rows[0], strict=True))

    assert "jax GFLOP/s" not in shown
    assert (shown["tensorflow GFLOP/s"], shown["tensorflow % of peak"]) == ("3.00", "3.00")
    assert "tensorflow cpu float32 100 GFLOP/s (n = 1,024, float32)" in "; ".join(table.terms)


def test_layer_that_was_not_counted_is_named() -> None:
    """A model with such a layer has a dash, and the terms say which layer it is."""
    uncounted = counted() | {"forward_macs": {"lstm": None}, "train_flop_per_image": None}
    table = tables.speed([record(**counted()), record(model="dense_wide", **uncounted)])
    assert table is not None
    column = table.header.index("tensorflow GFLOP/s")

    assert sorted(row[column] for row in table.rows) == [NOTHING, "3.00"]
    assert "not counted: lstm of dense_wide" in table.terms


def test_old_records_have_no_column_of_operations() -> None:
    """Records without counts make the table that they made before."""
    table = tables.speed(pair())
    assert table is not None

    assert not [title for title in table.header if "FLOP" in title or "peak" in title]
    assert not [term for term in table.terms if "FLOP" in term]


def test_every_table_of_numbers_carries_its_terms() -> None:
    """Data set, versions, machine, commit and session stand under each table with numbers."""
    for table in tables.of_session(session()):
        terms = "; ".join(table.terms)
        if table.title != "Failed cells":
            assert "Abacus" in terms
            assert "keras 3.15.1" in terms
            assert "commit 0123456789ab" in terms
            assert "data set: fashion-mnist" in terms


def test_stand_in_and_real_data_never_share_a_table() -> None:
    """Records of two data sets are two groups, even in one session."""
    mixed = [*pair(), *pair(dataset="stand-in")]

    groups = sessions_of(mixed)
    assert sorted(group[0].dataset for group in groups) == ["fashion-mnist", "stand-in"]
    assert all(len({r.dataset for r in group}) == 1 for group in groups)


def test_cut_recipes_are_said() -> None:
    """Epochs below what the recipe asks for stand in the row and in the terms."""
    recipe = record().recipe.model_dump() | {"epochs": 20}
    table = tables.speed(pair(recipe=recipe))
    assert table is not None

    assert table.rows[0][-1] == "4 of 20"
    assert "epochs trained 4 (the models' own recipes ask for 20)" in table.terms


def test_a_models_rows_begin_with_stock_and_end_with_traps() -> None:
    """Rows of a model are stock, knobs, all knobs, traps: by what was changed, not by name."""
    modes = ["deterministic", "tuned", "environment", "stock", "environment+layers"]

    assert [rows[0].mode for rows in rows_of([record(mode=mode) for mode in modes])] == [
        *("stock", "environment", "environment+layers", "tuned", "deterministic"),
    ]


def test_rows_of_a_run_are_the_newest_and_whole() -> None:
    """Of two sessions on the same terms each row is taken whole from the newest that has it."""
    later = {"session": "later", "started_at": "2026-11-22T00:00:00Z"}
    (run,) = assembled([*pair(), *pair(model="dense_wide"), *pair(**later)])

    assert {(r.model, r.session) for r in run} == {
        ("dense3", "later"),
        ("dense_wide", "20261121-000000-test"),
    }
    assert len(run) == 4


@pytest.mark.parametrize(
    "other",
    [
        *({"commit": "f" * 40}, {"machine": {"cpu": "Z1"}}, {"versions": {"keras": "3.0"}}),
        *({"seed": 1}, {"dataset": "stand-in"}, {"preset": "full"}),
    ],
)
def test_a_run_shares_its_terms(other: dict[str, Any]) -> None:
    """A session on other terms is another run."""
    later = {"session": "later", "started_at": "2026-11-22T00:00:00Z"}
    runs = assembled([*pair(model="dense_wide", **other), *pair(**later)])

    assert [{r.model for r in run} for run in runs] == [{"dense_wide"}, {"dense3"}]


def test_session_that_knows_its_noise_stays_alone() -> None:
    """The noise of one session says nothing of another: the two are not put together."""
    later = {"session": "later", "started_at": "2026-11-22T00:00:00Z"}

    assert len(assembled([*pair(), noise(), *pair(model="dense_wide", **later)])) == 2


def test_backend_that_did_not_run_leaves_a_gap() -> None:
    """One backend alone has a table without a ratio; a missing cell is a dash."""
    alone = tables.speed([record()])
    assert alone is not None
    assert not [title for title in alone.header if "/" in title]

    gap = tables.speed([*pair(), record(model="dense_wide")])
    assert gap is not None
    assert any(NOTHING in row for row in gap.rows)


def test_only_failures_still_make_a_table() -> None:
    """A session in which everything failed shows the reasons."""
    made = tables.of_session([failed()])

    assert [table.title for table in made] == ["Failed cells"]
    assert made[0].rows[0][-1] == "killed by SIGKILL"


def test_devices_and_precisions_get_columns_when_they_vary() -> None:
    """Two precisions of a model are two rows that say which."""
    table = tables.speed([*pair(), *pair(precision="mixed_bfloat16")])
    assert table is not None

    assert table.header[:2] == ("model", "precision")
    assert {row[1] for row in table.rows} == {"float32", "mixed_bfloat16"}


def test_best_epoch_is_named() -> None:
    """The best test accuracy is shown with the number of its epoch, counted from 1."""
    history = [RESULT, RESULT | {"test_accuracy": 0.9}, RESULT, RESULT]
    table = tables.learning([record(history=history)])
    assert table is not None

    assert table.rows[0][-1] == "90.00 (2)"


def test_csv_is_read_back_by_a_csv_reader() -> None:
    """CSV holds title, header, rows and terms, one record each, commas quoted."""
    table = tables.speed(pair())
    assert table is not None
    rows = list(csv.reader(io.StringIO(render(table, "csv"))))

    assert tuple(rows[1]) == table.header
    assert tuple(rows[2]) == table.rows[0]


def test_html_is_escaped() -> None:
    """A model whose name is markup is shown as text."""
    table = tables.speed([record(model="<script>alert(1)</script>")])
    assert table is not None

    assert "<script>" not in render(table, "html")


@pytest.mark.parametrize("form", FORMATS)
def test_strangers_text_is_shown_inert(form: str) -> None:
    """A reason with escape sequences, lines and markup moves no cursor and makes no element."""
    hostile = "\x1b[2J\x1b]0;owned\x07 <script>alert(1)</script> a|b\nnext line\u202e" + "x" * 9_000
    (table,) = tables.of_session([failed().model_copy(update={"failure": hostile})])
    shown = render(table, form)

    assert not [c for c in shown if not c.isprintable() and c != "\n"]
    assert "x" * 4_000 not in shown
    assert "owned" in shown
    if form in ("markdown", "html"):
        assert "<script" not in shown


def test_text_that_was_cut_says_so() -> None:
    """However the cut falls, text that lost its end ends in an ellipsis."""
    assert inert("a  b" + "c" * 100, 10).endswith("…")
    assert inert("x" * 10, 10) == "x" * 10
    assert inert("x" * 11, 10) == "x" * 9 + "…"


@pytest.mark.parametrize(
    ("epoch_s", "processor_s", "withheld_s", "said"),
    [
        ((1.0, 1.2, 2.5), (1.8, 1.9, 1.9), (0.0, 0.0, 0.0), "1 of dense3-tensorflow"),
        ((1.0, 1.2, 2.5), (1.8, 1.9, 1.9), (), "the longest 2.50 s"),
        ((1.0, 1.2, 2.5), (1.8, 1.9, 4.4), (0.0, 0.0, 0.0), ""),
        ((1.0, 1.2, 2.5), (1.8, 1.9, 1.9), (0.0, 0.0, 2.5), ""),
        ((0.01, 0.01, 0.05), (0.01, 0.01, 0.01), (0.0, 0.0, 0.0), ""),
    ],
)
def test_epochs_that_waited_stand_under_the_table(
    epoch_s: tuple[float, ...],
    processor_s: tuple[float, ...],
    withheld_s: tuple[float, ...],
    said: str,
) -> None:
    """Longer for no more work is told; for more work, by the host, or by milliseconds is not."""
    waited = waited_terms([record(epoch_s=epoch_s, processor_s=processor_s, withheld_s=withheld_s)])

    assert bool(waited) == bool(said)
    assert said in " ".join(waited)
