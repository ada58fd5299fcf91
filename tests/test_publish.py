"""Publishing: made from records alone, found stale when it differs."""

import re
from pathlib import Path

import pytest
from samples import noise, pair, parity

from fmnist import record
from fmnist.report import publish
from fmnist.report.files import replace

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
    for path, text in publish.files(root).items():
        replace(path, text)


def test_publishing_twice_changes_nothing(root: Path) -> None:
    """What was published is not stale, and what surrounds the README's block stays."""
    assert publish.stale(publish.files(root))
    write(root)

    assert publish.stale(publish.files(root)) == []
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
    (page,) = (root / "results" / "machines").iterdir()
    page.write_text(page.read_text().replace("0.500", "0.400"))

    assert publish.stale(publish.files(root)) == [page]


def test_new_record_makes_the_pages_stale(root: Path) -> None:
    """A results file that was added asks for publishing."""
    write(root)
    for made in pair(preset="full", session="later", started_at="2026-11-22T00:00:00Z"):
        record.append(made, root / "results" / "raw" / "later.jsonl")

    stale = {path.relative_to(root).parts[-1] for path in publish.stale(publish.files(root))}
    assert {"README.md", "index.html"} <= stale


def test_each_machine_has_its_page(root: Path) -> None:
    """Another machine's file, dropped into results/raw, is shown with its hardware."""
    other = {"machine": {"cpu": "Difference Engine", "usable_threads": 1, "system": "Brass"}}
    for made in pair(session="theirs", started_at="2026-11-22T00:00:00Z", **other):
        record.append(made, root / "results" / "raw" / "theirs.jsonl")
    published = publish.files(root)

    pages = {p.name for p in published if p.parent.name == "machines"}
    assert pages == {"2-x-abacus-16-0-gib-linux.md", "1-x-difference-engine-0-0-gib-brass.md"}
    index = published[root / "results" / "README.md"]
    assert index.index("Difference Engine") < index.index("Abacus")


def test_kernel_makes_no_new_machine(root: Path) -> None:
    """A machine that was upgraded keeps its page."""
    newer = {"cpu": "Abacus", "usable_threads": 2, "memory_bytes": 2**34, "system": "Linux"}
    for made in pair(session="newer", machine={**newer, "kernel": "99.1"}):
        record.append(made, root / "results" / "raw" / "newer.jsonl")

    assert sum(p.parent.name == "machines" for p in publish.files(root)) == 1


def test_pictures_are_in_both_themes(root: Path) -> None:
    """Each picture is drawn light and dark, and every one that a page shows is there."""
    published = publish.files(root)
    drawn = {p.name for p in published if p.parent.name == "pictures"}

    assert {name.replace("-dark.", "-light.") for name in drawn if "-dark." in name} == {
        name for name in drawn if "-light." in name
    }
    (page,) = (text for path, text in published.items() if path.parent.name == "machines")
    assert set(re.findall(r"\.\./pictures/([^\" ]+)", page)) == drawn
    assert (
        f"results/pictures/{min(drawn).split('-full-')[0]}-full-speed-light.svg"
        in (published[root / "README.md"])
    )


def test_hostile_names_stay_in_their_folder(root: Path) -> None:
    """Names that would lead elsewhere, or be markup, are file names and text."""
    evil = {"cpu": "../../etc/<script>alert(1)</script>", "usable_threads": 2}
    for made in pair(session="..", machine=evil, started_at="2026-11-22T00:00:00Z"):
        record.append(made, root / "results" / "raw" / "evil.jsonl")
    published = publish.files(root)

    assert all(path.resolve().is_relative_to(root.resolve()) for path in published)
    assert {path.parent.resolve() for path in published} == {
        root.resolve(),
        *((root / "results" / name).resolve() for name in ("", "machines", "pictures")),
    }
    markdown = "".join(text for path, text in published.items() if path.suffix == ".md")
    assert "<script" not in markdown


def test_machine_that_left_leaves_no_page(root: Path) -> None:
    """Files of records that are gone are found, so that publishing can remove them."""
    write(root)
    stray = root / "results" / "pictures" / "old-speed-light.svg"
    stray.write_text("<svg/>")

    assert publish.left_over(root, publish.files(root)) == [stray]


def test_damaged_record_is_not_published(root: Path) -> None:
    """A damaged line stops publishing, with its place."""
    with (root / "results" / "raw" / "s.jsonl").open("a") as file:
        file.write("{torn\n")

    with pytest.raises(publish.PublishError, match=r"s\.jsonl, line 3: not JSON"):
        publish.files(root)


def test_readme_without_markers_is_refused(root: Path) -> None:
    """A README that lost its markers is named, not rewritten."""
    (root / "README.md").write_text("# x\n")

    with pytest.raises(publish.PublishError, match=r"README\.md lacks"):
        publish.files(root)


def test_headline_is_the_newest_full_session(root: Path) -> None:
    """A later `quick` session is in the index and does not replace the headline."""
    later = {"session": "later", "started_at": "2026-11-22T00:00:00Z"}
    for made in pair(preset="quick", **later):
        record.append(made, root / "results" / "raw" / "later.jsonl")
    published = publish.files(root)

    (page,) = (text for path, text in published.items() if path.parent.name == "machines")
    assert "session later" in page
    assert "session later" not in published[root / "README.md"]
