"""The published files: made from committed records alone, so that anyone can make them again.

results/README.md     what is published, machine by machine
results/machines/     a page for each machine: every table, with pictures
results/pictures/     as SVG, light and dark
results/index.html    all of it, to sort and to filter
README.md             between its marked lines: headline, tuned, studies, claims, race, trust
"""

import html
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from fmnist.record import Record, read
from fmnist.report import (
    leaderboard,
    reproduction,
    studies,
    tables,
    trust_tables,
    tuned_tables,
)
from fmnist.report.choose import assembled, good, machine_name
from fmnist.report.headline import headline
from fmnist.report.kinds import rank, title
from fmnist.report.page import page
from fmnist.report.pictures import plots
from fmnist.report.pictures.picture import slugs
from fmnist.report.render import Table, escaped, render
from fmnist.studies import ablation, parameters

BEGIN = "<!-- fmnist publish {}: begin -->"
END = "<!-- fmnist publish {}: end -->"
BLOCKS = ("speed", "tuned", "parameters", "ablation", "reproduce", "race", "trust")
"""What stands between such lines in the README."""

PIXEL: Final = 1.0
"""By how much the same picture's places may differ, in pixels.

The renderer takes a machine's own Liberation fonts, where there are any, before those that it
brings, and texts are as wide in all releases of them but for a fraction of a pixel.
"""
PLACE = re.compile(
    r'((?<= )(?:width|height|viewBox|transform|d|[xy][12]?)="[^"]*")(?=[^<>]*>)'  # in a tag alone
)
NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e-?\d+)?")


class PublishError(ValueError):
    """Something that stands in the way of publishing; the message says where it is."""


def files(root: Path) -> dict[Path, str]:
    """Return every published file under the project's root with the text that it should have.

    Raises PublishError for a damaged record or a README without its markers.
    """
    results = root / "results"
    runs = sorted(assembled(committed(results / "raw")), key=rank, reverse=True)
    machines: dict[str, list[Sequence[Record]]] = {}
    for run in runs:
        machines.setdefault(machine_name(run[0]), []).append(run)
    drawn = {id(run): plots.of_session(run) for run in runs}
    stems = slugs(machines, "machine")
    return {
        results / "README.md": _index(machines, stems),
        results / "index.html": page(runs),
        **{
            results / "machines" / f"{stems[name]}.md": _machine_page(name, of_machine, drawn)
            for name, of_machine in machines.items()
        },
        **{
            results / "pictures" / _file_name(run, picture, theme): plots.svg(picture, theme)
            for run in runs
            for picture in drawn[id(run)]
            for theme in plots.THEMES
        },
        root / "README.md": _readme(root / "README.md", runs, drawn),
    }


def stale(wanted: Mapping[Path, str]) -> list[Path]:
    """Return the published files that differ from what they should be, as from `files`.

    A picture may differ by a pixel, see `PIXEL`, not in a word or a colour.
    """
    return [path for path, text in wanted.items() if not (path.exists() and _holds(path, text))]


def _holds(path: Path, text: str) -> bool:
    found = path.read_text(encoding="utf-8")
    return found == text or (path.suffix == ".svg" and _drawn_alike(found, text))


def _drawn_alike(picture: str, other: str) -> bool:
    """Tell whether two SVGs say the same, in the same places within a pixel."""
    parts, others = PLACE.split(picture), PLACE.split(other)
    return parts[::2] == others[::2] and all(map(_near, parts[1::2], others[1::2]))


def _near(place: str, other: str) -> bool:
    pairs = zip(NUMBER.findall(place), NUMBER.findall(other), strict=False)
    return NUMBER.split(place) == NUMBER.split(other) and all(
        abs(float(one) - float(two)) <= PIXEL for one, two in pairs
    )


def left_over(root: Path, wanted: Mapping[Path, str]) -> list[Path]:
    """Return the files among the published ones that no record makes any more."""
    folders = (root / "results" / name for name in ("machines", "pictures"))
    return sorted(p for folder in folders for p in folder.glob("*") if p not in wanted)


def committed(folder: Path) -> list[Record]:
    """Return the records of all files of a folder. Raises PublishError if a line is damaged."""
    records: list[Record] = []
    for path in sorted(folder.glob("*.jsonl")):
        good, damaged = read(path)
        if damaged:
            raise PublishError("\n".join(map(str, damaged)))
        records += good
    return records


def _index(machines: Mapping[str, Sequence[Sequence[Record]]], stems: Mapping[str, str]) -> str:
    """Return the list of what is published, machine by machine, in the order of the sessions."""
    parts = [
        "# Results",
        "Made by `fmnist publish` from the records in `raw/`. To sort and to filter: "
        "[index.html](index.html), one file that needs no network. What is inside the times: "
        "[the project's README](../README.md#what-is-timed).",
    ]
    for name, runs in machines.items():
        parts.append(f"## [{escaped(name)}](machines/{stems[name]}.md)")
        for run in runs:
            parts += [f"### {title(run)}", _as_list(headline(run))]
    return "\n\n".join(parts) + "\n"


