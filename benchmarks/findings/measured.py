"""What these scripts share: the backend, the terms, whose turn it is, and the lines they print.

Nothing here is part of fmnist. A script needs Keras, its backend and this file.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

PACKAGES = ("keras", "jax", "jaxlib", "tensorflow")
ON_CPU = {"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "3"}
MS = 1e3
SLOW_FUSION_OFF = "--xla_cpu_experimental_ynn_fusion_type=-individual_convolution"
"""Keeps convolutions out of what conv_fusion.py measures; jaxlib alone knows it."""


def arguments(
    summary: str | None, *, backends: Sequence[str], repeats: int = 1
) -> argparse.Namespace:
    """Return `backend`, `repeats` and `quick` as the command line has them; choose the backend.

    To be called before Keras is imported. The first backend is the default, `repeats` what a run
    without options does; `--quick` makes it 1.
    """
    options = argparse.ArgumentParser(description=summary)
    options.add_argument("--backend", choices=backends, default=backends[0])
    options.add_argument("--repeats", type=int, default=repeats, help="turns of each thing timed")
    options.add_argument("--quick", action="store_true", help="one turn: the figures mean little")
    given = options.parse_args()
    if given.quick:
        given.repeats = 1
    os.environ.update(ON_CPU, KERAS_BACKEND=given.backend)
    return given


def print_terms(repeats: int) -> None:
    """Print what the figures below hold for."""
    found = []
    for package in PACKAGES:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    machine = f"Python {platform.python_version()}, {platform.platform()}, {os.cpu_count()} cores"
    print(f"terms: {', '.join(found)}, {machine}; n = {repeats}, in turn")


def in_turn(calls: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Return the seconds of each call, `repeats` times one after the other, compiled before.

    What JAX has only begun is waited for.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        _finish(call())
    for _ in range(repeats):
        for name, call in calls.items():
            started = time.perf_counter()
            _finish(call())
            seconds[name].append(time.perf_counter() - started)
    return seconds


def _finish(result: object) -> None:
    if os.environ["KERAS_BACKEND"] == "jax":
        import jax

        jax.block_until_ready(result)  # type: ignore[no-untyped-call]  # JAX's own


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function as Keras has its training step compiled on a CPU: by XLA on JAX alone."""
    if os.environ["KERAS_BACKEND"] == "jax":
        import jax

        return jax.jit(function)
    import tensorflow as tf

    return cast(Callable[..., Any], tf.function(function))


def leave_out_slow_fusion() -> None:
    """Keep convolutions out of the slow fusion on JAX; to be called before Keras is imported."""
    if os.environ["KERAS_BACKEND"] == "jax":
        os.environ["XLA_FLAGS"] = SLOW_FUSION_OFF


def gradients_of(net: Callable[..., Any], n: int) -> Callable[..., Sequence[Any]]:
    """Return the gradients of the outputs' sum of squares by the first n of a net's tensors."""
    if os.environ["KERAS_BACKEND"] == "jax":
        import jax

        return jax.grad(lambda *tensors: (net(*tensors) ** 2).sum(), tuple(range(n)))
    import tensorflow as tf

    def gradients(*tensors: Any) -> Sequence[Any]:  # noqa: ANN401  # tensors
        with tf.GradientTape() as tape:
            tape.watch(tensors[:n])
            value = tf.reduce_sum(net(*tensors) ** 2)
        return list(tape.gradient(value, tensors[:n]))

    return gradients


def print_in_turn(calls: Mapping[str, Callable[[], object]], repeats: int) -> None:
    """Time the calls in turn; print the terms, and the line of each call by its name."""
    timed = in_turn(calls, repeats)
    print_terms(repeats)
    for name in sorted(timed):
        print_ms(name, timed[name])


def print_ms(name: str, seconds: Sequence[float]) -> None:
    """Print a line: the name, the median and the range in milliseconds."""
    low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
    print(f"{name}: {middle * MS:.2f} ms ({low * MS:.2f} to {high * MS:.2f})")


def child(script: str, environment: Mapping[str, str], *words: str) -> dict[str, list[float]]:
    """Return what the script's child prints as JSON, run with variables of its own.

    Raises CalledProcessError if it fails; what it says then is shown.
    """
    done = subprocess.run(
        [sys.executable, script, "--child", *words],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    numbers: dict[str, list[float]] = json.loads(done.stdout)
    return numbers
