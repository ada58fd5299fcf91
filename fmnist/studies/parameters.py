"""What parameters buy: dense against conv at equal budgets.

The shape of each family is fixed and its widths are computed, so that the model has as nearly as
possible as many parameters as the budget says.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import count
from typing import Final

from fmnist import blueprint
from fmnist.studies import Entrant, recipe

NAME: Final = "parameters"
BUDGETS: Final = (10_000, 50_000, 225_000, 1_000_000)
TOLERANCE: Final = 0.02
"""How far from the budget a model may be, relative."""

Shape = Callable[[int, int], str]
"""Makes a blueprint of a width and of the head's width."""


def _dense(width: int, head: int) -> str:
    return f"dense{width}-dense{width}-dense{head}"


def _conv(width: int, head: int) -> str:
    return f"conv{width}-pool-conv{2 * width}-pool-dense{head}"


SHAPES: Final[Mapping[str, tuple[Shape, float, float]]] = {
    "dense": (_dense, 1 / 2, 1),
    "conv": (_conv, 2, 6),
}
"""By family, its shape, and between which multiples of the width the head's width lies."""


def entrants(epochs: int | None = None) -> tuple[Entrant, ...]:
    """Return both families at each budget; `epochs` in place of the recipe's own."""
    trained_by = recipe() if epochs is None else recipe(epochs=epochs)
    return tuple(
        Entrant(f"{family}, {budget:,}", nearest(family, budget), trained_by)
        for budget in BUDGETS
        for family in SHAPES
    )


@cache
def nearest(family: str, budget: int) -> str:
    """Return the blueprint of a family whose parameters are nearest to a budget.

    Raises ValueError if it is not within TOLERANCE.
    """
    found = min(_candidates(family, budget), key=lambda name: abs(_parameters(name) - budget))
    if abs(_parameters(found) - budget) > TOLERANCE * budget:
        raise ValueError(f"no {family} model within {TOLERANCE:.0%} of {budget:,} parameters")
    return found


def _candidates(family: str, budget: int) -> Iterator[str]:
    """Yield for each width that is not too large the blueprint with the best head.

    Parameters grow by the same number with every unit of the head.
    """
    shape, fewest, most = SHAPES[family]
    for width in count(2):
        low, high = round(fewest * width), round(most * width)
        smallest = _parameters(shape(width, low))
        if smallest > (1 + TOLERANCE) * budget:
            return
        a_unit = _parameters(shape(width, low + 1)) - smallest
        yield shape(width, min(high, low + max(0, round((budget - smallest) / a_unit))))


def _parameters(name: str) -> int:
    return blueprint.parse(name).parameters