def _machine_page(
    name: str, runs: Iterable[Sequence[Record]], drawn: Mapping[int, Sequence[plots.Picture]]
) -> str:
    """Return the pictures and tables of one machine's sessions, in their order."""
    parts = [f"# {escaped(name)}", "[All results](../README.md)"]
    for run in runs:
        parts += [f"## {title(run)}", _as_list(headline(run))]
        for picture in drawn[id(run)]:
            caption = f"{escaped(picture.title)}. {escaped(picture.caption)}"
            parts += [_shown(run, picture, "../pictures"), caption]
        parts += [render(table, "markdown").rstrip() for table in tables.of_session(run)]
    return "\n\n".join(parts) + "\n"


def _as_list(sentences: Iterable[str]) -> str:
    return "\n".join(f"- {escaped(sentence)}" for sentence in sentences)


def _readme(
    path: Path,
    runs: Sequence[Sequence[Record]],
    drawn: Mapping[int, Sequence[plots.Picture]],
) -> str:
    text = path.read_text(encoding="utf-8")
    full = [run for run in runs if (run[0].preset, run[0].dataset) == ("full", "fashion-mnist")]
    blocks = (
        _headline(full, drawn),
        _first(runs, tuned_tables.tuned, "session in several modes"),
        _study(full, drawn, parameters.NAME, "frontier"),
        _study(full, drawn, ablation.NAME, "ablation"),
        _first(runs, reproduction.table, "reproduction"),
        _first(runs, leaderboard.leaderboard, "race"),
        _trust(runs),
    )
    for name, block in zip(BLOCKS, blocks, strict=True):
        text = _with_block(text, path, name, block)
    return text


def _first(
    runs: Iterable[Sequence[Record]],
    build: Callable[[Sequence[Record]], Table | None],
    what: str,
) -> str:
    """Return the table of the first run on the real data that has one."""
    real = (run for run in runs if run[0].dataset == "fashion-mnist")
    table = next(filter(None, map(build, real)), None)
    if table is None:
        return f"No {what} on Fashion-MNIST is published yet."
    return render(table, "markdown").rstrip()


def _headline(
    runs: Iterable[Sequence[Record]], drawn: Mapping[int, Sequence[plots.Picture]]
) -> str:
    """Return the first run of these that timed models: in words, as a picture, and its table."""
    for run in runs:
        if (table := tables.speed(run)) is not None:
            pictures = [_shown(run, p, "results/pictures") for p in drawn[id(run)][:1]]
            told = _as_list(headline(run))
            return "\n\n".join([told, *pictures, render(table, "markdown").rstrip()])
    return "No `full` session on Fashion-MNIST is published yet."


def _study(
    runs: Iterable[Sequence[Record]],
    drawn: Mapping[int, Sequence[plots.Picture]],
    study: str,
    picture: str,
) -> str:
    """Return what the first of these runs that is of a study found: words and a picture."""
    for run in runs:
        told = studies.sentences(run, [study])
        if told:
            pictures = [p for p in drawn[id(run)] if p.name == picture]
            shown = [_shown(run, p, "results/pictures") for p in pictures]
            return "\n\n".join([_as_list(told), *shown])
    return f"No `full` study of {study} on Fashion-MNIST is published yet."


def _trust(runs: Iterable[Sequence[Record]]) -> str:
    """Return what a session on the real data found out about itself: the newest of most pairs."""

    def order(run: Sequence[Record]) -> tuple[int, datetime]:
        return len(good(run, "noise")), run[0].started_at

    for run in sorted(runs, key=order, reverse=True):
        opening = [trust_tables.noise(run), trust_tables.parity(run)]
        if run[0].dataset == "fashion-mnist" and None not in opening:
            return "\n\n".join(render(t, "markdown").rstrip() for t in opening if t is not None)
    return "No session that measured its own noise is published yet."


def _shown(run: Sequence[Record], picture: plots.Picture, folder: str) -> str:
    """Return a picture as Markdown that follows the reader's theme."""
    light, dark = (f"{folder}/{_file_name(run, picture, theme)}" for theme in plots.THEMES)
    return (
        f'<picture>\n<source media="(prefers-color-scheme: dark)" srcset="{dark}">\n'
        f'<img alt="{_attribute(picture.alternative)}" src="{light}">\n</picture>'
    )


def _file_name(run: Sequence[Record], picture: plots.Picture, theme: str) -> str:
    return f"{plots.stem(run, picture.name)}-{theme}.svg"


def _attribute(text: str) -> str:
    """Return text that may stand in an attribute, on one line."""
    return html.escape(" ".join(text.split()))


def _with_block(text: str, path: Path, name: str, block: str) -> str:
    """Return the text with what is between a block's lines replaced."""
    begins, ends = BEGIN.format(name), END.format(name)
    before, begin, rest = text.partition(begins)
    _, end, after = rest.partition(ends)
    if not begin or not end:
        raise PublishError(f"{path} lacks the lines {begins!r} and {ends!r}")
    return f"{before}{begin}\n\n{block}\n\n{end}{after}"
