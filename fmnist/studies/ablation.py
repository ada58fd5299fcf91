"""What each idea buys: a ladder from softmax regression up, one change at a time.

Each rung keeps all that the rungs before it brought.
"""

from typing import Final

from fmnist.studies import Entrant, recipe

NAME: Final = "ablation"
NORMED: Final = "conv16-norm-pool-drop25-conv32-norm-pool-drop25-dense64-norm-drop40-l2e4"
"""The model of the upper rungs, which change the recipe alone."""
STOP_AFTER: Final = 3
HALVE_AFTER: Final = 2
"""Epochs: the rate is halved before the training is given up."""
RUNGS: Final[tuple[tuple[str, str, dict[str, object], str], ...]] = (
    ("softmax regression", "logits", {}, ""),
    ("dense", "dense64", {}, "a hidden layer of 64 units"),
    ("conv", "conv16-conv32-dense64", {}, "two convolutions before it"),
    ("pooling", "conv16-pool-conv32-pool-dense64", {}, "2x2 pooling after each convolution"),
    (
        "dropout",
        "conv16-pool-drop25-conv32-pool-drop25-dense64-drop40",
        {},
        "dropout of 25, 25 and 40 %",
    ),
    (
        "L2",
        "conv16-pool-drop25-conv32-pool-drop25-dense64-drop40-l2e4",
        {},
        "L2 regularisation of all kernels by 1e-4",
    ),
    ("batch normalisation", NORMED, {}, "batch normalisation before each relu"),
    (
        "early stopping",
        NORMED,
        {"stop_after": STOP_AFTER},
        f"ends after {STOP_AFTER} epochs without a lower validation loss, its weights put back",
    ),
    (
        "halving schedule",
        NORMED,
        {"stop_after": STOP_AFTER, "halve_after": HALVE_AFTER},
        f"half the learning rate after {HALVE_AFTER} such epochs",
    ),
    (
        "checkpoint",
        NORMED,
        {"stop_after": STOP_AFTER, "halve_after": HALVE_AFTER, "keep_best": True},
        "the weights of the best validation accuracy",
    ),
)
"""Name, blueprint, what is special in the recipe, and what changed against the rung before."""


def ladder(epochs: int | None = None) -> tuple[Entrant, ...]:
    """Return the rungs, the lowest first; `epochs` in place of the recipe's own."""
    shared = {} if epochs is None else {"epochs": epochs}
    return tuple(
        Entrant(name, model, recipe(**shared, **own), change) for name, model, own, change in RUNGS
    )
