"""Charts of what was learned: records in, a picture out; None where they do not fill it."""

import math
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import Final

import altair as alt

from fmnist import stats
from fmnist.report.choose import backends_of
from fmnist.report.pictures.labels import Place, Side, apart, spots
from fmnist.report.pictures.picture import (
    Datum,
    Heading,
    Picture,
    Row,
    backend_colour,
    backend_filling,
    backend_shape,
    facets,
    inline,
    left_out_rows,
    log_axis,
    picture,
    proper,
    records_of,
    rounded,
    shown_rows,
    which_are_hollow,
)
from fmnist.report.render import digits, percent
from fmnist.report.summary import Summary

WIDTH: Final = 640
HEIGHT: Final = 380
"""Of the plot of accuracies by parameters, in pixels."""
CURVES_HEIGHT: Final = 130
FAMILIES: Final = ("dense", "conv")


class _Axes:
    """The plot of accuracies by parameters: its spans, and where a point lies in pixels."""

    def __init__(self, cells: Sequence[Summary]) -> None:
        totals = [max(1, cell.parameters.total) for cell in cells]
        self.parameters = (min(totals) / 1.6, max(totals) * 1.6)
        ends = [end for cell in cells for end in _sampling(cell)]
        self.accuracies = (math.floor(min(ends)), min(100, math.ceil(max(ends) + 0.5)))
        self.scale, self.axis = log_axis("parameters, log scale", self.parameters, form="~s")

    def place(self, parameters: float, accuracy: float) -> Place:
        """Return pixels of a point."""
        low, high = map(math.log, self.parameters)
        bottom, top = self.accuracies
        return (
            WIDTH * (math.log(max(1, parameters)) - low) / (high - low),
            HEIGHT * (top - accuracy) / (top - bottom),
        )

    def at(self, place: Place) -> tuple[float, float]:
        """Return the parameters and the accuracy of a place."""
        low, high = map(math.log, self.parameters)
        bottom, top = self.accuracies
        return (
            math.exp(low + place[0] / WIDTH * (high - low)),
            top - place[1] / HEIGHT * (top - bottom),
        )

    def x(self) -> alt.X:
        return alt.X("parameters:Q", scale=self.scale, axis=self.axis)

    def y(self, field: str = "accuracy") -> alt.Y:
        scale = alt.Scale(domain=list(self.accuracies), nice=False)
        return alt.Y(f"{field}:Q", scale=scale, axis=alt.Axis(title="test accuracy [%]"))


def accuracy_parameters(rows: Sequence[Row]) -> Picture | None:
    """Return what parameters buy: accuracy by parameters, dense against conv."""
    if not rows:
        return None
    shown = shown_rows(rows)
    cells = [cell for row in shown for cell in row.cells]
    axes = _Axes(cells)
    steps = _frontier(cells, axes)
    line = alt.Chart(inline(steps)).mark_line(style="reference", interpolate="step-after")
    chart = alt.layer(
        line.encode(x=axes.x(), y=axes.y()),
        *_accuracies(shown, axes),
        *_labels(shown, steps, axes),
    )
    reading = (
        "Test accuracy after the last epoch, one seed. Lines through marks: 95 % of the sampling "
        "error of the test images. Dashed: the Pareto frontier, which no model beats with fewer "
        f"parameters.{which_are_hollow(backends_of(records_of(shown)))}{left_out_rows(rows)}"
    )
    return picture(
        Heading("accuracy-parameters", "What parameters buy: dense against conv", reading),
        chart.properties(width=WIDTH, height=HEIGHT),
        records_of(shown),
        [_row_in_words(row) for row in shown],
    )


def _sampling(cell: Summary) -> tuple[float, float]:
    """Return the ends of Wilson's interval of a cell's accuracy, in per cent."""
    interval = stats.proportion(cell.accuracy, cell.first.test_images)
    return 100 * (interval.low or 0.0), 100 * (interval.high or 0.0)


def _accuracies(rows: Sequence[Row], axes: _Axes) -> list[alt.Chart]:
    """Return a mark for each cell: colour and filling tell the backend, shape the family."""
    marks: list[Datum] = [
        {
            "model": row.name,
            "family": cell.first.family,
            "backend": proper(cell.cell.backend),
            "parameters": max(1, row.parameters),
            "accuracy": rounded(100 * cell.accuracy),
            "low": rounded(_sampling(cell)[0]),
            "high": rounded(_sampling(cell)[1]),
        }
        for row in rows
        for cell in row.cells
    ]
    backends = backends_of(records_of(rows))
    families = [family for family in FAMILIES if any(m["family"] == family for m in marks)]
    shape = alt.Shape(
        "family:N",
        scale=alt.Scale(domain=list(FAMILIES), range=["circle", "triangle-up"]),
        legend=alt.Legend(title=None, values=families),
    )
    drawn = alt.Chart(inline(marks)).encode(x=axes.x())
    tooltip = [alt.Tooltip(f"{n}:N") for n in ("model", "backend", "parameters", "accuracy")]
    return [
        drawn.mark_rule(strokeOpacity=0.4, strokeWidth=1.5).encode(
            y=axes.y("low"), y2="high:Q", stroke=backend_filling(backends)[0]
        ),
        drawn.mark_point(size=75, strokeWidth=2, opacity=1).encode(
            *backend_filling(backends), y=axes.y(), shape=shape, tooltip=tooltip
        ),
    ]


