"""The tables that say how far to trust a session, and where its times come from."""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from fmnist import stats
from fmnist.grid import BREAKDOWN_STEPS, NOISE_STEPS, SPIKES
from fmnist.record import Record, by_cell, samples
from fmnist.report import trust
from fmnist.report.choose import Rows, backends_of, good
from fmnist.report.columns import Column, filled, of_backend, on, place_columns, rows_of
from fmnist.report.render import NOTHING, Table, above_one, digits, joined, with_interval
from fmnist.report.terms import machine_terms, terms_of
from fmnist.stats import Estimate

PAIRS_FOR_TRIALS = 20
TRIAL_PAIRS = 5
TRIAL_ALPHA = 0.01

WHOLE: Mapping[str, int] = {"epoch": 1}
PARTS: Mapping[str, Mapping[str, int]] = {
    "device work": {"epoch": 1, "no_work": -1},
    "input": {"no_work": 1, "no_input": -1},
    "metrics": {"no_input": 1, "no_metrics": -1},
    "dispatch": {"no_metrics": 2, "half": -2},
    "epoch boundary": {"half": 2, "no_metrics": -1},
}
"""What an epoch is made of, each part as a sum of variants; together they are the whole."""

BREAKDOWN_TERM = (
    "each part is what disappears when it is taken away, rounds run in turn; what a backend does "
    "at the same time as something else counts for neither. Device work: a model that computes "
    "nearly nothing takes the model's place; input: images of one pixel instead of whole ones; "
    "metrics: none; dispatch: what half as many steps halve of the rest, the start of each step; "
    "epoch boundary: what they do not halve. A per-batch callback: what one that does nothing "
    "would add; the suite has none. The suite's fence: what it takes with nothing to wait for, all "
    "that the suite adds to an epoch's time"
)


def noise(records: Sequence[Record]) -> Table | None:
    """Return what the session measured of itself: a cell against itself, and known extra work."""
    found = trust.noise_of(records)
    if found is None:
        return None
    rows = [
        ("the same again (A/A)", "0", above_one(found.again), _again(found.again)),
        *(
            (
                f"{percent} % more steps",
                f"{100 * (trust.expected_ratio(name) - 1):+.2f}",
                above_one(found.spikes[name]),
                _spike(found.spikes[name]),
            )
            for name, percent in SPIKES.items()
            if name in found.spikes
        ),
    ]
    pairs = good(records, "noise")
    sees = (
        "unknown (one pair of processes)"
        if found.smallest_effect is None
        else f"{100 * found.smallest_effect:.2g} %"
    )
    terms = (
        f"`{joined(cell.id for cell in found.cells)}` against itself, in {len(pairs)} pairs of "
        f"processes of {joined(len(r.epoch_s) for r in pairs)} epochs each, of {NOISE_STEPS} "
        "steps, in turn; the interval is over pairs of processes",
        f"the smallest difference that this finds 19 times in 20: {sees}",
        *_spread_terms(found),
        *_trial_terms(pairs, found),
        "no verdict of this session calls anything faster or slower that the A/A interval reaches",
        f"median product of two 1,024 x 1,024 matrices by NumPy: {_reference_ms(pairs)} ms",
        *terms_of(pairs),
    )
    header = ("what was run", "longer by [%]", "measured [%]", "found")
    return Table("The noise of this session", header, tuple(rows), terms)


def _spread_terms(found: trust.Noise) -> tuple[str, ...]:
    """Return how much the A/A ratio varies over pairs, in turn and not; nothing for one pair."""
    if found.spread_in_turn is None or found.spread_apart is None:
        return ()
    return (
        f"coefficient of variation of the A/A ratio over pairs of processes: "
        f"{100 * found.spread_in_turn:.2g} % as they ran, in turn; "
        f"{100 * found.spread_apart:.2g} % where each is held against the twin of the next pair, "
        f"not in turn",
    )


