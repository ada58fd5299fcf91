"""Counts models and single layers by `training.flops`, and has XLA count what JAX lowers them to.

Run by test_flops.py in a process of its own, on JAX.
"""

import json
from typing import Any

import jax
import keras
import numpy as np
from keras import layers

from fmnist import models
from fmnist.training import flops, train

BATCH_SIZE = 10

# Each layer, and the shape of its input: what can move a kernel over an image, and its edges.
SINGLE_LAYERS: dict[str, tuple[keras.layers.Layer, tuple[int, ...]]] = {
    "dense": (layers.Dense(7), (5,)),
    "dense on rows": (layers.Dense(7), (4, 5)),
    "valid": (layers.Conv2D(6, 3), (9, 8, 4)),
    "same": (layers.Conv2D(6, 3, padding="same"), (9, 8, 4)),
    "same, even kernel": (layers.Conv2D(6, (2, 4), padding="same"), (9, 8, 4)),
    "strides": (layers.Conv2D(6, 3, strides=2), (9, 8, 4)),
    "strides, same": (layers.Conv2D(6, 3, strides=2, padding="same"), (9, 8, 4)),
    "strides beyond the kernel": (layers.Conv2D(6, 2, strides=3, padding="same"), (9, 8, 4)),
    "dilation": (layers.Conv2D(6, 3, dilation_rate=2), (9, 8, 4)),
    "dilation, same": (layers.Conv2D(6, 3, dilation_rate=(2, 3), padding="same"), (9, 8, 4)),
    "groups": (layers.Conv2D(6, 3, groups=2, padding="same"), (9, 8, 4)),
    "one axis": (layers.Conv1D(6, 3, padding="same"), (9, 4)),
    "three axes": (layers.Conv3D(3, 3, padding="same"), (5, 6, 7, 2)),
    "depthwise": (layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same"), (9, 8, 4)),
    "depthwise, one axis": (layers.DepthwiseConv1D(3, strides=2), (9, 4)),
    "separable": (layers.SeparableConv2D(6, 3, depth_multiplier=2, padding="same"), (9, 8, 4)),
    "separable, one axis": (layers.SeparableConv1D(6, 3, padding="same"), (9, 4)),
    "transposed": (layers.Conv2DTranspose(6, 3), (9, 8, 4)),
    "transposed, same": (layers.Conv2DTranspose(6, 3, padding="same"), (9, 8, 4)),
    "transposed, strides": (layers.Conv2DTranspose(6, 3, strides=2), (9, 8, 4)),
    "transposed, strides, same": (
        layers.Conv2DTranspose(6, 3, strides=2, padding="same"),
        (9, 8, 4),
    ),
    "transposed, wide kernel": (
        layers.Conv2DTranspose(6, 4, strides=2, padding="same"),
        (9, 8, 4),
    ),
    "transposed, more output": (
        layers.Conv2DTranspose(6, 3, strides=2, padding="same", output_padding=1),
        (9, 8, 4),
    ),
    "transposed, one axis": (layers.Conv1DTranspose(6, 3, strides=2), (9, 4)),
    "transposed, three axes": (layers.Conv3DTranspose(3, 3, padding="same"), (5, 6, 7, 2)),
}


def structures() -> dict[str, keras.Model]:
    """Return models in which layers do not simply follow one another, or that cannot be counted."""
    pixels = keras.Input((4, 4, 2))
    block = keras.Sequential(
        [keras.Input((4, 4, 2)), layers.Conv2D(3, 3, name="conv")], name="block"
    )
    shared = layers.Dense(5, name="dense")
    fixed = layers.Conv2D(3, 3, name="conv", trainable=False)

    def ended(x: Any) -> keras.Model:  # noqa: ANN401  # a symbolic tensor
        return keras.Model(pixels, layers.Dense(10, name="last")(layers.Flatten()(x)))

    open_pixels = keras.Input((None, None, 2))
    open_model = keras.Model(open_pixels, layers.Conv2D(3, 3, name="conv")(open_pixels))
    line = keras.Input((9, 4))
    causal = layers.Conv1D(6, 3, dilation_rate=2, padding="causal", name="conv")
    return {
        "nested": ended(block(pixels)),
        "unknown": ended(layers.EinsumDense("abcd,de->abce", (4, 4, 7), name="einsum")(pixels)),
        "called twice": ended(
            shared(layers.Dense(5, name="first")(shared(pixels[..., :2]))[..., :2])
        ),
        "model called twice": ended(layers.Add()([block(pixels), block(pixels)])),
        "open": open_model,
        "not trained": ended(fixed(pixels)),
        "normalised first": ended(layers.BatchNormalization()(pixels)),
        "causal": keras.Model(line, causal(line)),
    }


def flop_of(function: Any, *arguments: Any) -> float:  # noqa: ANN401  # any function of JAX
    """Return what XLA counts in a function as JAX lowers it, before any optimisation."""
    analysis: Any = jax.jit(function).lower(*arguments).cost_analysis()
    return float(analysis["flops"])


def layer_macs(layer: keras.layers.Layer, shape: tuple[int, ...]) -> dict[str, float]:
    """Return a layer's count for one image, and XLA's of what it does, without its bias."""
    layer.use_bias = False
    model = keras.Sequential([keras.Input(shape), layer])
    images = np.zeros((BATCH_SIZE, *shape), "float32")
    weights = [weight.value for weight in layer.weights]

    def call(weights: list[jax.Array], images: jax.Array) -> Any:  # noqa: ANN401  # as Keras
        outputs, _ = layer.stateless_call(weights, [], images)
        return outputs

    (counted,) = flops.forward_macs(model).values()
    assert counted is not None
    return {"counted": counted, "by XLA": flop_of(call, weights, images) / 2 / BATCH_SIZE}


def step_flop(name: str) -> dict[str, Any]:
    """Return a model's counts, and XLA's of the gradient of its loss, by its images."""
    model, recipe = models.build(name), models.card(name).recipe
    for layer in model.layers:
        if isinstance(layer, layers.Dropout):  # XLA counts the integers of its random bits
            layer.rate = 0.0
    loss = train.LOSSES[recipe.loss](from_logits=True)
    one_hot = recipe.loss == "categorical_crossentropy"
    images = np.zeros((BATCH_SIZE, 28, 28, 1), "float32")
    labels = np.zeros((BATCH_SIZE, 10) if one_hot else BATCH_SIZE, "float32")
    fixed = [variable.value for variable in model.non_trainable_variables]

    def loss_of(weights: list[jax.Array], images: jax.Array) -> Any:  # noqa: ANN401  # as Keras
        outputs, _ = model.stateless_call(weights, fixed, images, training=True)
        return loss(labels, outputs)

    weights = [variable.value for variable in model.trainable_variables]
    return {
        "forward": list(flops.forward_macs(model).values()),
        "counted": flops.train_flop_per_image(model),
        "by XLA": flop_of(jax.grad(loss_of), weights, images) / BATCH_SIZE,
    }


def main() -> None:
    """Print what was counted."""
    found = {
        "structures": {
            name: [flops.forward_macs(model), flops.train_flop_per_image(model)]
            for name, model in structures().items()
        },
        "layers": {name: layer_macs(*single) for name, single in SINGLE_LAYERS.items()},
        "models": {name: step_flop(name) for name in models.names()},
    }
    print("RESULT " + json.dumps(found))


if __name__ == "__main__":
    main()
