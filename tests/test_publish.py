"""Publishing: made from records alone, found stale when it differs."""

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import samples
from samples import noise, pair, parity

from fmnist import record
from fmnist.files import replace
from fmnist.report import publish

BLOCKS = [f"{publish.BEGIN.format(b)}\n{publish.END.format(b)}" for b in publish.BLOCKS]
README = "# x\n\n" + "\n\n".join(BLOCKS) + "\n\nmore\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A project with a README and the records of a `full` session."""
    return project(tmp_path)


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[Path, str]]:
    """Such a project, published, with what was made: to be read, not changed."""
    root = project(tmp_path_factory.mktemp("published"))
    return root, write(root)


def project(root: Path) -> Path:
    """Make a project with a README and the records of a `full` session."""
    (root / "README.md").write_text(README)
    for made in pair(preset="full"):
        record.append(made, root / "results" / "raw" / "s.jsonl")
    return root


def write(root: Path) -> dict[Path, str]:
    """Write every published file; return them all with their text."""
    published = publish.files(root)
    for path, text in published.items():
        replace(path, text)
    return published


def test_publishing_twice_changes_nothing(made_once: tuple[Path, dict[Path, str]]) -> None:
    """What was published is not stale, and what surrounds the README's block stays."""
    root, _ = made_once

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

    readme = publish.files(root)[root / "README.md"]
    first = readme.index("The noise of this session")
    assert first < readme.index("The same work: parity certificate")


def test_edited_table_is_stale(made_once: tuple[Path, dict[Path, str]]) -> None:
    """A figure that was changed by hand is found, and so is a file that is not there."""
    root, published = made_once
    (page,) = (root / "results" / "machines").iterdir()
    kept = page.read_text()
    page.write_text(kept.replace("0.500", "0.400"))
    edited = publish.stale(published)
    page.unlink()
    absent = publish.stale(published)
    page.write_text(kept)

    assert edited == absent == [page]
    assert publish.stale(published) == []


@pytest.mark.parametrize(
    ("old", "new", "stale"),
    [
        (r'width="(\d+)"', lambda m: f'width="{int(m[1]) + 1}"', False),
        (r'width="(\d+)"', lambda m: f'width="{int(m[1]) + 2}"', True),
        (r">([^<>]*\d) s<", lambda m: f">{m[1]}1 s<", True),
        (r'stroke="#([0-9a-f]{5})[0-9a-f]"', lambda m: f'stroke="#{m[1]}7"', True),
        (r' opacity="1"', lambda _: "", True),
        (r' opacity="1"', lambda _: ' opacity="0.5"', True),
        (r"</svg>", lambda _: "", True),
    ],
)
def test_picture_may_differ_by_a_pixel_alone(
    made_once: tuple[Path, dict[Path, str]],
    *,
    old: str,
    new: Callable[[re.Match[str]], str],
    stale: bool,
) -> None:
    """A machine's own fonts make a picture wider by a pixel: no other change is passed over."""
    root, published = made_once
    picture = next(iter((root / "results" / "pictures").glob("*-speed-light.svg")))
    kept = picture.read_text()
    changed, times = re.subn(old, new, kept, count=1)
    picture.write_text(changed)
    found = publish.stale(published)
    picture.write_text(kept)

    assert times == 1
    assert changed != kept
    assert found == ([picture] if stale else [])


def test_new_record_makes_the_pages_stale(made_once: tuple[Path, dict[Path, str]]) -> None:
    """A results file that was added asks for publishing."""
    root, _ = made_once
    added = root / "results" / "raw" / "later.jsonl"
    for made in pair(preset="full", session="later", started_at="2026-11-22T00:00:00Z"):
        record.append(made, added)
    stale = publish.stale(publish.files(root))
    added.unlink()

    assert {"README.md", "index.html"} <= {path.name for path in stale}


def test_each_machine_has_its_page(root: Path) -> None:
    """Another machine's file, dropped into results/raw, is shown with its hardware."""
    other = {"machine": {"cpu": "Difference Engine", "usable_threads": 1, "system": "Brass"}}
    later = {"session": "theirs", "started_at": "2026-11-22T00:00:00Z", "preset": "full"}
    for made in pair(**later, **other):
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


