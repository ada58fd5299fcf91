"""What every picture is made of: its texts, its rows, and what stands for which backend.

Names and texts in records come from strangers. They enter a picture as data, in fields of fixed
names, or as the literal text of a title: no expression is made of them. All go through
`render.inert`: on a control character the renderer aborts the whole process.
"""

import math
import re
import textwrap
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, count
from typing import Any, Final

import altair as alt

from fmnist import grid
from fmnist.record import Record
from fmnist.report.choose import CELL_COLUMNS, backends_of, machine_name, of_main_modes, row_key
from fmnist.report.render import inert, joined
from fmnist.report.summary import Summary
from fmnist.report.terms import terms_of

NAME_LENGTH: Final = 40
LONGEST_SLUG: Final = 60
TERM_LENGTH: Final = 300
SUBTITLE_LENGTH: Final = 110
MOST_ROWS: Final = 24
"""Of models in one picture; the tables have all of them."""
PANEL: Final = 205
"""A small plot's width, in pixels."""
COLUMNS: Final = 3

FILLED: Final = next(iter(grid.BACKENDS))
Datum = dict[str, Any]
"""One mark's values, in fields of fixed names."""


@dataclass(frozen=True)
class Picture:
    """A chart, and what has to be said with it.

    Attributes:
        name: file stem, of [a-z0-9-], unique within a session.
        title: for people.
        caption: what is shown, and under which terms.
        alternative: for who cannot see it: the main figures, in words.
        spec: Vega-Lite 6 with its data in it, without the colours of a theme.
    """

    name: str
    title: str
    caption: str
    alternative: str
    spec: Mapping[str, Any]


@dataclass(frozen=True)
class Heading:
    """What a picture says above its marks, and what is said with it."""

    name: str
    title: str
    reading: str
    """What is shown, in a sentence or two: under the title, and in the caption."""


def picture(
    heading: Heading, chart: alt.TopLevelMixin, records: Sequence[Record], figures: Iterable[str]
) -> Picture:
    """Return the picture of a chart without a title.

    Args:
        heading: what is said of it.
        chart: what was drawn.
        records: what it was drawn from, at least one: they state the terms.
        figures: the main ones, in words.
    """
    lines = [heading.title, *_warnings(records)]
    title = ": ".join(lines)
    spec = chart.to_dict()
    spec.pop("config", None)  # Altair's own theme
    spec["title"] = {"text": lines, "subtitle": [*_lines(heading.reading), *_setting(records)]}
    terms = "; ".join(inert(term, TERM_LENGTH) for term in terms_of(records))
    return Picture(
        name=heading.name,
        title=title,
        caption=f"{heading.reading} {terms}",
        alternative=f"{title}. {'; '.join(figures)}.",
        spec=spec,
    )


def _warnings(records: Iterable[Record]) -> list[str]:
    """Return a line on what must be known before any figure is read, if there is such a thing."""
    known = [
        *(["stand-in data, not Fashion-MNIST"] if _any(records, dataset="stand-in") else []),
        *(["smoke: figures mean nothing"] if _any(records, preset="smoke") else []),
    ]
    return [f"({'; '.join(known)})"] if known else []


def _any(records: Iterable[Record], **terms: str) -> bool:
    return any(getattr(r, name) == value for r in records for name, value in terms.items())


def _lines(text: str) -> list[str]:
    """Return a text in lines that fit below a title."""
    return textwrap.wrap(text, SUBTITLE_LENGTH)


def _setting(records: Sequence[Record]) -> list[str]:
    """Return data set, preset, versions and the machine, in lines that fit below a title.

    Several machines are named in the picture itself.
    """
    versions = {name: v for r in records for name, v in sorted(r.versions.items())}
    packages = ["keras", *(grid.BACKENDS[b].package for b in backends_of(records))]
    work = [
        f"{joined(r.dataset for r in records)}, preset {joined(r.preset for r in records)}",
        *(f"{name} {versions[name]}" for name in packages if name in versions),
    ]
    machines = {machine_name(r) for r in records}
    lines = [", ".join(work), *(machines if len(machines) == 1 else [])]
    return [inert(line, SUBTITLE_LENGTH) for line in lines]


def rounded(value: float | None) -> float | None:
    """Return six significant digits: another platform's last bits must not show in a picture."""
    return None if value is None else float(f"{value:.6g}")


@dataclass(frozen=True)
class Row:
    """Cells that stand side by side: a model, with what varies beside it, on each backend."""

    name: str
    cells: tuple[Summary, ...]

    @property
    def parameters(self) -> int:
        """The model's parameters, all kinds together."""
        return self.cells[0].parameters.total

    @property
    def mode(self) -> str:
        """The mode of all its cells."""
        return self.cells[0].cell.mode

    @property
    def unequal(self) -> bool:
        """Whether the backends were seen NOT to do the same work."""
        return any(cell.unequal for cell in self.cells)


def rows_of_cells(cells: Iterable[Summary]) -> list[Row]:
    """Return the cells by model and what varies beside it; no two rows have the same name."""
    by_row: dict[tuple[Any, ...], list[Summary]] = {}
    for cell in cells:
        key = (*row_key(cell.first), cell.first.train_images)
        by_row.setdefault(key, []).append(cell)
    names = unlike(cell_names([row[0].first for row in by_row.values()]))
    return [Row(name, tuple(row)) for name, row in zip(names, by_row.values(), strict=True)]


def records_of(rows: Iterable[Row]) -> list[Record]:
    """Return the records that rows are of."""
    return [r for row in rows for cell in row.cells for r in cell.records]


