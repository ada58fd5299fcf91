"""Bias and ReLU before max pooling, as models are written, and after it: the same numbers.

A convolution of 32 channels, 3x3, on a batch of (100, 28, 28, 1), then windows of 2x2; forward and
gradients by the kernel and the bias.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from measured import arguments, compiled, in_turn, print_ms, print_terms

Net = Callable[[Any, Any, Any], Any]


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
        f"pooling {name}": partial(compiled(gradients_of(net, given.backend)), kernel, bias, images)
        for name, net in {"last": last, "first": first}.items()
    }
    timed = in_turn(calls, given.repeats)
    print_terms(given.repeats)
    for name in sorted(timed):
        print_ms(name, timed[name])
    apart = ops.max(ops.abs(first(kernel, bias, images) - last(kernel, bias, images)))
    print(f"largest difference of the outputs: {float(apart):.3g}")


def gradients_of(net: Net, backend: str) -> Callable[..., Sequence[Any]]:
    """Return the gradients of the outputs' sum of squares by the kernel and by the bias."""
    if backend == "jax":
        import jax

        return jax.grad(lambda *tensors: (net(*tensors) ** 2).sum(), (0, 1))
    import tensorflow as tf

    def gradients(kernel: Any, bias: Any, images: Any) -> Sequence[Any]:  # noqa: ANN401  # tensors
        with tf.GradientTape() as tape:
            tape.watch([kernel, bias])
            value = tf.reduce_sum(net(kernel, bias, images) ** 2)
        return list(tape.gradient(value, [kernel, bias]))

    return gradients


if __name__ == "__main__":
    main()
