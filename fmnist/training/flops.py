"""Multiply-accumulates of a model, counted from the shapes of its layers. Runs in a worker.

Counted is what the model is by its mathematics, whatever a backend does: products of a layer's
inputs with its weights, in fully connected and convolutional layers. Zeros that pad an image are
no inputs. Adding a bias, activations, pooling, normalisation, the loss and the optimizer multiply
no matrices and count nothing.

Source: "model FLOPs" in appendix B of PaLM (Chowdhery et al. 2022, arXiv:2204.02311), which counts
the matrix products of the forward and the backward pass, and nothing that a program does again.
"""

import math
from collections import Counter
from collections.abc import Iterator
from typing import Final, NamedTuple

import keras
import numpy as np

from fmnist.record import FLOP_PER_MAC
from fmnist.training import train

MATRIX_RANK: Final = 2
"""Weights of fewer axes, such as a bias or a scale, take part in no matrix product."""

TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)
SEPARABLE = (keras.layers.SeparableConv1D, keras.layers.SeparableConv2D)


class Use(NamedTuple):
    """A layer in a model: its name there, and whether the model calls it exactly once."""

    name: str
    layer: keras.layers.Layer
    once: bool


def uses(model: keras.Model, prefix: str = "", *, once: bool = True) -> Iterator[Use]:
    """Yield the layers that hold no layers, nested models opened, in the order of the models."""
    # Private to Keras: in public, a layer tells the shapes of its first call, not how many it has.
    by_depth = getattr(getattr(model, "_functional", model), "_nodes_by_depth", {})
    calls = Counter(node.operation for nodes in by_depth.values() for node in nodes)
    for layer in model.layers:
        use = Use(f"{prefix}{layer.name}", layer, once and calls[layer] == 1)
        if getattr(layer, "layers", None):
            yield from uses(layer, f"{use.name}/", once=use.once)
        else:
            yield use


def forward_macs(model: keras.Model) -> dict[str, int | None]:
    """Return the multiply-accumulates for one image of each layer that has a matrix of weights.

    Layers go by their name, those inside a nested model by `model/layer`. None stands for a layer
    that cannot be counted: of a kind that is not known here, called more than once, or called with
    shapes that are not fixed.
    """
    return {use.name: _macs(use) for use in uses(model) if _matrices(use.layer.weights)}


def train_flop_per_image(model: keras.Model) -> int | None:
    """Return the floating-point operations of a training step for each image of its batch.

    2 * sum of MAC_l * passes_l: one pass forward, one for the gradient of weights that are
    trained, and one for the gradient of inputs, where a layer before has anything to train: so
    2 * sum of MAC_l * 3, and * 2 for the first layer. "Before" is by the order of the model's
    layers. None if a layer cannot be counted.
    """
    flop, trained_before = 0, False
    for use in uses(model):
        if _matrices(use.layer.weights):
            macs = _macs(use)
            if macs is None:
                return None
            passes = 1 + bool(_matrices(use.layer.trainable_weights)) + trained_before
            flop += FLOP_PER_MAC * macs * passes
        trained_before = trained_before or bool(use.layer.trainable_weights)
    return flop


def _matrices(weights: list[keras.Variable]) -> list[keras.Variable]:
    return [weight for weight in weights if len(weight.shape) >= MATRIX_RANK]


def _macs(use: Use) -> int | None:
    """Return a layer's multiply-accumulates for one image, or None if it cannot be counted."""
    layer = use.layer
    if not use.once or not isinstance(layer, (keras.layers.Dense, *train.CONV_LAYERS)):
        return None
    inputs, outputs = layer.input.shape[1:], layer.output.shape[1:]
    if None in (*inputs, *outputs):
        return None
    if isinstance(layer, keras.layers.Dense):
        return int(math.prod(outputs) * inputs[-1])
    return _of_convolution(layer, _pixels(layer, inputs), _pixels(layer, outputs))


def _of_convolution(
    layer: keras.layers.Layer, image: tuple[int, ...], positions: tuple[int, ...]
) -> int:
    """Return a layer's multiply-accumulates from the extent of its input and of its output."""
    if isinstance(layer, SEPARABLE):
        apart = _products(layer, image, positions) * _channels(layer.depthwise_kernel)
        return apart + math.prod(positions) * _channels(layer.pointwise_kernel)
    if isinstance(layer, TRANSPOSED):  # the gradient of a convolution the other way round
        image, positions = positions, image
    return _products(layer, image, positions) * _channels(layer.kernel)


def _channels(kernel: keras.Variable) -> int:
    """Return how many pairs of a channel in and a channel out a kernel connects."""
    return math.prod(kernel.shape[-2:])


def _pixels(layer: keras.layers.Layer, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the extent of an image along its axes, without the channels."""
    return shape[1:] if layer.data_format == "channels_first" else shape[:-1]


def _products(layer: keras.layers.Layer, image: tuple[int, ...], positions: tuple[int, ...]) -> int:
    """Return how many pixels a kernel of one channel meets in all its positions."""
    axes = zip(image, positions, layer.kernel_size, layer.strides, layer.dilation_rate, strict=True)
    return math.prod(_met(*axis, layer.padding) for axis in axes)


def _met(
    size: int, positions: int, kernel_size: int, stride: int, dilation: int, padding: str
) -> int:
    """Return how many pixels of a line a kernel meets in all its positions; padding is none."""
    reach = (kernel_size - 1) * dilation
    missing = max((positions - 1) * stride + reach + 1 - size, 0)
    before = {"valid": 0, "same": missing // 2, "causal": reach}[padding]
    starts = stride * np.arange(positions) - before
    pixels = np.add.outer(starts, dilation * np.arange(kernel_size))
    return int(np.count_nonzero((pixels >= 0) & (pixels < size)))
