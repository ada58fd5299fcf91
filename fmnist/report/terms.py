"""The terms that a number was measured under, in words: they stand under every table."""

from collections.abc import Sequence

from fmnist import machine, stats
from fmnist.record import Record
from fmnist.report.choose import backends_of
from fmnist.report.render import joined

EPOCH_TERM = (
    "epoch: geometric mean of n steady epochs of one process with its 95 % interval (Student's t "
    "on logarithms); ratio: of epochs run in turn, side by side"
)


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
        f"epochs trained {_epochs_trained(records)}",
        *_machine_terms(records),
    )


def accuracy_term(records: Sequence[Record]) -> str:
    """Return what an accuracy is of, and how sure it is."""
    return (
        f"accuracy: test set, after the last epoch, one seed ({joined(r.seed for r in records)}), "
        f"95 % of the sampling error within {_sampling_error(records)} points"
    )


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
    """Return half the widest Wilson interval of the accuracies, in points."""
    intervals = [stats.proportion(r.accuracy or 0.0, r.test_images) for r in records]
    return f"±{max(50 * ((i.high or 0) - (i.low or 0)) for i in intervals):.2f}"


def _machine_terms(records: Sequence[Record]) -> tuple[str, ...]:
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
