"""XLA forced on TensorFlow on a CPU: a convolution against a dense net, forward and gradient apart.

The convolution is of 24 to 48 channels, 3x3, on a batch of (100, 24, 24, 24); the dense net is
784-128-64-10 on a batch of 100.
"""

from typing import cast

from measured import arguments, in_turn, print_ms, print_terms


def main() -> None:
    """Time each with and without XLA in turn; print the medians."""
    given = arguments(__doc__, backends=("tensorflow",), repeats=9)
    import keras
    import numpy as np
    import tensorflow as tf
    from keras import layers

    draw = np.random.default_rng(0)
    nets = {
        "convolution": [keras.Input((24, 24, 24)), layers.Conv2D(48, 3, activation="relu")],
        "dense net": [
            keras.Input((784,)),
            layers.Dense(128, activation="relu"),
            layers.Dense(64, activation="relu"),
            layers.Dense(10),
        ],
    }
    calls = {}
    for name, net in nets.items():
        model = keras.Sequential(net)
        batch = tf.constant(draw.random((100, *model.input_shape[1:]), dtype="float32"))

        def gradient(batch: tf.Tensor, model: keras.Model = model) -> list[tf.Tensor]:
            with tf.GradientTape() as tape:
                tape.watch(batch)
                loss = tf.reduce_sum(model(batch) ** 2)
            by = [batch, *(weights.value for weights in model.trainable_variables)]
            return cast(list[tf.Tensor], tape.gradient(loss, by))

        for part, function in {"forward": model.call, "forward and gradient": gradient}.items():
            for how, with_xla in {"as it comes": False, "XLA": True}.items():
                run = tf.function(function, jit_compile=with_xla)
                calls[f"{name}, {part}, {how}"] = lambda run=run, batch=batch: run(batch)
    print_terms(given.repeats)
    for name, seconds in in_turn(calls, given.repeats).items():
        print_ms(name, seconds)


if __name__ == "__main__":
    main()
