"""The page as a file: what it holds, what it leaves out, and that nothing in it runs or asks.

What it does in a browser is tested in tests/browser.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from typing import Any

import pytest
from samples import CONV, certificate, counted, failed, noise, pair, parity, record

from fmnist.record import Record
from fmnist.report.cells import cell_tables
from fmnist.report.choose import sessions_of
from fmnist.report.page import LARGEST_BYTES, page
from fmnist.report.summary import summaries

ATTACK = "<script>alert(1)</script>"


class Document(HTMLParser):
    """A page's tables, scripts, attributes and text; scripts and styles are no text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.path: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.scripts: list[tuple[str, str]] = []
        self.text: list[str] = []
        self.tables: list[list[list[tuple[str, str | None]]]] = []
        self.classes: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        """Note an element's attributes; a table, row or cell begins."""
        given = {name: value or "" for name, value in attrs}
        self.attributes += [(tag, name, value) for name, value in given.items()]
        self.path.append(tag)
        if tag == "script":
            self.scripts.append((given.get("type", ""), ""))
        if tag == "table":
            self.tables.append([])
            self.classes.append(given.get("class", ""))
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("th", "td"):
            self.tables[-1][-1].append(("", given.get("data-order")))

    def handle_data(self, data: str) -> None:
        """Note a piece of text where it belongs."""
        inside = self.path[-1] if self.path else ""
        if inside == "script":
            kind, script = self.scripts[-1]
            self.scripts[-1] = kind, script + data
        elif inside != "style":
            self.text.append(data)
            if inside in ("th", "td"):
                text, order = self.tables[-1][-1][-1]
                self.tables[-1][-1][-1] = text + data.strip(), order

    def handle_endtag(self, tag: str) -> None:
        """Leave an element, and those in it that have no end tag."""
        while self.path and tag in self.path and self.path.pop() != tag:
            pass

    @property
    def words(self) -> str:
        """All text, in one line."""
        return " ".join(" ".join(self.text).split())

    def cells(self) -> Iterator[dict[str, tuple[str, str | None]]]:
        """Yield the rows of the tables of all cells, by the columns' titles."""
        for name, rows in zip(self.classes, self.tables, strict=True):
            if name == "cells":
                titles = [text for text, _ in rows[0]]
                yield from (dict(zip(titles, row, strict=True)) for row in rows[1:])


def session(**own: Any) -> list[Record]:  # noqa: ANN401  # any field of a record
    """Return a session: two models on both backends, one on one, its noise, a certificate."""
    return [
        *(noise(process=process, **own) for process in range(3)),
        parity(**own),
        *pair(**own),
        *pair(**CONV | own),
        record(**CONV | {"model": "leaky_cnn", "epoch_s": (2.0, 2.1, 2.3)} | own),
    ]


@pytest.fixture(scope="module")
def document() -> Document:
    """The page of one session with a failure."""
    return Document(page([[*session(), failed(model="leaky_cnn", family="conv")]]))


def test_every_cell_has_its_row_of_numbers(document: Document) -> None:
    """The table of all cells holds each cell's epoch, interval and ratio to six digits."""
    rows = list(document.cells())
    expected = summaries(session())

    assert len(rows) == len(expected) == 5
    assert "2.12974" in {row["epoch [s]"][1] for row in rows}
    for row, cell in zip(rows, expected, strict=True):
        assert row["model"][0] == cell.cell.model
        assert row["backend"][0] == cell.cell.backend
        assert row["epoch [s]"][1] == f"{cell.epoch.value:.6g}"
        assert row["parameters"] == (f"{cell.parameters.total:,}", str(cell.parameters.total))
        assert row["epoch high [s]"][1] == f"{cell.epoch.high:.6g}"
        assert row["ratio"][1] == (f"{cell.ratio.value:.6g}" if cell.ratio else "")
        assert row["verdict"][0] == (cell.verdict or "-")
        assert row["accuracy [%]"][0] == "75.00"
        assert row["same work"][0] == ("the same" if cell.cell.model == "dense3" else "-")


@pytest.mark.parametrize(
    ("records", "titles"), [(pair(**counted()), ["GFLOP/s", "% of peak"]), (pair(), [])]
)
def test_share_of_the_peak_is_shown_where_it_is_known(
    records: list[Record], titles: list[str]
) -> None:
    """GFLOP/s and % of peak are columns at first sight, unless no record has them."""
    (table,) = cell_tables([records])
    limits = [c for c in table.columns if c.title in ("GFLOP/s", "% of peak")]

    assert [c.title for c in limits if c.shown] == titles
    assert any("fastest product" in term for term in table.terms) == bool(titles)


def test_page_asks_for_nothing(document: Document) -> None:
    """No element names an address outside the page."""
    addresses = [
        value
        for tag, name, value in document.attributes
        if name in ("src", "href", "action", "srcset", "poster", "data") and tag != "meta"
    ]

    assert addresses
    assert all(address.startswith(("#", "data:")) for address in addresses)


def test_policy_allows_these_scripts_and_no_request(document: Document) -> None:
    """The page's policy names the digest of each script in it, and no place to load from."""
    (policy,) = [v for _, name, v in document.attributes if name == "content" and "src" in v]
    running = [script for kind, script in document.scripts if kind != "application/json"]
    digests = {
        base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in running
    }

    assert set(re.findall(r"'sha256-([^']+)'", policy)) == digests
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe-eval" not in policy
    assert "http" not in policy


def test_pictures_carry_their_words(document: Document) -> None:
    """Every picture has its data, and is told in words to who cannot see it."""
    images = [value for tag, name, value in document.attributes if (tag, name) == ("img", "alt")]
    specs = [json.loads(script) for kind, script in document.scripts if "json" in kind]

    assert images
    assert all(len(words) > 40 for words in images)
    assert sum("$schema" in spec for spec in specs) == len(images)


