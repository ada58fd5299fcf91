"""Charts of a session's noise and of where its times come from, as in `trust_tables`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import altair as alt

from fmnist.grid import BREAKDOWN_STEPS, SPIKES
from fmnist.record import Record
from fmnist.report import trust
from fmnist.report.choose import backends_of, good
from fmnist.report.columns import of_backend, rows_of
from fmnist.report.pictures.labels import CHARACTER
from fmnist.report.pictures.picture import (
    MOST_ROWS,
    NAME_LENGTH,
    Datum,
    Heading,
    Picture,
    backend_colour,
    backend_shape,
    cell_names,
    inline,
    left_out,
    picture,
    proper,
    rounded,
    unlike,
)
from fmnist.report.render import above_one, digits, inert, joined, with_interval
from fmnist.report.trust_tables import PARTS, WHOLE, part_ms
from fmnist.stats import Estimate

BARS_WIDTH: Final = 520
BAR: Final = 46
"""A bar's height with its distance, in pixels."""
BAR_TOP, BAR_BOTTOM = -0.3, 0.12
"""Where a bar lies in its row, by the row's height; the whole's mark is below it."""
NOISE_WIDTH: Final = 520
NOISE_HEIGHT: Final = 340
"""Of the plot of noise, in pixels."""


def where_an_epoch_goes(records: Sequence[Record]) -> Picture | None:
    """Return the parts of an epoch as stacked bars, with the whole below each."""
    rows = rows_of(good(records, "breakdown"))
    if not rows:
        return None
    shown = [of_backend(row, b)[0] for row in rows[:MOST_ROWS] for b in backends_of(row)]
    names = unlike(
        f"{name}, {proper(r.backend)}" for name, r in zip(cell_names(shown), shown, strict=True)
    )
    wholes = [part_ms(r, WHOLE) for r in shown]
    segments = [
        {"cell": name, "row": i, "top": i + BAR_TOP, "bottom": i + BAR_BOTTOM, **segment}
        for i, (name, record) in enumerate(zip(names, shown, strict=True))
        for segment in _stacked({part: part_ms(record, w) for part, w in PARTS.items()})
    ]
    ends = [s["end"] for s in segments] + [w.high or w.value for w in wholes]
    first = min(s["start"] for s in segments)
    axes = _BarAxes((1.05 * first, 1.12 * max(ends)), len(shown))
    chart = alt.layer(*_bars(segments, axes), *_wholes(names, wholes, axes))
    reading = (
        f"Milliseconds of an epoch of {BREAKDOWN_STEPS} steps, by what is gone when a part is "
        "taken away; a part below 0, left of the line, is noise. Line below: the whole, with its "
        f"95 % interval over n={joined(len(r.epoch_s) for r in shown)} rounds."
        f"{left_out(rows)}"
    )
    return picture(
        Heading("where-an-epoch-goes", "Where an epoch goes", reading),
        chart.properties(width=BARS_WIDTH, height=BAR * len(shown)),
        shown,
        [_parts_in_words(name, record) for name, record in zip(names, shown, strict=True)],
    )


def _stacked(parts: Mapping[str, Estimate]) -> Iterator[Datum]:
    """Yield where each part begins and ends: from 0 to the right, or to the left if below 0."""
    left = right = 0.0
    for part, estimate in parts.items():
        start = right if estimate.value >= 0 else left + estimate.value
        end = start + abs(estimate.value)
        left, right = min(left, start), max(right, end)
        yield {
            "part": part,
            "start": rounded(start),
            "end": rounded(end),
            "ms": rounded(estimate.value),
            "low": rounded(estimate.low),
            "high": rounded(estimate.high),
        }


class _BarAxes:
    """The plot of bars: milliseconds to the right, rows from the top down."""

    def __init__(self, span: tuple[float, float], rows: int) -> None:
        self.span = span
        self.rows = rows

    def pixels(self, ms: float) -> float:
        """Return how wide so many milliseconds are."""
        return BARS_WIDTH * ms / (self.span[1] - self.span[0])

    def x(self, field: str) -> alt.X:
        scale = alt.Scale(domain=[rounded(end) for end in self.span], nice=False)
        return alt.X(f"{field}:Q", scale=scale, axis=alt.Axis(title="milliseconds", tickCount=8))

    def y(self, field: str) -> alt.Y:
        scale = alt.Scale(domain=[self.rows - 0.5, -0.5], nice=False)
        return alt.Y(f"{field}:Q", scale=scale, axis=None)


def _bars(segments: Sequence[Datum], axes: _BarAxes) -> list[alt.Chart]:
    """Return the parts, each with its name and figure in it as far as it is wide enough."""
    colour = alt.Color(
        "part:N",
        scale=alt.Scale(domain=list(PARTS), range="ordinal"),
        legend=alt.Legend(title=None),
    )
    tooltip = [alt.Tooltip(f"{n}:N") for n in ("cell", "part", "ms", "low", "high")]
    texts: list[Datum] = [
        {
            "text": _fitting(segment, axes),
            "middle": rounded((segment["start"] + segment["end"]) / 2),
            "y": rounded((segment["top"] + segment["bottom"]) / 2),
        }
        for segment in segments
    ]
    return [
        alt.Chart(inline(segments))
        .mark_rect(style="segment")
        .encode(
            *(axes.x("start"), alt.X2("end:Q"), axes.y("top"), alt.Y2("bottom:Q")),
            color=colour,
            tooltip=tooltip,
        ),
        alt.Chart(inline(texts))
        .mark_text(style="inside", baseline="middle")
        .encode(x=axes.x("middle"), y=axes.y("y"), text="text:N"),
    ]


