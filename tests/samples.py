"""Records for tests, with figures that are easy to reckon with."""

import base64
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fmnist.record import Parity, Record, packed, throughput

RESULT = {
    "train_loss": 0.5,
    "train_accuracy": 0.8,
    "test_loss": 0.6,
    "test_accuracy": 0.75,
}

WATCHED = {
    "lowest_clock_mhz": 1_900,
    "highest_clock_mhz": 1_980,
    "power_w": 300.0,
    "temperature_c": 60,
    "throttled": (),
}

CONV = {
    "model": "lenet_dropout",
    "family": "conv",
    "parameters": {
        "total": 225_034,
        "trainable": 225_034,
        "dense": 206_218,
        "conv": 18_816,
        "other": 0,
    },
}


def fields(**own: Any) -> dict[str, Any]:  # noqa: ANN401  # any field of a record
    """Return the fields of a valid `train` record, with the test's own ones in place."""
    epoch_s = own.get("epoch_s", (2.0, 2.0, 2.0))
    sound = all(0 < seconds < math.inf for seconds in epoch_s)
    images_per_s = throughput(own.get("train_images", 6_000), epoch_s) if sound else 1.0
    history = [RESULT] * (1 + len(epoch_s))
    return {
        "schema": 5,
        "session": "20261121-000000-test",
        "started_at": "2026-11-21T00:00:00Z",
        "task": "train",
        "model": "dense3",
        "family": "dense",
        "backend": "tensorflow",
        "device": "cpu",
        "mode": "stock",
        "preset": "quick",
        "dataset": "fashion-mnist",
        "train_images": 6_000,
        "test_images": 2_000,
        "batch_size": 100,
        "precision": "float32",
        "recipe": {
            "loss": "sparse_categorical_crossentropy",
            "optimizer": "adam",
            "learning_rate": 0.001,
            "epochs": 4,
        },
        "epoch_s": epoch_s,
        "first_epoch_s": 3.0,
        "import_s": 1.0,
        "build_s": 0.1,
        "evaluate_s": 0.2,
        "predict_s": (0.5, 0.5),
        "latency_s": (0.001, 0.001),
        "images_per_s": images_per_s,
        "accuracy": RESULT["test_accuracy"],
        "loss": RESULT["test_loss"],
        "history": history,
        "parameters": {
            "total": 109_386,
            "trainable": 109_386,
            "dense": 109_386,
            "conv": 0,
            "other": 0,
        },
        "peak_memory_bytes": {"host": 1_000_000},
        "jit_compile": False,
        "seed": 0,
        "versions": {"keras": "3.15.1"},
        "machine": {"cpu": "Abacus", "usable_threads": 2, "memory_bytes": 2**34, "system": "Linux"},
        "device_name": "cpu:0",
        "threads": {"cpus": [0, 1]},
        "flags": {"KERAS_BACKEND": "tensorflow"},
        "commit": "0123456789abcdef",
        "failure": None,
        **own,
    }


def record(**own: Any) -> Record:  # noqa: ANN401  # any field of a record
    """Return a valid `train` record, with the test's own fields in place."""
    return Record.model_validate(fields(**own))


def pair(**own: Any) -> list[Record]:  # noqa: ANN401  # any field of a record
    """Return the records of a model on both backends: JAX takes half as long."""
    return [
        record(**own),
        record(backend="jax", jit_compile=True, epoch_s=(1.0, 1.0, 1.0), **own),
    ]


def counted() -> dict[str, Any]:
    """Return the fields of a record whose operations were counted and whose machine was measured.

    An epoch of 6,000 images in 2 s reaches 3 GFLOP/s, 3 % of the peak.
    """
    return {
        "forward_macs": {"dense": 200_000},
        "train_flop_per_image": 1_000_000,
        "peaks": {
            "matmul_flop_per_s": 1e11,
            "matmul_size": 1_024,
            "matmul_dtype": "float32",
            "triad_bytes_per_s": 2e10,
            "triad_array_bytes": 2**27,
        },
    }


def failed(**own: Any) -> Record:  # noqa: ANN401  # any field of a record
    """Return the record of a cell that died before its first epoch."""
    nothing = {"epoch_s": (), "history": (), "predict_s": (), "latency_s": (), "images_per_s": None}
    absent = dict.fromkeys(["accuracy", "loss", "first_epoch_s", "evaluate_s"])
    return record(**nothing, **absent, failure="killed by SIGKILL", **own)


