"""Dropout on TensorFlow: by a float for each element, as Keras has it, and by a byte; XLA or not.

Of (100, 13, 13, 32) at a rate of 0.25, forward and gradient.
"""

from collections.abc import Callable
from typing import Any

from measured import arguments, print_in_turn

RATE = 0.25
DROPPED = 64  # of the 256 values of a byte
SHAPE = (100, 13, 13, 32)


def main() -> None:
    """Time all four in turn; print the medians, and what share each drops."""
    given = arguments(__doc__, backends=("tensorflow",), repeats=20)
    import keras
    import tensorflow as tf

    seeds = keras.random.SeedGenerator(0)

    def by_floats(images: Any) -> Any:  # noqa: ANN401  # a tensor
        return keras.random.dropout(images, RATE, seed=seeds)

    def by_bytes(images: Any) -> Any:  # noqa: ANN401  # a tensor
        size, seed = tf.size(images), tf.cast(seeds.next(), tf.int32)
        every = {"minval": None, "maxval": None, "dtype": tf.uint32, "alg": "philox"}
        words = tf.random.stateless_uniform([(size + 3) // 4], seed, **every)
        drawn = tf.reshape(tf.bitcast(words, tf.uint8), [-1])[:size]
        kept = tf.cast(tf.reshape(drawn >= DROPPED, tf.shape(images)), tf.float32)
        return images * (kept / (1 - RATE))

    def timed(dropout: Callable[[Any], Any], *, by_xla: bool) -> Callable[[], Any]:
        def both(images: Any) -> Any:  # noqa: ANN401  # a tensor
            with tf.GradientTape() as tape:
                tape.watch(images)
                left = dropout(images)
            return left, tape.gradient(left, images)

        function, images = tf.function(both, jit_compile=by_xla), tf.ones(SHAPE)
        return lambda: [part.numpy() for part in function(images)]

    ways = {"a float": by_floats, "a byte": by_bytes}
    calls = {
        f"by {name} each{', XLA' if by_xla else ''}": timed(dropout, by_xla=by_xla)
        for name, dropout in ways.items()
        for by_xla in (False, True)
    }
    print_in_turn(calls, given.repeats)
    shares = [f"{name} {float((call()[0] == 0).mean()):.3f}" for name, call in calls.items()]
    print(f"dropped: {'; '.join(shares)}")


if __name__ == "__main__":
    main()
