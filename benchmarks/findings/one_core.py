"""A dense net's epoch, and the products in it, in processes that have one core or two.

A net of 784, 128, 64 and 10 units: 25 gradient steps of 100 images in one compiled loop. Beside it
its largest product of matrices alone, and one of 1024 x 1024. Needs Linux.
"""

import itertools
import json
import os
import sys
from collections.abc import Sequence
from typing import Any

from measured import arguments, child, in_turn, print_ms, print_terms

UNITS = (784, 128, 64, 10)
BATCH, STEPS = 100, 25
TURNS = 20
CORES = {"one core": 1, "two cores": 2}


def timed(cores: int) -> dict[str, list[float]]:
    """Return the seconds of each call in this process, on so many cores."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    import jax
    import jax.numpy as jnp

    def loss(weights: Sequence[Any], images: Any, labels: Any) -> Any:  # noqa: ANN401  # arrays
        outputs = images
        for weight in weights[:-1]:
            outputs = jax.nn.relu(outputs @ weight)
        return -jnp.mean(labels * jax.nn.log_softmax(outputs @ weights[-1]))

    def epoch(weights: Sequence[Any], images: Any, labels: Any) -> Any:  # noqa: ANN401  # arrays
        def step(weights: Sequence[Any], batch: Any) -> tuple[Sequence[Any], None]:  # noqa: ANN401
            slopes = jax.grad(loss)(weights, *batch)
            return [w - 0.01 * g for w, g in zip(weights, slopes, strict=True)], None

        return jax.lax.scan(step, weights, (images, labels))[0]

    def drawn(*shape: int) -> Any:  # noqa: ANN401  # an array
        return jax.random.uniform(jax.random.key(0), shape)

    weights = [drawn(*shape) * 0.1 for shape in itertools.pairwise(UNITS)]
    square = drawn(1024, 1024)
    images, labels = drawn(STEPS, BATCH, UNITS[0]), drawn(STEPS, BATCH, UNITS[-1])
    first = images[0]
    run, product = jax.jit(epoch), jax.jit(jnp.matmul)
    calls = {
        "epoch": lambda: run(weights, images, labels),
        "product, 100 x 784 x 128": lambda: product(first, weights[0]),
        "product, 1024 x 1024 x 1024": lambda: product(square, square),
    }
    return in_turn(calls, TURNS)


def main() -> None:
    """Run both in turn; print the time of each call."""
    given = arguments(__doc__, backends=("jax",), repeats=5)
    seconds: dict[str, list[float]] = {}
    for _ in range(given.repeats):
        for name, cores in CORES.items():
            for call, times in child(__file__, {}, str(cores)).items():
                seconds.setdefault(f"{call}, {name}", []).extend(times)
    print_terms(given.repeats * TURNS)
    for name in sorted(seconds):
        print_ms(name, seconds[name])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(timed(int(sys.argv[2]))))
    else:
        main()
