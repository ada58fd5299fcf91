"""What was published of the five projects behind this suite, as data: which figure, of which model.

The projects are those of the models' `ORIGIN`. What a figure was measured on is as far as its
project says so; each was measured once, by one training.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from fmnist import models
from fmnist.grid import known

Figure = Literal[
    "train_loss",
    "train_accuracy",
    "validation_loss",
    "validation_accuracy",
    "test_loss",
    "test_accuracy",
]


@dataclass(frozen=True)
class Claim:
    """A figure that a project published.

    Attributes:
        model: of the suite.
        figure: a field of `fmnist.record.EpochResult`.
        epoch: after which it was read, from 1; None: after the last one.
        published: a loss, or an accuracy in [0, 1].
    """

    model: str
    figure: Figure
    epoch: int | None
    published: float

    @property
    def higher_is_better(self) -> bool:
        """Whether more is better than less."""
        return self.figure.endswith("_accuracy")


@dataclass(frozen=True)
class Order:
    """A claim without a figure of its own: one model is better than another.

    Attributes:
        better: the model that is said to be better.
        worse: the model that it is compared with.
        figure: in which field of `fmnist.record.EpochResult`, after the last epoch.
    """

    better: str
    worse: str
    figure: Figure


@dataclass(frozen=True)
class NoGainAfter:
    """The claim that the best validation accuracy was reached by an epoch, and never after it."""

    model: str
    epoch: int


PROJECTS: Mapping[str, str] = MappingProxyType(
    {
        "imagerecognition": "image recognition with Keras on fashion data",
        "uta": "Fashion Mnist Keras model",
        "tutorial": "Convolutional Neural Networks in Python with Keras",
        "conv_8_24_48": "Deep Learning - Fashion MNIST Image Classification",
        "dense_then_conv": "Fashion-MNIST with Keras",
    }
)
"""By key, the title."""

CLAIMS: tuple[Claim | Order | NoGainAfter, ...] = (
    Claim("conv_pool_dropout", "test_accuracy", None, 0.92),
    Claim("conv_pool_dropout", "test_loss", None, 0.25),
    Claim("conv_8_24_48", "train_loss", 1, 0.4561),
    Claim("conv_8_24_48", "train_accuracy", 1, 0.8356),
    Claim("conv_8_24_48", "validation_loss", 1, 0.3404),
    Claim("conv_8_24_48", "validation_accuracy", 1, 0.8741),
    Claim("conv_8_24_48", "validation_loss", 5, 0.2521),
    Claim("conv_8_24_48", "validation_accuracy", 5, 0.9167),
    NoGainAfter("conv_8_24_48", 5),
    Claim("conv_8_24_48", "train_loss", 20, 0.0124),
    Claim("conv_8_24_48", "train_accuracy", 20, 0.9959),
    Claim("conv_8_24_48", "validation_loss", 20, 0.6125),
    Claim("conv_8_24_48", "validation_accuracy", 20, 0.9082),
    Order("leaky_cnn_dropout", "leaky_cnn", "test_loss"),
    Order("lenet_dropout", "dense3", "test_accuracy"),
    Order("deep_batchnorm", "dense3", "test_accuracy"),
)
"""In the order in which the table has them."""


def project_of(model: str) -> str | None:
    """Return the key of the project that a model is from; None for the suite's own."""
    key = models.card(model).origin.partition(":")[0]
    return key if key in PROJECTS else None


def models_of(project: str) -> tuple[str, ...]:
    """Return the models of a project, and what its claims compare them with.

    Raises UnknownNameError for no key of PROJECTS.
    """
    known("project", [project], PROJECTS)
    own = [name for name in models.suite() if project_of(name) == project]
    compared = [c.worse for c in CLAIMS if isinstance(c, Order) and c.better in own]
    return tuple(dict.fromkeys((*own, *compared)))
