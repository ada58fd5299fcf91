"""Links between the files of the project lead somewhere: to a file, and to a heading in it."""

import re
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted(
    path
    for pattern in ("*.md", "docs/*.md", "results/*.md", "results/machines/*.md")
    for path in ROOT.glob(pattern)
)
MARKDOWN = MarkdownIt("commonmark").enable("table")


class Tags(HTMLParser):
    """What the tags in HTML link to, and the places that a link may lead to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:  # noqa: ARG002  # HTMLParser's signature
        """Take note of a tag's links and of its name."""
        for name, value in attrs:
            if name in ("href", "src"):
                self.links.append(value or "")
            elif name == "srcset":
                self.links += [image.split()[0] for image in (value or "").split(",")]
            elif name in ("id", "name"):
                self.anchors.add(value or "")


def tokens(text: str) -> Iterator[Token]:
    """Yield the blocks of Markdown, and after each what is inside it."""
    for block in MARKDOWN.parse(text):
        yield block
        yield from block.children or ()


def html_in(text: str) -> Tags:
    """Return what the HTML in Markdown links to and can be linked by."""
    found = [t.content for t in tokens(text) if t.type in ("html_block", "html_inline")]
    return Tags("\n".join(found))


def links(text: str) -> Iterator[str]:
    """Yield what Markdown links to, its pictures and the HTML in it included."""
    for token in tokens(text):
        target = token.attrGet("href") or token.attrGet("src")
        if target is not None:
            yield str(target)
    yield from html_in(text).links


def anchors(path: Path) -> set[str]:
    """Return the places of a file that a link may lead to; headings as GitHub names them."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".md":
        return Tags(text).anchors
    blocks = MARKDOWN.parse(text)
    headings = [
        "".join(part.content for part in inline.children or ())
        for opening, inline in pairwise(blocks)
        if opening.type == "heading_open"
    ]
    seen: Counter[str] = Counter()
    found = html_in(text).anchors
    for heading in headings:
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
        seen[slug] += 1
    return found


def broken(document: Path, root: Path) -> list[str]:
    """Return what a document links to that is not there; links to the outside are left alone."""
    found = []
    for link in links(document.read_text(encoding="utf-8")):
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (document.parent / unquote(parts.path)).resolve() if parts.path else document
        if not target.is_relative_to(root) or not target.exists():
            found.append(f"{link}: no such file")
        elif parts.fragment and parts.fragment not in anchors(target):
            found.append(f"{link}: no such heading")
    return found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    """Every link to a file of the project finds it, and the heading that it names."""
    assert broken(document, ROOT) == []


def test_broken_links_are_found(tmp_path: Path) -> None:
    """A missing file, heading, picture or theme's picture is named, and so is a way out."""
    there = "# One `code`!\n\n# Twice\n\n# Twice\n"
    (tmp_path / "there.md").write_text(there, encoding="utf-8")
    (tmp_path / "here.md").write_text(
        "[a](there.md#one-code) [b](there.md#twice-1) [c](https://elsewhere.example/x#y)\n"
        "[d](gone.md) [e](there.md#thrice) ![f](gone.png) [g](../../etc/hosts)\n\n"
        '<picture><source srcset="dark.svg 2x"><img src="light.svg"></picture>\n',
        encoding="utf-8",
    )

    assert broken(tmp_path / "here.md", tmp_path) == [
        "gone.md: no such file",
        "there.md#thrice: no such heading",
        "gone.png: no such file",
        "../../etc/hosts: no such file",
        "dark.svg: no such file",
        "light.svg: no such file",
    ]


def test_documents_are_found() -> None:
    """The files that people read first are among those that are checked."""
    found = {str(path.relative_to(ROOT)) for path in DOCUMENTS}

    assert {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "results/README.md"} <= found
    assert {"docs/index.md", "docs/trust.md"} <= found
