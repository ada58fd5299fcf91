"""Charts of epoch times: records in, a picture out; None where they do not fill it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import altair as alt

from fmnist.record import Record
from fmnist.report.choose import backends_of, good, machine_name
from fmnist.report.pictures.epoch_rows import (
    WIDTH,
    beside,
    epoch_marks,
    intervals,
    middles,
    row_plot,
)
from fmnist.report.pictures.picture import (
    Datum,
    Heading,
    Picture,
    Row,
    backend_colour,
    backend_filling,
    backend_shape,
    facets,
    left_out_rows,
    picture,
    proper,
    records_of,
    rounded,
    rows_of_cells,
    shown_rows,
    unlike,
    which_are_hollow,
)
from fmnist.report.render import digits, inert
from fmnist.report.summary import Summary, summaries
from fmnist.report.tables import UNEQUAL_TERM
from fmnist.stats import Estimate, Verdict

TIMES: Final = "\N{MULTIPLICATION SIGN}"
MACHINE_LENGTH: Final = 60
MOST_MACHINES: Final = 6
"""As many as there are shapes."""
PROCESS: Final = 11
"""A process's height in a small plot, in pixels; the mean and a gap take as much below them."""
MOST_LANES: Final = 12
"""Of full height; more processes lie closer."""


def speed(rows: Sequence[Row]) -> Picture | None:
    """Return each model's steady epoch on each backend, and how the backends compare."""
    if not rows:
        return None
    shown = shown_rows(rows)
    backends = backends_of(records_of(shown))
    encodings = backend_colour(backends), backend_shape(backends)
    layers = [*intervals(shown, epoch_marks(shown), *encodings), *_answers(shown)]
    reading = f"{_mean_of_rounds(shown)}{_how_compared(shown)}{left_out_rows(rows)}{_note(shown)}"
    return picture(
        Heading("speed", f"Seconds per steady epoch: {_and(backends)}", reading),
        row_plot(shown, layers),
        records_of(shown),
        [_row_in_words(row) for row in shown],
    )


def _and(backends: Iterable[str]) -> str:
    return " and ".join(map(proper, backends))


def _answers(rows: Sequence[Row]) -> list[alt.Chart]:
    """Return what each row says of the backends, with the interval, right of the plot."""
    compared = [[(c, c.ratio) for c in row.cells if c.ratio is not None] for row in rows]
    answers: list[Datum] = [
        {
            "upper": ", ".join(_says(cell, ratio)[0] for cell, ratio in of_row),
            "lower": ", ".join(_says(cell, ratio)[1] for cell, ratio in of_row),
            "y": middle,
        }
        for of_row, middle in zip(compared, middles(rows), strict=True)
        if of_row
    ]
    return beside(rows, answers, WIDTH + 14)


def _says(cell: Summary, ratio: Estimate) -> tuple[str, str]:
    """Return what a ratio says, in no more words than its verdict allows, and its interval."""
    name = proper(cell.cell.backend)
    if cell.verdict is Verdict.FASTER:
        return f"{name} {digits(1 / ratio.value)}{TIMES} faster", _range(ratio, inverse=True)
    if cell.verdict is Verdict.SLOWER:
        return f"{name} {digits(ratio.value)}{TIMES} slower", _range(ratio)
    if cell.verdict is None:
        return f"{name} {digits(ratio.value)}{TIMES} as long", _range(ratio)
    times = f"{name} {digits(ratio.value)}{TIMES} as long"
    return str(cell.verdict), ", ".join(filter(None, [times, _range(ratio)]))


def _range(ratio: Estimate, *, inverse: bool = False) -> str:
    """Return the interval in words; nothing where there is none."""
    if ratio.low is None or ratio.high is None:
        return ""
    low, high = (1 / ratio.high, 1 / ratio.low) if inverse else (ratio.low, ratio.high)
    return f"{digits(low)} to {digits(high)}"


