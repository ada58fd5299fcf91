"""The most that a backend reaches on its device: matrix products, and bandwidth of the memory.

Runs in a worker, by the worker's own Keras, in its own environment. A peak is the best of several
rounds, so that what disturbs one of them does not count.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import keras
import numpy as np

from fmnist import grid
from fmnist.measure import Stopwatch
from fmnist.record import FLOP_PER_MAC, Peaks

SIZES: Final = (512, 1_024, 2_048, 4_096, 8_192)
"""Of square matrices, each eight times the work of the one before."""
LONGEST_PRODUCT_S: Final = 0.15
"""No size is tried that must be expected to take longer."""
ROUNDS: Final = 3
TRIAD_BYTES: Final = 2**27
"""Of each array: four times a last level of cache of 32 MiB, as STREAM asks for."""
ARRAYS_OF_TRIAD: Final = 3
BLOCK: Final = 2**18
"""Numbers that are drawn; matrices repeat them. To draw all would take longer than to measure."""


def measure(
    backend: str,
    sizes: Sequence[int] = SIZES,
    triad_bytes: int = TRIAD_BYTES,
    *,
    at_once: int = 1,
) -> Peaks:
    """Return what the backend of this process reaches by the dtype policy of this process.

    Args:
        backend: the one that Keras runs on.
        sizes: of the matrices, ascending; larger ones are left out where they take too long.
        triad_bytes: of each array, far beyond the last level of cache.
        at_once: operations beside each other, in a process that has a single thread for each.
    """
    dtype = keras.config.dtype_policy().compute_dtype
    flop_per_s, size = _matmul(dtype, sizes, at_once)
    return Peaks(
        matmul_flop_per_s=flop_per_s,
        matmul_size=size,
        matmul_dtype=dtype,
        triad_bytes_per_s=_triad(backend, triad_bytes, at_once),
        triad_array_bytes=triad_bytes,
    )


def _matmul(dtype: str, sizes: Sequence[int], at_once: int) -> tuple[float, int]:
    """Return the floating-point operations by the second of the best size, and that size."""
    reached: list[tuple[float, int]] = []
    expected_s = 0.0
    for size in sizes:
        if reached and expected_s > LONGEST_PRODUCT_S:
            break
        left, right = (_drawn(size, dtype, seed) for seed in range(2))
        seconds = _best_s([partial(keras.ops.matmul, left, right)] * at_once)
        reached.append((at_once * FLOP_PER_MAC * size**3 / seconds, size))
        expected_s = 8 * seconds
    return max(reached)


def _triad(backend: str, array_bytes: int, at_once: int) -> float:
    """Return the bytes by the second of `a = b + s * a` in float32, its three arrays.

    As in STREAM (McCalpin 1995), but in place: a new array for each result would be paged in anew
    each time, which on two cores made JAX five times as slow.
    """
    shape = (array_bytes // at_once // np.dtype("float32").itemsize,)
    updates = []
    for _ in range(at_once):
        a, b = (keras.ops.ones(shape, "float32") for _ in range(2))
        updates.append(grid.BACKENDS[backend].in_place(lambda a, b: b + 0.5 * a, a, b))
    return ARRAYS_OF_TRIAD * array_bytes / _best_s(updates)


def _drawn(size: int, dtype: str, seed: int) -> Any:  # noqa: ANN401  # a tensor
    """Return a square matrix of drawn numbers in [0, 1): equal ones draw less power, on a GPU."""
    block = np.random.default_rng(seed).random(BLOCK, dtype=np.float32)
    return keras.ops.cast(keras.ops.convert_to_tensor(np.resize(block, (size, size))), dtype)


def _best_s(works: Sequence[Callable[[], Any]]) -> float:
    """Return the seconds of the fastest round, until a value of each result can be read.

    What is more than one is done by as many threads.
    """
    first, *others = works
    with ThreadPoolExecutor(len(works)) as threads:

        def done() -> list[Any]:
            begun = [threads.submit(work) for work in others]
            return [first(), *(work.result() for work in begun)]

        held = done()  # compiled by now
        stopwatch = Stopwatch(fence=lambda: _wait_for(held))
        seconds = []
        for _ in range(ROUNDS):
            stopwatch.start()
            held[:] = done()
            seconds.append(stopwatch.stop())
    return min(seconds)


def _wait_for(tensors: Sequence[Any]) -> None:
    """Wait until tensors are there, by reading one row of each: all of it would be copied."""
    for tensor in tensors:
        keras.ops.convert_to_numpy(tensor[:1])
