"""Patience with a host that withholds processor time: when it looks, and when it goes on."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from test_launch import MakePlan, Recorder, fake

from fmnist.session import launch, race
from fmnist.session.patience import Patience, is_much, withheld_now


class Host:
    """A host that withholds these shares in turn; counts the looks."""

    def __init__(self, *shares: float) -> None:
        self.shares = list(shares)
        self.pauses = 0

    def look(self) -> float:
        """Return the next share."""
        return self.shares.pop(0)

    def pause(self) -> None:
        """Let a moment pass."""
        self.pauses += 1

    def patience(self, limit_s: float) -> Patience:
        """Return so much patience with this host."""
        return Patience(limit_s, self.look, self.pause)


def test_waits_until_little_is_withheld() -> None:
    """It looks until no more than a twentieth is withheld, and tells once what it waits for."""
    host, told = Host(0.4, 0.3, 0.05), Recorder()
    host.patience(600).wait(told.waits)

    assert (host.shares, host.pauses) == ([], 2)
    assert [share for share, _ in told.waited] == [0.4]
    assert 599 < told.waited[0][1] <= 600


def test_quiet_host_is_not_waited_for() -> None:
    """Where nothing is withheld, one look is all: nothing is told, and no patience is used."""
    host, told = Host(0.0), Recorder()
    host.patience(600).wait(told.waits)

    assert (host.pauses, told.waited) == (0, [])


def test_patience_ends() -> None:
    """When the patience is used up the session goes on, however much is withheld: no more looks."""
    host, told = Host(*[0.9] * 9), Recorder()
    patience = host.patience(1e-9)
    patience.wait(told.waits)
    patience.wait(told.waits)

    assert (len(host.shares), host.pauses) == (8, 0)


def test_without_patience_nobody_looks() -> None:
    """By default no time goes by: the host is not even looked at."""
    Host().patience(0).wait(Recorder().waits)


@pytest.mark.parametrize(("withheld_s", "much"), [(0.0, False), (0.05, False), (0.06, True)])
def test_a_twentieth_is_much(withheld_s: float, *, much: bool) -> None:
    """Of a second that was wanted, 50 ms are borne and 60 are not; of nothing, nothing is much."""
    assert is_much(1 - withheld_s, withheld_s) is much
    assert not is_much(0.0, 0.0)


def test_look_asks_for_all_processors() -> None:
    """While it looks, this process computes: a host that is asked for nothing withholds nothing."""
    before = psutil.Process().cpu_times().user
    share = withheld_now()

    assert psutil.Process().cpu_times().user > before
    assert 0 <= share <= 1


def test_look_reads_what_was_withheld_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 4 s that were wanted while it looked, 1 s was withheld; what was before does not count."""
    times = iter(
        [
            SimpleNamespace(user=100.0, system=10.0, steal=50.0),
            SimpleNamespace(user=102.0, system=11.0, steal=51.0),
        ]
    )
    monkeypatch.setattr(psutil, "cpu_times", lambda: next(times))

    assert withheld_now() == 0.25


def test_session_waits_before_groups_and_after_disturbed_rounds(
    make_plan: MakePlan, trace: Path, tmp_path: Path
) -> None:
    """It looks before a group, and again before each round until one is not disturbed.

    The worker says so of its epochs; the variants that come after them are undisturbed.
    """
    looks = {}
    for behaviour in ("", "withheld"):
        host, told = Host(*[0.0] * 50), Recorder()
        plan = dataclasses.replace(
            make_plan(rounds=2, time_limit=20, results=str(tmp_path / (behaviour or "quiet"))),
            patience=host.patience(600),
        )
        records = launch.run_group(plan, plan.cells, told, program=fake(trace, f"jax={behaviour}"))
        assert [r.failure for r in records] == [None, None]
        looks[behaviour] = 50 - len(host.shares)

    commands = [order.command for order in launch.orders(plan, plan.cells[0], "train")]
    assert looks[""] == 1
    assert looks["withheld"] == 1 + commands.index("variant")


def test_race_waits_before_each_training(make_plan: MakePlan, trace: Path) -> None:
    """Whoever trains next, the host is looked at before its worker starts."""
    host, told = Host(*[0.0] * 50), Recorder()
    plan = dataclasses.replace(make_plan(models="racer_92"), patience=host.patience(600))
    starts = race.lineup(plan, 2)
    list(race.run_race(plan, starts, told, fake(trace)))

    assert 50 - len(host.shares) == len(starts)
