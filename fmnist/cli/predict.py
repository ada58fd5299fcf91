"""`fmnist predict`: what is in a picture, by a saved model."""

from pathlib import Path

import click
import numpy as np
import numpy.typing as npt

from fmnist import grid
from fmnist.cli.errors import REASON_LENGTH, BadInput
from fmnist.data import CLASS_NAMES, images
from fmnist.lessons import ask, saved
from fmnist.report.render import Table, inert, percent, render
from fmnist.session import places


def installed_backend(asked: str | None) -> str:
    """Return the backend asked for, or the first one that is installed. Raises BadInput."""
    found = [b for b in grid.BACKENDS if places.installed(b)]
    if asked is None and found:
        return found[0]
    if asked in found:
        return asked
    wanted = [asked] if asked else list(grid.BACKENDS)
    commands = "; ".join(grid.BACKENDS[backend].install["cpu"] for backend in wanted)
    raise BadInput(f"{' and '.join(wanted)} not installed here: {commands}")


@click.command()
@click.argument("files", metavar="IMAGE...", nargs=-1, required=True, type=click.Path())
@click.option(
    "--model",
    metavar="FILE.keras",
    required=True,
    type=click.Path(path_type=Path),
    help="a model saved by Keras: 28x28 grey in [0, 1] to ten logits or probabilities",
)
@click.option(
    "--backend", type=click.Choice(list(grid.BACKENDS)), help="default: the first one installed"
)
@click.option(
    "--invert",
    is_flag=True,
    help="make a negative of each image first: for clothes photographed on white",
)
def predict(files: tuple[str, ...], model: Path, backend: str | None, *, invert: bool) -> None:
    """Say which of the ten classes is in each image, by a saved model.

    Images of any size, in colour or grey, are brought to 28x28 grey; those that are not square are
    filled up with black. Fashion-MNIST shows light clothes on black: photographs on white want
    --invert. What is transparent counts as background, with --invert or without.

    The model is loaded without executing anything that is in its file; one with a Lambda layer is
    refused.
    """
    chosen = installed_backend(backend)
    try:
        pixels = np.stack([images.read(Path(file), invert=invert) for file in files])
        found = saved.classify(pixels, model, chosen)
    except (images.ImageError, saved.ModelError) as error:
        raise BadInput(inert(str(error), REASON_LENGTH)) from error
    except ask.NoAnswerError as error:
        raise click.ClickException(inert(str(error), REASON_LENGTH)) from error
    outputs = "softmax of its logits" if found.from_logits else "probabilities as it gives them"
    terms = (
        f"model {model}, {outputs}",
        f"{grid.BACKENDS[chosen].title}, Keras {found.keras}",
        "images as negatives" if invert else "images as they are",
    )
    header = ("image", "prediction", "confidence [%]", "second choice", "its confidence [%]")
    rows = tuple(_row(file, row) for file, row in zip(files, found.probabilities, strict=True))
    click.echo(render(Table("What is in the images", header, rows, terms), "text"))


def _row(file: str, probabilities: npt.NDArray[np.float64]) -> tuple[str, ...]:
    first, second = np.argsort(-probabilities, kind="stable")[:2]
    return (
        file,
        CLASS_NAMES[first],
        percent(probabilities[first]),
        CLASS_NAMES[second],
        percent(probabilities[second]),
    )
