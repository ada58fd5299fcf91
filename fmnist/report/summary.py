"""One summary per cell of a session, in numbers: what pages, pictures and exports are made of.

The tables show the same as text.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from statistics import fmean

from fmnist import machine, stats
from fmnist.grid import Cell
from fmnist.record import EpochResult, Parameters, Record, samples
from fmnist.report import trust
from fmnist.report.choose import Rows, backends_of, good
from fmnist.report.columns import of_backend, parameters, pooled_estimate, rows_of
from fmnist.report.judge import judged
from fmnist.report.limits import peaks_of, reached_flop_per_s, share_of_peak
from fmnist.stats import Estimate, Verdict


@dataclass(frozen=True)
class Summary:
    """What a session measured of one cell, all processes together, and how it compares.

    Attributes:
        records: its training records, process by process; at least one.
        epoch: seconds of a steady epoch.
        against: the backend that the ratio is to; None for that backend's own cells, and where it
            did not run beside this cell.
        ratio: this cell's time by that of `against`, of epochs run in turn.
        verdict: on the ratio; None where the session did not measure its own noise.
        unequal: whether the backends were seen NOT to do the same work.
        share_of_peak: of the session's largest matrix product on the cell's backend, device and
            precision, the part that training reaches; None where one of them was not measured.
    """

    records: tuple[Record, ...]
    epoch: Estimate
    against: str | None
    ratio: Estimate | None
    verdict: Verdict | None
    unequal: bool
    share_of_peak: float | None

    @property
    def cell(self) -> Cell:
        """The cell."""
        return self.records[0].cell

    @property
    def first(self) -> Record:
        """The record of the cell's first process: it stands for the terms of all."""
        return self.records[0]

    @property
    def machine(self) -> str:
        """The machine in one line."""
        return machine.summary(self.first.machine)

    @property
    def parameters(self) -> Parameters:
        """The model's parameters by kind."""
        return parameters(self.records)

    @property
    def accuracy(self) -> float:
        """Test accuracy after the last epoch, in [0, 1], the mean over processes."""
        return fmean(r.accuracy or 0.0 for r in self.records)

    @property
    def history(self) -> tuple[EpochResult, ...]:
        """What each epoch of the first process achieved, the one with compilation first."""
        return self.first.history

    @property
    def seconds_of_epochs(self) -> tuple[float, ...]:
        """The seconds of each of `history`'s epochs."""
        return (self.first.first_epoch_s or 0.0, *self.first.epoch_s)

    @property
    def images_per_s(self) -> float:
        """Training images by the second, in a steady epoch."""
        return self.first.train_images / self.epoch.value

    @property
    def flop_per_s(self) -> float | None:
        """Floating-point operations of training by the second; None where not counted."""
        return reached_flop_per_s(self.records)

    @cached_property
    def predict_images_per_s(self) -> Estimate | None:
        """Images by the second of `predict`; None where it was not timed."""
        if not all(r.predict_s for r in self.records):
            return None
        return pooled_estimate(self.records, lambda r: [r.test_images / s for s in r.predict_s])

    @cached_property
    def latency_s(self) -> Estimate | None:
        """Seconds of predicting a single image; None where it was not timed."""
        if not all(r.latency_s for r in self.records):
            return None
        return pooled_estimate(self.records, lambda r: r.latency_s)

    @cached_property
    def unsteady(self) -> tuple[int, ...]:
        """The processes whose rounds do not keep one level, by the changepoint test."""
        found = {r.process: stats.changepoint(r.epoch_s) for r in self.records}
        return tuple(p for p, steadiness in found.items() if steadiness.changed_at is not None)


def summaries(records: Sequence[Record], against: str | None = None) -> list[Summary]:
    """Return a summary of each trained cell, models by their parameters, backends in order.

    Args:
        records: of one session, as from `choose.sessions_of`.
        against: the backend in the denominator of the ratios; default: that of the first column.
    """
    trained = good(records, "train")
    rows, backends = rows_of(trained), backends_of(trained)
    base = against or next(iter(backends), None)
    beside = {
        backend: judged(rows, _on(backend), _on(base), records)
        for backend in backends
        if base is not None and backend != base
    }
    unequal, peaks = trust.unequal(records), peaks_of(records)
    return [
        Summary(
            records=tuple(of_cell),
            epoch=stats.nested_mean(samples(of_cell)),
            against=base if found else None,
            ratio=found.ratio if found else None,
            verdict=found.verdict if found else None,
            unequal=(of_cell[0].model, of_cell[0].device) in unequal,
            share_of_peak=share_of_peak(of_cell, peaks),
        )
        for row in rows
        for backend in backends_of(row)
        for of_cell in [of_backend(row, backend)]
        for found in [beside.get(backend, {}).get(id(row))]
    ]


def _on(backend: str) -> Callable[[Rows], Rows]:
    return partial(of_backend, backend=backend)
