"""Charts of what whole trainings learned: records of task `learn` in, pictures out."""

import math
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Final

import altair as alt
import numpy as np

from fmnist.data import CLASS_NAMES
from fmnist.grid import BACKENDS
from fmnist.record import Record
from fmnist.report.choose import backends_of
from fmnist.report.classes import confusion, recalls
from fmnist.report.learned import (
    QUANTITIES,
    SPLITS,
    Learned,
    Quantity,
    by_name,
    figure,
    learned,
    loss,
    mean_of,
    points,
    span,
)
from fmnist.report.pictures.picture import (
    MOST_ROWS,
    Datum,
    Heading,
    Picture,
    backend_colour,
    facets,
    inline,
    left_out,
    picture,
    rounded,
    slugs,
)
from fmnist.report.studies import of_none

MOST_MODELS: Final = 12
"""That a session has pictures of their own of."""
CURVE_COLOURS: Final = {"training": "#009E73", "validation": "#CC79A7", "test": "#8C8C8C"}
"""None is a backend's; all are seen on white and on black."""
CURVE_WIDTH: Final = 300
CURVE_HEIGHT: Final = 190
SQUARE: Final = 34
"""The side of a square of a confusion matrix, in pixels."""
FULLEST: Final = 0.65
"""Opacity of a square that all images of a class are in: a figure on it can still be read."""
BAR: Final = 9
"""Height of a bar, in pixels."""


def of_trainings(records: Sequence[Record]) -> list[Picture]:
    """Return every picture that a session's whole trainings fill, of MOST_MODELS at most.

    A study has a picture of its own instead.

    Args:
        records: of one session, as from `choose.sessions_of`.
    """
    models = list(by_name(learned(of_none(records))).values())
    left = len(models) - MOST_MODELS
    return of_models(models, _more(len(models)) if left > 0 else "")


def of_models(models: Sequence[Sequence[Learned]], more: str = "") -> list[Picture]:
    """Return the pictures of some models; with a sentence on `more`, MOST_MODELS alone have own.

    Args:
        models: the trainings of each, backend by backend.
        more: what to say of the models that are left out.
    """
    shown = models[:MOST_MODELS] if more else models
    stems = slugs((model[0].name for model in shown), "model").values()
    named = list(zip(stems, shown, strict=True))
    of_one = f"-{named[0][0]}" if len(models) == 1 else ""
    return [
        *(learning_curves(model, stem, more) for stem, model in named),
        *([recall(models, f"recall{of_one}")] if models else []),
        *(confusion_matrix(model, stem, more) for stem, model in named),
    ]


def _more(models: int) -> str:
    return (
        f" Of the {models} models of the session, the {MOST_MODELS} smallest have such a picture; "
        "`fmnist analyse` makes those of a model that is named."
    )


def learning_curves(model: Sequence[Learned], stem: str, more: str = "") -> Picture:
    """Return loss and accuracy by epoch: training, validation and test.

    Args:
        model: the trainings of one model, backend by backend.
        stem: what stands for the model in the picture's name.
        more: a sentence on models without such a picture.
    """
    name = model[0].name
    panels = [
        alt.hconcat(*(_curves(one, model, quantity) for one in model), spacing=28)
        for quantity in QUANTITIES
    ]
    has_best = any(one.best is not None for one in model)
    best = " Rings: each seed's best epoch, that of the lowest validation loss." if has_best else ""
    several = any(len(one.records) > 1 for one in model)
    lines = (
        " Lines: the mean of the seeds; bands: from the lowest seed to the highest."
        if several
        else ""
    )
    reading = (
        f"Training is Keras's running mean over the epoch, dropout on; validation and test are "
        f"evaluated after it.{lines}{best}{more}"
    )
    return picture(
        Heading(f"learning-curves-{stem}", f"Learning curves: {name}", reading),
        alt.vconcat(*panels, spacing=18),
        [r for one in model for r in one.records],
        [_curves_in_words(one) for one in model],
    )