def _mean_of_rounds(rows: Iterable[Row]) -> str:
    """Return what a mark is the mean of."""
    cells = [cell for row in rows for cell in row.cells]
    rounds, processes = ({getattr(c.epoch, name) for c in cells} for name in ("n", "processes"))
    of_processes = f" in {_listed(processes)} processes" if processes != {1} else ""
    return f"Geometric mean of n={_listed(rounds)} rounds{of_processes} with its 95 % interval."


def _listed(counts: Iterable[int]) -> str:
    return "/".join(f"{n:,}" for n in sorted(counts))


def _how_compared(rows: Iterable[Row]) -> str:
    """Return how the texts at the right come about; nothing where there are none."""
    compared = [c for row in rows for c in row.cells if c.ratio is not None]
    if not compared:
        return ""
    base = proper(compared[0].against or "")
    verdict = (
        "no verdicts, for the session did not run a cell against itself"
        if all(c.verdict is None for c in compared)
        else "verdicts at 5 %, corrected for the number of rows, beyond the session's own noise"
    )
    return f" Right: against {base}, epochs side by side, with the 95 % interval; {verdict}."


def _note(rows: Iterable[Row]) -> str:
    return f" {UNEQUAL_TERM}." if any(row.unequal for row in rows) else ""


def _row_in_words(row: Row) -> str:
    """Return a row's figures in words."""
    epochs = [
        f"{proper(c.cell.backend)} {digits(c.epoch.value)} s"
        + (f" ({words})" if (words := _range(c.epoch)) else "")
        for c in row.cells
    ]
    answers = [" ".join(_says(c, c.ratio)) for c in row.cells if c.ratio is not None]
    return f"{row.name}: {', '.join([*epochs, *answers])}"


def epoch_times(rows: Sequence[Row]) -> Picture | None:
    """Return every steady round of each model, process by process, and the means below them."""
    if not rows:
        return None
    shown = shown_rows(rows)
    backends = backends_of(records_of(shown))
    lanes = 2 + max(len(cell.records) for row in shown for cell in row.cells)
    drawn = [
        {"order": i, "model": row.name, "backend": proper(cell.cell.backend), **datum}
        for i, row in enumerate(shown)
        for cell in row.cells
        for datum in _rounds(cell, backends.index(cell.cell.backend), lanes)
    ]
    height = PROCESS * min(lanes, MOST_LANES) * len(backends)
    reading = (
        "Each mark is a steady round; processes lie below each other. "
        f"Below them: {_mean_of_rounds(shown).lower()} Each model has a scale of its own."
    )
    return picture(
        Heading("epoch-times", "Every steady epoch", f"{reading}{left_out_rows(rows)}"),
        facets(_strips(backends), drawn, height).resolve_scale(x="independent"),
        records_of(shown),
        [_spread_in_words(row) for row in shown],
    )


def _strips(backends: Sequence[str]) -> list[alt.Chart]:
    """Return what draws rounds and means, each backend in an equal part of the height."""
    y = alt.Y("y:Q", axis=None, scale=alt.Scale(domain=[len(backends), 0], nice=False))
    colour, shape = backend_colour(backends), backend_shape(backends)

    def x(field: str) -> alt.X:
        axis = alt.Axis(title="epoch [s]", tickCount=4)
        return alt.X(f"{field}:Q", scale=alt.Scale(zero=False), axis=axis)

    tooltip = [alt.Tooltip(f"{n}:N") for n in ("backend", "process", "round", "seconds")]
    return [
        alt.Chart()
        .mark_point(filled=True, size=36, opacity=1, fillOpacity=0.55)
        .encode(x=x("seconds"), y=y, color=colour, shape=shape, tooltip=tooltip),
        alt.Chart().mark_rule(strokeWidth=2).encode(x=x("low"), x2="high:Q", y=y, color=colour),
        alt.Chart()
        .mark_tick(thickness=2, size=12, opacity=1)
        .encode(x=x("mean"), y=y, color=colour),
    ]


