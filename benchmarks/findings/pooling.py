"""Max pooling as Keras does it, against a reshape and a maximum: forward and gradient apart.

A batch of (100, 26, 26, 32), windows of 2x2, as after the first convolution of a LeNet.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from measured import arguments, compiled, gradients_of, print_in_turn

SHAPE = (100, 26, 26, 32)


def main() -> None:
    """Time both in turn; print the medians."""
    given = arguments(__doc__, backends=("jax", "tensorflow"), repeats=50)
    import numpy as np
    from keras import ops

    def stock(images: Any) -> Any:  # noqa: ANN401  # a backend's tensor
        return ops.max_pool(images, (2, 2), (2, 2))

    def reshaped(images: Any) -> Any:  # noqa: ANN401  # a backend's tensor
        n, height, width, channels = SHAPE
        return ops.max(ops.reshape(images, (n, height // 2, 2, width // 2, 2, channels)), (2, 4))

    draw = np.random.default_rng(0)
    images = ops.convert_to_tensor(draw.random(SHAPE, dtype="float32"))
    calls: dict[str, Callable[[], Any]] = {}
    for name, pool in {"max_pool": stock, "reshape and maximum": reshaped}.items():
        forward, gradient = compiled(pool), compiled(gradients_of(pool, 1))
        calls[f"forward, {name}"] = partial(forward, images)
        calls[f"forward and gradient, {name}"] = partial(gradient, images)
    print_in_turn(calls, given.repeats)


if __name__ == "__main__":
    main()
