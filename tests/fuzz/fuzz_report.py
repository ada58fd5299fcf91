"""The report: tables, sentences and a page of whatever records can be built, and nothing active.

An input chooses what is changed in sound records, a text into another text and a number into
another number. Records that cannot be built are left out; the others are one session's or several.
"""

import contextlib
import functools
import json
from collections.abc import Iterable, Sequence
from typing import Any

import altair as alt
import samples
from hostile import Choices, Sound
from markdown_it import MarkdownIt

from fmnist.record import Record
from fmnist.report import page, tables
from fmnist.report.anonymous import anonymous
from fmnist.report.choose import assembled
from fmnist.report.export import csv_lines, per_record, rounds
from fmnist.report.headline import headline
from fmnist.report.history import HistoryError, of_one_machine
from fmnist.report.history import tables as tables_of_history
from fmnist.report.pictures import plots
from fmnist.report.render import FORMATS, Table, render
from fmnist.report.terminal import compact


def _undigested(record: Record) -> dict[str, Any]:
    """Return a record's document, without what holds only for it unchanged."""
    document: dict[str, Any] = json.loads(record.to_json())
    del document["digest"]
    return document


SOUND = [
    [Sound.of(_undigested(record)) for record in records]
    for records in (
        samples.pair(**samples.counted()),
        [*samples.pair(), *samples.pair(**samples.CONV)],
        [samples.noise(), samples.parity(), *samples.pair()],
        [samples.race(), samples.race(role="reference"), samples.failed()],
    )
]
MARKDOWN = MarkdownIt("gfm-like", {"linkify": False, "html": True})
ALSO = ("history", "export", "anonymous", *(4 * ["page", "export", "anonymous"]), "pictures")
PICTURES = plots.of_session
SLOWEST_S = 5.0
"""Of processor time: a page with its pictures takes more than a second of any records."""
MARK = "<xss"
"""How every hostile element begins."""

alt.utils.schemapi.disable_debug_mode()  # Altair would hold each picture against its schema
# The same for every page: the bundles, their digests, and no picture drawn beforehand.
page._own = functools.cache(page._own)  # noqa: SLF001
page._templates = functools.cache(page._templates)  # noqa: SLF001
page._still = lambda picture: f"data:,{len(picture.spec)}"  # noqa: SLF001


def one(data: bytes) -> bool:
    """Report on one set of records, if one can be built; tell whether.

    Always the tables in every form and what is said in words; of the rest, which takes longer, what
    the first byte chooses. Raises AssertionError for anything active in what is made.
    """
    choices = Choices(data)
    also = ALSO[choices.below(len(ALSO))]
    records = _records(choices)
    if not records:
        return False
    if also == "anonymous":
        records = anonymous(records)
    runs = assembled(records)
    for run in runs:
        assert all(isinstance(sentence, str) for sentence in headline(run))
        compact(run)
        _check_tables(tables.of_session(run))
    if also == "history":
        with contextlib.suppress(HistoryError):
            _check_tables(tables_of_history(of_one_machine(records, None)))
    if also == "export":
        for export in (rounds(records), per_record(records)):
            assert all(line.count("\n") == 1 for line in csv_lines(export))
    if also in ("page", "pictures"):
        plots.of_session = PICTURES if also == "pictures" else lambda *_: []
        try:
            assert MARK not in page.page(runs).lower()
        finally:
            plots.of_session = PICTURES  # other tests run in this process
    return True


def _check_tables(made: Iterable[Table]) -> None:
    for table in made:
        for form in FORMATS:
            _check(render(table, form), form)


def _records(choices: Choices) -> Sequence[Record]:
    """Return the records that an input stands for."""
    records = []
    for sound in SOUND[choices.below(len(SOUND))]:
        with contextlib.suppress(ValueError, OverflowError):
            records.append(Record.from_json(sound.edited(choices, gently=True)))
    return records


def _check(text: str, form: str) -> None:
    """Raise AssertionError for a table that is more than text."""
    if form == "markdown":
        tokens = [t for token in MARKDOWN.parse(text) for t in (token, *(token.children or []))]
        active = {"image", "link_open", "html_inline", "html_block"}
        assert not active & {token.type for token in tokens}, text
    assert form not in ("html", "markdown") or MARK not in text.lower(), text
    assert all(character.isprintable() for line in text.split("\n") for character in line), text


def corpus() -> dict[str, bytes]:
    """Return inputs to begin with."""
    return {f"edited-{n}": bytes([n % 4, 3, 0, 7 * n, n, 1, 9 * n, n + 5]) for n in range(12)}
