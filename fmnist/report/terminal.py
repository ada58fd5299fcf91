"""A session on a terminal: its headline, a compact table as wide as the screen, and its terms.

Each model has a line with the ratio and the verdict, and under it a line for each backend. A
narrow screen shows fewer columns; a number is never wrapped or cut.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, JustifyMethod, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Column, Table
from rich.text import Text

from fmnist import stats
from fmnist.grid import SPIKES
from fmnist.record import Record
from fmnist.report.choose import good, row_key
from fmnist.report.columns import count
from fmnist.report.headline import LONGEST_NAME, LONGEST_REASON, headline, names_of
from fmnist.report.render import NOTHING, above_one, digits, inert, joined, percent, with_interval
from fmnist.report.summary import Summary, summaries
from fmnist.report.tables import UNEQUAL, UNEQUAL_TERM
from fmnist.report.terms import (
    accuracy_term,
    machine_terms,
    steadiness_terms,
    terms_of,
    verdict_terms,
)
from fmnist.report.trust import noise_of, unequal
from fmnist.stats import Verdict

GAP = 2
INDENT = "  "
SHORTEST_BAR = 8
LONGEST_BAR = 24
WIDEST_NAME = 40
"""A longer one is folded."""
ROUNDS_SHARE = 4
"""The rounds get one part in so many of the width at most."""
LONGEST_TERM = 400
MOST_FAILURES = 8
LEVELS = "▁▂▃▄▅▆▇█"
ASCII_LEVELS = ".:-=+*#@"
IN_ASCII = str.maketrans({"…": "...", "±": "+-"})
STYLES = {
    Verdict.FASTER: "green",
    Verdict.SLOWER: "red",
    Verdict.SAME: "bold",
    Verdict.CANNOT_TELL: "yellow",
}
TERMS = (
    "epoch: geometric mean of n steady epochs with its 95 % interval",
    "ratio: of epochs run in turn, side by side",
)
BAR_TERM = "bar: the epoch, linear from 0; the slowest backend of a model fills it"
ALL_TABLES = "all tables, as plain text: fmnist report FILE | less"


def compact(records: Sequence[Record], against: str | None = None) -> RenderableType:
    """Return one session for a person at a terminal, to be printed by a `rich.console.Console`.

    Args:
        records: of one session, as from `choose.sessions_of`.
        against: the backend in the denominator of the ratios; default: that of the first column.
    """
    return _Session(tuple(records), against)


@dataclass(frozen=True)
class _Session:
    """A session, drawn when a console has told its width and its encoding."""

    records: tuple[Record, ...]
    against: str | None

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        table = _table_of(summaries(self.records, self.against), options)
        yield from _opening(self.records, self.against, options)
        yield from table.lines(options)
        for failure in _failures(self.records):
            yield _text(failure, options, "red")
        for line in _noise_lines(self.records):
            yield _text(line, options)
        yield _text("; ".join(_terms(self.records, table.legend)), options, "dim")
        yield Text()


def _opening(
    records: Sequence[Record], against: str | None, options: ConsoleOptions
) -> Iterator[RenderableType]:
    """Yield the session's name and day, and its headline, the first sentence in bold."""
    if records:
        first, *others = dict.fromkeys(record.session for record in records)
        more = f" and {len(others)} more" if others else ""
        name = f"session {inert(first, LONGEST_NAME)}{more}, {records[0].started_at:%Y-%m-%d}"
        yield _text(name, options, "dim")
    sentences = Table.grid("", Column(overflow="fold"), padding=(0, 1, 0, 0))
    for i, sentence in enumerate(headline(records, against)):
        sentences.add_row("-", _text(sentence, options, "" if i else "bold"))
    yield sentences
    yield Text()


@dataclass(frozen=True)
class _Column:
    """A column: what it shows in each row, and how wide it is.

    Attributes:
        title: its heading.
        cells: one for each row.
        width: in characters of the terminal.
        rank: where there is no room, the highest ranks go first; 0 never does.
        longest: a width to which it grows where there is room.
        justify: numbers stand flush right.
    """

    title: str
    cells: tuple[RenderableType, ...]
    width: int
    rank: int = 0
    longest: int = 0
    justify: JustifyMethod = "right"