def shown_rows(rows: Sequence[Row]) -> Sequence[Row]:
    """Return the rows that one picture shows: stock and tuned, where there are, smallest first."""
    return of_main_modes(rows)[:MOST_ROWS]


def left_out_rows(rows: Sequence[Row]) -> str:
    """Return sentences about the rows that `shown_rows` leaves out; nothing if it shows all."""
    main = of_main_modes(rows)
    other = " Other modes are in the tables." if len(main) < len(rows) else ""
    return f"{other}{left_out(main)}"


def left_out(rows: Sequence[Any]) -> str:
    """Return a sentence about the rows that the picture does not show; nothing if it shows all."""
    if len(rows) <= MOST_ROWS:
        return ""
    return f" The {MOST_ROWS} smallest of {len(rows)} rows; the tables have all."


def cell_names(records: Sequence[Record], but: Container[str] = ()) -> list[str]:
    """Return the model of each record's cell, and its terms where those of the others differ.

    Terms that the models themselves tell apart may be left out by their column's name.
    """
    differing = [n for n in CELL_COLUMNS if len({getattr(r, n) for r in records}) > 1]
    varying = [n for n in differing if n not in but]
    sizes = Counter(key for key, _ in {(row_key(r), r.train_images) for r in records})

    def words(record: Record) -> Iterator[str]:
        yield record.model
        yield from (str(getattr(record, name)) for name in varying)
        if sizes[row_key(record)] > 1:
            yield f"{record.train_images:,} images"

    return [inert(", ".join(filter(None, words(r))), NAME_LENGTH) for r in records]


def unlike(names: Iterable[str]) -> list[str]:
    """Return the names, numbered where they are taken: two long ones may be cut to the same."""
    given: list[str] = []
    for name in names:
        numbered = chain([name], (f"({i}) {name}" for i in count(2)))
        given.append(next(candidate for candidate in numbered if candidate not in given))
    return given


def proper(backend: str) -> str:
    """Return a backend's name as its people write it."""
    return grid.BACKENDS[backend].title


def backend_colour(backends: Iterable[str]) -> alt.Color:
    """Return what has each backend in its own colour of the theme, those that ran in a legend."""
    scale, legend = _of_backends(backends)
    return alt.Color("backend:N", scale=scale, legend=legend)


def backend_shape(backends: Iterable[str]) -> alt.Shape:
    """Return what has each backend in its own shape, in the legend of its colour."""
    scale, legend = _of_backends(backends)
    return alt.Shape("backend:N", scale=scale, legend=legend)


def backend_filling(backends: Iterable[str]) -> tuple[alt.Stroke, alt.Fill, alt.FillOpacity]:
    """Return what has each backend in its colour, that of FILLED filled and the others hollow."""
    scale, legend = _of_backends(backends)
    filling = alt.Scale(domain=scale.domain, range=[int(b == FILLED) for b in grid.BACKENDS])
    return (
        alt.Stroke("backend:N", scale=scale, legend=legend),
        alt.Fill("backend:N", scale=scale, legend=legend),
        alt.FillOpacity("backend:N", scale=filling, legend=legend),
    )


def which_are_hollow(backends: Iterable[str]) -> str:
    """Return a sentence about `backend_filling`; nothing where all marks are filled."""
    hollow = [proper(backend) for backend in backends if backend != FILLED]
    return f" Hollow marks: {joined(hollow)}." if hollow else ""


def _of_backends(backends: Iterable[str]) -> tuple[alt.Scale, alt.Legend]:
    domain = [proper(b) for b in grid.BACKENDS]
    return alt.Scale(domain=domain), alt.Legend(title=None, values=[proper(b) for b in backends])


def log_axis(
    title: str, span: tuple[float, float], steps: Sequence[int] = (1, 2, 5), form: str = "~g"
) -> tuple[alt.Scale, alt.Axis]:
    """Return a logarithmic scale over just the span, and an axis with round ticks in it.

    Args:
        title: with the unit.
        span: its ends, above 0.
        steps: the digits with which round figures begin.
        form: of the ticks' labels, as d3-format has it.
    """
    exponents = range(math.floor(math.log10(span[0])), math.ceil(math.log10(span[1])) + 1)
    ticks = [float(f"{step}e{e}") for e in exponents for step in steps]
    values = [tick for tick in ticks if span[0] <= tick <= span[1]]
    domain = [rounded(end) for end in span]
    return (
        alt.Scale(type="log", domain=domain, nice=False),
        alt.Axis(title=title, values=values, format=form),
    )


def inline(values: Sequence[Datum]) -> alt.InlineData:
    """Return rows of values as a chart's data."""
    return alt.InlineData(values=list(values))


def facets(layers: Sequence[alt.Chart], values: Sequence[Datum], height: int) -> alt.FacetChart:
    """Return small plots of the same layers, one for each `model`, in the order of `order`."""
    facet = alt.Facet(
        "model:N",
        title=None,
        sort=alt.EncodingSortField(field="order", op="min", order="ascending"),
    )
    plot = alt.LayerChart(layer=list(layers), width=PANEL, height=height)
    return plot.facet(facet=facet, columns=COLUMNS, data=inline(values))


def slugs(names: Iterable[str], otherwise: str) -> dict[str, str]:
    """Return for each name what stands for it in a file's, of [a-z0-9-]: never one for two names.

    Args:
        names: of anything.
        otherwise: for those of which nothing is left.
    """
    found: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:LONGEST_SLUG] or otherwise
        numbered = (f"{plain}-no{n}" for n in count(2))
        taken = set(found.values())
        found[name] = next(slug for slug in chain([plain], numbered) if slug not in taken)
    return found
