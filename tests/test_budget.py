"""The budget: when another process is run, and when it is enough."""

import math

from samples import failed, record

from fmnist.record import Record
from fmnist.session.budget import Budget, Share, precision


def processes(*epochs: float) -> list[Record]:
    """Return the records of one cell, a process for each level."""
    return [record(process=i, epoch_s=(s, s, s)) for i, s in enumerate(epochs)]


def test_precision_is_half_the_widest_interval() -> None:
    """Equal processes are precise, one that differs by 10 % is felt, one round says nothing."""
    assert precision(processes(2.0, 2.0, 2.0)) == 0
    assert precision(processes(2.0, 2.0, 2.2)) > 0.1
    assert math.isinf(precision([record(epoch_s=(2.0,))]))


def test_failed_cells_do_not_ask_for_more() -> None:
    """A cell that failed has no interval to be narrowed."""
    assert precision([*processes(2.0, 2.0, 2.0), failed()]) == 0


def test_first_process_is_always_allowed() -> None:
    """Before anything was measured nothing is known of its precision: a process of each is run."""
    assert Share(0.0, target=0.02).allows_another([])


def test_narrow_enough_is_enough() -> None:
    """With time left, a third process is run; with three that agree, no fourth."""
    share = Share(3_600, target=0.02)

    assert share.allows_another(processes(2.0, 2.0))
    assert not share.allows_another(processes(2.0, 2.0, 2.0))
    assert share.allows_another(processes(2.0, 2.5, 2.0))


def test_used_up_share_allows_nothing() -> None:
    """Without time left nothing more is run, however wide the interval."""
    assert not Share(0.0, target=0.02).allows_another(processes(2.0, 3.0))


def test_what_a_group_leaves_the_others_have() -> None:
    """The second of two groups may use what the first left: more than half of the whole."""
    budget = Budget(1_000, target=0.02, groups=2)
    first = budget.next_share()
    second = budget.next_share()

    assert 400 < first.left_s <= 500
    assert second.left_s > 900
