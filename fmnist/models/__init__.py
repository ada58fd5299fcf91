"""The models: one file each, found by its stem; what a file states is read without importing it.

The statements are literals at the top of the file: `FAMILY`, `PARAMETERS`, `ORIGIN`, `RECIPE`;
where a layer computes with statistics of a batch, `BATCH_STATISTICS`; where a figure was published
for the model, `PUBLISHED`; and for a racer, `TIER`. So the parent process lists and plans models
without starting Keras, and a new model is one new file.

A model without a file may be described by its name: see `fmnist.blueprint`.
"""

import ast
import importlib
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fmnist import blueprint
from fmnist.grid import UnknownNameError

if TYPE_CHECKING:
    import keras

FOLDER = Path(__file__).parent
BLUEPRINT_RECIPE = {
    "loss": "sparse_categorical_crossentropy",
    "optimizer": "adam",
    "learning_rate": 0.001,
    "batch_size": 100,
    "epochs": 10,
    "validation_share": 0.2,
}
"""How a model that is described by its name is trained, unless a study says otherwise."""


class Recipe(BaseModel):
    """How a model is trained: by its origin where that says so, else by the suite's choice."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    loss: Literal["sparse_categorical_crossentropy", "categorical_crossentropy"]
    optimizer: str
    learning_rate: float = Field(gt=0)
    batch_size: int = Field(ge=1)
    epochs: int = Field(ge=2)
    validation_share: float = Field(ge=0, lt=1)
    rise_share: float | None = Field(default=None, gt=0, lt=1)
    """Share of the steps in which the learning rate rises, to fall to zero in the others: see
    `fmnist.training.schedule`. None: it is constant."""
    beta_2: float | None = Field(default=None, gt=0, lt=1)
    """Decay of Adam's second moment; None: Keras's own."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    views: Literal[0, 2, 5, 6, 10] = 0
    """Views of an image that are averaged at test time: see `data.preprocess.views`. 0: none."""
    stop_after: int | None = Field(default=None, ge=1)
    """Epochs without a lower validation loss after which training ends, the weights of the lowest
    one put back. None: it goes on. This and the next two steer whole trainings (task `learn`): what
    is timed, and races, train all their epochs."""
    halve_after: int | None = Field(default=None, ge=1)
    """As many, after which the learning rate is halved. None: never."""
    keep_best: bool = False
    """Whether the trained weights are those of the best validation accuracy, not the last ones."""

    @model_validator(mode="after")
    def _smooths_what_is_one_hot(self) -> Self:
        if self.label_smoothing and self.loss != "categorical_crossentropy":
            raise ValueError("label smoothing needs the loss categorical_crossentropy")
        return self

    @model_validator(mode="after")
    def _watches_what_is_there(self) -> Self:
        if self.watches and not self.validation_share:
            raise ValueError("stop_after, halve_after and keep_best need a validation_share")
        if self.halve_after is not None and self.rise_share is not None:
            raise ValueError("a learning rate that follows a schedule cannot be halved")
        return self

    @property
    def watches(self) -> bool:
        """Whether the validation set steers the training."""
        return self.stop_after is not None or self.halve_after is not None or self.keep_best


class ModelCard(BaseModel):
    """What a model's file states about it.

    Every worker asserts `parameters` and `batch_statistics` of what it built.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    summary: str
    family: Literal["dense", "conv"]
    parameters: int = Field(ge=1)
    origin: str
    recipe: Recipe
    batch_statistics: bool = False
    """Whether the images of a batch see each other, as by batch normalization: then half a batch
    gives another result."""
    published: dict[str, float] = {}
    tier: float | None = Field(default=None, gt=0, lt=1)
    """The test accuracy that a racer was made for; None for the models of the suite."""


def names() -> tuple[str, ...]:
    """Return the names of all models: the stems of the files in this folder."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__"))


def suite() -> tuple[str, ...]:
    """Return the names of the models that a session runs unless others are named: no racers."""
    return tuple(name for name in names() if card(name).tier is None)


def racers(target: float | None = None) -> tuple[str, ...]:
    """Return the names of the racers, or of those made for the lowest tier that has the target.

    Raises ValueError for a target above every racer's tier.
    """
    tiers = {name: tier for name in names() if (tier := card(name).tier) is not None}
    if target is None:
        return tuple(tiers)
    reaching = [tier for tier in tiers.values() if tier >= target]
    if not reaching:
        raise ValueError(
            f"no racer was made for {target:.2%}; the highest tier is "
            f"{max(tiers.values(), default=0):.2%}"
        )
    return tuple(name for name, tier in tiers.items() if tier == min(reaching))


def check(wanted: Iterable[str]) -> None:
    """Raise UnknownNameError for a name that is no model, BlueprintError for one that nearly is."""
    files = names()
    for name in wanted:
        if name in files:
            continue
        if not blueprint.looks_like_one(name):
            hint = f"or a blueprint like {blueprint.EXAMPLE}"
            raise UnknownNameError("model", name, [*files, hint])
        blueprint.parse(name)


@cache
def card(name: str) -> ModelCard:
    """Return what the model's file states, or what its name describes.

    Raises UnknownNameError or BlueprintError for no model, ValueError for a file that states
    nonsense.
    """
    check([name])
    if name not in names():
        described = blueprint.parse(name)
        return ModelCard(
            name=name,
            summary=described.summary,
            family=described.family,
            parameters=described.parameters,
            origin="blueprint",
            recipe=Recipe.model_validate(BLUEPRINT_RECIPE),
            batch_statistics=described.batch_statistics,
        )
    path = FOLDER / f"{name}.py"
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    wanted = set(ModelCard.model_fields) - {"name", "summary"}
    try:
        stated = {
            target.id.lower(): ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name) and target.id.lower() in wanted
        }
        summary = (ast.get_docstring(tree) or "").partition("\n")[0]
        return ModelCard(name=name, summary=summary, **stated)
    except (ValidationError, ValueError) as error:
        raise ValueError(f"{path}: FAMILY, PARAMETERS, ORIGIN, RECIPE: {error}") from error


def build(name: str) -> "keras.Model":
    """Return the uncompiled Keras model, (n, 28, 28, 1) to (n, 10) logits. Starts Keras."""
    check([name])
    if name not in names():
        return blueprint.parse(name).build()
    model: keras.Model = importlib.import_module(f"{__name__}.{name}").build()
    return model
