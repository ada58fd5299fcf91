"""What tests share: the real data, and a plan of the smallest size."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fmnist import data
from fmnist.options import OPTIONS
from fmnist.session import plan


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a changed table be taken as the expected one, after a look at it."""
    parser.addoption("--overwrite", action="store_true", help="rewrite tests/expected")


def pytest_configure() -> None:
    """Have the processes that tests start hear SIGINT: a shell ignores it for what it runs in `&`.

    The tests of signals that are ignored say so themselves.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_ignore_collect(config: pytest.Config) -> bool | None:
    """Leave the tests out of a run of benchmarks only."""
    return True if config.getoption("benchmark_only") else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that ask for the real data: to all others it is the same without."""
    for item in items:
        if "real_data" in getattr(item, "fixturenames", ()):
            item.add_marker("real_data")


@pytest.fixture
def real_data() -> Path:
    """The folder of the real data set's four files."""
    folder = os.environ.get("FMNIST_DATA")
    if not folder or folder == data.STAND_IN:
        pytest.skip("set FMNIST_DATA to the folder of the four files")
    return Path(folder)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """The file in which the fake workers write their orders."""
    return tmp_path / "trace"


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    """The options of a session by their defaults, but small, drawn, and in a folder of its own."""
    defaults = {option.name: option.default for option in OPTIONS}
    return defaults | {
        "preset": "smoke",
        "models": "softmax_regression",
        "data_dir": data.STAND_IN,
        "results": str(tmp_path / "results"),
        "order_seed": 0,
    }


@pytest.fixture
def make_plan(options: dict[str, Any], tmp_path: Path) -> Callable[..., plan.Plan]:
    """A function that makes a small plan, with options of the test's own."""

    def make(**own: object) -> plan.Plan:
        return plan.make(options | own, {"PATH": os.environ["PATH"], "KERAS_HOME": str(tmp_path)})

    return make
