"""The published pages: made from committed records alone, so that anyone can make them again."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from fmnist import machine
from fmnist.record import Record, read
from fmnist.report import tables, trust_tables
from fmnist.report.choose import newest_by_row, sessions_of, with_their_trust
from fmnist.report.render import render

BEGIN = "<!-- fmnist publish {}: begin -->"
END = "<!-- fmnist publish {}: end -->"
BLOCKS = ("speed", "trust")
"""What stands between such lines in the README."""


class PublishError(ValueError):
    """Something that stands in the way of publishing; the message says where it is."""


def pages(root: Path) -> dict[Path, str]:
    """Return every published file under the project's root with the text that it should have.

    Raises PublishError for a damaged record or a README without its markers.
    """
    records = committed(root / "results" / "raw")
    sessions = list(reversed(sessions_of(records)))
    readme = root / "README.md"
    text = readme.read_text(encoding="utf-8")
    for name, block in zip(BLOCKS, (_headline(records), _trust(sessions)), strict=True):
        text = _with_block(text, readme, name, block)
    return {root / "results" / "README.md": _index(sessions), readme: text}


def stale(wanted: Mapping[Path, str]) -> list[Path]:
    """Return the published files that differ from what they should be, as from `pages`."""
    return [
        path
        for path, text in wanted.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]


def committed(folder: Path) -> list[Record]:
    """Return the records of all files of a folder. Raises PublishError if a line is damaged."""
    records: list[Record] = []
    for path in sorted(folder.glob("*.jsonl")):
        good, damaged = read(path)
        if damaged:
            raise PublishError("\n".join(map(str, damaged)))
        records += good
    return records


def _index(sessions: Iterable[Sequence[Record]]) -> str:
    parts = [
        "# Results",
        "Made by `fmnist publish` from the records in `raw/`; newest session first. "
        "What is inside the times: [the project's README](../README.md#what-is-timed).",
    ]
    for session in sessions:
        first = session[0]
        parts.append(
            f"## {first.started_at:%Y-%m-%d}, preset {first.preset}, data set {first.dataset}: "
            f"{machine.summary(first.machine)}"
        )
        parts += [render(table, "markdown").rstrip() for table in tables.of_session(session)]
    return "\n\n".join(parts) + "\n"


def _headline(records: Iterable[Record]) -> str:
    """Return the speed table of what is published: `full` runs on the real data, newest first."""
    published = [r for r in records if r.preset == "full" and r.dataset == "fashion-mnist"]
    table = tables.speed(with_their_trust(newest_by_row(published), published))
    if table is None:
        return "No `full` session on Fashion-MNIST is published yet."
    return render(table, "markdown").rstrip()


def _trust(sessions: Iterable[Sequence[Record]]) -> str:
    """Return what the newest session on the real data found out about itself."""
    for session in sessions:
        opening = [trust_tables.noise(session), trust_tables.parity(session)]
        if session[0].dataset == "fashion-mnist" and None not in opening:
            return "\n\n".join(render(t, "markdown").rstrip() for t in opening if t is not None)
    return "No session that measured its own noise is published yet."


def _with_block(text: str, path: Path, name: str, block: str) -> str:
    """Return the text with what is between a block's lines replaced."""
    begins, ends = BEGIN.format(name), END.format(name)
    before, begin, rest = text.partition(begins)
    _, end, after = rest.partition(ends)
    if not begin or not end:
        raise PublishError(f"{path} lacks the lines {begins!r} and {ends!r}")
    return f"{before}{begin}\n\n{block}\n\n{end}{after}"
