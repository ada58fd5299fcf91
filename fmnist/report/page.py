"""One self-contained HTML file of several sessions: it asks no network and opens from disk.

What it is made of lies in `assets/`; the libraries come out of installed packages. Texts in
records come from strangers: they are shortened, and shown as text.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from importlib.metadata import distribution
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import vl_convert
from jinja2 import Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup, escape

import fmnist
from fmnist import data
from fmnist.record import Record
from fmnist.report import tables
from fmnist.report.cells import cell_tables
from fmnist.report.choose import good, node_of, placed_name
from fmnist.report.headline import headline
from fmnist.report.kinds import MEANINGLESS, rank, title
from fmnist.report.pictures import plots
from fmnist.report.pictures.picture import Picture
from fmnist.report.render import LONGEST_TEXT, Table, inert, joined

LARGEST_BYTES: Final = 3_000_000
"""Of a page. What does not fit is left out of the last sessions, with a word in its place."""

MOST_STILLS: Final = 8
"""Pictures that are drawn beforehand; a print has the others in words."""

LONGEST_IN_A_CELL: Final = 200
"""Characters of a name or a table's text that are shown; other texts have `LONGEST_TEXT`."""

STAND_IN_NOTICE: Final = "Drawn stand-in data, not Fashion-MNIST."
MEANINGLESS_NOTICE: Final = "Preset smoke: the figures mean nothing."
LEFT_OUT: Final = "not shown: a page holds no more than 3 MB. `fmnist report` prints all tables."
NUMBER: Final = re.compile(r"[+-]?\d[\d.,e+/x()\[\] -]*( of [\d,]+)?|-")
"""What a table shows for a number, with an interval, a count, or none: `4.62 [4.55, 4.70]`."""


@dataclass(frozen=True)
class Figure:
    """A picture; `still` is it drawn beforehand, for print and for a reader without scripts."""

    id: str
    picture: Picture
    still: str | None


@dataclass(frozen=True)
class NumberedTable:
    """A table, and by column whether numbers stand in it."""

    id: str
    table: Table
    numeric: tuple[bool, ...]


@dataclass(frozen=True)
class Section:
    """What the page shows of a session; the first one's sentences stand above all sections."""

    id: str
    heading: str
    setting: str
    facts: str
    opened: bool
    notices: tuple[str, ...]
    sentences: tuple[str, ...] = ()
    figures: tuple[Figure, ...] = ()
    tables: tuple[NumberedTable, ...] = ()
    left_out: str = ""


def page(sessions: Sequence[Sequence[Record]], against: str | None = None) -> str:
    """Return the page of sessions as HTML: the same records make the same page.

    They are shown in the order of `kinds.rank`; the page opens with what the first one answers.

    Args:
        sessions: the records of each, as from `choose.sessions_of` or `choose.assembled`.
        against: the backend in the denominator of the ratios; default: that of the first column.
    """
    ordered = sorted(filter(None, sessions), key=rank, reverse=True)
    first = ordered[0] if ordered else []
    templates = _templates()
    machines = [picture for picture in [plots.of_machines(ordered)] if picture is not None]
    pictures = [*machines, *plots.of_session(first, against)]
    figures = [
        Figure(f"first-{picture.name}", picture, _still(picture) if i < MOST_STILLS else None)
        for i, picture in enumerate(pictures)
    ]
    compared, own = figures[: len(machines)], figures[len(machines) :]
    frame = partial(
        templates.get_template("page.html.j2").render,
        **_own(),
        notices=_notices(first),
        sentences=headline(first, against),
        opening=own[:1],
        machines=compared,
        cells=templates.get_template("cells.html.j2").render(tables=cell_tables(ordered, against)),
        sections=[_bare(records) for records in ordered],
        sources=joined(r.session for records in ordered for r in records),
    )
    room = LARGEST_BYTES - len(frame(details=[]).encode())
    return frame(details=list(_details(ordered, own[1:], against, templates, room)))


def _details(
    sessions: Sequence[Sequence[Record]],
    figures: Sequence[Figure],
    against: str | None,
    templates: Environment,
    room: int,
) -> Iterator[str]:
    """Yield each session as HTML, as much of it as fits into `room` bytes for all of them.

    `figures` are those of the first one.
    """
    template = templates.get_template("session.html.j2")
    nothing = f"Tables and pictures {LEFT_OUT}"
    bare = [template.render(section=replace(_bare(r), left_out=nothing)) for r in sessions]
    room -= sum(len(html.encode()) for html in bare)
    for records, shortest in zip(sessions, bare, strict=True):
        allowed = room + len(shortest.encode())
        versions = _versions(records, figures if records is sessions[0] else None, against)
        html = _first_fitting(versions, template, allowed) if room > 0 else None
        # Where one did not fit, later ones are not tried: it would take time for nothing.
        room = 0 if html is None else allowed - len(html.encode())
        yield html or shortest


def _first_fitting(versions: Iterable[Section], template: Template, room: int) -> str | None:
    """Return the first version as HTML that takes no more than `room` bytes, if any does."""
    for section in versions:
        html = template.render(section=section)
        if len(html.encode()) <= room:
            return html
    return None


