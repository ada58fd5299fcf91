"""The gradients of a batch at once, and as the mean of those of two halves in the same program.

Three convolutions of 8, 24 and 48 channels, 3x3, and two dense layers; a batch of (100, 28, 28, 1).
On JAX without the slow fusion of conv_fusion.py.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from measured import arguments, compiled, leave_out_slow_fusion, print_in_turn

BATCH = 100

Gradients = Callable[[Sequence[Any], Any, Any], Sequence[Any]]


def main() -> None:
    """Time both in turn; print the medians."""
    given = arguments(__doc__, backends=("tensorflow", "jax"), repeats=50)
    leave_out_slow_fusion()
    import keras
    import numpy as np
    from keras import layers, ops

    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            *(layers.Conv2D(channels, 3, activation="relu") for channels in (8, 24, 48)),
            layers.Flatten(),
            layers.Dense(100, activation="relu"),
            layers.Dense(10),
        ]
    )
    gradients = loss_gradients(model, given.backend)

    def halved(weights: Sequence[Any], images: Any, labels: Any) -> list[Any]:  # noqa: ANN401  # tensors
        halves = zip(ops.split(images, 2), ops.split(labels, 2), strict=True)
        parts = [gradients(weights, *half) for half in halves]
        return [(first + second) / 2 for first, second in zip(*parts, strict=True)]

    draw = np.random.default_rng(0)
    weights = [variable.value for variable in model.trainable_variables]
    images = ops.convert_to_tensor(draw.random((BATCH, 28, 28, 1), dtype="float32"))
    labels = ops.convert_to_tensor(draw.integers(0, 10, BATCH))
    calls = {
        "gradients, at once": partial(compiled(gradients), weights, images, labels),
        "gradients, two halves": partial(compiled(halved), weights, images, labels),
    }
    print_in_turn(calls, given.repeats)


def loss_gradients(model: Any, backend: str) -> Gradients:  # noqa: ANN401  # Keras publishes no types
    """Return a function of weights, images and labels: the mean loss's gradient by each weight."""
    from keras import ops

    def loss_of(outputs: Any, labels: Any) -> Any:  # noqa: ANN401  # tensors
        return ops.mean(ops.sparse_categorical_crossentropy(labels, outputs, from_logits=True))

    if backend == "jax":
        import jax

        def loss(weights: Sequence[Any], images: Any, labels: Any) -> Any:  # noqa: ANN401  # arrays
            outputs, _ = model.stateless_call(weights, [], images, training=True)
            return loss_of(outputs, labels)

        return jax.grad(loss)
    import tensorflow as tf

    def gradients(weights: Sequence[Any], images: Any, labels: Any) -> Sequence[Any]:  # noqa: ANN401  # tensors
        with tf.GradientTape() as tape:
            value = loss_of(model(images, training=True), labels)
        return list(tape.gradient(value, weights))

    return gradients


if __name__ == "__main__":
    main()