def _rounds(cell: Summary, index: int, lanes: int) -> list[Datum]:
    """Return a cell's rounds, a lane for each process, and its mean below them.

    All lie in the `index`-th of equal parts of the plot's height.
    """
    rounds = [
        {
            "process": record.process,
            "round": i + 1,
            "seconds": rounded(seconds),
            "y": rounded(index + (lane + 0.7) / lanes),
        }
        for lane, record in enumerate(cell.records)
        for i, seconds in enumerate(record.epoch_s)
    ]
    mean, low, high = map(rounded, (cell.epoch.value, cell.epoch.low, cell.epoch.high))
    y = rounded(index + (len(cell.records) + 0.9) / lanes)
    return [*rounds, {"mean": mean, "low": low, "high": high, "y": y}]


def _spread_in_words(row: Row) -> str:
    spreads = [
        f"{proper(c.cell.backend)} {digits(min(rounds))} to {digits(max(rounds))} s "
        f"in {len(rounds)} rounds"
        for c in row.cells
        for rounds in [[s for r in c.records for s in r.epoch_s]]
    ]
    return f"{row.name}: {', '.join(spreads)}"


def machines(sessions: Sequence[Sequence[Record]]) -> Picture | None:
    """Return each model's steady epoch on several machines, by the first session of each.

    Sessions come in the order of `kinds.rank`, so that is the one of most models. Only those of one
    data set and preset are set side by side, which most machines ran. None where that is a single
    machine.
    """
    by_machine = _of_most_machines(sessions)
    if len(by_machine) < 2:  # noqa: PLR2004  # a comparison is of two
        return None
    short = unlike(inert(machine, MACHINE_LENGTH) for machine in by_machine)
    names = dict(zip(by_machine, short, strict=True))
    cells = [cell for session in by_machine.values() for cell in summaries(session)]
    rows = rows_of_cells(sorted(cells, key=lambda c: (c.parameters.total, c.cell.model)))
    shown = shown_rows(rows)
    of_cells = (names[machine_name(cell.first)] for row in shown for cell in row.cells)
    marks = [{**mark, "machine": m} for mark, m in zip(epoch_marks(shown), of_cells, strict=True)]
    shape = alt.Shape(
        "machine:N",
        scale=alt.Scale(domain=list(names.values())),
        legend=alt.Legend(title=None, columns=1, labelLimit=WIDTH),
    )
    backends = backends_of(records_of(shown))
    layers = intervals(shown, marks, *backend_filling(backends), shape)
    reading = (
        f"Of each machine the session of most models, {MOST_MACHINES} machines at most. "
        f"{_mean_of_rounds(shown)}{which_are_hollow(backends)}{left_out_rows(rows)}{_note(shown)}"
    )
    return picture(
        Heading("machines", "Seconds per steady epoch, by machine", reading),
        row_plot(shown, layers),
        records_of(shown),
        [f"{row.name}: {', '.join(_by_machine(row, names))}" for row in shown],
    )


def _by_machine(row: Row, names: Mapping[str, str]) -> list[str]:
    """Return a row's epochs in words, each with its machine."""
    return [
        f"{proper(cell.cell.backend)} {digits(cell.epoch.value)} s "
        f"on {names[machine_name(cell.first)]}"
        for cell in row.cells
    ]


def _of_most_machines(sessions: Iterable[Sequence[Record]]) -> dict[str, Sequence[Record]]:
    """Return the first session of each machine, of the data set and preset that most of them ran.

    Of more than MOST_MACHINES, the first ones.
    """
    trained = [session for session in sessions if good(session, "train")]
    groups: dict[tuple[str, str], dict[str, Sequence[Record]]] = {}
    for session in trained:
        first = session[0]
        group = groups.setdefault((first.dataset, first.preset), {})
        group.setdefault(machine_name(first), session)
    largest = max(groups.values(), key=len, default={})
    return dict(list(largest.items())[:MOST_MACHINES])