def _curves(one: Learned, model: Sequence[Learned], quantity: Quantity) -> alt.LayerChart:
    """Return one backend's curves of a quantity, on axes that fit the whole model's."""
    every = [datum for other in model for datum in _epochs(other, quantity)]
    last = 1 + max(index for other in model for index in other.last)
    colour = alt.Color(
        "curve:N",
        scale=alt.Scale(domain=list(CURVE_COLOURS), range=list(CURVE_COLOURS.values())),
        legend=alt.Legend(
            title=None, symbolType="stroke", symbolStrokeWidth=3, symbolSize=220, symbolOpacity=1
        ),
    )
    x = alt.X(
        "epoch:Q",
        scale=alt.Scale(domain=[1, last], nice=False),
        axis=alt.Axis(title="epoch", tickMinStep=1, format="d", tickCount=min(10, last)),
    )
    unit = "" if quantity == "loss" else " [%]"
    axis = alt.Axis(title=f"{quantity}{unit}", tickCount=5)

    def y(field: str) -> alt.Y:
        scale = alt.Scale(domain=_domain(every, quantity), nice=False)
        return alt.Y(f"{field}:Q", scale=scale, axis=axis)

    drawn = alt.Chart(inline(_epochs(one, quantity))).encode(x=x, color=colour)
    best = alt.Chart(inline(_best_marks(one, quantity))).encode(x=x, y=y("value"), color=colour)
    layers = [
        drawn.mark_area(opacity=0.25, strokeWidth=0).encode(y=y("low"), y2="high:Q"),
        drawn.mark_line(strokeWidth=2).encode(y=y("mean")),
        best.mark_point(filled=False, size=70, strokeWidth=1.8, opacity=1).encode(
            tooltip=[alt.Tooltip(f"{name}:N") for name in ("seed", "epoch", "value")]
        ),
    ]
    title = alt.TitleParams(one.backend, fontSize=12, anchor="middle", offset=6)
    return alt.LayerChart(layer=layers, title=title, width=CURVE_WIDTH, height=CURVE_HEIGHT)


def _domain(data: Sequence[Datum], quantity: Quantity) -> list[float | None]:
    """Return the ends of the axis: a loss begins at 0, an accuracy where the curves do."""
    low = min((d["low"] for d in data), default=0.0)
    high = max((d["high"] for d in data), default=1.0)
    if quantity == "loss":
        return [0.0, rounded(1.05 * high)]
    return [float(math.floor(low)), float(min(100, math.ceil(high + 0.2)))]


def _epochs(one: Learned, quantity: Quantity) -> list[Datum]:
    """Return, of each epoch that all seeds have, their mean and how far they lie apart."""
    return [
        {
            "curve": curve,
            "epoch": i + 1,
            "mean": _scaled(fmean(values), quantity),
            "low": _scaled(min(values), quantity),
            "high": _scaled(max(values), quantity),
        }
        for curve, split in zip(CURVE_COLOURS, SPLITS, strict=True)
        for i in range(1 + min(one.last))
        for values in [_finite(figure(r.history[i], split, quantity) for r in one.records)]
        if len(values) == len(one.records)
    ]


def _finite(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None and math.isfinite(value)]


def _best_marks(one: Learned, quantity: Quantity) -> list[Datum]:
    """Return each seed's validation figure at its best epoch, where every seed has one."""
    return [
        {"curve": "validation", "seed": r.seed, "epoch": i + 1, "value": _scaled(value, quantity)}
        for r, i in zip(one.records, one.best or [], strict=one.best is not None)
        for value in [figure(r.history[i], "validation", quantity)]
        if value is not None
    ]


def _scaled(value: float, quantity: Quantity) -> float | None:
    return rounded(value if quantity == "loss" else 100 * value)


def _curves_in_words(one: Learned) -> str:
    best = f", best epoch {span(i + 1 for i in one.best)}" if one.best else ""
    return f"{one.backend} after epoch {span(i + 1 for i in one.last)}{best}: " + ", ".join(
        f"{curve} loss {loss(one.at(one.last, split, 'loss'))} and accuracy "
        f"{points(one.at(one.last, split, 'accuracy'))} %"
        for curve, split in zip(CURVE_COLOURS, SPLITS, strict=True)
        if one.at(one.last, split, "loss") is not None
    )


def confusion_matrix(model: Sequence[Learned], stem: str, more: str = "") -> Picture:
    """Return which class was given to which, as squares with figures, a matrix by backend.

    The arguments are those of `learning_curves`.
    """
    name = model[0].name
    chart = alt.hconcat(*(_matrix(one) for one in model), spacing=40)
    reading = (
        "Test images by their true class (rows) and the class given (columns), all seeds added up; "
        "a square without a figure is 0. The stronger its colour, the larger its part of the row "
        "(square root)."
        f"{more}"
    )
    return picture(
        Heading(f"confusion-{stem}", f"Confusion matrix: {name}", reading),
        chart,
        [r for one in model for r in one.records],
        [_confused_in_words(one) for one in model],
    )


def _matrix(one: Learned) -> alt.LayerChart:
    """Return the matrix of one backend."""
    counts = confusion(one)
    squares: list[Datum] = [
        {
            "backend": one.backend,
            "true": CLASS_NAMES[row],
            "given": CLASS_NAMES[column],
            "shown": str(count or ""),
            "share": round(float(count / max(1, counts[row].sum())), 4),
        }
        for (row, column), count in np.ndenumerate(counts)
    ]
    scale = alt.Scale(type="pow", exponent=0.5, domain=[0, 1], range=[0, FULLEST])
    drawn = alt.Chart(inline(squares)).encode(
        x=alt.X(
            "given:N",
            sort=list(CLASS_NAMES),
            axis=alt.Axis(title="class given", labelAngle=-45, domain=False, ticks=False),
        ),
        y=alt.Y(
            "true:N",
            sort=list(CLASS_NAMES),
            axis=alt.Axis(title="true class", domain=False, ticks=False),
        ),
    )
    tooltip = [alt.Tooltip(f"{n}:N") for n in ("true", "given", "shown", "share")]
    colour = alt.Color(
        "backend:N",
        scale=alt.Scale(domain=[b.title for b in BACKENDS.values()]),
        legend=None,
    )
    seeds = f", {len(one.records)} seeds" if len(one.records) > 1 else ""
    title = alt.TitleParams(f"{one.backend}{seeds}", fontSize=12, anchor="middle", offset=6)
    layers = [
        drawn.mark_rect(style="segment").encode(
            color=colour,
            fillOpacity=alt.FillOpacity("share:Q", scale=scale, legend=None),
            tooltip=tooltip,
        ),
        drawn.mark_text(fontSize=10).encode(text="shown:N"),
    ]
    side = SQUARE * len(CLASS_NAMES)
    return alt.LayerChart(layer=layers, title=title, width=side, height=side)


