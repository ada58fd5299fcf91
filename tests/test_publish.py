"""Publishing: made from records alone, found stale when it differs."""

from pathlib import Path

import pytest
from samples import noise, pair, parity

from fmnist import record
from fmnist.report import publish

BLOCKS = [f"{publish.BEGIN.format(b)}\n{publish.END.format(b)}" for b in publish.BLOCKS]
README = "# x\n\n" + "\n\n".join(BLOCKS) + "\n\nmore\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with a README and the records of a `full` session."""
    (tmp_path / "README.md").write_text(README)
    for made in pair(preset="full"):
        record.append(made, tmp_path / "results" / "raw" / "s.jsonl")
    return tmp_path


def write(root: Path) -> None:
    """Write every published file."""
    for path, text in publish.pages(root).items():
        path.write_text(text)


def test_publishing_twice_changes_nothing(root: Path) -> None:
    """What was published is not stale, and what surrounds the README's block stays."""
    assert publish.stale(publish.pages(root))
    write(root)

    assert publish.stale(publish.pages(root)) == []
    readme = (root / "README.md").read_text()
    assert readme.startswith("# x\n")
    assert readme.endswith("\n\nmore\n")
    assert "Speed: seconds per steady epoch" in readme


def test_trust_is_that_of_the_newest_session_that_has_it(root: Path) -> None:
    """The README opens its word on trust with the noise and the certificate of one session."""
    later = {"session": "later", "started_at": "2026-11-22T00:00:00Z"}
    for made in (noise(**later), parity(**later), *pair(**later)):
        record.append(made, root / "results" / "raw" / "later.jsonl")
    write(root)

    readme = (root / "README.md").read_text()
    first = readme.index("The noise of this session")
    assert first < readme.index("The same work: parity certificate")


def test_edited_table_is_stale(root: Path) -> None:
    """A figure that was changed by hand is found."""
    write(root)
    index = root / "results" / "README.md"
    index.write_text(index.read_text().replace("0.500", "0.400"))

    assert publish.stale(publish.pages(root)) == [index]


def test_new_record_makes_the_pages_stale(root: Path) -> None:
    """A results file that was added asks for publishing."""
    write(root)
    for made in pair(preset="full", session="later", started_at="2026-11-22T00:00:00Z"):
        record.append(made, root / "results" / "raw" / "later.jsonl")

    assert len(publish.stale(publish.pages(root))) == 2


def test_damaged_record_is_not_published(root: Path) -> None:
    """A damaged line stops publishing, with its place."""
    with (root / "results" / "raw" / "s.jsonl").open("a") as file:
        file.write("{torn\n")

    with pytest.raises(publish.PublishError, match=r"s\.jsonl, line 3: not JSON"):
        publish.pages(root)


def test_readme_without_markers_is_refused(root: Path) -> None:
    """A README that lost its markers is named, not rewritten."""
    (root / "README.md").write_text("# x\n")

    with pytest.raises(publish.PublishError, match=r"README\.md lacks"):
        publish.pages(root)


def test_headline_is_the_newest_full_session(root: Path) -> None:
    """A later `quick` session is in the index and does not replace the headline."""
    later = {"session": "later", "started_at": "2026-11-22T00:00:00Z"}
    for made in pair(preset="quick", **later):
        record.append(made, root / "results" / "raw" / "later.jsonl")
    published = publish.pages(root)

    assert "session later" in published[root / "results" / "README.md"]
    assert "session later" not in published[root / "README.md"]