def test_pictures_are_in_both_themes(made_once: tuple[Path, dict[Path, str]]) -> None:
    """Each picture is drawn light and dark, and every one that a page shows is there."""
    root, published = made_once
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
    for made in pair(session="a..b", machine=evil, started_at="2026-11-22T00:00:00Z"):
        record.append(made, root / "results" / "raw" / "evil.jsonl")
    published = publish.files(root)

    assert all(path.resolve().is_relative_to(root.resolve()) for path in published)
    assert {path.parent.resolve() for path in published} == {
        root.resolve(),
        *((root / "results" / name).resolve() for name in ("", "machines", "pictures")),
    }
    markdown = "".join(text for path, text in published.items() if path.suffix == ".md")
    assert "<script" not in markdown


def test_file_that_no_record_makes_is_found(made_once: tuple[Path, dict[Path, str]]) -> None:
    """What is left of records that are gone is found, so that publishing can remove it."""
    root, published = made_once
    stray = root / "results" / "pictures" / "old-speed-light.svg"
    stray.write_text("<svg/>")
    found = publish.left_over(root, published)
    stray.unlink()

    assert found == [stray]
    assert publish.left_over(root, published) == []


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


@pytest.mark.parametrize(
    ("own", "shown"),
    [
        ({"preset": "quick"}, False),
        ({"preset": "full", "backends": 1}, False),
        ({"preset": "full"}, True),
    ],
    ids=["quick", "one-backend", "as-many"],
)
def test_headline_is_a_full_session(root: Path, own: dict[str, Any], *, shown: bool) -> None:
    """A later session has the headline if it is `full` and of as many models and backends."""
    later = {"session": "later", "commit": "later", "started_at": "2026-11-22T00:00:00Z"}
    fields = {name: value for name, value in own.items() if name != "backends"}
    for made in pair(**fields, **later)[: own.get("backends", 2)]:
        record.append(made, root / "results" / "raw" / "later.jsonl")
    published = publish.files(root)

    (page,) = (text for path, text in published.items() if path.parent.name == "machines")
    assert "session later" in page
    assert ("session later" in published[root / "README.md"]) is shown


@pytest.mark.parametrize(
    ("sessions", "published"),
    [
        ({"most": ("dense3 dense_wide", "jax"), "few": ("dense3", "jax")}, "most"),
        ({"both": ("dense3", "jax tensorflow"), "one": ("dense3 dense_wide", "jax")}, "both"),
        ({"old": ("dense3", "jax tensorflow"), "new": ("dense3", "tensorflow jax")}, "new"),
    ],
    ids=["most-models", "both-backends", "newest"],
)
def test_table_of_modes_in_the_readme(
    root: Path, sessions: dict[str, tuple[str, str]], published: str
) -> None:
    """It is of a session of both backends; of these, of that of most models, the newest."""
    absent = publish.files(root)[root / "README.md"]
    for day, (name, (models, backends)) in enumerate(sessions.items(), start=21):
        terms = {"session": name, "commit": name, "started_at": f"2026-11-{day}T00:00:00Z"}
        for cell in itertools.product(models.split(), backends.split(), ("stock", "tuned")):
            own = dict(zip(("model", "backend", "mode"), cell, strict=True))
            made = samples.record(**own, **terms)
            record.append(made, root / "results" / "raw" / f"{name}.jsonl")
    readme = publish.files(root)[root / "README.md"]

    assert "No session in several modes on Fashion-MNIST is published yet." in absent
    assert [name for name in sessions if f"session {name}" in readme] == [published]


def test_race_is_that_of_the_most_entrants(root: Path) -> None:
    """A later race of one entrant with more rows does not replace one of two in the README."""
    entrants = {"two": ("racer_9167", "racer_92"), "one": ("racer_92",)}
    for day, (name, models) in enumerate(entrants.items(), start=21):
        terms = {"session": name, "commit": name, "started_at": f"2026-11-{day}T00:00:00Z"}
        reached = 0.905 if name == "two" else 0.935  # one tier, or four
        for model, seed in itertools.product(models, range(5)):
            own = {"model": model, "seed": seed, "process": seed, "accuracy": reached}
            record.append(samples.race(**own, **terms), root / "results" / "raw" / f"{name}.jsonl")
    readme = publish.files(root)[root / "README.md"]

    assert "session two" in readme
    assert "session one" not in readme