def _fitting(segment: Datum, axes: _BarAxes) -> str:
    """Return the longest text that fits into a segment."""
    width, figure = axes.pixels(segment["end"] - segment["start"]), digits(segment["ms"])
    texts = (f"{segment['part']} {figure}", figure)
    return next((text for text in texts if CHARACTER * len(text) + 4 < width), "")


def _wholes(names: Sequence[str], wholes: Sequence[Estimate], axes: _BarAxes) -> list[alt.Chart]:
    """Return the bars' names, and below each bar the whole epoch with its interval."""
    marks: list[Datum] = [
        {
            "cell": name,
            "whole": rounded(whole.value),
            "low": rounded(whole.low),
            "high": rounded(whole.high),
            "end": rounded(whole.high or whole.value),
            "shown": f"whole {with_interval(whole)} ms",
            "row": i - 0.05,
            "below": i + 0.3,
        }
        for i, (name, whole) in enumerate(zip(names, wholes, strict=True))
    ]
    drawn = alt.Chart(inline(marks))
    return [
        drawn.mark_text(style="name", align="right", baseline="middle", limit=240).encode(
            x=alt.value(-14), y=axes.y("row"), text="cell:N"
        ),
        drawn.mark_rule(strokeWidth=2, style="whole").encode(
            x=axes.x("low"), x2="high:Q", y=axes.y("below")
        ),
        drawn.mark_tick(thickness=2, size=9, opacity=1, style="whole").encode(
            x=axes.x("whole"), y=axes.y("below")
        ),
        drawn.mark_text(style="note", align="left", baseline="middle", dx=8).encode(
            x=axes.x("end"), y=axes.y("below"), text="shown:N"
        ),
    ]


def _parts_in_words(name: str, record: Record) -> str:
    parts = [f"{part} {digits(part_ms(record, weights).value)}" for part, weights in PARTS.items()]
    return f"{name}: {digits(part_ms(record, WHOLE).value)} ms, of which {', '.join(parts)}"


def noise(records: Sequence[Record]) -> Picture | None:
    """Return what was measured where a known part was added, from nothing at all upwards."""
    found = trust.noise_of(records)
    if found is None:
        return None
    pairs = good(records, "noise")
    ratios = {0.0: found.again} | {
        100 * (trust.expected_ratio(name) - 1): found.spikes[name]
        for name in SPIKES
        if name in found.spikes
    }
    reading = (
        f"{inert(joined(cell.model for cell in found.cells), NAME_LENGTH)} on "
        f"{joined(proper(cell.backend) for cell in found.cells)} against itself in "
        f"{len(pairs)} pairs of processes: as it is (0 %), and with known extra steps. The 95 % "
        "interval is over pairs. Dashed: just what was added."
    )
    return picture(
        Heading("noise", "What this session can tell apart", reading),
        alt.layer(*_against_added(found.cells[0].backend, ratios)).properties(
            width=NOISE_WIDTH, height=NOISE_HEIGHT
        ),
        pairs,
        [f"{added:+.2f} % added: {above_one(ratio)} % measured" for added, ratio in ratios.items()],
    )


def _against_added(backend: str, ratios: Mapping[float, Estimate]) -> list[alt.Chart]:
    """Return each ratio by what was added, in per cent, and a line where both are equal."""
    marks: list[Datum] = [
        {
            "backend": proper(backend),
            "added": rounded(added),
            "measured": _per_cent(ratio.value),
            "shown": f"{100 * (ratio.value - 1):+.2f} %",
            "low": _per_cent(ratio.low),
            "high": _per_cent(ratio.high),
        }
        for added, ratio in ratios.items()
    ]
    # Across, the room that a figure takes beside its mark: what was measured may be spread widely.
    across = _span([m["added"] for m in marks])
    names = ("measured", "low", "high")
    upwards = _span([*across, *[m[n] for m in marks for n in names if m[n] is not None]])
    x = alt.X(
        "added:Q",
        scale=alt.Scale(domain=across, nice=False),
        axis=alt.Axis(title="steps added [%]", tickMinStep=1),
    )
    scale = alt.Scale(domain=upwards, nice=False)
    y_axis = alt.Axis(title="time measured [%]", tickMinStep=1)
    y = alt.Y("measured:Q", scale=scale, axis=y_axis)
    low = alt.Y("low:Q", scale=scale, axis=y_axis)
    drawn = alt.Chart(inline(marks)).encode(x=x, color=backend_colour([backend]))
    equal = alt.Chart(inline([{"added": end, "measured": end} for end in across]))
    return [
        equal.mark_line(style="reference").encode(x=x, y=y),
        drawn.mark_rule(strokeWidth=3, strokeCap="round", strokeOpacity=0.45).encode(
            y=low, y2="high:Q"
        ),
        drawn.mark_point(filled=True, size=85, opacity=1).encode(
            y=y, shape=backend_shape([backend])
        ),
        # Each figure lies on the side of its mark that the dashed line does not cross.
        *(
            alt.Chart(inline([m for m in marks if (m["measured"] > m["added"]) == above]))
            .mark_text(align="right" if above else "left", baseline="middle", dx=-9 if above else 9)
            .encode(x=x, y=y, text="shown:N")
            for above in (True, False)
        ),
    ]


def _span(ends: Sequence[float]) -> list[float]:
    """Return from where to where a scale goes that holds these, with room at both ends."""
    return [round(min(ends) - 0.8, 6), round(max(ends) + 0.8, 6)]


def _per_cent(ratio: float | None) -> float | None:
    """Return by how many per cent a ratio is above 1."""
    return None if ratio is None else rounded(100 * (ratio - 1))
