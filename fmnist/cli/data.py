"""`fmnist data`: where the data comes from, and what is in it."""

from pathlib import Path

import click
import numpy as np

from fmnist import data
from fmnist.cli.errors import REASON_LENGTH, BadInput
from fmnist.cli.predict import installed_backend
from fmnist.cli.reports import write
from fmnist.lessons import ask
from fmnist.report.render import Table, inert, render


@click.command(name="data")
@click.option("--data-dir", metavar="DIR", help="folder of the four IDX files, or stand-in")
@click.option("--explore", is_flag=True, help="class balance and pixels instead, as tables")
@click.option(
    "--sample",
    type=click.IntRange(10),
    metavar="N",
    help="with --explore: of N random training images, and a sixth as many test images",
)
@click.option("--seed", type=int, default=0, show_default=True, help="of the sample")
@click.option(
    "--pictures",
    metavar="DIR",
    type=click.Path(file_okay=False, path_type=Path),
    help="with --explore: also write samples of each class, and the class balance, there",
)
@click.option("--encode", is_flag=True, help="the labels one-hot, three ways, instead")
def data_command(
    *,
    data_dir: str | None,
    explore: bool,
    sample: int | None,
    seed: int,
    pictures: Path | None,
    encode: bool,
) -> None:
    """Say where the data comes from, and verify it; or say what is in it."""
    if not explore and (sample is not None or pictures is not None):
        raise BadInput("--sample and --pictures are of what --explore prints: give it as well")
    try:
        source = data.locate(Path(data_dir) if data_dir else None)
        if explore:
            _explore(source, sample, seed, pictures)
        if encode:
            _encode(data.load(source))
        if not explore and not encode:
            _verify(source)
    except ValueError as error:  # a DataError, or a sample that cannot be drawn
        raise BadInput(str(error)) from error


def _verify(source: data.Source) -> None:
    dataset = data.load(source)
    click.echo(f"data set: {source.kind} ({source.found_by})")
    if source.folder is not None:
        click.echo(f"folder: {source.folder}")
        for name, published in data.FILES.items():
            click.echo(f"  {name}: MD5 {published.md5} as published")
    click.echo(
        f"{len(dataset.train_images):,} training and {len(dataset.test_images):,} test images, "
        f"{dataset.train_images.shape[1]}x{dataset.train_images.shape[2]}, ten classes: "
        + ", ".join(data.CLASS_NAMES)
    )


def _explore(source: data.Source, sample: int | None, seed: int, pictures: Path | None) -> None:
    from fmnist.lessons import explore
    from fmnist.report.pictures import plots
    from fmnist.report.pictures.image_grid import png

    dataset = explore.loaded(source, sample, seed)
    drawn = source.folder is not None
    terms = [f"a random sample, seed {seed}" if drawn else "its first images"] if sample else []
    _show(explore.tables(dataset, terms))
    if pictures is None:
        return
    chart = explore.balance_chart(dataset)
    write(pictures / f"{dataset.name}-samples.png", png(explore.overview(dataset)))
    write(pictures / f"{dataset.name}-{chart.name}.svg", plots.svg(chart))
    write(pictures / f"{dataset.name}-{chart.name}.png", plots.png(chart))


def _encode(dataset: data.Dataset) -> None:
    """Print the labels of both sets by each way. Ends with status 1 where they differ."""
    from fmnist.lessons import explore

    labels = np.concatenate([dataset.train_labels, dataset.test_labels])
    try:
        ways = explore.one_hot_three_ways(labels, installed_backend(None))
    except ask.NoAnswerError as error:
        raise click.ClickException(inert(str(error), REASON_LENGTH)) from error
    _show(explore.encoding_tables(labels, ways, dataset.name))
    own, *others = ways.values()
    if not all(np.array_equal(own, other) for other in others):
        raise click.ClickException("the ways do not agree")
    click.echo("all three ways are equal")


def _show(tables: list[Table]) -> None:
    for table in tables:
        click.echo(render(table, "text"))
