"""TensorFlow's Adam on a CPU, one kernel for each operation, against the same compiled by XLA.

The weights of `conv_8_24_48`: 2,336,558 numbers in ten arrays.
"""

from measured import arguments, print_in_turn

SHAPES = (
    *((3, 3, 1, 8), (8,), (3, 3, 8, 24), (24,), (3, 3, 24, 48), (48,)),
    *((23_232, 100), (100,), (100, 10), (10,)),
)


def main() -> None:
    """Time both in turn; print the medians."""
    given = arguments(__doc__, backends=("tensorflow",), repeats=50)
    import keras
    import numpy as np
    import tensorflow as tf

    draw = np.random.default_rng(0)
    gradients = [tf.constant(draw.random(shape, dtype="float32")) for shape in SHAPES]
    calls = {}
    for name, with_xla in {"as it comes": False, "compiled by XLA": True}.items():
        weights = [keras.Variable(np.zeros(shape, "float32")) for shape in SHAPES]
        optimizer = keras.optimizers.Adam()
        optimizer.build(weights)
        update = tf.function(optimizer.apply, jit_compile=with_xla)
        calls[f"update, {name}"] = lambda update=update: update(gradients)
    print_in_turn(calls, given.repeats)


if __name__ == "__main__":
    main()
