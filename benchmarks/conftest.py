"""Puts the suite's engine under pytest: its cells as parameters, its tables last.

The engine trains a group of cells the first time that one of its tests asks, the cells taking
turns; each test then replays the seconds that its own worker measured on pytest-benchmark's clock.
So pytest-benchmark's table, JSON and comparison hold measured rounds, and one training serves
every test of its cell.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from engine import KINDS, Engine, Replay, Replayed, cell_of
from pytest_benchmark.fixture import BenchmarkFixture

from fmnist.cli.session import announcement
from fmnist.grid import Cell
from fmnist.options import OPTIONS
from fmnist.record import Record
from fmnist.report import tables
from fmnist.report.choose import sessions_of
from fmnist.report.render import render
from fmnist.session import plan, scaling

ENGINE: pytest.StashKey[Engine] = pytest.StashKey()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Check the whole plan before anything is collected. Raises UsageError for bad input."""
    config = session.config
    if not config.getoption("benchmark_only"):
        return
    try:
        planned = plan.make({o.name: config.getoption(o.flag) for o in OPTIONS})
        scaling.groups(planned)  # replicas that cannot be are found here, too
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[ENGINE] = Engine(planned, config)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say under which terms the session runs, or how to run one."""
    engine = config.stash.get(ENGINE, None)
    if engine is None:
        return ["fmnist: benchmarks are left out; --benchmark-only runs them"]
    return announcement(engine.plan)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the benchmarks out of a run that did not ask for them."""
    is_benchmark = collection_path.name.startswith("bench_")
    return True if is_benchmark and ENGINE not in config.stash else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give every benchmark the cells of its fixture, in the plan's order."""
    if "way" in metafunc.fixturenames:
        engine, group = metafunc.config.stash[ENGINE], metafunc.module.GROUP
        here = pytest.mark.benchmark(group=group)
        elsewhere = pytest.mark.benchmark(group=group, timer=engine.clock)
        backends = dict.fromkeys(cell.backend for cell in engine.plan.cells)
        ways = dict.fromkeys(metafunc.module.HERE, here) | dict.fromkeys(backends, elsewhere)
        metafunc.parametrize("way", [pytest.param(w, marks=mark) for w, mark in ways.items()])
    if "cell" in metafunc.fixturenames:
        planned = metafunc.config.stash[ENGINE].plan
        fixture = next(name for name in KINDS if name in metafunc.fixturenames)
        cells = KINDS[fixture].cells(planned)
        metafunc.parametrize("cell", cells, ids=[cell.id for cell in cells])


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Set the clock and the group of each benchmark; noise first, then model by model."""
    engine = config.stash.get(ENGINE, None)
    if engine is None:
        return
    models = list(dict.fromkeys(cell.model for cell in engine.plan.cells))
    cells = {item: cell for item in items if (cell := cell_of(item)) is not None}

    def place(item: pytest.Item) -> tuple[bool, int]:
        return "noise" not in item.fixturenames, models.index(cells[item].model)  # type: ignore[attr-defined]  # functions have them

    without = [item for item in items if item not in cells and "way" in item.fixturenames]  # type: ignore[attr-defined]  # functions have them
    items[:] = [*sorted(cells, key=place), *without]
    for item, cell in cells.items():
        name = getattr(item, "originalname", item.name).removeprefix("test_").replace("_", " ")
        item.add_marker(pytest.mark.benchmark(timer=engine.clock, group=f"{name}: {cell.model}"))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Tell the engine what was asked for, once -k and -m have had their say."""
    engine = session.config.stash.get(ENGINE, None)
    if engine is not None:
        engine.expect(session.items)


@pytest.fixture
def engine(request: pytest.FixtureRequest) -> Engine:
    """The session's engine."""
    return request.config.stash[ENGINE]


@pytest.fixture
def trained(cell: Cell, engine: Engine) -> list[Record]:
    """The cell's training records, one for each process."""
    return engine.records_for("trained", cell)


