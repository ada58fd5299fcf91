"""The tables of knobs, traps and precisions: ratios, what was put in, and the proof."""

from typing import Any

import pytest
from samples import parity, record

from fmnist import grid
from fmnist.record import Record
from fmnist.report import tables, trust, tuned_tables
from fmnist.report.render import render

PUT = {"environment": "GLIBC_TUNABLES", "layers": "nothing: no layer is covered", "loop": "a scan"}


def modes(*names: str, **own: Any) -> list[Record]:  # noqa: ANN401  # any field of a record
    """Return a stock record of 2 s an epoch, and one of 1 s for each mode."""
    others = [
        record(
            mode=name,
            epoch_s=(1.0, 1.0, 1.0),
            tuning={knob: PUT[knob] for knob in grid.MODES[name].knobs},
            **own,
        )
        for name in names
    ]
    return [record(**own), *others]


def proof(**own: Any) -> Record:  # noqa: ANN401  # any field of a certificate
    """Return a certificate of the tuned cell against stock."""
    certificate = parity()
    assert certificate.parity is not None
    part = certificate.parity.model_dump() | {"between": "mode", "against": "stock"}
    bits = next(iter(part["correct"].values()))
    part |= {"correct": dict.fromkeys(("tuned", "stock"), bits)} | own
    return record(**certificate.model_dump(by_alias=True) | {"mode": "tuned", "parity": part})


@pytest.mark.parametrize("mode", [m for m in grid.MODES if grid.MODES[m].knobs])
def test_every_set_of_knobs_has_its_column(mode: str) -> None:
    """What was measured beside stock is shown: by how many times it is faster."""
    table = tuned_tables.tuned(modes(mode))
    assert table is not None
    (column,) = [i for i, title in enumerate(table.header) if title.endswith("[times]")]

    assert table.header[column].startswith(mode)
    assert table.rows[0][column].startswith("2.00")


def test_tuned_without_stock_has_no_table() -> None:
    """Without what it is held against there is no ratio, and no empty table either."""
    assert tuned_tables.tuned(modes("tuned")[1:]) is None
    assert tuned_tables.tuned(modes()) is None


def test_table_says_what_each_knob_did_and_what_proves_it() -> None:
    """Under the table stand the workers' own words and the certificate's largest difference."""
    table = tuned_tables.tuned([*modes("tuned"), proof()])
    assert table is not None
    terms = " ".join(table.terms)

    assert "tensorflow layers: nothing: no layer is covered" in terms
    assert "proof: tuned and stock from the same weights" in terms
    assert table.rows[0][table.header.index("same work")] == "the same"


def test_table_without_certificate_says_so() -> None:
    """A session that proves nothing is not taken for one that does."""
    table = tuned_tables.tuned(modes("tuned"))
    assert table is not None

    assert "same work: NOT PROVED in this session" in table.terms
    assert "same work" not in table.header


def test_tuned_that_computes_something_else_is_marked_everywhere() -> None:
    """An exceeded certificate shows in its table, and marks the model in the others."""
    certificate = parity().parity
    assert certificate is not None
    differing = proof(differences=dict.fromkeys(certificate.differences, 1.0))
    records = [*modes("tuned"), differing]
    table = tuned_tables.tuned(records)
    assert table is not None
    speed = tables.speed(records)
    assert speed is not None

    assert table.rows[0][table.header.index("same work")].startswith("DIFFERS: ")
    assert trust.unequal(records) == {("dense3", "cpu")}
    assert all("(!)" in row[0] for row in speed.rows)


def test_knobs_and_traps_stay_out_of_the_main_tables() -> None:
    """The speed table holds stock and tuned; single knobs and traps have tables of their own."""
    records = modes("tuned", "layers", "deterministic", "steps_per_execution")
    speed, traps = tables.speed(records), tuned_tables.traps(records)
    assert speed is not None
    assert traps is not None

    assert {row[speed.header.index("mode")] for row in speed.rows} == {"stock", "tuned"}
    assert [t for t in traps.header if "[times]" in t] == [
        "steps per execution [times]",
        "deterministic [times]",
    ]


def test_other_numbers_are_in_no_ratio_of_tuned() -> None:
    """bfloat16 is held against float32 stock in a table of its own."""
    records = [*modes("tuned"), *modes("tuned", precision="mixed_bfloat16")]
    tuned, reduced = tuned_tables.tuned(records), tuned_tables.reduced_precision(records)
    assert tuned is not None
    assert reduced is not None

    assert len(tuned.rows) == 1
    assert "mixed_bfloat16 tuned [times]" in reduced.header
    assert "never part of a ratio" in render(reduced, "text").replace("\n", " ")


def test_forced_xla_is_a_trap_beside_stock() -> None:
    """`--xla auto,on` shows by how many times XLA makes each backend faster, or slower."""
    table = tuned_tables.traps([*modes(), record(xla="on", jit_compile=True)])
    assert table is not None

    assert table.rows[0][table.header.index("XLA forced [times]")].startswith("1.00")
