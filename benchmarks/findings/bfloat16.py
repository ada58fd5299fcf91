"""The same work in float32 and in bfloat16: a product of matrices, and a convolution.

Two matrices of 2048 x 2048; a convolution of 24 to 48 channels, 3x3, on a batch of (100, 24, 24,
24), forward and with both gradients. On JAX without the slow fusion of conv_fusion.py.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from measured import arguments, compiled, gradients_of, leave_out_slow_fusion, print_in_turn

N = 2048


def main() -> None:
    """Time both types in turn; print the medians."""
    given = arguments(__doc__, backends=("jax", "tensorflow"), repeats=20)
    leave_out_slow_fusion()
    import numpy as np
    from keras import ops

    def drawn(dtype: str, *shape: int) -> Any:  # noqa: ANN401  # a backend's tensor
        values = np.random.default_rng(0).standard_normal(shape, dtype="float32")
        return ops.cast(ops.convert_to_tensor(values), dtype)

    forward, product = compiled(ops.conv), compiled(ops.matmul)
    gradients = compiled(gradients_of(ops.conv, 2))
    calls: dict[str, Callable[[], Any]] = {}
    for dtype in ("float32", "bfloat16"):
        matrix = drawn(dtype, N, N)
        images, kernel = drawn(dtype, 100, 24, 24, 24), drawn(dtype, 3, 3, 24, 48)
        calls[f"product of matrices, {dtype}"] = partial(product, matrix, matrix)
        calls[f"convolution, forward, {dtype}"] = partial(forward, images, kernel)
        calls[f"convolution, with gradients, {dtype}"] = partial(gradients, images, kernel)
    print_in_turn(calls, given.repeats)


if __name__ == "__main__":
    main()
