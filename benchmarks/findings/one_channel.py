"""A convolution of images of one channel, as Keras has it and as the sum of nine products.

A batch of (100, 28, 28, 1), 32 channels, 3x3; then windows of 2x2, so that the sums need not be
kept whole. Forward, and with the gradient by the kernel: one product of matrices, by all patches.
"""

from functools import partial
from typing import Any

from measured import arguments, compiled, gradients_of, print_in_turn

SIDE = 26
TAPS = [(row, column) for row in range(3) for column in range(3)]


def main() -> None:
    """Time both in turn; print the medians, and by how much the two differ."""
    given = arguments(__doc__, backends=("jax", "tensorflow"), repeats=50)
    import numpy as np
    from keras import ops

    def seen(images: Any, tap: tuple[int, int]) -> Any:  # noqa: ANN401  # tensors
        row, column = tap
        return images[:, row : row + SIDE, column : column + SIDE]

    def pooled(images: Any) -> Any:  # noqa: ANN401  # tensors
        windows = ops.reshape(images, (-1, SIDE // 2, 2, SIDE // 2, 2, 32))
        pixels = [windows[:, :, i, :, j] for i in range(2) for j in range(2)]
        return ops.maximum(ops.maximum(*pixels[:2]), ops.maximum(*pixels[2:]))

    def stock(kernel: Any, images: Any) -> Any:  # noqa: ANN401  # tensors
        return pooled(ops.conv(images, kernel))

    @ops.custom_gradient  # type: ignore[untyped-decorator]  # Keras publishes no types
    def products(weights: Any, images: Any) -> Any:  # noqa: ANN401  # tensors
        def gradient(by_outputs: Any) -> Any:  # noqa: ANN401  # tensors
            patches = ops.concatenate([seen(images, tap) for tap in TAPS], -1)
            by_weights = ops.matmul(
                ops.transpose(ops.reshape(patches, (-1, len(TAPS)))),
                ops.reshape(by_outputs, (-1, 32)),
            )
            return by_weights, ops.zeros_like(images)  # no layer before asks for it

        return sum(seen(images, tap) * weights[i] for i, tap in enumerate(TAPS)), gradient

    def summed(kernel: Any, images: Any) -> Any:  # noqa: ANN401  # tensors
        return pooled(products(ops.reshape(kernel, (len(TAPS), 32)), images))

    draw = np.random.default_rng(0)
    kernel = ops.convert_to_tensor(draw.standard_normal((3, 3, 1, 32)).astype("float32"))
    images = ops.convert_to_tensor(draw.random((100, 28, 28, 1), dtype="float32"))
    calls = {
        f"{what}, {name}": partial(compiled(made), kernel, images)
        for name, net in {"convolution": stock, "sum of products": summed}.items()
        for what, made in {"forward": net, "forward and gradient": gradients_of(net, 1)}.items()
    }
    print_in_turn(calls, given.repeats)
    apart = ops.max(ops.abs(stock(kernel, images) - summed(kernel, images)))
    print(f"largest difference of the outputs: {float(apart):.3g}")


if __name__ == "__main__":
    main()