def _frontier(cells: Iterable[Summary], axes: _Axes) -> list[Datum]:
    """Return the best accuracy that so many parameters reach, where it steps up, and its end."""
    steps: list[Datum] = []
    for cell in sorted(cells, key=lambda c: (c.parameters.total, -c.accuracy)):
        accuracy = rounded(100 * cell.accuracy)
        if not steps or accuracy > steps[-1]["accuracy"]:
            steps.append({"parameters": max(1, cell.parameters.total), "accuracy": accuracy})
    return [*steps, {**steps[-1], "parameters": rounded(axes.parameters[1])}]


def _labels(rows: Sequence[Row], steps: Sequence[Datum], axes: _Axes) -> list[alt.Chart]:
    """Return the models' names where there is room."""
    groups = [
        (row.name, apart(axes.place(row.parameters, 100 * c.accuracy) for c in row.cells))
        for row in rows
    ]
    # A second label, of a mark far from the first one, must not take another model's room.
    marks = [(name, places[0]) for name, places in groups]
    marks += [(name, other) for name, places in groups for other in places[1:]]
    corners = [axes.place(step["parameters"], step["accuracy"]) for step in steps]
    lines = [
        line
        for start, end in pairwise(corners)
        for line in ((start, (end[0], start[1])), ((end[0], start[1]), end))
    ]
    labels: dict[Side, list[Datum]] = {}
    for (name, _), spot in zip(marks, spots(marks, lines, (WIDTH, HEIGHT)), strict=True):
        if spot is not None:
            parameters, accuracy = map(rounded, axes.at(spot.place))
            datum = {"model": name, "parameters": parameters, "accuracy": accuracy}
            labels.setdefault(spot.align, []).append(datum)
    return [
        alt.Chart(inline(data))
        .mark_text(align=align, baseline="middle")
        .encode(x=axes.x(), y=axes.y(), text="model:N")
        for align, data in labels.items()
    ]


def _row_in_words(row: Row) -> str:
    shown = [f"{proper(c.cell.backend)} {percent(c.accuracy)} %" for c in row.cells]
    return f"{row.name} ({row.cells[0].first.family}, {row.parameters:,}): {', '.join(shown)}"


def accuracy_over_time(rows: Sequence[Row]) -> Picture | None:
    """Return each model's learning curve: accuracy after so many seconds of training."""
    if not rows:
        return None
    shown = shown_rows(rows)
    curves: list[Datum] = [
        {"order": i, "model": row.name, "backend": proper(cell.cell.backend), **datum}
        for i, row in enumerate(shown)
        for cell in row.cells
        for datum in _curve(cell)
    ]
    reading = (
        "Test accuracy after each epoch, by the seconds of all epochs so far; the first one has "
        "the compilation in it. One process of each cell, one seed."
    )
    return picture(
        Heading("accuracy-over-time", "Accuracy over time", f"{reading}{left_out_rows(rows)}"),
        facets(_lines(curves, backends_of(records_of(shown))), curves, CURVES_HEIGHT),
        records_of(shown),
        [_curves_in_words(row) for row in shown],
    )


def _lines(curves: Sequence[Datum], backends: Sequence[str]) -> list[alt.Chart]:
    """Return what draws the curves, all on the same axes."""
    seconds, accuracies = ([datum[n] for datum in curves] for n in ("seconds", "accuracy"))
    span = min(seconds) / 1.3, max(seconds) * 1.3
    scale, axis = log_axis("seconds of training, log scale", span, steps=(1,))
    domain = [math.floor(min(accuracies)), min(100, math.ceil(max(accuracies) + 0.5))]
    y_axis = alt.Axis(title="test accuracy [%]", tickCount=4)
    tooltip = [alt.Tooltip(f"{n}:N") for n in ("backend", "epoch", "seconds", "accuracy")]
    drawn = alt.Chart().encode(
        x=alt.X("seconds:Q", scale=scale, axis=axis),
        y=alt.Y("accuracy:Q", scale=alt.Scale(domain=domain, nice=False), axis=y_axis),
        color=backend_colour(backends),
    )
    return [
        drawn.mark_line(strokeWidth=1.5),
        drawn.mark_point(filled=True, size=34, opacity=1).encode(
            shape=backend_shape(backends), tooltip=tooltip
        ),
    ]


def _curve(cell: Summary) -> list[Datum]:
    """Return a mark for each epoch of the cell's first process."""
    return [
        {
            "epoch": i + 1,
            "seconds": rounded(seconds),
            "accuracy": rounded(100 * epoch.test_accuracy),
        }
        for i, (seconds, epoch) in enumerate(
            zip(accumulate(cell.seconds_of_epochs), cell.history, strict=True)
        )
    ]


def _curves_in_words(row: Row) -> str:
    ends = [
        f"{proper(c.cell.backend)} {percent(c.history[-1].test_accuracy)} % "
        f"after {digits(sum(c.seconds_of_epochs))} s"
        for c in row.cells
    ]
    return f"{row.name}: {', '.join(ends)}"
