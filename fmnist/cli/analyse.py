"""The command that looks into what whole trainings learned."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import click
from PIL import Image

from fmnist import data, grid
from fmnist.cli.errors import BadInput
from fmnist.cli.reports import fail_if_damaged, records_in, write
from fmnist.record import Record
from fmnist.report import classes
from fmnist.report.choose import assembled
from fmnist.report.learned import (
    LONGEST_NAME,
    QUANTITIES,
    Learned,
    by_name,
    learned,
    looked_into,
    overfitting,
)
from fmnist.report.render import inert, joined, render

Content = str | bytes
TestSet = Callable[[Record], data.Dataset]


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--model", metavar="NAME", help="this model alone; default: every one")
@click.option("--backend", type=click.Choice(list(grid.BACKENDS)), help="default: every one")
@click.option("--seed", type=int, metavar="N", help="this seed alone; default: all, joined")
@click.option(
    "--out",
    required=True,
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="where pictures go, and grids of images",
)
@click.option("--data-dir", metavar="DIR", help="folder of the four IDX files, or stand-in")
def analyse(
    files: tuple[Path, ...],
    model: str | None,
    backend: str | None,
    seed: int | None,
    out: Path,
    data_dir: str | None,
) -> None:
    """Show what whole trainings learned: classes, confusions, overfitting, right and wrong images.

    FILES hold the records of `fmnist reproduce`: nothing is trained again. The images in the grids
    are of the first seed.
    """
    records, damaged = records_in(files)
    chosen = _chosen(looked_into(records), model, backend, seed)
    runs = [(run, learned(run)) for run in assembled(chosen)]
    test_set = _test_sets(Path(data_dir) if data_dir else None)
    drawn = [(out / name, content) for run, _ in runs for name, content in _drawn(run, test_set)]
    for _, found in runs:
        _print(found)
    for path, content in drawn:
        write(path, content)
    fail_if_damaged(damaged)


def _chosen(
    records: Sequence[Record], model: str | None, backend: str | None, seed: int | None
) -> list[Record]:
    """Return the records of what was asked for. Raises BadInput, saying what there is, for none."""
    if not records:
        raise BadInput("no whole trainings in these files: `fmnist reproduce` makes them")
    kept = list(records)
    for name, wanted in (("model", model), ("backend", backend), ("seed", seed)):
        there = sorted({getattr(r, name) for r in kept})
        kept = [r for r in kept if wanted is None or getattr(r, name) == wanted]
        if not kept:
            raise BadInput(
                f"no whole training with {name} {wanted!r} in these files; there are: "
                f"{joined(inert(str(value), LONGEST_NAME) for value in there)}"
            )
    return kept


def _print(found: Sequence[Learned]) -> None:
    """Print how far each training overfits, and what it says of each class."""
    for quantity in QUANTITIES:
        table = overfitting(found, quantity)
        if table is not None:
            click.echo(render(table, "text"))
    for one in found:
        click.echo(render(classes.classification(one), "text"))
        click.echo(render(classes.confusion_table(one), "text"))


def _test_sets(data_dir: Path | None) -> TestSet:
    """Return what loads the test images of a record, each sample once. It raises BadInput."""

    @cache
    def source(dataset: str) -> data.Source:
        is_drawn = dataset == data.STAND_IN
        found = data.locate(Path(data.STAND_IN) if is_drawn else data_dir)
        if found.kind != dataset:
            raise BadInput(
                f"these trainings are of {dataset}, and the data set at hand is {found.kind} "
                f"({found.found_by}): name the folder of {dataset} by --data-dir"
            )
        return found

    @cache
    def sample(dataset: str, images: int, seed: int) -> data.Dataset:
        return data.load_sample(source(dataset), len(data.CLASS_NAMES), images, seed)

    def of(record: Record) -> data.Dataset:
        try:
            return sample(record.dataset, record.test_images, record.seed)
        except ValueError as error:
            raise BadInput(str(error)) from error

    return of


def _drawn(run: Sequence[Record], test_set: TestSet) -> Iterator[tuple[str, Content]]:
    """Yield every picture and grid of a run with its file's name."""
    from fmnist.report.pictures import learned_charts, plots
    from fmnist.report.pictures.image_grid import png
    from fmnist.report.pictures.picture import slugs

    models = by_name(learned(run))
    stems = slugs(models, "model")
    for picture in learned_charts.of_models(list(models.values())):
        stem = plots.stem(run, picture.name)
        yield f"{stem}.svg", plots.svg(picture)
        yield f"{stem}.png", plots.png(picture)
    for name, ones in models.items():
        for one in ones:
            for what, image in _grids(one.first, test_set(one.first)).items():
                of_grid = f"{what}-{stems[name]}-{one.first.backend}"
                yield f"{plots.stem(run, of_grid)}.png", png(image)


def _grids(record: Record, dataset: data.Dataset) -> Mapping[str, Image.Image]:
    """Return the grids of a training, by what they show. Raises BadInput for other images."""
    from fmnist.report.pictures import classified

    try:
        classified.check(record, dataset.test_labels)
    except classified.OtherImagesError as error:
        raise BadInput(str(error)) from error
    made = {
        "wrong": classified.wrong(record, dataset.test_images),
        "right": classified.right(record, dataset.test_images),
    }
    return {name: image for name, image in made.items() if image is not None}
