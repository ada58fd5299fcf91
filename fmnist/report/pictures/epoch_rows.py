"""A plot with a row for each model: its epochs with their intervals, and texts on both sides.

Places are reckoned in pixels from the top, so that no text meets another.
"""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Final

import altair as alt

from fmnist.report.pictures.labels import Side
from fmnist.report.pictures.picture import Datum, Row, inline, log_axis, proper, rounded
from fmnist.report.render import digits
from fmnist.report.tables import UNEQUAL

WIDTH: Final = 400
"""Of the plot, in pixels."""
TEXT_WIDTH: Final = 240
"""Of a text beside it, in pixels."""
ROW: Final = 38
"""A row's least height, in pixels."""
LANE: Final = 15
"""A mark's height in a row, in pixels."""
GAP: Final = 8
"""Between the marks of two rows, in pixels."""

Encoding = alt.Shape | alt.Fill | alt.FillOpacity


def middles(rows: Sequence[Row]) -> list[float]:
    """Return where the middle of each row is."""
    return [(top + bottom) / 2 for top, bottom in pairwise(_tops(rows))]


def epoch_marks(rows: Sequence[Row]) -> list[Datum]:
    """Return each cell's epoch, in a lane of its own."""
    return [
        {
            "model": row.name,
            "backend": proper(cell.cell.backend),
            "seconds": rounded(cell.epoch.value),
            "low": rounded(cell.epoch.low),
            "high": rounded(cell.epoch.high),
            "end": rounded(cell.epoch.high or cell.epoch.value),
            "shown": f"{digits(cell.epoch.value)} s",
            "y": middle + LANE * (lane - (len(row.cells) - 1) / 2),
        }
        for row, middle in zip(rows, middles(rows), strict=True)
        for lane, cell in enumerate(row.cells)
    ]


def row_plot(rows: Sequence[Row], layers: Sequence[alt.Chart]) -> alt.LayerChart:
    """Return layers with the rows' names and parameters at the left, and lines between the rows."""
    names: list[Datum] = [
        {
            "upper": row.name + (UNEQUAL if row.unequal else ""),
            "lower": f"{row.parameters:,} parameters",
            "y": middle,
        }
        for row, middle in zip(rows, middles(rows), strict=True)
    ]
    edges: list[Datum] = [{"edge": edge} for edge in _tops(rows)[1:-1]]
    between = alt.Chart(inline(edges)).mark_rule(style="between").encode(y=_y(rows, "edge"))
    layers = [between, *beside(rows, names, -14), *layers]
    return alt.LayerChart(layer=layers, width=WIDTH, height=_tops(rows)[-1])


def beside(rows: Sequence[Row], texts: Sequence[Datum], x: int) -> list[alt.Chart]:
    """Return two lines of text for each row, left of the plot (`x` below 0) or right of it."""
    align: Side = "right" if x < 0 else "left"
    drawn = alt.Chart(inline(texts)).encode(x=alt.value(x), y=_y(rows))
    return [
        drawn.mark_text(
            style=style, align=align, baseline="middle", dy=down, limit=TEXT_WIDTH
        ).encode(text=f"{field}:N")
        for field, style, down in (("upper", "name", -7), ("lower", "note", 8))
    ]


def intervals(
    rows: Sequence[Row], marks: Sequence[Datum], colour: alt.Color | alt.Stroke, *others: Encoding
) -> list[alt.Chart]:
    """Return each mark's interval, its middle, and its figure at the right of both.

    Args:
        rows: what stands in the plot.
        marks: their epochs, as from `epoch_marks`.
        colour: of intervals and middles.
        others: what else tells middles apart.
    """
    ends = [end for mark in marks for end in (mark["low"], mark["seconds"], mark["end"]) if end]
    # The room at the right is for the slowest one's figure.
    scale, axis = log_axis("seconds per steady epoch, log scale", (min(ends) / 1.3, max(ends) * 2))
    drawn = alt.Chart(inline(marks)).encode(colour, y=_y(rows))

    def x(field: str) -> alt.X:
        return alt.X(f"{field}:Q", scale=scale, axis=axis)

    tooltip = [alt.Tooltip(f"{n}:N") for n in ("model", "backend", "seconds", "low", "high")]
    return [
        drawn.mark_rule(strokeWidth=3, strokeCap="round", strokeOpacity=0.45).encode(
            x=x("low"), x2="high:Q"
        ),
        drawn.mark_point(filled=True, size=80, opacity=1).encode(
            *others, x=x("seconds"), tooltip=tooltip
        ),
        alt.Chart(inline(marks))
        .mark_text(style="note", align="left", baseline="middle", dx=9)
        .encode(x=x("end"), y=_y(rows), text="shown:N"),
    ]


def _y(rows: Sequence[Row], field: str = "y") -> alt.Y:
    """Return pixels from the top down."""
    scale = alt.Scale(domain=[_tops(rows)[-1], 0], nice=False)
    return alt.Y(f"{field}:Q", axis=None, scale=scale)


def _tops(rows: Sequence[Row]) -> list[int]:
    """Return where each row begins, and where the last one ends, in pixels from the top."""
    return [0, *accumulate(max(ROW, LANE * len(row.cells) + GAP) for row in rows)]
