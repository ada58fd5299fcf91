"""What a table is, and its text: on tabulate, in one of FORMATS.

One unit per column, three significant digits, the interval in brackets.
"""

import csv
import html
import io
import math
import re
import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tabulate import LATEX_ESCAPE_RULES, tabulate

from fmnist.stats import Estimate

FORMATS: Mapping[str, str] = {
    "text": "simple",
    "markdown": "github",
    "html": "html",
    "latex": "latex_booktabs",
    "csv": "csv",
}
TITLES: Mapping[str, str] = {"html": "<h3>{}</h3>", "latex": "\\subsection*{{{}}}"}
NOTHING = "-"
TERMS_WIDTH = 100
MARKDOWN: Mapping[str, str] = {
    "&": "&amp;",
    "<": "&lt;",
    "\\": "&#92;",  # before a bar it would take the bar's escape away
    "|": "\\|",
    "](": "]&#40;",  # a link or an image
}
"""What would be markup in a cell of a table, and what shows it, in the order of replacing."""
FIGURES = re.compile(r"[\d.,:/x%()\[\] +-]*")
"""What a spreadsheet may take for a formula, and which calls and reads nothing."""
LONGEST_TEXT = 4_000
"""Characters of a cell or a term that are shown."""


@dataclass(frozen=True)
class Table:
    """A title, a header, rows of text, and the terms that hold for all of it."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    terms: tuple[str, ...] = field(default=())


def digits(value: float) -> str:
    """Return three significant digits without an exponent, like 0.0413, 4.13, 413, 4130."""
    if value == 0 or not math.isfinite(value):
        return str(value)
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{places}f}"


def bracketed(estimate: Estimate, show: Callable[[float], str]) -> str:
    """Return `value [low, high]`, each as shown, or the value alone where n allows no interval."""
    if estimate.low is None or estimate.high is None:
        return show(estimate.value)
    return f"{show(estimate.value)} [{show(estimate.low)}, {show(estimate.high)}]"


def with_interval(estimate: Estimate, scale: float = 1.0) -> str:
    """Return `4.62 [4.55, 4.70]`, or the value alone where n allows no interval."""
    return bracketed(estimate, lambda value: digits(value * scale))


def above_one(ratio: Estimate) -> str:
    """Return a ratio by how many per cent it is above 1, like `+2.38 [-2.89, +7.95]`."""
    return bracketed(ratio, lambda value: f"{100 * (value - 1):+.2f}")


def accuracy(estimate: Estimate) -> str:
    """Return a mean accuracy in per cent with its interval, which ends at 0 and 100."""
    return bracketed(estimate, lambda share: percent(min(1.0, max(0.0, share))))


def percent(accuracy: float) -> str:
    """Return an accuracy in per cent with two decimals: as fine as 10,000 images show."""
    return f"{100 * accuracy:.2f}"


def joined(values: Iterable[Any]) -> str:
    """Return the distinct values, in order: one if all agree."""
    shown = (f"{v:,}" if isinstance(v, int) else str(v) for v in values)
    return "/".join(dict.fromkeys(shown)) or NOTHING


def inert(text: str, limit: int) -> str:
    """Return text on one line that moves no cursor, shortened to at most so many characters.

    Names and reasons come from strangers: what is not printable is shown as its escape.
    """
    line = " ".join(text[: limit + 1].split())
    shown = line
    if not line.isprintable():
        shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
    whole = len(text) <= limit + 1
    return shown if whole and len(shown) <= limit else f"{shown[: limit - 1]}…"


def render(table: Table, form: str) -> str:
    """Return the table as text in one of FORMATS, its terms under it (CSV: as rows with a #).

    Whatever the records hold is shown as text: no markup, no escape sequence, no formula.
    """
    table = _inert(table)
    if form == "csv":
        return _csv(table)
    if form == "markdown":  # tabulate leaves these as they are
        table = _mapped(table, escaped)
    body = tabulate(
        table.rows,
        table.header,
        tablefmt=FORMATS[form],
        disable_numparse=True,
        colalign=["left", *["right"] * (len(table.header) - 1)] if table.rows else None,
    )
    terms = "; ".join(table.terms)
    if form == "markdown":
        return f"### {table.title}\n\n{body}\n\n{terms}\n"
    if form in ("html", "latex"):
        # tabulate escapes what is in its cells, so the terms go into a table of their own.
        under = tabulate([[term] for term in table.terms], ["terms"], tablefmt=FORMATS[form])
        return f"{TITLES[form].format(_escaped_title(table.title, form))}\n{body}\n{under}\n"
    return (
        f"{table.title}\n\n{body}\n\n{textwrap.fill(terms, TERMS_WIDTH, break_on_hyphens=False)}\n"
    )


def _escaped_title(title: str, form: str) -> str:
    """Return a title that HTML or LaTeX shows as it is, as tabulate does with cells."""
    if form == "html":
        return html.escape(title)
    return "".join(LATEX_ESCAPE_RULES.get(character, character) for character in title)


def _mapped(table: Table, change: Callable[[str], str]) -> Table:
    """Return a table with every text of it changed."""
    return Table(
        change(table.title),
        tuple(map(change, table.header)),
        tuple(tuple(map(change, row)) for row in table.rows),
        tuple(map(change, table.terms)),
    )


def _inert(table: Table) -> Table:
    return _mapped(table, lambda text: inert(text, LONGEST_TEXT))


def escaped(text: str) -> str:
    """Return text that Markdown shows as it is, in a table too; what is in backticks stays code."""
    for character, shown in MARKDOWN.items():
        text = text.replace(character, shown)
    return text


def _no_formula(text: str) -> str:
    """Return text that a spreadsheet does not reckon with: a quote stands before what it would."""
    is_formula = text.startswith(("=", "+", "-", "@")) and FIGURES.fullmatch(text) is None
    return f"'{text}" if is_formula else text


def _csv(table: Table) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([f"# {table.title}"])
    writer.writerow(table.header)
    writer.writerows([_no_formula(cell) for cell in row] for row in table.rows)
    writer.writerows([f"# {term}"] for term in table.terms)
    return text.getvalue()
