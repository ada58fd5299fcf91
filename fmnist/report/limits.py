"""How close to the machine's limit: what training computes by the second, and its share of a peak.

What is computed is what the model is by its mathematics, counted from the shapes of its layers; the
peak is what a worker of the same session measured: see `training.flops`, `training.peaks`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from fmnist import stats
from fmnist.record import Peaks, Record, samples
from fmnist.report.choose import Rows, backends_of
from fmnist.report.columns import Column, on
from fmnist.report.render import NOTHING, Table, digits, joined

GIGA: Final = 1e9

REACHED_TERM: Final = (
    "GFLOP/s: floating-point operations of training, by the time of a steady epoch; they are "
    "counted from the shapes of the layers: 2 for each multiply-accumulate with a weight, forward, "
    "for the gradient of weights and for that of inputs, padding left out"
)
SHARE_TERM: Final = (
    "% of peak: of the fastest product of two square matrices by a worker of the same backend, "
    "device and precision in the same session, right after its training"
)
PEAK_TERM: Final = (
    "each backend by itself, in a worker of its own; matrix product: 2 n³ operations, of the best "
    "n and the best round; triad: a = b + s * a in place, in float32, three arrays read or written"
)

Place = tuple[str, str, str]
"""Backend, device and precision: what a peak is of."""


def peaks_of(records: Iterable[Record]) -> dict[Place, Peaks]:
    """Return the peak of the largest matrix product for each backend, device and precision.

    Args:
        records: of one session.
    """
    found: dict[Place, Peaks] = {}
    for record in records:
        if record.peaks is not None:
            held = found.setdefault(_place(record), record.peaks)
            if record.peaks.matmul_flop_per_s > held.matmul_flop_per_s:
                found[_place(record)] = record.peaks
    return found


def reached_flop_per_s(rows: Rows) -> float | None:
    """Return what a cell's steady epochs compute by the second; None where it was not counted."""
    first = rows[0]
    if first.train_flop_per_image is None:
        return None
    epoch_s = stats.nested_mean(samples(rows)).value
    return first.train_flop_per_image * first.train_images / epoch_s


def share_of_peak(rows: Rows, peaks: Mapping[Place, Peaks]) -> float | None:
    """Return what part of its peak a cell reaches; None where one of the two is not known."""
    reached, peak = reached_flop_per_s(rows), peaks.get(_place(rows[0]))
    return None if reached is None or peak is None else reached / peak.matmul_flop_per_s


def limit_columns(trained: Sequence[Record], peaks: Mapping[Place, Peaks]) -> list[Column]:
    """Return the columns of a speed table that its records have the data for."""

    def reached(rows: Rows) -> str:
        return _shown(reached_flop_per_s(rows), 1 / GIGA)

    def share(rows: Rows) -> str:
        return _shown(share_of_peak(rows, peaks), 100)

    backends = backends_of(r for r in trained if r.train_flop_per_image is not None)
    with_peaks = backends_of(r for r in trained if r.backend in backends and _place(r) in peaks)
    return [
        *[Column(f"{b} GFLOP/s", on(b, reached)) for b in backends],
        *[Column(f"{b} % of peak", on(b, share)) for b in with_peaks],
    ]


def limit_terms(trained: Sequence[Record], peaks: Mapping[Place, Peaks]) -> tuple[str, ...]:
    """Return what these columns show, the peaks, and the layers that could not be counted."""
    uncounted = [
        f"{name} of {r.model}" for r in trained for name, n in r.forward_macs.items() if n is None
    ]
    return (
        *([REACHED_TERM] if any(r.train_flop_per_image is not None for r in trained) else []),
        *([f"{SHARE_TERM}: {'; '.join(shown)}"] if (shown := _peaks(trained, peaks)) else []),
        *([f"not counted: {joined(uncounted)}"] if uncounted else []),
    )


def peaks_table(records: Sequence[Record]) -> Table:
    """Return what was measured of the machine on each backend and device."""
    rows = tuple(
        (
            *place,
            digits(peaks.matmul_flop_per_s / GIGA),
            f"{peaks.matmul_size:,}",
            peaks.matmul_dtype,
            digits(peaks.triad_bytes_per_s / GIGA),
            f"{peaks.triad_array_bytes / 2**20:,.0f}",
        )
        for place, peaks in peaks_of(records).items()
    )
    header = (
        *("backend", "device", "precision", "matrix product [GFLOP/s]", "n", "computed in"),
        *("triad [GB/s]", "each array [MiB]"),
    )
    return Table("The most that each backend reaches here", header, rows, (PEAK_TERM,))


def _place(record: Record) -> Place:
    return record.backend, record.device, record.precision


def _shown(value: float | None, scale: float) -> str:
    return NOTHING if value is None else digits(value * scale)


def _peaks(trained: Sequence[Record], peaks: Mapping[Place, Peaks]) -> list[str]:
    """Return each peak of a table's records in words."""
    places = dict.fromkeys(_place(r) for r in trained)
    return [
        f"{' '.join(place)} {digits(peaks[place].matmul_flop_per_s / GIGA)} GFLOP/s "
        f"(n = {peaks[place].matmul_size:,}, {peaks[place].matmul_dtype})"
        for place in sorted(places, reverse=True)
        if place in peaks
    ]