def noise(**own: Any) -> Record:  # noqa: ANN401  # any field of a record
    """Return the record of a cell that was run against itself."""
    seconds = (1.0, 1.1, 1.0)
    beside = {
        "twin": (1.1, 1.0, 1.0),
        **{f"base_of_spike_{percent}": seconds for percent in (1, 2, 3, 5)},
        "spike_1": (1.01, 1.11, 1.01),
        "spike_2": (1.02, 1.12, 1.02),
        "spike_3": (1.03, 1.13, 1.03),
        "spike_5": (1.05, 1.15, 1.05),
        "reference": (0.5, 0.5, 0.5),
    }
    untrained: dict[str, Any] = {"history": [], "accuracy": None, "loss": None, "evaluate_s": None}
    unpredicted = {"predict_s": (), "latency_s": ()}
    return record(
        **{"task": "noise", "epoch_s": seconds, "beside_s": beside} | untrained | unpredicted | own
    )


def parity(**own: Any) -> Record:  # noqa: ANN401  # any field of a record
    """Return the record of a model whose two backends were seen to do the same work."""
    certificate = {
        "against": "jax",
        "seed": 0,
        "weights_sha256": "0" * 64,
        "steps": 20,
        "dither": 1 / 255,
        "differences": {"outputs": 1e-7, "first_loss": 2e-7},
        "tolerances": {"outputs": 1e-5, "first_loss": 1e-5},
        "correct": {name: packed(np.arange(2_000) < 1_500) for name in ("tensorflow", "jax")},
    }
    untimed = {"epoch_s": (), "images_per_s": None, "predict_s": (), "latency_s": ()}
    unlearned: dict[str, Any] = {
        "history": [],
        "accuracy": None,
        "loss": None,
        "first_epoch_s": None,
    }
    return record(**{"task": "parity", "parity": certificate} | untimed | unlearned | own)


def certificate(**own: Any) -> Parity:  # noqa: ANN401  # any field of a certificate
    """Return a valid certificate of parity, with the test's own fields in place."""
    found = parity().parity
    assert found is not None
    return Parity.model_validate(found.model_dump() | own)


def race(**own: Any) -> Record:  # noqa: ANN401  # any field of a record, or of its race
    """Return the record of a racer's whole training; fields of `Race` are put into it."""
    measured = {
        "role": "entrant",
        "adapt_s": 0.0,
        "fit_s": 4.0,
        "accuracy": 0.92,
        "views_accuracy": None,
        "views_s": None,
    }
    inside = measured | {name: own.pop(name) for name in measured if name in own}
    untrained: dict[str, Any] = {"history": [], "accuracy": None, "loss": None, "evaluate_s": None}
    unpredicted = {"predict_s": (), "latency_s": ()}
    recipe = fields()["recipe"] | {"epochs": 3, "views": 0 if inside["views_s"] is None else 5}
    return record(
        **{
            "task": "race",
            "race": inside,
            "epoch_s": (1.0, 1.0, 1.0),
            "model": "racer_92",
            "family": "conv",
            "recipe": recipe,
        }
        | untrained
        | unpredicted
        | own
    )


def learned(
    true: Sequence[int] = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9),
    given: Sequence[int] = (0, 1, 2, 3, 4, 5, 6, 7, 8, 8),
    **own: Any,  # noqa: ANN401  # any field of a record
) -> Record:
    """Return the record of a training that gives images of the classes `true` those of `given`."""
    hits = sum(t == g for t, g in zip(true, given, strict=True)) / len(true)
    validation = {"validation_loss": 0.55, "validation_accuracy": 0.78}
    epochs = [
        RESULT | validation | {"train_loss": 0.5 / n, "train_accuracy": 1 - 0.2 / n}
        for n in range(1, 5)
    ]
    predictions = {
        "labels": "".join(map(str, true)),
        "classes": "".join(map(str, given)),
        "confidences": base64.b64encode(bytes([255, *[200] * (len(true) - 1)])).decode(),
    }
    return record(
        **{
            "task": "learn",
            "study": "reproduce",
            "history": epochs,
            "accuracy": hits,
            "validation_images": 1_200,
            **validation,
            "test_images": len(true),
            "predictions": predictions,
            "predict_s": (),
            "latency_s": (),
        }
        | own
    )
