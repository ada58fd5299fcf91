"""The terms that a number was measured under, in words: they stand under every table."""

import math
from collections.abc import Callable, Mapping, Sequence

from fmnist import machine, stats
from fmnist.record import Record, by_cell, samples
from fmnist.report.choose import backends_of
from fmnist.report.render import NOTHING, above_one, digits, joined
from fmnist.report.trust import MARGIN, noise_of

EPOCH_TERM = (
    "epoch: geometric mean of n steady epochs with its 95 % interval (Student's t on logarithms, "
    "over processes where there are several, else over the rounds of the one); ratio: of epochs "
    "run in turn, side by side"
)

LONG = 1.5
"""By how much an epoch must be longer than the shortest of its process to have waited."""
SAME_WORK = 1.25
"""By how much more processor time the same work may take."""
LEAST_WAIT_S = 0.05


def terms_of(records: Sequence[Record]) -> tuple[str, ...]:
    """Return what the numbers of a training table were measured under."""
    xla = ", ".join(
        f"{b} {joined('on' if r.jit_compile else 'off' for r in records if r.backend == b)}"
        for b in backends_of(records)
    )
    train, validation, test = (
        joined(sorted({getattr(r, f"{name}_images") for r in records}))
        for name in ("train", "validation", "test")
    )
    return (
        f"data set: {joined(r.dataset for r in records)}",
        f"preset {joined(r.preset for r in records)}",
        f"{train} training, {validation} validation, {test} test images",
        f"batch {joined(r.batch_size for r in records)}",
        f"{joined(r.precision for r in records)}",
        f"mode {joined(r.mode for r in records)}",
        f"XLA (`jit_compile` as Keras resolved it): {xla}",
        *throttled_terms(records),
        *withheld_terms(records),
        *waited_terms(records),
        *([f"epochs trained {_epochs_trained(records)}"] if records[0].task == "train" else []),
        *machine_terms(records),
    )


def accuracy_term(records: Sequence[Record]) -> str:
    """Return what an accuracy is of, and how sure it is."""
    return (
        f"accuracy: test set, after the last epoch, one seed ({joined(r.seed for r in records)}), "
        f"95 % of the sampling error within {_sampling_error(records)} points"
    )


def knob_terms(records: Sequence[Record]) -> tuple[str, ...]:
    """Return what each knob did on each backend, as its workers said."""
    said: dict[tuple[str, str, str], list[str]] = {}
    for record in records:
        if record.mode == "tuned":
            for knob, what in record.tuning.items():
                said.setdefault((record.backend, knob, what), []).append(record.model)
    models = {r.model for r in records}
    return tuple(
        f"{backend} {knob}: {what}"
        + ("" if set(named) == models else f" ({joined(sorted(set(named)))})")
        for (backend, knob, what), named in sorted(said.items())
    )


def verdict_terms(records: Sequence[Record]) -> tuple[str, ...]:
    """Return what a verdict means in this session, or why it gives none."""
    found = noise_of(records)
    if found is None:
        return ("no verdicts: the session did not run a cell against itself",)
    return (
        f"verdict: at 5 %, corrected for the number of rows (Benjamini-Hochberg); same: within "
        f"{100 * MARGIN:g} %; faster or slower only by more than the session's A/A ratio "
        f"({above_one(found.again)} %)",
    )


def precision_terms(records: Sequence[Record]) -> tuple[str, ...]:
    """Return how precise the epochs of several processes came out, the least precise cell's."""
    if not any(r.process for r in records):
        return ()
    reached = stats.widest(map(samples, by_cell(records).values()))
    return (f"precision reached: every epoch's interval within ±{100 * reached:.2g} %",)


def steadiness_terms(records: Sequence[Record]) -> tuple[str, ...]:
    """Return which cells' rounds do not keep one level, and whether the others were tested."""
    tested = {(r.cell.id, r.process): stats.changepoint(r.epoch_s) for r in records}
    changed = [
        f"{cell} process {process} from steady round {found.changed_at + 1}"
        for (cell, process), found in tested.items()
        if found.changed_at is not None
    ]
    untested = sum(not t.certified and t.changed_at is None for t in tested.values())
    return (
        *(
            [f"NOT STEADY, a new level by the changepoint test: {', '.join(changed)}"]
            if changed
            else []
        ),
        *(
            [f"{untested} of {len(tested)} processes with too few rounds to test"]
            if untested
            else []
        ),
        *(["rounds keep one level (changepoint test)"] if not changed and not untested else []),
    )


def why_terms(records: Sequence[Record]) -> tuple[str, ...]:
    """Return in what the backends worked differently, as far as the records say."""
    backends = backends_of(records)
    if len(backends) == 1:
        return ()
    shown: Mapping[str, Callable[[Record], str]] = {
        "XLA": lambda r: "on" if r.jit_compile else "off",
        "thread pools": lambda r: _listed(r.threads.get("pools", {})),
        "processors": lambda r: joined(r.threads.get("cpus") or []),
    }
    differing = []
    for what, show in shown.items():
        by_backend = {b: joined(show(r) for r in records if r.backend == b) for b in backends}
        if len(set(by_backend.values())) > 1:
            differing.append(f"{what} {', '.join(f'{b} {v}' for b, v in by_backend.items())}")
    return (f"like for like: {'; '.join(differing) or 'nothing that is recorded differs'}",)


def _listed(pools: Mapping[str, int]) -> str:
    return " ".join(f"{name}={size}" for name, size in sorted(pools.items())) or NOTHING


