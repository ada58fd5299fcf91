"""Long sessions: the process that leads them stays as it was, and leaves no worker."""

from pathlib import Path

import pytest
from sessions import Site, counted
from soak import CELLS, MODELS, MOST_GROWTH, MOST_MORE_FILES, options, soak


@pytest.mark.slow
def test_long_session_does_not_grow(tmp_path: Path) -> None:
    """In 306 cells the parent's memory and open files stay flat, and no worker outlives it.

    Whether it slows down is judged by `python tests/faults/soak.py`: no test is of a time.
    """
    site = Site(tmp_path, tmp_path / "results", options=options(MODELS))
    watched = soak(site, site.command())

    assert watched.status == 0
    trained = [key for key in counted(site.records()) if key.startswith("train ")]
    assert len(trained) == len(watched.rss_bytes) == CELLS >= 300
    assert watched.growth < MOST_GROWTH
    assert watched.more_files < MOST_MORE_FILES
    assert watched.left() == []
    assert site.workers() == []
    assert site.left_over() == set()
