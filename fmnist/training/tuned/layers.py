"""The knob `layers`: drop-in layers with the same weights and the same mathematics.

Each is used on the backend and device where it was measured to be faster, and nowhere else
(docs/findings.md has the figures).
"""

from collections.abc import Callable, Mapping
from functools import reduce
from itertools import pairwise
from typing import Any

import keras
import numpy as np

from fmnist.layers import PatchConv2D

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
        return reduce(_first_of_the_larger, _pixels(self._filled_up(inputs), self.pool_size))

    def _filled_up(self, inputs: Any) -> Any:  # noqa: ANN401  # tensors
        """Return the images with the border that padding `same` adds, which never wins."""
        if self.padding != "same":
            return inputs
        missing = [-side % n for side, n in zip(inputs.shape[1:3], self.pool_size, strict=True)]
        around = [(m // 2, m - m // 2) for m in missing]
        return keras.ops.pad(inputs, ((0, 0), *around, (0, 0)), constant_values=-float("inf"))


def _pixels(images: Any, window: tuple[int, int]) -> list[Any]:  # noqa: ANN401  # tensors
    """Return the pixels of all windows by their place, in reading order: (n, rows, columns, c)."""
    (height, width, channels), (down, across) = images.shape[1:], window
    rows, columns = height // down, width // across
    whole = images[:, : rows * down, : columns * across]
    windows = keras.ops.reshape(whole, (-1, rows, down, columns, across, channels))
    return [windows[:, :, i, :, j] for i in range(down) for j in range(across)]


def _first_of_the_larger(first: Any, second: Any) -> Any:  # noqa: ANN401  # tensors
    """Return the larger of two elementwise; the gradient goes to the first where they are equal."""
    return keras.ops.where(first >= second, first, second)


class WinnersMaxPooling2D(MaxPooling2D):
    """The same, and which pixel of a window has won is kept for the gradient.

    Then the gradient is one pass that compares nothing. It pays right behind a convolution; where
    an activation stands between, it costs (docs/findings.md).
    """

    def call(self, inputs: Any) -> Any:  # noqa: ANN401  # a tensor of any backend
        """Return the largest pixel of each window."""
        return self._pooled(self._filled_up(inputs))

    def _pooled(self, images: Any) -> Any:  # noqa: ANN401  # tensors
        (height, width, channels), (down, across) = images.shape[1:], self.pool_size
        rows, columns = height // down, width // across

        @keras.ops.custom_gradient  # type: ignore[untyped-decorator]  # Keras publishes no types
        def pooled(images: Any) -> tuple[Any, Callable[..., Any]]:  # noqa: ANN401  # tensors
            best, *others = _pixels(images, self.pool_size)
            winner = keras.ops.zeros_like(best, dtype="int8")
            for place, pixel in enumerate(others, start=1):
                winner = keras.ops.where(pixel > best, keras.ops.cast(place, "int8"), winner)
                best = keras.ops.maximum(best, pixel)
            places = keras.ops.arange(down * across, dtype="int8")
            places = keras.ops.reshape(places, (down, 1, across, 1))

            def gradient(by_outputs: Any) -> Any:  # noqa: ANN401  # tensors
                spread = by_outputs[:, :, None, :, None]
                spread = keras.ops.where(
                    winner[:, :, None, :, None] == places, spread, keras.ops.zeros_like(spread)
                )
                shape = (-1, rows * down, columns * across, channels)
                cut = ((0, 0), (0, height % down), (0, width % across), (0, 0))
                return keras.ops.pad(keras.ops.reshape(spread, shape), cut)

            return best, gradient

        return pooled(images)


class _OneChannel:
    """A convolution of images of one channel, as the sum of its taps' products: a mixin.

    XLA on a CPU makes one vectorised pass of it, where its convolution multiplies a matrix of as
    many columns as the kernel has pixels. The kernel's gradient is such a product, of all patches.
    """

    kernel_size: tuple[int, int]
    padding: str

    def convolution_op(self, inputs: Any, kernel: Any) -> Any:  # noqa: ANN401  # tensors
        """Return what Keras's own does: (n, height, width, 1) to (n, rows, columns, filters)."""
        (high, wide), filters = self.kernel_size, kernel.shape[-1]
        if self.padding == "same":
            around = [((n - 1) // 2, n // 2) for n in self.kernel_size]
            inputs = keras.ops.pad(inputs, ((0, 0), *around, (0, 0)))
        rows, columns = inputs.shape[1] - high + 1, inputs.shape[2] - wide + 1
        taps = [(i, j) for i in range(high) for j in range(wide)]

        @keras.ops.custom_gradient  # type: ignore[untyped-decorator]  # Keras publishes no types
        def summed(images: Any, weights: Any) -> tuple[Any, Callable[..., Any]]:  # noqa: ANN401  # tensors
            seen = [images[:, i : i + rows, j : j + columns] for i, j in taps]

            def gradient(by_outputs: Any) -> tuple[Any, Any]:  # noqa: ANN401  # tensors
                patches = keras.ops.reshape(keras.ops.concatenate(seen, -1), (-1, len(taps)))
                flat = keras.ops.reshape(by_outputs, (-1, filters))
                by_images = sum(
                    keras.ops.pad(
                        keras.ops.sum(by_outputs * weights[tap], -1, keepdims=True),
                        ((0, 0), (i, high - 1 - i), (j, wide - 1 - j), (0, 0)),
                    )
                    for tap, (i, j) in enumerate(taps)
                )
                return by_images, keras.ops.matmul(keras.ops.transpose(patches), flat)

            return sum(part * weights[tap] for tap, part in enumerate(seen)), gradient

        return summed(_made_once(inputs), keras.ops.reshape(kernel, (len(taps), filters)))


def _made_once(inputs: Any) -> Any:  # noqa: ANN401  # a tensor of any backend
    """Keep XLA from computing what comes before anew for each tap."""
    if keras.backend.backend() != "jax":
        return inputs
    import jax

    return jax.lax.optimization_barrier(inputs)  # type: ignore[no-untyped-call]


class OneChannelConv2D(_OneChannel, keras.layers.Conv2D):  # type: ignore[misc]  # Keras publishes no types
    """Keras's, of images of one channel."""


class OneChannelPatchConv2D(_OneChannel, PatchConv2D):
    """The racers', of images of one channel."""


ONE_CHANNEL = {keras.layers.Conv2D: OneChannelConv2D, PatchConv2D: OneChannelPatchConv2D}


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
    row = model.layers if isinstance(model, keras.Sequential) else []
    bare = [after for before, after in pairwise(row) if _is_bare(before)]
    return {
        layer: (WinnersMaxPooling2D if layer in bare else MaxPooling2D)(**_settings(layer))
        for layer in model.layers
        if type(layer) is keras.layers.MaxPooling2D
        and layer.pool_size == layer.strides
        and layer.data_format == "channels_last"
        and None not in layer.input.shape[1:]
    }


def _is_bare(layer: keras.layers.Layer) -> bool:
    """Tell whether it is a convolution without bias and activation."""
    return (
        isinstance(layer, keras.layers.Conv2D)
        and not layer.use_bias
        and layer.activation is keras.activations.linear
    )


def _summed(model: keras.Model) -> Replacements:
    """Return convolutions of images of one channel as sums of products, in float32."""
    return {
        layer: _copied(ONE_CHANNEL[type(layer)], layer)
        for layer in model.layers
        if type(layer) in ONE_CHANNEL
        and layer.built
        and layer.data_format == "channels_last"
        and tuple(layer.strides) == tuple(layer.dilation_rate) == (1, 1)
        and layer.compute_dtype == "float32"  # a sum of nine in fewer bits would be less exact
        and layer.input.shape[-1] == 1
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
    return _copied(keras.layers.Conv2D, convolution, use_bias=False, activation=None)


def _copied(
    kind: type[keras.layers.Conv2D],
    convolution: keras.layers.Conv2D,
    **changed: Any,  # noqa: ANN401  # of its configuration
) -> keras.layers.Conv2D:
    """Return it as another kind of layer, with the weights that are left as they are."""
    copy = kind.from_config({**convolution.get_config(), **changed})
    copy.build(convolution.input.shape)
    copy.kernel.assign(convolution.kernel)
    if copy.use_bias:
        copy.bias.assign(convolution.bias)
    return copy


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
    ("jax", "cpu"): (_compared, _summed),
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
