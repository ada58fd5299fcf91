"""A search of a stated space: widths, dropout, learning rate and batch size of one conv net.

All of the grid where the trials suffice, else a random sample of it. What is chosen is chosen by
the validation set: the test set plays no part.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from fmnist.options import PlanError
from fmnist.studies import Entrant, recipe

NAME: Final = "tuning"
SPACE: Final[Mapping[str, tuple[Any, ...]]] = {
    "filters": (8, 16, 32),
    "dense": (32, 64, 128),
    "drop": (0, 20, 40),
    "learning_rate": (0.0003, 0.001, 0.003),
    "batch_size": (25, 50, 100),
}
"""Filters of the first convolution, the second having twice as many; units of the dense layer;
dropout in per cent after it, and half of that after each pool; and two terms of the recipe. Every
batch size divides the sets of every preset."""
TRIALS: Final = 12
"""Unless another number is asked for."""


def entrants(trials: int, seed: int, epochs: int | None = None) -> tuple[Entrant, ...]:
    """Return as many points of the space, each once, drawn with a seed; all if there are no more.

    Args:
        trials: at least 1. Raises PlanError for fewer.
        seed: of the draw.
        epochs: in place of the recipe's own.
    """
    # A second to import, that only a search pays.
    from sklearn.model_selection import ParameterGrid, ParameterSampler

    if trials < 1:
        raise PlanError(f"--trials must be at least 1, got {trials}")
    space = {name: list(values) for name, values in SPACE.items()}
    grid: Iterable[dict[str, Any]] = ParameterGrid(space)
    if trials < len(ParameterGrid(space)):
        grid = ParameterSampler(space, trials, random_state=seed)
    return tuple(_entrant(number, point, epochs) for number, point in enumerate(grid, start=1))


def _entrant(number: int, point: Mapping[str, Any], epochs: int | None) -> Entrant:
    """Return the model and recipe of a point of the space."""
    own = {name: point[name] for name in ("learning_rate", "batch_size")}
    if epochs is not None:
        own["epochs"] = epochs
    return Entrant(f"trial {number}", model(point), recipe(**own))


def model(point: Mapping[str, Any]) -> str:
    """Return the blueprint of a point of the space."""
    filters, drop = point["filters"], point["drop"]
    after_pool, after_dense = ([f"drop{drop // 2}"], [f"drop{drop}"]) if drop else ([], [])
    words = [
        *(f"conv{filters}", "pool", *after_pool),
        *(f"conv{2 * filters}", "pool", *after_pool),
        *(f"dense{point['dense']}", *after_dense),
    ]
    return "-".join(words)