def _trial_terms(pairs: Sequence[Record], found: trust.Noise) -> tuple[str, ...]:
    """Return what smaller sessions, drawn from one of many pairs, would have said."""
    if len(pairs) < PAIRS_FOR_TRIALS:
        return ()
    shares = ", ".join(
        f"{percent} % in {100 * trust.found_share(pairs, name, TRIAL_PAIRS):.0f} %"
        for name, percent in SPIKES.items()
        if name in found.spikes
    )
    return (
        f"false verdicts at a nominal 1 %, each A/A pair taken as a session of its own: "
        f"{trust.false_verdicts(pairs, TRIAL_ALPHA)} of {len(pairs)}",
        f"extra steps found in sessions of {2 * TRIAL_PAIRS} processes, 1,000 of them drawn from "
        f"these pairs: {shares}",
    )


def _again(ratio: Estimate) -> str:
    """Return what an A/A ratio says; a difference here is one of no cause."""
    if ratio.low is None or ratio.high is None:
        return "cannot tell"
    return "no difference" if ratio.low <= 1 <= ratio.high else "A DIFFERENCE WITHOUT A CAUSE"


def _spike(ratio: Estimate) -> str:
    return "yes" if ratio.low is not None and ratio.low > 1 else "no"


def _reference_ms(pairs: Sequence[Record]) -> str:
    rounds = sorted(s for r in pairs for s in r.beside_s.get("reference", ()))
    return digits(1_000 * rounds[len(rounds) // 2]) if rounds else NOTHING


def parity(records: Sequence[Record]) -> Table | None:
    """Return the certificates that the backends did the same work, one row per model."""
    found = trust.certificates(records)
    if not found:
        return None
    some = next(iter(found.values()))
    tolerances = some[0].parity.tolerances if some[0].parity else {}
    rows = tuple(_parity_row(model, of_model, tolerances) for (model, _), of_model in found.items())
    header = (
        "model",
        "seeds",
        "weights",
        *(name.replace("_", " ") for name in tolerances),
        "work",
        "accuracy [points]",
        "equivalent within",
        "McNemar p < 0.05",
    )
    one = some[0]
    terms = (
        "both backends from the same weights (one NumPy source; the first eight digits of the "
        f"first seed's SHA-256), on the same batches in the same order{_dithered(some)}, without "
        "dropout, with deterministic kernels, untimed; the largest relative difference over "
        "seeds, allowed: "
        + ", ".join(f"{n.replace('_', ' ')} {t:g}" for n, t in tolerances.items()),
        f"accuracy on {one.test_images:,} test images after "
        f"{joined(r.parity.steps for r in some if r.parity)} steps of {one.batch_size}: "
        f"{one.parity.against if one.parity else NOTHING} minus {one.backend}, mean over seeds "
        "with its 95 % interval; equivalent: the smallest margin in points that TOST grants at "
        "5 %; McNemar: seeds in which the images recognised differ significantly",
        f"data set: {one.dataset}, preset {one.preset}",
        *machine_terms(some),
    )
    return Table("The same work: parity certificate", header, rows, terms)


def _dithered(records: Sequence[Record]) -> str:
    """Return how the images were kept from having equal pixels, if they were."""
    if not any(r.parity and r.parity.dither for r in records):
        return ""
    return (
        ", dithered by less than a grey level (where pixels are equal, each backend may choose "
        "another derivative)"
    )


def _parity_row(
    model: str, records: Sequence[Record], tolerances: Sequence[str] | dict[str, float]
) -> tuple[str, ...]:
    """Return one model's row, over its seeds."""
    parts = [r.parity for r in records if r.parity is not None]
    exceeded = sorted({name for part in parts for name in part.exceeded})
    differences = trust.accuracy_differences(records)
    margin = stats.reached_margin(differences)
    p_values = trust.p_of_images(records)
    return (
        model,
        str(len(parts)),
        parts[0].weights_sha256[:8],
        *(f"{max(part.differences[name] for part in parts):.1e}" for name in tolerances),
        "the same" if not exceeded else f"DIFFERS: {', '.join(exceeded)}",
        _points(stats.mean(differences)),
        NOTHING if math.isinf(margin) else f"{margin:.2f}",
        f"{sum(p < 1 - stats.CONFIDENCE for p in p_values)} of {len(p_values)}",
    )


def _points(difference: Estimate) -> str:
    if difference.low is None or difference.high is None:
        return f"{difference.value:+.2f}"
    return f"{difference.value:+.2f} [{difference.low:+.2f}, {difference.high:+.2f}]"


def break_even(records: Sequence[Record]) -> Table | None:
    """Return from which epoch on the backend with the faster steady epoch is ahead."""
    trained = good(records, "train")
    rows = [row for row in rows_of(trained) if len(backends_of(row)) > 1]
    if not rows:
        return None
    backends = backends_of(trained)
    columns = [
        *place_columns(trained),
        *[Column(f"{b} first epoch [s]", _first_of(b)) for b in backends],
        Column("ahead in the long run", lambda row: _ahead(row)[0]),
        Column("from epoch", lambda row: _ahead(row)[1]),
    ]
    terms = (
        "first epoch: with the compilation in it; ahead: less time in all for so many epochs of "
        "training, start-up left out; in brackets, for the ends of the intervals of both steady "
        "epochs",
        *terms_of(trained),
    )
    return Table("Break-even", *filled(columns, rows), terms)


def _first_of(backend: str) -> Callable[[Rows], str]:
    return on(backend, lambda rows: digits(_first_epoch(rows)))


def _first_epoch(rows: Rows) -> float:
    return fmean(r.first_epoch_s or 0.0 for r in rows)


def _ahead(row: Rows) -> tuple[str, str]:
    """Return which backend is ahead in the long run, and from which epoch on."""
    epochs = {b: stats.nested_mean(samples(of_backend(row, b))) for b in backends_of(row)}
    faster, slower = sorted(epochs, key=lambda b: epochs[b].value)[:2]
    fast, slow = epochs[faster], epochs[slower]
    extra_s = _first_epoch(of_backend(row, faster)) - _first_epoch(of_backend(row, slower))
    if fast.value == slow.value:
        return "cannot tell", NOTHING
    if None in (fast.low, fast.high, slow.low, slow.high):
        return faster, str(_crossing(extra_s, slow.value - fast.value))
    ends = (slow.high or 0) - (fast.low or 0), (slow.low or 0) - (fast.high or 0)
    if ends[1] <= 0:
        return "cannot tell", NOTHING
    earliest, latest = (_crossing(extra_s, gain_s) for gain_s in ends)
    return faster, f"{_crossing(extra_s, slow.value - fast.value)} [{earliest}, {latest}]"


def _crossing(extra_s: float, gain_s: float) -> int:
    """Return the epoch by whose end a later start is made good by a gain in every epoch since."""
    return 1 if extra_s < 0 else 2 + math.floor(extra_s / gain_s)


def breakdown(records: Sequence[Record]) -> Table | None:
    """Return where the time of an epoch goes, by what is gone when a part is taken away."""
    measured = good(records, "breakdown")
    if not measured:
        return None
    columns = [
        *place_columns(measured),
        Column("backend", lambda rows: rows[0].backend),
        Column("whole [ms]", _part(WHOLE)),
        *[Column(name, _part(weights)) for name, weights in PARTS.items()],
        Column("a per-batch callback", _part({"hooked": 1, "epoch": -1})),
        Column("the suite's fence", _part({"fence": 1})),
    ]
    rounds = joined(len(r.epoch_s) for r in measured)
    terms = (
        f"milliseconds of an epoch of {BREAKDOWN_STEPS} steps, n={rounds} rounds of one process",
        BREAKDOWN_TERM,
        *terms_of(measured),
    )
    cells = by_cell(measured)
    rows = [cells[cell] for cell in sorted(cells)]
    return Table("Where an epoch goes", *filled(columns, rows), terms)


def _part(weights: Mapping[str, int]) -> Callable[[Rows], str]:
    """Return what shows a sum of variants in milliseconds."""
    return lambda rows: with_interval(part_ms(rows[0], weights))


def part_ms(record: Record, weights: Mapping[str, int]) -> Estimate:
    """Return a sum of a breakdown's variants, round by round, in milliseconds.

    Args:
        record: of the task `breakdown`.
        weights: by the variant's name, how often it counts, as in PARTS.
    """
    rounds = {"epoch": record.epoch_s, **record.beside_s}
    sums = [
        1_000 * math.fsum(weight * rounds[name][i] for name, weight in weights.items())
        for i in range(len(record.epoch_s))
    ]
    return stats.mean(sums)