@dataclass(frozen=True)
class _TwoTiers:
    """A table in which the rows of the lower tier stand under those of the upper one.

    Attributes:
        upper: what is told of each model.
        lower: what is told of each backend.
        sizes: how many rows of the lower tier stand under each of the upper one.
        legend: what marks mean.
    """

    upper: tuple[_Column, ...]
    lower: tuple[_Column, ...]
    sizes: tuple[int, ...]
    legend: tuple[str, ...]

    def lines(self, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Yield the table, or how wide a terminal it needs."""
        needed = max(_total(self.upper), _total(self.lower))
        if not self.sizes:
            return
        if needed > options.max_width:
            yield Text(f"The table needs a terminal of {needed} columns.", style="bold")
            return
        start = 0
        yield from (_grid(tier, [-1]) for tier in (self.upper, self.lower))
        for row, size in enumerate(self.sizes):
            yield _grid(self.upper, [row])
            yield _grid(self.lower, range(start, start + size))
            start += size
        yield Text()


def _grid(columns: Sequence[_Column], rows: Iterable[int]) -> Table:
    """Return rows of a tier, -1 being the titles. Only names are ever folded."""
    grid = Table.grid(padding=(0, GAP, 0, 0))
    for column in columns:
        grid.add_column(width=column.width, justify=column.justify, overflow="fold")
    for row in rows:
        grid.add_row(*(Text(c.title, style="dim") if row < 0 else c.cells[row] for c in columns))
    return grid


def _table_of(cells: Sequence[Summary], options: ConsoleOptions) -> _TwoTiers:
    """Return the table of a session's cells with the columns that fit."""
    models: dict[object, list[Summary]] = {}
    for cell in cells:
        models.setdefault(row_key(cell.first), []).append(cell)
    blocks = list(models.values())
    rounds, scale = _rounds(cells, options)
    bars = _bars(blocks)
    lower = _fitting(_lower(cells, [*bars, *rounds]), options.max_width)
    upper = _fitting(_upper(blocks, _total(lower[:2]), options), options.max_width)
    legend = {"bar": BAR_TERM, "rounds": scale}
    return _TwoTiers(
        upper,
        lower,
        tuple(len(block) for block in blocks),
        tuple(legend[column.title] for column in lower if column.title in legend),
    )


def _upper(
    blocks: Sequence[Sequence[Summary]], width: int, options: ConsoleOptions
) -> list[_Column]:
    """Return what is told of each model: parameters, and each backend's ratio and verdict.

    Where there is room, model and parameters fill `width`, and the ratios begin where the marks do.
    """
    cells = [cell for block in blocks for cell in block]
    by_cell = names_of(cells)
    names = [by_cell[id(b[0])] + (UNEQUAL if b[0].unequal else "") for b in blocks]
    others = list(dict.fromkeys(c.cell.backend for c in cells if c.ratio is not None))
    model = _column("model", [_text(n, options, "bold") for n in names], justify="left")
    model = replace(model, width=min(model.width, WIDEST_NAME))
    size = _column("parameters", [f"{block[0].parameters.total:,}" for block in blocks], rank=1)
    return [
        replace(model, longest=max(model.width, width - GAP - size.width)),
        size,
        *(column for backend in others for column in _ratios(blocks, backend)),
    ]


def _ratios(blocks: Sequence[Sequence[Summary]], backend: str) -> list[_Column]:
    """Return one backend's ratio in each block, and the verdict where any is given."""
    found = [next((c for c in block if c.cell.backend == backend), None) for block in blocks]
    against = next(c.against for c in found if c is not None and c.against is not None)
    ratios = [NOTHING if c is None or c.ratio is None else with_interval(c.ratio) for c in found]
    verdicts = [None if c is None else c.verdict for c in found]
    columns = [_column(f"{backend} / {against} time", ratios)]
    if any(verdicts):
        words = [Text(str(v), style=STYLES[v]) if v else Text(NOTHING) for v in verdicts]
        columns.append(_column(f"{backend} is", words, justify="left"))
    return columns


def _lower(cells: Sequence[Summary], marks: Sequence[_Column]) -> list[_Column]:
    """Return what is told of each backend of each model."""
    return [
        _column(f"{INDENT}backend", [INDENT + c.cell.backend for c in cells], justify="left"),
        _column("epoch [s]", [with_interval(c.epoch) for c in cells]),
        *marks,
        _column("accuracy [%]", [percent(c.accuracy) for c in cells]),
        _column("n", [count(c.records) for c in cells], rank=3),
        _column("first epoch [s]", [digits(_first_epoch_s(c)) for c in cells], rank=4),
        _column("images/s", [f"{c.images_per_s:,.0f}" for c in cells], rank=5),
    ]


def _column(
    title: str, cells: Sequence[str | Text], *, rank: int = 0, justify: JustifyMethod = "right"
) -> _Column:
    texts = tuple(cell if isinstance(cell, Text) else Text(cell) for cell in cells)
    width = max([cell_len(title), *(text.cell_len for text in texts)])
    return _Column(title, texts, width, rank, justify=justify)


def _total(columns: Sequence[_Column]) -> int:
    return sum(column.width for column in columns) + GAP * (len(columns) - 1)


def _fitting(columns: Sequence[_Column], room: int) -> tuple[_Column, ...]:
    """Return the columns without the least important ones, so that they fit where they can."""
    kept = list(columns)
    while _total(kept) > room and (last := max(kept, key=lambda c: c.rank)).rank:
        kept = [column for column in kept if column is not last]
    spare = max(0, room - _total(kept))
    return tuple(
        replace(c, width=min(c.longest, c.width + spare)) if c.longest else c for c in kept
    )


def _bars(blocks: Sequence[Sequence[Summary]]) -> list[_Column]:
    """Return the epochs of each model as bars; none where no model ran on two backends."""
    if all(len(block) == 1 for block in blocks):
        return []
    bars = [
        ProgressBar(
            total=max(c.epoch.value for c in block),
            completed=cell.epoch.value,
            style="dim",
            complete_style="cyan",
            finished_style="cyan",
        )
        for block in blocks
        for cell in block
    ]
    return [_Column("bar", tuple(bars), SHORTEST_BAR, rank=2, longest=LONGEST_BAR, justify="left")]


def _rounds(cells: Sequence[Summary], options: ConsoleOptions) -> tuple[list[_Column], str]:
    """Return each cell's rounds as marks of different heights, and what the heights mean."""
    room = options.max_width // ROUNDS_SHARE
    most = max((len(r.epoch_s) for c in cells for r in c.records), default=0)
    together = next((k for k in range(1, most + 1) if _marks(cells, k) <= room), None)
    if together is None:
        return [], ""
    levels = ASCII_LEVELS if options.ascii_only else LEVELS
    logs = [_log_deviations(cell, together) for cell in cells]
    low, high = (end(x for cell in logs for p in cell for x in p) for end in (min, max))
    step = max(high - low, stats.NO_SPREAD) / len(levels)
    marks = [
        " ".join(
            "".join(levels[min(len(levels) - 1, int((x - low) / step))] for x in p) for p in cell
        )
        for cell in logs
    ]
    of = "a round" if together == 1 else f"the mean of {together} rounds"
    legend = (
        f"rounds: each mark {of}, in order, processes apart; by how much it differs from its "
        f"cell's epoch, on one scale: {levels[0]} {100 * math.expm1(low):+.0f} % to {levels[-1]} "
        f"{100 * math.expm1(high):+.0f} %"
    )
    return [_column("rounds", marks, rank=1, justify="left")], legend


def _marks(cells: Sequence[Summary], together: int) -> int:
    """Return how many characters the widest cell's rounds take, so many of them in one mark."""
    return max(sum(math.ceil(len(r.epoch_s) / together) + 1 for r in c.records) - 1 for c in cells)


def _log_deviations(cell: Summary, together: int) -> list[list[float]]:
    """Return, by process, the logarithm of each mark's time by that of the cell."""
    mean = math.log(cell.epoch.value)
    return [
        [
            fmean(map(math.log, record.epoch_s[i : i + together])) - mean
            for i in range(0, len(record.epoch_s), together)
        ]
        for record in cell.records
    ]


def _first_epoch_s(cell: Summary) -> float:
    return stats.geometric_mean([r.first_epoch_s or 0.0 for r in cell.records]).value


def _failures(records: Sequence[Record]) -> list[str]:
    failed = [r for r in records if r.failure is not None]
    lines = [
        f"FAILED {inert(r.cell.id, LONGEST_NAME)} {r.task}: "
        f"{inert(r.failure or '', LONGEST_REASON)}"
        for r in failed[:MOST_FAILURES]
    ]
    left = len(failed) - len(lines)
    return [*lines, *([f"FAILED {left} more"] if left else [])]


def _noise_lines(records: Sequence[Record]) -> list[str]:
    """Return what the session found when it ran a cell against itself; the headline says if not."""
    noise = noise_of(records)
    if noise is None:
        return []
    found = [
        f"{percent} % {'yes' if (ratio.low or 0.0) > 1 else 'no'}"
        for name, percent in SPIKES.items()
        if (ratio := noise.spikes.get(name)) is not None
    ]
    steps = f"; more steps found: {', '.join(found)}" if found else ""
    cell = inert(joined(cell.id for cell in noise.cells), LONGEST_NAME)
    return [f"noise: {cell} against itself {above_one(noise.again)} %{steps}"]


def _terms(records: Sequence[Record], legend: Sequence[str]) -> list[str]:
    """Return the terms of all figures above, each of a bounded length."""
    trained = good(records, "train")
    if not records:
        return []
    if not trained:
        return [inert(term, LONGEST_TERM) for term in machine_terms(records)]
    terms = [
        *TERMS,
        *legend,
        *verdict_terms(records),
        *steadiness_terms(trained),
        accuracy_term(trained),
        *terms_of(trained),
        *([UNEQUAL_TERM] if unequal(records) else []),
        ALL_TABLES,
    ]
    return [inert(term, LONGEST_TERM) for term in terms]


def _text(text: str, options: ConsoleOptions, style: str = "") -> Text:
    """Return text that the terminal's encoding has, never taken for markup."""
    if options.ascii_only:
        text = text.translate(IN_ASCII).encode("ascii", "backslashreplace").decode()
    return Text(text, style=style)
