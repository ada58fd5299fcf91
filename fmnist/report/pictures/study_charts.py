"""Charts of studies: records in, a picture out; None where they do not fill it."""

import math
from collections.abc import Sequence
from typing import Final

import altair as alt

from fmnist.record import Record
from fmnist.report.pictures.picture import (
    MOST_ROWS,
    NAME_LENGTH,
    Datum,
    Heading,
    Picture,
    backend_filling,
    inline,
    log_axis,
    picture,
    proper,
    rounded,
    which_are_hollow,
)
from fmnist.report.render import accuracy, inert
from fmnist.report.studies import Arm, Place, arms
from fmnist.stats import Estimate
from fmnist.studies import ablation, parameters

WIDTH: Final = 640
RUNG: Final = 34
"""Height of a rung, in pixels."""
HEIGHT: Final = 380
FAMILIES: Final = ("dense", "conv")
INTERVALS: Final = (
    "Mean test accuracy over seeds. Lines through marks: 95 % intervals (Student's t over seeds)."
)


def ladder(records: Sequence[Record]) -> Picture | None:
    """Return the test accuracy of each rung of the ablation, the lowest rung on top."""
    found, others = _of_first_terms(arms(records, ablation.NAME))
    marks = [
        {"rung": inert(arm.name, NAME_LENGTH), "order": order, **_mark(arm)}
        for of_place in found.values()
        for order, arm in enumerate(of_place[:MOST_ROWS])
    ]
    if not marks:
        return None
    backends = _backends(found)
    scale, axis = _span(marks)
    names = list(dict.fromkeys(mark["rung"] for mark in marks))
    y = alt.Y(
        "rung:N",
        sort=names,
        axis=alt.Axis(title=None, labelLimit=200, grid=True),
    )
    drawn = alt.Chart(inline(marks)).encode(y=y, yOffset=alt.YOffset("backend:N"))
    chart = alt.layer(
        drawn.mark_rule(strokeOpacity=0.4, strokeWidth=1.5).encode(
            x=alt.X("low:Q", scale=scale, axis=axis),
            x2="high:Q",
            stroke=backend_filling(backends)[0],
        ),
        drawn.mark_point(size=75, strokeWidth=2, opacity=1).encode(
            *backend_filling(backends),
            x=alt.X("accuracy:Q", scale=scale, axis=axis),
            tooltip=[alt.Tooltip(f"{n}:N") for n in ("rung", "backend", "accuracy", "n")],
        ),
    )
    reading = f"{INTERVALS} Each rung keeps what those above it brought."
    return picture(
        Heading(
            "ablation",
            "What each idea buys",
            f"{reading}{which_are_hollow(backends)}{others}",
        ),
        chart.properties(width=WIDTH, height=RUNG * len(names)),
        _records(found),
        _in_words(found),
    )


def frontier(records: Sequence[Record]) -> Picture | None:
    """Return test accuracy by parameters at equal budgets, a line for each family and backend."""
    found, others = _of_first_terms(arms(records, parameters.NAME))
    marks = [
        {
            "model": inert(arm.name, NAME_LENGTH),
            "family": arm.first.family,
            "line": f"{arm.first.family} {arm.first.backend}",
            "parameters": max(1, arm.total_parameters),
            **_mark(arm),
        }
        for of_place in found.values()
        for arm in of_place
    ]
    if not marks:
        return None
    backends = _backends(found)
    heights, upright = _span(marks)
    sizes = [mark["parameters"] for mark in marks]
    scale, axis = log_axis("parameters, log scale", (min(sizes) / 1.6, max(sizes) * 1.6), form="~s")
    families = [family for family in FAMILIES if any(m["family"] == family for m in marks)]
    legend = alt.Legend(title=None, values=families)
    shapes = alt.Scale(domain=list(FAMILIES), range=["circle", "triangle-up"])
    dashes = alt.Scale(domain=list(FAMILIES), range=[[4, 3], [1, 0]])
    drawn = alt.Chart(inline(marks)).encode(x=alt.X("parameters:Q", scale=scale, axis=axis))
    stroke = backend_filling(backends)[0]
    chart = alt.layer(
        drawn.mark_line(strokeWidth=1.5).encode(
            y=alt.Y("accuracy:Q", scale=heights, axis=upright),
            detail="line:N",
            stroke=stroke,
            strokeDash=alt.StrokeDash("family:N", scale=dashes, legend=legend),
        ),
        drawn.mark_rule(strokeOpacity=0.4, strokeWidth=1.5).encode(
            y=alt.Y("low:Q", scale=heights, axis=upright), y2="high:Q", stroke=stroke
        ),
        drawn.mark_point(size=75, strokeWidth=2, opacity=1).encode(
            *backend_filling(backends),
            y=alt.Y("accuracy:Q", scale=heights, axis=upright),
            shape=alt.Shape("family:N", scale=shapes, legend=legend),
            tooltip=[
                alt.Tooltip(f"{n}:N") for n in ("model", "backend", "parameters", "accuracy", "n")
            ],
        ),
    )
    reading = (
        f"{INTERVALS} Models of a family have one shape, with widths computed for "
        f"{', '.join(f'{budget:,}' for budget in parameters.BUDGETS)} parameters."
    )
    return picture(
        Heading(
            "frontier",
            "Accuracy by parameters: dense against conv at equal budgets",
            f"{reading}{which_are_hollow(backends)}{others}",
        ),
        chart.properties(width=WIDTH, height=HEIGHT),
        _records(found),
        _in_words(found),
    )


def _of_first_terms(found: dict[Place, list[Arm]]) -> tuple[dict[Place, list[Arm]], str]:
    """Return the arms of one device, mode and precision, and a sentence on those left out."""
    terms = list(dict.fromkeys(place[1:] for place in found))
    if len(terms) < 2:  # noqa: PLR2004  # others than the first
        return found, ""
    kept = {place: of_place for place, of_place in found.items() if place[1:] == terms[0]}
    return kept, f" Shown: {', '.join(terms[0])}; the table has the others."


def _mark(arm: Arm) -> Datum:
    low, high = _ends(arm.test)
    return {
        "backend": proper(arm.first.backend),
        "accuracy": rounded(100 * arm.test.value),
        "low": rounded(100 * low),
        "high": rounded(100 * high),
        "n": len(arm.records),
    }


def _ends(found: Estimate) -> tuple[float, float]:
    """Return the ends of an interval of accuracies, or the value twice where n allows none."""
    if found.low is None or found.high is None:
        return found.value, found.value
    return max(0.0, found.low), min(1.0, found.high)


def _span(marks: Sequence[Datum]) -> tuple[alt.Scale, alt.Axis]:
    """Return a scale over just the accuracies and their intervals, and its axis."""
    ends = [mark[name] for mark in marks for name in ("low", "high")]
    domain = [math.floor(min(ends)), min(100, math.ceil(max(ends) + 0.3))]
    return alt.Scale(domain=domain, nice=False), alt.Axis(title="test accuracy [%]")


def _backends(found: dict[Place, list[Arm]]) -> list[str]:
    return sorted({place[0] for place in found})


def _records(found: dict[Place, list[Arm]]) -> list[Record]:
    return [r for of_place in found.values() for arm in of_place for r in arm.records]


def _in_words(found: dict[Place, list[Arm]]) -> list[str]:
    return [
        f"{arm.name} on {proper(arm.first.backend)} {accuracy(arm.test)} %"
        for of_place in found.values()
        for arm in of_place
    ]