def test_failures_are_shown_with_their_reasons(document: Document) -> None:
    """A failed cell is on the page with the reason why."""
    assert "leaky_cnn-tensorflow-cpu-stock-b100-float32" in document.words
    assert "killed by SIGKILL" in document.words


def test_every_table_has_its_terms(document: Document) -> None:
    """Under each table of numbers stand data set, preset, machine, versions and session."""
    tables = len(document.tables) - 1  # all but the failures

    assert document.words.count("keras 3.15.1") >= tables - 1
    assert document.words.count("20261121-000000-test") >= tables
    assert document.words.count("Abacus") >= tables


def test_same_records_make_the_same_page() -> None:
    """The order in which sessions are given does not change a byte."""
    sessions = [session(session="a"), session(session="b", started_at="2026-11-22T00:00:00Z")]

    assert page(sessions) == page(sessions[::-1])


def test_page_opens_with_what_tells_most() -> None:
    """A full session on the real data comes before newer ones that tell less."""
    later = {"started_at": "2026-11-23T00:00:00Z"}
    document = Document(
        page(
            [
                session(session="smaller", **later),
                session(session="whole", preset="full"),
                session(session="drawn", preset="full", dataset="stand-in", **later),
            ]
        )
    )
    sections = [v for tag, name, v in document.attributes if (tag, name) == ("details", "id")]

    assert [section.split("-")[1] for section in sections] == ["whole", "smaller", "drawn"]


def test_machines_are_compared_by_their_fullest_sessions() -> None:
    """Beside another machine stands the session of most models, not a newer one of fewer."""
    abacus, quipu = (
        {"cpu": cpu, "usable_threads": 2, "memory_bytes": 2**34, "system": "Linux"}
        for cpu in ("Abacus", "Quipu")
    )
    sessions = [
        pair(session="few", machine=abacus, started_at="2026-11-23T00:00:00Z"),
        session(session="most", machine=abacus),
        pair(session="other", machine=quipu),
    ]
    words = Document(page(sessions)).words

    assert re.findall(r"Of each machine the session.*?; session ([\w/]+)", words, re.DOTALL) == [
        "most/other"
    ]


def test_stand_in_never_shares_a_table_and_is_named() -> None:
    """Cells of the stand-in stand in a table of their own, under a notice."""
    both = [*pair(dataset="stand-in"), *pair(preset="full")]
    document = Document(page(sessions_of(both)))
    shared = [row["preset"][0] for row in document.cells()]
    captions = re.findall(r"(\d+) cells measured on ([a-z-]+)", document.words)

    assert captions == [("2", "fashion-mnist"), ("2", "stand-in")]
    assert shared == ["full", "full", "quick", "quick"]
    assert "Drawn stand-in data, not Fashion-MNIST." in document.words


def test_hostile_texts_are_shown_and_shortened() -> None:
    """Markup in names is text, 10 MB are not shown, and what cannot be seen is escaped."""
    model = f"{ATTACK}</script><!--\u2028"
    long = "x" * 10_000_000 + "\x00"
    machine = {"cpu": f'"><img src=x onerror=alert(1)>{long}', "usable_threads": 1}
    records = [
        *pair(model=model, machine=machine, versions={"keras": long}),
        failed(model="y", machine=machine, commit=long),
        record(model="y", task="startup", failure=f"\x1b[2J\u202e{long}"),
    ]
    html = page([records])
    document = Document(html)
    shown = [row["model"][0] for row in document.cells()]
    scripts = [s for kind, s in document.scripts if "json" not in kind]

    assert len(html.encode()) < LARGEST_BYTES
    assert len(scripts) == 5
    assert shown == [f"{ATTACK}</script><!--"] * 2
    assert "<img src=x" not in html
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u2028\u2029\u202a-\u202e]", document.words)
    assert "\\x1b[2J\\u202exxx" in document.words


def test_large_sets_leave_out_details_and_say_so() -> None:
    """However much there is, a page stays below 3 MB, has every cell, and says what it lacks."""
    sessions = [
        [
            *pair(session=name),
            *(failed(session=name, process=i, model="?" * 200) for i in range(2_000)),
        ]
        for name in ("a", "b", "c", "d")
    ]
    html = page(sessions)
    document = Document(html)

    assert len(html.encode()) <= LARGEST_BYTES
    assert {row["session"][0] for row in document.cells()} == {"a", "b", "c", "d"}
    assert document.words.count("a page holds no more than 3 MB") in (1, 2, 3)


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([], "There are no records."),
        ([failed()], "killed by SIGKILL"),
        ([record()], "tensorflow"),
        ([record(preset="smoke")], "Preset smoke: the figures mean nothing."),
    ],
)
def test_little_is_a_page_too(records: list[Record], said: str) -> None:
    """No record, only failures, one backend, a smoke run: a page that says so."""
    assert said in Document(page([records])).words


def test_doubt_stands_in_the_row_of_its_cell() -> None:
    """A cell that reached a new level, and work that differs, are said in their own columns."""
    jump = {"epoch_s": (1.0,) * 10 + (3.0,) * 10}
    apart = certificate(differences={"outputs": 1e-2, "first_loss": 2e-7})
    doubted = [record(**jump), record(**jump, backend="jax"), parity(parity=apart)]
    sound = [*pair(session="sound"), parity(session="sound")]
    rows = list(Document(page([doubted, sound])).cells())

    told = {(row["steady"][0], row["same work"][0]) for row in rows}
    assert told == {("no: process 0", "DIFFERS"), ("not tested", "the same")}