def _confused_in_words(one: Learned) -> str:
    """Return what was taken for what most often."""
    counts = confusion(one)
    wrong = [(-int(n), row, column) for (row, column), n in np.ndenumerate(counts) if row != column]
    most = [
        f"{CLASS_NAMES[row]} taken for {CLASS_NAMES[column]} {-n} times"
        for n, row, column in sorted(wrong)[:3]
        if n
    ]
    right = f"{int(counts.trace()):,} of {int(counts.sum()):,} images right"
    return f"{one.backend}: {', '.join([right, *most])}"


def recall(models: Sequence[Sequence[Learned]], name: str) -> Picture:
    """Return the share of each class that was recognised, model by model, a bar by backend.

    Args:
        models: the trainings of each model, backend by backend; at least one.
        name: the picture's.
    """
    shown = models[:MOST_ROWS]
    bars = [
        {"order": i, "model": one.name, **bar}
        for i, model in enumerate(shown)
        for one in model
        for bar in _bars(one)
    ]
    records = [r for model in shown for one in model for r in one.records]
    seeds = span(len(one.records) for model in shown for one in model)
    intervals = (
        " Lines: 95 % interval over seeds." if any(b["low"] is not None for b in bars) else ""
    )
    reading = (
        "Recall: the share of a class's test images that were given it, the mean over seeds "
        f"(n={seeds}).{intervals}{left_out(models)}"
    )
    return picture(
        Heading(name, "Recall of each class", reading),
        facets(_recall_layers(bars, records), bars, _recall_height(records)),
        records,
        [_recall_in_words(one) for model in shown for one in model],
    )


def _bars(one: Learned) -> list[Datum]:
    """Return each class's recall in per cent, with its interval over the seeds."""
    bars = []
    for name, of_seeds in zip(CLASS_NAMES, recalls(one), strict=True):
        estimate = mean_of(of_seeds)
        if estimate is not None:
            low, high = (None if e is None else 100 * e for e in (estimate.low, estimate.high))
            bars.append(
                {
                    "class": name,
                    "backend": one.backend,
                    "recall": rounded(100 * estimate.value),
                    "low": rounded(None if low is None else max(0.0, low)),
                    "high": rounded(None if high is None else min(100.0, high)),
                }
            )
    return bars


def _recall_height(records: Sequence[Record]) -> int:
    return len(CLASS_NAMES) * (len(backends_of(records)) * BAR + 8)


def _recall_layers(bars: Sequence[Datum], records: Sequence[Record]) -> list[alt.Chart]:
    """Return the bars, and each one's interval."""
    backends = [BACKENDS[b].title for b in backends_of(records)]
    y = alt.Y("class:N", sort=list(CLASS_NAMES), axis=alt.Axis(title=None))
    offset = alt.YOffset("backend:N", sort=backends, scale=alt.Scale(paddingInner=0.1))

    def x(field: str) -> alt.X:
        scale = alt.Scale(domain=[0, 100], nice=False)
        return alt.X(f"{field}:Q", scale=scale, axis=alt.Axis(title="recall [%]", tickCount=5))

    drawn = alt.Chart().encode(y=y, yOffset=offset)
    tooltip = [alt.Tooltip(f"{n}:N") for n in ("class", "backend", "recall", "low", "high")]
    layers = [
        drawn.mark_bar(opacity=0.85).encode(
            x=x("recall"), color=backend_colour(backends_of(records)), tooltip=tooltip
        )
    ]
    if any(bar["low"] is not None for bar in bars):
        layers.append(
            drawn.mark_rule(style="whole", strokeWidth=1.5).encode(x=x("low"), x2="high:Q")
        )
    return layers


def _recall_in_words(one: Learned) -> str:
    """Return the classes that are recognised least and most often."""
    bars = sorted(_bars(one), key=lambda bar: bar["recall"])
    ends = [f"{bar['class']} {bar['recall']:.1f} %" for bar in (bars[0], bars[-1])] if bars else []
    return f"{one.name} on {one.backend}: {' to '.join(ends)}"