def _versions(
    records: Sequence[Record], figures: Sequence[Figure] | None, against: str | None
) -> Iterator[Section]:
    """Yield what may be shown of a session, from all of it to its tables alone.

    `figures` are those of the session that the page opens with; None for another one.
    """
    bare = _bare(records)
    whole = replace(
        bare,
        opened=figures is not None,
        sentences=() if figures is not None else tuple(headline(records, against)),
        tables=tuple(
            _numbered(f"{bare.id}-{i}", table)
            for i, table in enumerate(tables.of_session(records, against))
        ),
    )
    if figures is None:
        pictures = plots.of_session(records, against)
        figures = [Figure(f"{bare.id}-{p.name}", p, None) for p in pictures]
    yield replace(whole, figures=tuple(figures))
    if any(figure.still for figure in figures):
        yield replace(whole, figures=tuple(replace(figure, still=None) for figure in figures))
    yield replace(whole, left_out=f"Pictures {LEFT_OUT}")


def _bare(records: Sequence[Record]) -> Section:
    """Return what is shown of every session."""
    first = records[0]
    node = node_of(first)
    where = joined(placed_name(r) for r in records)
    trained = (*good(records, "train"), *good(records, "scale"))
    cells = len({r.cell for r in trained})
    learned = len(good(records, "learn"))
    failed = sum(r.failure is not None for r in records)
    return Section(
        id="-".join(filter(None, ("session", first.session, first.preset, first.dataset, node))),
        heading=f"{title(records)}, {where}",
        setting=f"{first.dataset}, preset {first.preset}, {where}",
        facts=(
            f"Session {joined(r.session for r in records)}: "
            f"records {len(records):,}, cells trained {cells:,}, "
            f"{f'whole trainings {learned:,}, ' if learned else ''}failed {failed:,}"
        ),
        opened=False,
        notices=_notices(records),
    )


def _notices(records: Sequence[Record]) -> tuple[str, ...]:
    """Return what must be known before any figure of a session is read."""
    return (
        *([STAND_IN_NOTICE] if any(r.dataset == data.STAND_IN for r in records) else []),
        *([MEANINGLESS_NOTICE] if any(r.preset == MEANINGLESS for r in records) else []),
    )


def _numbered(anchor: str, table: Table) -> NumberedTable:
    """Return a table with its columns of numbers told apart; the first one names the row."""
    columns = zip(*table.rows, strict=True)
    numeric = [i > 0 and all(map(NUMBER.fullmatch, column)) for i, column in enumerate(columns)]
    return NumberedTable(anchor, table, tuple(numeric))


def _still(picture: Picture) -> str:
    """Return a picture as the address of an image, without its title: the page has that as text."""
    untitled = {name: part for name, part in picture.spec.items() if name != "title"}
    drawn = plots.svg(replace(picture, spec=untitled)).encode()
    return f"data:image/svg+xml;base64,{base64.b64encode(drawn).decode()}"


def _templates() -> Environment:
    templates = Environment(
        loader=PackageLoader("fmnist.report", "assets"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalized,
    )
    templates.filters["brief"] = _brief
    return templates


def _brief(text: str) -> Markup:
    """Return a name or a table's text as HTML."""
    return escape(inert(text, LONGEST_IN_A_CELL))


def _finalized(value: object) -> object:
    """Return what a template prints for a value: no text of a record gets around this."""
    return inert(value, LONGEST_TEXT) if type(value) is str else value


def _own() -> dict[str, Any]:
    """Return what the page's template needs that is the same for all records."""
    theme = _inlined(_asset("theme.js"))
    scripts = [_datatables(), _asset("cells.js"), _vega(), _asset("page.js")]
    inlined = [_inlined(script) for script in scripts]
    return {
        "version": fmnist.__version__,
        "policy": _policy([theme, *inlined]),
        "theme": theme,
        "scripts": inlined,
        "style": _asset("page.css"),
        "themes": {name: plots.themed({}, name)["config"] for name in plots.THEMES},
    }


def _inlined(script: str) -> str:
    """Return a script as it can stand in HTML. Raises ValueError for one that would end there."""
    if "</script" in script.lower():
        raise ValueError("a script that holds its own end tag cannot stand in a page")
    return script.replace("<!--", r"<\!--")


def _policy(scripts: Iterable[str]) -> str:
    """Return the page's content security policy: these scripts, and no request to anywhere."""
    digests = [hashlib.sha256(script.encode()).digest() for script in scripts]
    allowed = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return (
        f"default-src 'none'; script-src {allowed}; "
        "style-src 'unsafe-inline'; img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _asset(name: str) -> str:
    return (files("fmnist.report") / "assets" / name).read_text(encoding="utf-8")


@cache
def _datatables() -> str:
    """Return DataTables with jQuery, as the package itables brings it.

    That package is not imported: it would read settings from the folder that we are in.
    """
    path = distribution("itables").locate_file("itables/html/dt_bundle.js")
    return Path(str(path)).read_text(encoding="utf-8")


@cache
def _vega() -> str:
    """Return Vega, Vega-Lite and Vega-Embed, as the renderer of the pictures brings them."""
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", plots.VEGA_LITE)
