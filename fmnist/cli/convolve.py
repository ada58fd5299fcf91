"""`fmnist convolve`: what a kernel does, by our own code and by Keras."""

from pathlib import Path
from typing import Final, NamedTuple

import click
import numpy as np
import numpy.typing as npt

from fmnist import data, grid
from fmnist.cli.errors import REASON_LENGTH, BadInput
from fmnist.cli.reports import write
from fmnist.data import images
from fmnist.lessons import ask, convolution
from fmnist.lessons.by_keras import Convolution, convolved
from fmnist.lessons.convolution import KERNELS, Floats, Padding
from fmnist.report.pictures.before_after import before_after
from fmnist.report.pictures.image_grid import png
from fmnist.report.render import Table, digits, inert, render
from fmnist.session import places

LARGEST: Final = 1e-5
"""Relative difference between our own code and Keras that is rounding."""


class Given(NamedTuple):
    """What is convolved: uint8 (height, width) or float64 (steps,), and its name for people."""

    values: npt.NDArray[np.uint8] | Floats
    name: str


@click.command(epilog=f"Kernels by name: {', '.join(KERNELS)}.")
@click.argument("image", required=False, type=click.Path(path_type=Path))
@click.option(
    "--test-image", type=click.IntRange(0, 9_999), metavar="N", help="the N-th of the test set"
)
@click.option("--signal", metavar="NUMBERS", help="in one dimension: numbers like '0 0 1 1 0'")
@click.option(
    "--kernel", "text", required=True, metavar="NAME|ROWS", help="or '1 0 -1; 2 0 -2; 1 0 -1'"
)
@click.option("--strides", type=click.IntRange(1), default=1, show_default=True)
@click.option("--padding", type=click.Choice(["valid", "same"]), default="valid", show_default=True)
@click.option(
    "--true", "turned", is_flag=True, help="turn the kernel round: convolution in mathematics"
)
@click.option("--out", metavar="FILE.png", type=click.Path(path_type=Path), help="before and after")
@click.option("--check", is_flag=True, help="have Keras do the same on every installed backend")
@click.option("--data-dir", metavar="DIR", help="folder of the four IDX files, or stand-in")
def convolve(  # noqa: PLR0913  # one for each option
    *,
    image: Path | None,
    test_image: int | None,
    signal: str | None,
    text: str,
    strides: int,
    padding: Padding,
    out: Path | None,
    data_dir: str | None,
    turned: bool,
    check: bool,
) -> None:
    """Slide a kernel over an image, in grey, or along a signal, as a layer of Keras does.

    Numbers are multiplied and summed by code of our own, in NumPy; --check holds them against
    Keras's. Keras does not turn the kernel round; --true does.
    """
    _check_target(out, signal)
    try:
        given = _given(image, test_image, signal, data_dir)
        kernel = convolution.parse_kernel(text)
        case = _case(given, kernel[::-1, ::-1] if turned else kernel, strides, padding)
        made = case.by_hand()[0, ..., 0]
    except (images.ImageError, data.DataError, convolution.ConvolutionError) as error:
        raise BadInput(inert(str(error), REASON_LENGTH)) from error
    title = f"{given.name}, kernel {text}{' turned round' if turned else ''}"
    terms = (f"strides {strides}", f"padding {padding}")
    if signal is None:
        click.echo(f"{inert(title, REASON_LENGTH)}: {_extent(given.values)} to {_extent(made)}")
    else:
        click.echo(render(_by_hand(case, strides, title, terms), "text"))
    if out is not None:
        _draw(out, given, made, "; ".join([title, *terms]))
    if check:
        _check(case)


def _given(
    image: Path | None, test_image: int | None, signal: str | None, data_dir: str | None
) -> Given:
    """Return the one thing that is convolved. Raises BadInput, ImageError, DataError."""
    if sum(x is not None for x in (image, test_image, signal)) != 1:
        raise BadInput("give one of: an IMAGE, --test-image N, --signal NUMBERS")
    if signal is not None:
        return Given(convolution.parse_signal(signal), f"signal {signal}")
    if image is not None:
        return Given(images.read_grey(image), image.name)
    source = data.locate(Path(data_dir) if data_dir else None)
    test = data.load(source)
    name = data.CLASS_NAMES[test.test_labels[test_image]]
    return Given(test.test_images[test_image], f"test image {test_image} ({name}) of {test.name}")


def _check_target(out: Path | None, signal: str | None) -> None:
    """Raise BadInput for what cannot be drawn, before anything is read."""
    if out is not None and signal is not None:
        raise BadInput("--out draws images, and a signal is none: its sums are printed")
    if out is not None and out.suffix != ".png":
        raise BadInput(f"--out must end in .png, got {out}")


def _case(given: Given, kernel: Floats, strides: int, padding: Padding) -> Convolution:
    """Return it with the axes of Keras: one example, one channel, one filter."""
    if given.values.ndim == 1:
        if len(kernel) > 1:
            raise BadInput(f"a signal wants a kernel of one row, not of {len(kernel)}: like '1 -1'")
        kernel = kernel[0]
    return Convolution(given.values[None, ..., None], kernel[..., None, None], strides, padding)


def _extent(values: npt.NDArray[np.generic]) -> str:
    return "x".join(map(str, reversed(values.shape)))


def _by_hand(case: Convolution, strides: int, title: str, terms: tuple[str, ...]) -> Table:
    """Return the sums of a signal, each with its products written out."""
    kernel, same = case.kernel[:, 0, 0], case.padding == "same"
    steps = case.inputs.shape[1]
    around = convolution.zeros_around(steps, len(kernel), strides) if same else (0, 0)
    padded = np.pad(case.inputs[0, :, 0], around)
    rows = []
    for place, total in enumerate(case.by_hand()[0, :, 0]):
        window = padded[place * strides :][: len(kernel)]
        products = " + ".join(f"{x:g}*{k:g}" for x, k in zip(window, kernel, strict=True))
        rows.append((str(place), products, f"{total:g}"))
    return Table(title, ("place", "products of signal and kernel", "sum"), tuple(rows), terms)


def _draw(out: Path, given: Given, made: Floats, title: str) -> None:
    """Write before and after as PNG. Raises BadInput."""
    write(out, png(before_after(given.values.astype(np.uint8), made, title)))


def _check(case: Convolution) -> None:
    """Print how far each backend is from our own code. Ends with status 1 beyond LARGEST."""
    own, differences = case.by_hand(), {}
    for backend in filter(places.installed, grid.BACKENDS):
        try:
            (found,) = convolved([case], backend)
        except ask.NoAnswerError as error:
            raise click.ClickException(inert(str(error), REASON_LENGTH)) from error
        differences[backend] = convolution.relative_difference(found, own)
    rows = tuple((grid.BACKENDS[b].title, digits(d) if d else "0") for b, d in differences.items())
    terms = (f"largest difference over the largest magnitude; at most {LARGEST:g} is rounding",)
    header = ("backend", "relative difference")
    click.echo(render(Table("Keras against our own code", header, rows, terms), "text"))
    if not differences or max(differences.values()) > LARGEST:
        raise click.ClickException(f"Keras differs by more than {LARGEST:g}, or is not installed")