def throttled_terms(records: Sequence[Record]) -> tuple[str, ...]:
    """Return which cells' epochs ran while a GPU was throttled, and why; nothing unwatched."""
    on_gpu = [r for r in records if r.device == "gpu"]
    if not on_gpu:
        return ()
    if any(r.epoch_s and not r.watched for r in on_gpu):
        return ("whether GPUs were throttled was not watched",)
    throttled = {
        cell.id: [w.throttled for r in of_cell for w in r.watched if w.throttled]
        for cell, of_cell in by_cell(on_gpu).items()
    }
    if not any(throttled.values()):
        return ("no epoch ran while the GPU was throttled",)
    told = ", ".join(
        f"{len(reasons)} of {cell} ({joined(name for names in reasons for name in names)})"
        for cell, reasons in throttled.items()
        if reasons
    )
    return (f"THROTTLED, clocks held down by the driver during epochs: {told}",)


def withheld_terms(records: Sequence[Record]) -> tuple[str, ...]:
    """Return how much a virtual machine's host kept from the epochs; nothing if that is nothing.

    Of the processor time that they wanted: what they had, and what was withheld meanwhile.
    """
    shares = {
        cell.id: _withheld_share(of_cell)
        for cell, of_cell in by_cell([r for r in records if r.withheld_s]).items()
    }
    if not any(shares.values()):
        return ()
    worst = max(shares, key=lambda cell: shares[cell])
    usual = stats.median(list(shares.values())).value
    return (
        "withheld from epochs by the host of this virtual machine, for other guests: "
        f"{digits(100 * usual)} % of the processor time that they "
        f"wanted (median of {len(shares)} cells), most {digits(100 * shares[worst])} % of {worst}",
    )


def _withheld_share(records: Sequence[Record]) -> float:
    withheld_s = math.fsum(s for r in records for s in r.withheld_s)
    had_s = math.fsum(s for r in records for s in r.processor_s)
    return machine.withheld_share(had_s, withheld_s)


def waited_terms(records: Sequence[Record]) -> tuple[str, ...]:
    """Return which cells' epochs waited for something that was no work; nothing if none did.

    Trainings to learn from share the machine, so theirs say nothing.
    """
    waited = {
        cell.id: [s for r in of_cell for s in _long_for_nothing(r)]
        for cell, of_cell in by_cell([r for r in records if r.task != "learn"]).items()
    }
    told = ", ".join(
        f"{len(long_s)} of {cell}, the longest {digits(max(long_s))} s"
        for cell, long_s in waited.items()
        if long_s
    )
    if not told:
        return ()
    return (
        "WAITED, epochs that took half as long again as the shortest of their process, for at most "
        f"a quarter more processor time (docs/findings.md says why TensorFlow waits): {told}",
    )


def _long_for_nothing(record: Record) -> list[float]:
    """Return the epochs that waited; what the host withheld counts as processor time."""
    if not record.processor_s:
        return []
    withheld_s = record.withheld_s or (0.0,) * len(record.epoch_s)
    wanted_s = [sum(each) for each in zip(record.processor_s, withheld_s, strict=True)]
    shortest_s = min(record.epoch_s)
    enough_s = SAME_WORK * wanted_s[record.epoch_s.index(shortest_s)]
    return [
        s
        for s, wanted in zip(record.epoch_s, wanted_s, strict=True)
        if s > max(LONG * shortest_s, shortest_s + LEAST_WAIT_S) and wanted <= enough_s
    ]


def failed_terms(records: Sequence[Record]) -> tuple[str, ...]:
    """Return a pointer to the failed cells, if there are any."""
    failed = [r for r in records if r.failure is not None]
    return (f"{len(failed)} cells failed, see there",) if failed else ()


def _epochs_trained(records: Sequence[Record]) -> str:
    trained = sorted({1 + len(r.epoch_s) for r in records})
    cut = [r for r in records if r.task == "train" and 1 + len(r.epoch_s) != r.recipe.epochs]
    asked = joined(sorted({r.recipe.epochs for r in cut}))
    return joined(trained) + (f" (the models' own recipes ask for {asked})" if cut else "")


def _sampling_error(records: Sequence[Record]) -> str:
    """Return half the widest Wilson interval of the accuracies, in points.

    It is widest at one half, so that of one accuracy is enough for each size of the test set.
    """
    by_distance = sorted(records, key=lambda r: abs((r.accuracy or 0.0) - 0.5), reverse=True)
    least_sure = {r.test_images: r.accuracy or 0.0 for r in by_distance}
    intervals = [stats.proportion(share, n) for n, share in least_sure.items()]
    return f"±{max(50 * ((i.high or 0) - (i.low or 0)) for i in intervals):.2f}"


def machine_terms(records: Sequence[Record]) -> tuple[str, ...]:
    """Return the machine, the versions, the environment, the commit and the session."""
    versions = {name: v for r in records for name, v in r.versions.items()}
    flags = {f"{n}={v}" for r in records for n, v in r.flags.items() if not n.startswith("KERAS_")}
    return (
        joined(machine.summary(r.machine) for r in records),
        f"device {joined(r.device for r in records)}",
        ", ".join(f"{name} {version}" for name, version in sorted(versions.items())),
        *([f"environment {' '.join(sorted(flags))}"] if flags else []),
        f"commit {joined(_short(r.commit) for r in records)}",
        f"session {joined(r.session for r in records)}",
    )


def _short(commit: str | None) -> str:
    """Return twelve digits of a commit, and whether files differed from it."""
    if commit is None:
        return "unknown"
    return commit[:12] + ("-dirty" if commit.endswith("-dirty") else "")
