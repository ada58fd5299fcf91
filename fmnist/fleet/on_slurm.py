"""A partition of Slurm as a fleet: job arrays by submitit, a node of its own for each unit.

What a unit leaves comes back through a folder that all nodes share.
"""

import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from fmnist.fleet.apart import carry_out_apart
from fmnist.fleet.collect import FleetError, FleetStoppedError
from fmnist.fleet.unit import Outcome, Unit
from fmnist.session.plan import Plan

INSTALL = 'pip install "fmnist[slurm]"'
LARGEST_ARRAY = 1_000
"""Jobs of an array: Slurm takes so many if it is not told otherwise."""
RETRIES = 3
"""How often a unit is submitted again whose job left nothing, as when its node died."""
BETWEEN_LOOKS_S = 1.0
IN_TIME = ("TIMEOUT", "CANCELLED")
"""States of a job that would not end otherwise if it were submitted again."""


def slurm(planned: Plan, partition: str, accelerator: str | None) -> "OnSlurm":
    """Return a partition as a fleet for the plan's units. Raises FleetError if it cannot be had."""
    try:
        import submitit
    except ImportError as error:
        raise FleetError(f"--slurm needs submitit: {INSTALL}") from error
    folder = planned.options_path.with_name("slurm")
    try:
        executor = submitit.SlurmExecutor(folder=folder)
    except RuntimeError as error:
        raise FleetError(
            f"--slurm {partition}: this machine has no Slurm ({error}): run it on a login node"
        ) from error
    devices = {cell.device for cell in planned.cells}
    gpu = f"gpu:{accelerator}:1" if accelerator else "gpu:1"
    executor.update_parameters(
        job_name=f"fmnist-{planned.session}",
        partition=partition,
        exclusive=True,
        time=_minutes(planned),
        # By srun, a step of one task would be bound to one processor of the node.
        use_srun=False,
        **({"gres": gpu} if "gpu" in devices else {}),
    )
    return OnSlurm(executor)


def _minutes(planned: Plan) -> int:
    """Return how long the largest unit may take, if each of its workers uses its time up."""
    largest = max(len(group) for group in planned.groups)
    return 1 + round(largest * planned.processes * planned.time_limit_s / 60)


class OnSlurm:
    """Units as jobs of a submitit executor, whatever that submits to."""

    def __init__(self, executor: Any) -> None:  # noqa: ANN401  # submitit is an extra
        self._executor = executor
        self._out: dict[Any, tuple[Unit, int]] = {}

    def outcomes(self, units: Iterable[Unit]) -> Iterator[tuple[Unit, Outcome]]:
        """Yield every unit with its outcome, array by array."""
        waiting = iter(units)
        while array := list(islice(waiting, LARGEST_ARRAY)):
            self._submit([(unit, 0) for unit in array])
            while self._out:
                ended = [job for job in self._out if job.done()]
                lost = []
                for job in ended:
                    unit, times = self._out.pop(job)
                    outcome = _outcome_of(job)
                    if outcome is None and times < RETRIES and job.state not in IN_TIME:
                        lost.append((unit, times + 1))
                    else:
                        yield unit, outcome or Outcome(refusal=_how_lost(job, times))
                self._submit(lost)
                if not ended:
                    time.sleep(BETWEEN_LOOKS_S)

    def close(self) -> None:
        """Cancel the jobs that are still out."""
        for job in self._out:
            job.cancel(check=False)

    def _submit(self, units: list[tuple[Unit, int]]) -> None:
        """Submit units as one array."""
        if units:
            texts = [unit.model_dump_json() for unit, _ in units]
            flags = [unit.flags for unit, _ in units]
            assigned = [unit.assigned for unit, _ in units]
            try:
                jobs = self._executor.map_array(carry_out_apart, texts, flags, assigned)
            except RuntimeError as error:  # what submitit makes of a refusal
                reason = f"no job could be submitted: {_last_line(error)}"
                raise FleetStoppedError(reason) from error
            self._out.update(zip(jobs, units, strict=True))


def _outcome_of(job: Any) -> Outcome | None:  # noqa: ANN401
    """Return what a job that has ended left; None for one that left nothing."""
    from submitit.core.utils import FailedJobError, UncompletedJobError

    try:
        host, told = job.result()
    except FailedJobError as error:
        return Outcome(refusal=_last_line(error))
    except UncompletedJobError:
        return None
    outcome = Outcome.model_validate_json(told)
    return outcome.model_copy(update={"node": host, "place": host})


def _how_lost(job: Any, times: int) -> str:  # noqa: ANN401
    """Return why a unit is given up whose last job left nothing."""
    again = f", as did {times} before it" if times else ""
    return (
        f"its job ended in state {job.state} and left nothing{again}; its log: {job.paths.stderr}"
    )


def _last_line(error: Exception) -> str:
    """Return the line of a job's traceback that tells the error."""
    lines = [line for line in str(error).splitlines() if line and not line.startswith((" ", "-"))]
    return next((line for line in lines if "Error" in line and "trace:" not in line), lines[0])
