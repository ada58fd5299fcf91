"""The race as a chart: the accuracy that an entrant reaches, by its seconds."""

import math
from collections.abc import Sequence
from typing import Final

import altair as alt

from fmnist.record import Record
from fmnist.report.leaderboard import Entry, entries
from fmnist.report.pictures.labels import Place, Side, spots
from fmnist.report.pictures.picture import (
    MOST_ROWS,
    Datum,
    Heading,
    Picture,
    backend_filling,
    cell_names,
    inline,
    log_axis,
    picture,
    proper,
    rounded,
    unlike,
    which_are_hollow,
)
from fmnist.report.render import digits, percent
from fmnist.studies.race_rules import TIERS

WIDTH: Final = 640
HEIGHT: Final = 400
"""Of the plot, in pixels."""
READINGS: Final = ("one view", "several views")
MARGIN: Final = 1.5
"""How many times beyond the first and the last seconds the plot goes."""


class _Axes:
    """The plot: its spans, and where a point lies in pixels."""

    def __init__(self, shown: Sequence[Entry]) -> None:
        ends = [end for e in shown for end in (e.seconds.value, e.reference_s) if end]
        self.seconds = (min(ends) / MARGIN, max(ends) * MARGIN)
        accuracies = [100 * end for e in shown for end in _interval(e)]
        low, high = math.floor(min(accuracies)), math.ceil(max(accuracies) + 0.3)
        self.accuracies = (low, min(100, high))
        self.tiers = [100 * tier for tier in TIERS if low < 100 * tier < high]

    def place(self, seconds: float, accuracy: float) -> Place:
        """Return pixels of a point; the accuracy in per cent."""
        low, high = map(math.log, self.seconds)
        bottom, top = self.accuracies
        return (
            WIDTH * (math.log(seconds) - low) / (high - low),
            HEIGHT * (top - accuracy) / (top - bottom),
        )

    def at(self, place: Place) -> tuple[float, float]:
        """Return the seconds and the accuracy of a place."""
        low, high = map(math.log, self.seconds)
        bottom, top = self.accuracies
        return (
            math.exp(low + place[0] / WIDTH * (high - low)),
            top - place[1] / HEIGHT * (top - bottom),
        )

    def x(self) -> alt.X:
        scale, axis = log_axis("seconds of training, log scale", self.seconds)
        return alt.X("seconds:Q", scale=scale, axis=axis)

    def y(self, field: str = "accuracy") -> alt.Y:
        scale = alt.Scale(domain=list(self.accuracies), nice=False)
        return alt.Y(f"{field}:Q", scale=scale, axis=alt.Axis(title="test accuracy [%]"))


def accuracy_by_seconds(records: Sequence[Record]) -> Picture | None:
    """Return what accuracy each entrant of a race reaches, and after how many seconds."""
    shown = entries(records)[:MOST_ROWS]
    if not shown:
        return None
    axes = _Axes(shown)
    names = unlike(_entrants(shown))
    chart = alt.layer(*_rules(shown, axes), *_marks(names, shown, axes), *_names(shown, axes))
    backends = sorted({entry.first.backend for entry in shown})
    reading = (
        "Mean test accuracy of an entrant's seeds by the mean seconds of its training, compilation "
        "left out; with several views at test time, the seconds of these are added. Lines through "
        "marks: 95 % intervals. Dashed: the tiers and, upright, five median epochs of the "
        f"reference.{which_are_hollow(backends)}"
    )
    return picture(
        Heading("time-to-accuracy", "Race: time to accuracy", reading),
        chart.properties(width=WIDTH, height=HEIGHT),
        [r for entry in shown for r in entry.records],
        [_in_words(name, entry) for name, entry in zip(names, shown, strict=True)],
    )


def _interval(entry: Entry) -> tuple[float, float]:
    """Return the ends of an entry's mean accuracy, or the accuracy twice where n allows none."""
    accuracy = entry.accuracy
    low = accuracy.value if accuracy.low is None else max(0.0, accuracy.low)
    return low, accuracy.value if accuracy.high is None else min(1.0, accuracy.high)


