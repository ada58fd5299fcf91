"""The knob `layers`: drop-in layers with the same weights and the same mathematics.

Each is used on the backend and device where it was measured to be faster, and nowhere else
(docs/findings.md has the figures).
"""

from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import keras

KNOB = "layers"


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


def _max_pooling(layer: keras.layers.Layer) -> "keras.layers.Layer | None":
    """Return the drop-in for a layer, None where it is not covered."""
    covered = (
        type(layer) is keras.layers.MaxPooling2D
        and layer.pool_size == layer.strides
        and layer.data_format == "channels_last"
        and None not in layer.input.shape[1:]
    )
    if not covered:
        return None
    return MaxPooling2D(
        pool_size=layer.pool_size, padding=layer.padding, name=layer.name, dtype=layer.dtype_policy
    )


DropIn = Callable[[keras.layers.Layer], "keras.layers.Layer | None"]
DROP_INS: Mapping[tuple[str, str], tuple[DropIn, ...]] = {("jax", "cpu"): (_max_pooling,)}
"""By backend and device; none where none was found to be faster."""


def put_in(model: keras.Model, backend: str, device: str) -> tuple[keras.Model, str]:
    """Return the model with drop-in layers, which shares all others, and what was put in.

    A model that Keras cannot clone, or without a layer that is covered, is returned as it is.
    """
    drop_ins = DROP_INS.get((backend, device), ())
    if not drop_ins:
        return model, f"nothing: no drop-in is faster on {backend} on {device}"
    put: list[str] = []

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        """Return the drop-in, or the layer itself: from its configuration it would be another."""
        found = next((new for drop_in in drop_ins if (new := drop_in(layer)) is not None), layer)
        if found is not layer:
            put.append(layer.name)
        return found

    try:
        tuned = keras.models.clone_model(model, clone_function=clone)
    except ValueError as error:  # neither sequential nor functional
        return model, f"nothing: {str(error).splitlines()[0]}"
    return (tuned, ", ".join(put)) if put else (model, "nothing: no layer is covered")
