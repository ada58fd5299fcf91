"""Studies as data: which models are trained by which recipes, and why. Nothing here trains."""

from dataclasses import dataclass

from fmnist import models
from fmnist.models import Recipe


@dataclass(frozen=True)
class Entrant:
    """A model with a recipe, one of those that a study trains.

    Attributes:
        name: what it is called in tables.
        model: a blueprint.
        recipe: its epochs are the most that are trained.
        change: what is new in it, as a fragment of a sentence; empty where nothing came before.
    """

    name: str
    model: str
    recipe: Recipe
    change: str = ""


def recipe(**own: object) -> Recipe:
    """Return the recipe of blueprints with some fields of a study's own."""
    return Recipe.model_validate({**models.BLUEPRINT_RECIPE, **own})
