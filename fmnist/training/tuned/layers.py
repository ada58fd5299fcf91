"""The knob `layers`: drop-in layers with the same weights and the same mathematics.

Each is used on the backend and device where it was measured to be faster, and nowhere else
(docs/findings.md has the figures).
"""

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import keras
import numpy as np

KNOB = "layers"

Activation = Callable[[Any], Any]


class MaxPooling2D(keras.layers.MaxPooling2D):  # type: ignore[misc]  # Keras publishes no types
    """Max pooling by windows that do not overlap, as elementwise comparisons.

    XLA on a CPU scatters the gradient of Keras's own pooling one window after another. Here a
    window's pixels are compared in reading order and the first of the largest wins, which is where
    XLA's and TensorFlow's own gradients go too: ties are no exception.

    (n, height, width, channels) to (n, height / size, width / size, channels); a border that fills
    no window is cut off with padding `valid`, and filled up with padding `same`.
    """

    def call(self, inputs: Any) -> Any:  # noqa: ANN401  # a tensor of any backend
        """Return the largest pixel of each window."""
        (down, across), channels = self.pool_size, inputs.shape[3]
        if self.padding == "same":
            missing = [-side % n for side, n in zip(inputs.shape[1:3], self.pool_size, strict=True)]
            around = [(m // 2, m - m // 2) for m in missing]
            inputs = keras.ops.pad(inputs, ((0, 0), *around, (0, 0)), constant_values=-float("inf"))
        rows, columns = inputs.shape[1] // down, inputs.shape[2] // across
        whole = inputs[:, : rows * down, : columns * across]
        windows = keras.ops.reshape(whole, (-1, rows, down, columns, across, channels))
        pixels = [windows[:, :, i, :, j] for i in range(down) for j in range(across)]
        return reduce(_first_of_the_larger, pixels)


def _first_of_the_larger(first: Any, second: Any) -> Any:  # noqa: ANN401  # tensors
    """Return the larger of two elementwise; the gradient goes to the first where they are equal."""
    return keras.ops.where(first >= second, first, second)


class PoolingFirst(keras.layers.MaxPooling2D):  # type: ignore[misc]  # Keras publishes no types
    """Max pooling, and only then the bias and the activation of the convolution before it.

    Both keep order, so the largest stays the largest: the same numbers, and the gradient goes to
    the same pixel, by passes over the pooled elements alone. As the racers have it (docs/race.md).

    Args:
        activation: keeps the order of numbers.
        bias: (channels,), to begin with; None: there is none.
        settings: of the pooling.
    """

    def __init__(
        self,
        activation: Activation,
        bias: np.ndarray | None,
        **settings: Any,  # noqa: ANN401  # Keras's
    ) -> None:
        super().__init__(**settings)
        self._activation = activation
        self._begin = bias

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Take over the bias."""
        super().build(input_shape)
        if self._begin is None:
            return
        self.bias = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="bias")
        self.bias.assign(self._begin)

    def call(self, inputs: Any) -> Any:  # noqa: ANN401  # a tensor of any backend
        """Return activation(largest pixel of each window + bias)."""
        pooled = super().call(inputs)
        return self._activation(pooled if self._begin is None else pooled + self.bias)


WORD_BITS = 32
"""Of the words that TensorFlow's generator draws."""
PARTS = {8: "uint8", 16: "uint16"}
"""Into what a word may be cut, by bits."""


class Dropout(keras.layers.Dropout):  # type: ignore[misc]  # Keras publishes no types
    """Dropout on TensorFlow that draws no more random bits than its rate needs.

    Keras draws a float for each element: 32 bits. A rate of so many 256ths or 65,536ths is met
    exactly by 8 or 16, and any other one by a whole number of 32, which is as fine as a float. The
    elements are dropped independently, by that probability; a seed drops others than in Keras.
    """

    def call(self, inputs: Any, training: bool = False) -> Any:  # noqa: ANN401, FBT001, FBT002  # a tensor; Keras's signature
        """Return the inputs, in training each one 0 by the rate and scaled up if it is not."""
        if not training:
            return inputs
        import tensorflow as tf

        exact = (bits for bits in PARTS if (self.rate * 2**bits).is_integer())
        bits = next(exact, WORD_BITS)
        n, in_a_word = tf.size(inputs), WORD_BITS // bits
        words = tf.random.stateless_uniform(
            [(n + in_a_word - 1) // in_a_word],
            tf.cast(self.seed_generator.next(), tf.int32),
            minval=None,
            maxval=None,
            dtype=tf.uint32,
            alg="philox",  # what XLA takes by itself is many times slower: docs/findings.md
        )
        drawn = tf.reshape(tf.bitcast(words, PARTS[bits]), [-1]) if bits in PARTS else words
        kept = tf.reshape(drawn[:n] >= int(self.rate * 2**bits), tf.shape(inputs))
        return inputs * (tf.cast(kept, inputs.dtype) * (1 / (1 - self.rate)))


Replacements = Mapping[keras.layers.Layer, keras.layers.Layer]
"""What is put in the place of which layer of a model."""


def _compared(model: keras.Model) -> Replacements:
    """Return max pooling as comparisons, where windows do not overlap."""
    return {
        layer: MaxPooling2D(**_settings(layer))
        for layer in model.layers
        if type(layer) is keras.layers.MaxPooling2D
        and layer.pool_size == layer.strides
        and layer.data_format == "channels_last"
        and None not in layer.input.shape[1:]
    }


def _pooled_first(model: keras.Model) -> Replacements:
    """Return convolutions without bias and activation, which come after the pooling instead.

    Covered is what a sequential model has in a row: a convolution, an activation in it or as a
    layer, and max pooling.
    """
    found: dict[keras.layers.Layer, keras.layers.Layer] = {}
    row = model.layers if isinstance(model, keras.Sequential) else []
    for i, convolution in enumerate(row):
        if not _is_plain(convolution):
            continue
        activation, after = convolution.activation, row[i + 1 :]
        if activation is keras.activations.linear and after and _keeps_order(after[0]):
            activation, *after = after
        if not after or type(after[0]) is not keras.layers.MaxPooling2D:
            continue
        if activation is keras.activations.linear and not convolution.use_bias:
            continue  # there is nothing to move
        if isinstance(activation, keras.layers.Layer):
            found[activation] = keras.layers.Identity(name=activation.name)
        bias = np.array(convolution.bias) if convolution.use_bias else None
        found[convolution] = _alone(convolution)
        found[after[0]] = PoolingFirst(activation, bias, **_settings(after[0]))
    return found


def _is_plain(layer: keras.layers.Layer) -> bool:
    """Tell whether it is a trained convolution whose bias and activation can be taken away."""
    return (
        type(layer) is keras.layers.Conv2D
        and layer.built
        and layer.trainable
        and layer.data_format == "channels_last"
        and layer.activation in KEEP_ORDER
        and layer.bias_regularizer is layer.bias_constraint is layer.activity_regularizer is None
    )


KEEP_ORDER = (keras.activations.linear, keras.activations.relu, keras.activations.leaky_relu)


def _dropped_by_bits(model: keras.Model) -> Replacements:
    """Return dropout by as many bits as it needs, where each element is dropped on its own."""
    return {
        layer: Dropout.from_config(layer.get_config())
        for layer in model.layers
        if type(layer) is keras.layers.Dropout and layer.noise_shape is None and 0 < layer.rate < 1
    }


def _keeps_order(layer: keras.layers.Layer) -> bool:
    """Tell whether it is an activation that never falls, and nothing more."""
    return (
        type(layer) in (keras.layers.ReLU, keras.layers.LeakyReLU)  # Keras lets neither fall
        and layer.activity_regularizer is None
    )


def _alone(convolution: keras.layers.Conv2D) -> keras.layers.Conv2D:
    """Return a copy without bias and activation, with the kernel as it is."""
    changed = {"use_bias": False, "activation": None, "kernel_initializer": "zeros"}
    alone = keras.layers.Conv2D.from_config({**convolution.get_config(), **changed})
    alone.build(convolution.input.shape)
    alone.kernel.assign(convolution.kernel)
    return alone


def _settings(pooling: keras.layers.MaxPooling2D) -> dict[str, Any]:
    return {
        "pool_size": pooling.pool_size,
        "strides": pooling.strides,
        "padding": pooling.padding,
        "data_format": pooling.data_format,
        "name": pooling.name,
        "dtype": pooling.dtype_policy,
    }


DropIn = Callable[[keras.Model], Replacements]
DROP_INS: Mapping[tuple[str, str], tuple[DropIn, ...]] = {
    ("jax", "cpu"): (_compared,),
    ("tensorflow", "cpu"): (_pooled_first, _dropped_by_bits),
}
"""By backend and device; none where none was found to be faster."""


def put_in(model: keras.Model, backend: str, device: str) -> tuple[keras.Model, str]:
    """Return the model with drop-in layers, which shares all others, and what was put in.

    Weights of replaced layers are copied as they are, in the model's order. A model that Keras
    cannot clone, or without a layer that is covered, is returned as it is.
    """
    drop_ins = DROP_INS.get((backend, device), ())
    if not drop_ins:
        return model, f"nothing: no drop-in is faster on {backend} on {device}"
    try:
        put = {old: new for drop_in in drop_ins for old, new in drop_in(model).items()}
        if not put:
            return model, "nothing: no layer is covered"
        # Other layers are handed over: from their configurations they would be others.
        tuned = keras.models.clone_model(model, clone_function=lambda layer: put.get(layer, layer))
    except ValueError as error:  # neither sequential nor functional
        return model, f"nothing: {str(error).splitlines()[0]}"
    return tuned, ", ".join(layer.name for layer in model.layers if layer in put)
