"""XLA:CPU's default convolution fusion against the same convolution without it (JAX).

A convolution of 24 to 48 channels, 3x3, on a batch of (100, 24, 24, 24), and its two gradients,
each in processes that differ in nothing but one XLA flag, in turn.
"""

import json
import subprocess
import sys
from functools import partial

from measured import SLOW_FUSION_OFF, arguments, child, in_turn, print_ms, print_terms

SETTINGS = {"as it comes": "", "fusion off": SLOW_FUSION_OFF}
CALLS = 15


def time_parts(calls: int) -> dict[str, list[float]]:
    """Return the seconds of the calls of each part, the parts in turn."""
    import jax
    import numpy as np
    from jax import numpy as jnp

    draw = np.random.default_rng(0)
    images = jnp.asarray(draw.random((100, 24, 24, 24), dtype="float32"))
    kernel = jnp.asarray(draw.random((3, 3, 24, 48), dtype="float32") - 0.5)

    def forward(images: jax.Array, kernel: jax.Array) -> jax.Array:
        return jax.lax.conv_general_dilated(
            images, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    def loss(images: jax.Array, kernel: jax.Array) -> jax.Array:
        return (jax.nn.relu(forward(images, kernel)) ** 2).sum()

    parts = {
        "forward": jax.jit(forward),
        "gradient by the images": jax.jit(jax.grad(loss, 0)),
        "gradient by the kernel": jax.jit(jax.grad(loss, 1)),
    }
    return in_turn({name: partial(part, images, kernel) for name, part in parts.items()}, calls)


def main() -> None:
    """Time both settings in turn; print the medians, or that the process died of the flag."""
    given = arguments(__doc__, backends=("jax",), repeats=5)
    calls = 3 if given.quick else CALLS
    timed: dict[str, list[float]] = {}
    for _ in range(given.repeats):
        for setting, flag in SETTINGS.items():
            try:
                parts = child(__file__, {"XLA_FLAGS": flag}, str(calls))
            except subprocess.CalledProcessError as error:
                print(f"{setting}: the process ended with status {error.returncode}")
                return
            for part, seconds in parts.items():
                timed.setdefault(f"{part}, {setting}", []).extend(seconds)
    print_terms(given.repeats * calls)
    for name in sorted(timed):
        print_ms(name, timed[name])


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(time_parts(int(sys.argv[2]))))
    else:
        main()
