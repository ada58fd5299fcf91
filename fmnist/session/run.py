"""A whole session: first what it finds out about itself, then every group of its cells."""

from collections.abc import Iterator

from fmnist.record import Record
from fmnist.session.budget import Budget
from fmnist.session.launch import Observer, Program, run_processes, run_startups
from fmnist.session.plan import Plan
from fmnist.session.scaling import run_scaling
from fmnist.session.selfcheck import run_breakdown, run_noise, run_parity


def run_session(plan: Plan, observer: Observer, program: Program = None) -> Iterator[Record]:
    """Run all that the plan holds; yield each record once it is on the disk."""
    with plan.begun():
        yield from run_noise(plan, observer, program)
        budget = budget_of(plan, len(plan.groups))
        for group in plan.groups:
            share = budget.next_share() if budget else None
            yield from run_processes(plan, group, observer, share, program)
            yield from run_startups(plan, group, observer, program)
            yield from run_parity(plan, group, observer, program)
            for cell in group:
                if cell in plan.breakdown_cells:
                    yield run_breakdown(plan, cell, observer, program)
        yield from run_scaling(plan, observer, program)


def budget_of(plan: Plan, groups: int) -> Budget | None:
    """Return the budget for the training of so many groups, used up from the first share on."""
    if plan.budget_s is None:
        return None
    return Budget(plan.budget_s, plan.precision_target, groups)
