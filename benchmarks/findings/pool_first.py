"""Bias and ReLU before max pooling, as models are written, and after it: the same numbers.

A convolution of 32 channels, 3x3, on a batch of (100, 28, 28, 1), then windows of 2x2; forward and
gradients by the kernel and the bias.
"""

from functools import partial
from typing import Any

from measured import arguments, compiled, gradients_of, print_in_turn


def main() -> None:
    """Time both in turn; print the medians, and by how much the two differ."""
    given = arguments(__doc__, backends=("tensorflow", "jax"), repeats=50)
    import numpy as np
    from keras import ops

    def pool(images: Any) -> Any:  # noqa: ANN401  # a backend's tensor
        return ops.max_pool(images, (2, 2), (2, 2))

    def last(kernel: Any, bias: Any, images: Any) -> Any:  # noqa: ANN401  # tensors
        return pool(ops.relu(ops.conv(images, kernel) + bias))

    def first(kernel: Any, bias: Any, images: Any) -> Any:  # noqa: ANN401  # tensors
        return ops.relu(pool(ops.conv(images, kernel)) + bias)

    draw = np.random.default_rng(0)
    kernel = ops.convert_to_tensor(draw.standard_normal((3, 3, 1, 32)).astype("float32"))
    bias = ops.convert_to_tensor(draw.standard_normal(32).astype("float32"))
    images = ops.convert_to_tensor(draw.random((100, 28, 28, 1), dtype="float32"))
    calls = {
        f"pooling {name}": partial(compiled(gradients_of(net, 2)), kernel, bias, images)
        for name, net in {"last": last, "first": first}.items()
    }
    print_in_turn(calls, given.repeats)
    apart = ops.max(ops.abs(first(kernel, bias, images) - last(kernel, bias, images)))
    print(f"largest difference of the outputs: {float(apart):.3g}")


if __name__ == "__main__":
    main()