@pytest.fixture
def tuned(trained: list[Record]) -> list[Record]:
    """The training records of a cell whose model is run in several modes."""
    return trained


@pytest.fixture
def started(cell: Cell, engine: Engine) -> list[Record]:
    """The records of the cell's starts in fresh processes."""
    return engine.records_for("started", cell)


@pytest.fixture
def beside_plain(cell: Cell, engine: Engine) -> list[Record]:
    """The record of the cell in turn with a plain Keras script."""
    return engine.records_for("beside_plain", cell)


@pytest.fixture
def noise(cell: Cell, engine: Engine) -> list[Record]:
    """The records of the session's noise cell run against itself."""
    return engine.records_for("noise", cell)


@pytest.fixture
def broken_down(cell: Cell, engine: Engine) -> list[Record]:
    """The record of the cell's epoch taken apart."""
    return engine.records_for("broken_down", cell)


@pytest.fixture
def scaled(cell: Cell, engine: Engine) -> list[Record]:
    """The records of a cell on one device or several, one for each process."""
    return engine.records_for("scaled", cell)


@pytest.fixture
def raced(cell: Cell, engine: Engine) -> list[Record]:
    """The records of an entrant's trainings in the race, one for each seed."""
    return engine.records_for("raced", cell)


@pytest.fixture
def learned(cell: Cell, engine: Engine) -> list[Record]:
    """The records of a cell's trainings by its model's recipe, one for each seed."""
    return engine.records_for("learned", cell)


@pytest.fixture
def parity(cell: Cell, engine: Engine) -> list[Record]:
    """The parity records of the cell's model, one for each seed."""
    return engine.records_for("parity", cell)


@pytest.fixture
def replayed(benchmark: BenchmarkFixture, engine: Engine) -> Replayed:
    """A function that has pytest-benchmark read seconds off a clock that is told them."""

    def play(seconds: Sequence[float]) -> None:
        coming = iter(seconds)
        benchmark.pedantic(  # type: ignore[no-untyped-call]  # it publishes none
            lambda: engine.clock.advance(next(coming)),
            setup=engine.clock.reset,
            rounds=len(seconds),
        )

    return play


@pytest.fixture
def replay(benchmark: BenchmarkFixture, replayed: Replayed) -> Replay:
    """A function that hands measured seconds and their records to pytest-benchmark.

    The records are on the disk already; a failed one fails the test with its reason.
    """

    def play(seconds: Sequence[float], records: Sequence[Record]) -> None:
        for record in records:
            if record.failure is not None:
                pytest.fail(f"{record.cell.id}: {record.failure}", pytrace=False)
        benchmark.extra_info.update(extra_info(records[0]))
        replayed(seconds)

    return play


def extra_info(record: Record) -> dict[str, Any]:
    """Return what pytest-benchmark's JSON carries beside the seconds: the record's terms."""
    left_out = {
        *("epoch_s", "beside_s", "processor_s", "withheld_s", "predict_s", "latency_s"),
        "machine",
    }
    return record.model_dump(mode="json", by_alias=True, exclude=left_out)


def pytest_benchmark_update_machine_info(
    config: pytest.Config, machine_info: dict[str, Any]
) -> None:
    """Add the suite's own machine facts to pytest-benchmark's, and leave out the host's name."""
    machine_info.pop("node", None)
    engine = config.stash.get(ENGINE, None)
    if engine is not None:
        machine_info["fmnist"] = dict(engine.plan.machine)


@pytest.hookimpl(wrapper=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> Iterator[None]:
    """Print the suite's tables after pytest-benchmark's own."""
    yield
    engine = config.stash.get(ENGINE, None)
    if engine is None or not engine.records:
        return
    terminalreporter.section("fmnist")
    for session in sessions_of(engine.records):
        for table in tables.of_session(session):
            terminalreporter.write_line(render(table, "text"))
    terminalreporter.write_line(f"records: {engine.plan.records_path}")
