"""The terms under a table: what they tell, and what they leave out."""

from collections.abc import Mapping

from samples import record

from fmnist.report.terms import terms_of


def withheld(*own: Mapping[str, object]) -> list[str]:
    """Return the terms of such cells that tell what a host withheld."""
    return [term for term in terms_of([record(**one) for one in own]) if "withheld" in term]


def test_what_the_host_withheld_is_told_with_the_worst_cell() -> None:
    """One of 4 s was withheld from JAX, none from TensorFlow: 12.5 % by median, most 25 %."""
    had: dict[str, object] = {"processor_s": (1.0, 1.0, 1.0)}
    (told,) = withheld(
        had | {"withheld_s": (0.0, 0.0, 0.0)},
        had | {"withheld_s": (0.0, 0.0, 1.0), "backend": "jax"},
    )

    assert "12.5 % of the processor time that they wanted (median of 2 cells)" in told
    assert told.endswith("most 25.0 % of dense3-jax-cpu-stock-b100-float32")


def test_nothing_is_told_of_a_machine_that_nothing_was_withheld_from() -> None:
    """Neither noughts nor records from before it was looked at make a term."""
    assert not withheld({"processor_s": (1.0, 1.0, 1.0), "withheld_s": (0.0, 0.0, 0.0)}, {})
