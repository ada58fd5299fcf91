"""XLA forced on TensorFlow on a CPU: layers alone, forward and gradient apart, and stock `fit`.

Batches of 100. The convolution is of 24 to 48 channels, 3x3, on 24x24; the pooling is 2x2 on
26x26x32; the dense net is 784-128-64-10; LeNet is two convolutions, each with pooling, and dropout.
"""

from collections.abc import Callable
from typing import Any

from measured import arguments, print_in_turn

BATCH = 100
FIT_BATCHES = 5


def main() -> None:
    """Time each with and without XLA in turn; print the medians."""
    given = arguments(__doc__, backends=("tensorflow",), repeats=5)
    import keras
    from keras import layers

    nets = {
        "convolution": [keras.Input((24, 24, 24)), layers.Conv2D(48, 3, activation="relu")],
        "max pooling": [keras.Input((26, 26, 32)), layers.MaxPooling2D()],
        "dense net": [
            keras.Input((784,)),
            layers.Dense(128, activation="relu"),
            layers.Dense(64, activation="relu"),
            layers.Dense(10),
        ],
    }
    calls = {}
    for name, net in nets.items():
        for how, with_xla in {"as it comes": False, "XLA": True}.items():
            forward, gradient = parts(keras.Sequential(net), with_xla=with_xla)
            calls[f"{name}, forward, {how}"] = forward
            calls[f"{name}, forward and gradient, {how}"] = gradient
    lenet = [
        keras.Input((28, 28, 1)),
        layers.Conv2D(32, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Conv2D(64, 3, activation="relu"),
        layers.MaxPooling2D(),
        layers.Dropout(0.25),
        layers.Flatten(),
        layers.Dense(10),
    ]
    for name, net in {"LeNet": lenet, "dense net": nets["dense net"]}.items():
        for how, with_xla in {"as it comes": False, "XLA": True}.items():
            calls[f"{name}, fit of {FIT_BATCHES} batches, {how}"] = fit(net, with_xla=with_xla)
    print_in_turn(calls, given.repeats)


def parts(model: Any, *, with_xla: bool) -> tuple[Callable[[], Any], Callable[[], Any]]:  # noqa: ANN401  # Keras publishes no types
    """Return the forward pass of a batch, and the same with the gradient by input and weights."""
    import numpy as np
    import tensorflow as tf

    draw = np.random.default_rng(0)
    batch = tf.constant(draw.random((BATCH, *model.input_shape[1:]), dtype="float32"))

    def gradient(batch: tf.Tensor) -> Any:  # noqa: ANN401  # a list of tensors
        with tf.GradientTape() as tape:
            tape.watch(batch)
            loss = tf.reduce_sum(model(batch) ** 2)
        return tape.gradient(loss, [batch, *(w.value for w in model.trainable_variables)])

    forward = tf.function(model.call, jit_compile=with_xla, autograph=False)
    backward = tf.function(gradient, jit_compile=with_xla, autograph=False)
    return lambda: forward(batch), lambda: backward(batch)


def fit(net: list[Any], *, with_xla: bool) -> Callable[[], Any]:
    """Return an epoch of stock `fit` on random images."""
    import keras
    import numpy as np

    model = keras.Sequential(net)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss, optimizer="adam", jit_compile=with_xla)
    draw = np.random.default_rng(0)
    images = draw.random((FIT_BATCHES * BATCH, *model.input_shape[1:]), dtype="float32")
    labels = draw.integers(0, 10, len(images))
    return lambda: model.fit(images, labels, batch_size=BATCH, verbose=0)


if __name__ == "__main__":
    main()