def _rules(shown: Sequence[Entry], axes: _Axes) -> list[alt.Chart]:
    """Return the lines of the tiers and of the references, each across the plot."""
    across = [
        {"tier": i, "seconds": s, "accuracy": rounded(t)}
        for i, t in enumerate(axes.tiers)
        for s in map(rounded, axes.seconds)
    ]
    upright = [
        {"reference": i, "seconds": rounded(s), "accuracy": a}
        for i, s in enumerate(sorted({e.reference_s for e in shown if e.reference_s}))
        for a in axes.accuracies
    ]
    return [
        alt.Chart(inline(data))
        .mark_line(style="reference", opacity=0.5)
        .encode(x=axes.x(), y=axes.y(), detail=f"{field}:N")
        for field, data in (("tier", across), ("reference", upright))
        if data
    ]


def _marks(names: Sequence[str], shown: Sequence[Entry], axes: _Axes) -> list[alt.Chart]:
    """Return a mark for each entrant: colour and filling tell the backend, shape the reading."""
    marks: list[Datum] = [
        {
            "entrant": name,
            "backend": proper(entry.first.backend),
            "reading": READINGS[entry.by_views],
            "seconds": rounded(entry.seconds.value),
            "accuracy": rounded(100 * entry.accuracy.value),
            "low": rounded(100 * _interval(entry)[0]),
            "high": rounded(100 * _interval(entry)[1]),
            "n": len(entry.records),
        }
        for name, entry in zip(names, shown, strict=True)
    ]
    backends = sorted({entry.first.backend for entry in shown})
    shape = alt.Shape(
        "reading:N",
        scale=alt.Scale(domain=list(READINGS), range=["circle", "diamond"]),
        legend=alt.Legend(
            title=None, values=[r for r in READINGS if any(m["reading"] == r for m in marks)]
        ),
    )
    fields = ("entrant", "backend", "reading", "seconds", "accuracy", "n")
    drawn = alt.Chart(inline(marks)).encode(x=axes.x())
    return [
        drawn.mark_rule(strokeOpacity=0.4, strokeWidth=1.5).encode(
            y=axes.y("low"), y2="high:Q", stroke=backend_filling(backends)[0]
        ),
        drawn.mark_point(size=75, strokeWidth=2, opacity=1).encode(
            *backend_filling(backends),
            y=axes.y(),
            shape=shape,
            tooltip=[alt.Tooltip(f"{name}:N") for name in fields],
        ),
    ]


def _entrants(shown: Sequence[Entry]) -> list[str]:
    """Return the entrants' names, without the batch size: it is of the model's own recipe."""
    return cell_names([entry.first for entry in shown], but=("batch_size",))


def _names(shown: Sequence[Entry], axes: _Axes) -> list[alt.Chart]:
    """Return the entrants' names where there is room."""
    names = _entrants(shown)
    marks = [
        (name, [axes.place(entry.seconds.value, 100 * entry.accuracy.value)])
        for name, entry in zip(names, shown, strict=True)
    ]
    labels: dict[Side, list[Datum]] = {}
    for (name, _), spot in zip(marks, spots(marks, (), (WIDTH, HEIGHT)), strict=True):
        if spot is not None:
            seconds, accuracy = map(rounded, axes.at(spot.place))
            datum = {"entrant": name, "seconds": seconds, "accuracy": accuracy}
            labels.setdefault(spot.align, []).append(datum)
    return [
        alt.Chart(inline(data))
        .mark_text(align=align, baseline="middle")
        .encode(x=axes.x(), y=axes.y(), text="entrant:N")
        for align, data in labels.items()
    ]


def _in_words(name: str, entry: Entry) -> str:
    views = f", {entry.first.recipe.views} views" if entry.by_views else ""
    return (
        f"{name} on {proper(entry.first.backend)}{views}: {percent(entry.accuracy.value)} % after "
        f"{digits(entry.seconds.value)} s"
    )
