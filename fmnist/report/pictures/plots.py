"""The pictures of a session and of several machines, and how they become SVG and PNG.

Nothing here needs a browser or a network. What is drawn does not depend on the machine's last bits:
figures have six digits. The font is one that the renderer brings with it; where the machine has it
too, the machine's is taken, and another release of it may make a picture wider by a pixel. Only
names in letters that this font lacks are drawn in what the machine has.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import altair as alt
import vl_convert

from fmnist.record import Record
from fmnist.report.choose import node_of
from fmnist.report.pictures import (
    learned_charts,
    learning_charts,
    race_charts,
    study_charts,
    time_charts,
    trust_charts,
)
from fmnist.report.pictures.picture import Picture, rows_of_cells
from fmnist.report.summary import summaries

__all__ = ["THEMES", "Picture", "of_machines", "of_session", "png", "svg", "themed"]

THEMES: Final = ("light", "dark")
FONT: Final = "Liberation Sans, Arial, Helvetica, sans-serif"
"""The first is in the renderer, so text is nearly as wide everywhere; the others are as wide."""

VEGA_LITE: Final = "_".join(alt.SCHEMA_VERSION.split(".")[:2])

INKS: Mapping[str, Mapping[str, Any]] = {
    "light": {
        "background": "#ffffff",
        "text": "#1f2328",
        "muted": "#59636e",
        "line": "#d1d9e0",
        # Okabe and Ito's palette; the first two are TensorFlow and JAX.
        "backends": ("#D55E00", "#0072B2", "#009E73", "#CC79A7"),
    },
    "dark": {
        "background": "#0d1117",
        "text": "#f0f6fc",
        "muted": "#9198a1",
        "line": "#2f363f",
        "backends": ("#E69F00", "#56B4E9", "#009E73", "#CC79A7"),
    },
}
PARTS: Final = ("#009E73", "#F0E442", "#CC79A7", "#8C8C8C", "#D9D9D9")
SHAPES: Final = ("circle", "diamond", "square", "triangle-up", "triangle-down", "cross")


def of_session(records: Sequence[Record], against: str | None = None) -> list[Picture]:
    """Return every picture that a session's records fill, the one that answers first.

    Args:
        records: of one session, as from `choose.sessions_of`.
        against: the backend in the denominator of the ratios; default: that of the first column.
    """
    rows = rows_of_cells(summaries(records, against))
    made = [
        time_charts.speed(rows),
        time_charts.epoch_times(rows),
        learning_charts.accuracy_parameters(rows),
        learning_charts.accuracy_over_time(rows),
        race_charts.accuracy_by_seconds(records),
        study_charts.ladder(records),
        study_charts.frontier(records),
        trust_charts.where_an_epoch_goes(records),
        trust_charts.noise(records),
        *learned_charts.of_trainings(records),
    ]
    return [picture for picture in made if picture is not None]


def of_machines(sessions: Sequence[Sequence[Record]]) -> Picture | None:
    """Return the first session of each machine side by side; None for less than two machines."""
    return time_charts.machines(sessions)


def stem(records: Sequence[Record], name: str) -> str:
    """Return what the file of a session's picture of this name is called, without an ending."""
    first = records[0]
    return "-".join(filter(None, (first.session, first.preset, node_of(first), name)))


def themed(spec: Mapping[str, Any], theme: str) -> dict[str, Any]:
    """Return a picture's spec with a theme's colours, fonts and distances."""
    return {**spec, "config": _config(theme)}


def svg(picture: Picture, theme: str = "light") -> str:
    """Return a picture as SVG text: on any machine the same, within a pixel."""
    drawn = vl_convert.vegalite_to_svg(
        themed(picture.spec, theme), vl_version=VEGA_LITE, allowed_base_urls=[]
    )
    return f"{drawn}\n"


def png(picture: Picture, theme: str = "light", scale: float = 2.0) -> bytes:
    """Return a picture as a PNG, of `scale` times as many pixels as the SVG says."""
    return vl_convert.vegalite_to_png(
        themed(picture.spec, theme), vl_version=VEGA_LITE, scale=scale, allowed_base_urls=[]
    )


def _config(theme: str) -> dict[str, Any]:
    """Return a theme as Vega-Lite's config."""
    inks = INKS[theme]
    text, muted, line = inks["text"], inks["muted"], inks["line"]
    return {
        "font": FONT,
        "aria": False,  # a picture has its words beside it
        "background": inks["background"],
        "padding": 16,
        "view": {"stroke": None},
        "title": {
            "anchor": "start",
            "frame": "bounds",
            "color": text,
            "fontSize": 17,
            "subtitleColor": muted,
            "subtitleFontSize": 11,
            "subtitleLineHeight": 15,
            "subtitlePadding": 6,
            "offset": 16,
        },
        "axis": {
            "domainColor": line,
            "gridColor": line,
            "gridOpacity": 0.6,
            "labelColor": muted,
            "labelFontSize": 11,
            "tickColor": line,
            "titleColor": muted,
            "titleFontSize": 11,
            "titleFontWeight": "normal",
            "titlePadding": 8,
        },
        "header": {"labelColor": text, "labelFontSize": 12, "labelFontWeight": "bold"},
        "legend": {
            "labelColor": text,
            "labelFontSize": 12,
            "orient": "top",
            "symbolBaseFillColor": muted,
            "symbolBaseStrokeColor": muted,
            "symbolSize": 90,
            "titleColor": muted,
            "titleFontSize": 11,
            "titleFontWeight": "normal",
        },
        "range": {
            "category": list(inks["backends"]),
            "symbol": list(SHAPES),
            "ordinal": list(PARTS),
        },
        "text": {"color": text, "fontSize": 11},
        "style": {
            "name": {"fontWeight": "bold", "fontSize": 12},
            "note": {"color": muted},
            "inside": {"color": INKS["light"]["text"]},
            "segment": {"stroke": muted, "strokeWidth": 0.5},
            "whole": {"color": text},
            "between": {"color": line},
            "reference": {"color": muted, "strokeDash": [4, 3], "strokeWidth": 1.5},
        },
    }
