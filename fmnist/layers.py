"""Layers of the racers: Keras 3 layers that Keras does not have, the same on every backend."""

from typing import Any

import keras
import numpy as np
from keras import ops

PATCHES = 20_000


class BiasRelu(keras.layers.Layer):  # type: ignore[misc]  # Keras publishes no types
    """A bias for each channel, then ReLU: (..., channels) to the same shape.

    After a max pooling it computes what a convolution's own bias and ReLU would before it (both
    keep order, so the largest stays the largest), on a quarter of the elements.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Add the bias, at zero."""
        self.bias = self.add_weight(shape=(input_shape[-1],), initializer="zeros", name="bias")

    def call(self, inputs: Any) -> Any:  # noqa: ANN401  # a tensor of the backend
        """Return max(inputs + bias, 0)."""
        return ops.relu(inputs + self.bias)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the input's shape."""
        return input_shape


class RandomShift(keras.layers.Layer):  # type: ignore[misc]  # Keras publishes no types
    """Shifts a batch (n, height, width, channels) by whole pixels in training; else does nothing.

    One offset is drawn for the batch, in each direction, so that it costs one slice and no gather
    for each image; where a loop halves a batch, each half has its own. What is shifted in is 0: the
    layer stands where 0 is the background.

    Args:
        pixels: the largest offset; 0 shifts nothing.
        seed: of the offsets; None: drawn from Keras's own.
    """

    def __init__(self, pixels: int = 1, seed: int | None = None, **settings: Any) -> None:  # noqa: ANN401  # Keras's
        super().__init__(**settings)
        self.pixels = pixels
        self.seed = seed
        self._generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Any, *, training: bool = False) -> Any:  # noqa: ANN401  # a tensor of the backend
        """Return the batch, shifted in training."""
        if not training or not self.pixels:
            return inputs
        room = (self.pixels, self.pixels)
        padded = ops.pad(inputs, ((0, 0), room, room, (0, 0)))
        offsets = keras.random.randint(
            (2,), 0, 2 * self.pixels + 1, dtype="int32", seed=self._generator
        )
        start = ops.stack([0, offsets[0], offsets[1], 0])
        return ops.slice(padded, start, ops.shape(inputs))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "pixels": self.pixels, "seed": self.seed}


class RandomMirror(keras.layers.Layer):  # type: ignore[misc]  # Keras publishes no types
    """Mirrors images (n, height, width, channels) left to right in training; else does nothing.

    Each image has its own draw.

    Args:
        rate: the probability of being mirrored, in [0, 1]; 0 mirrors nothing.
        seed: of the draws; None: drawn from Keras's own.
    """

    def __init__(self, rate: float = 0.5, seed: int | None = None, **settings: Any) -> None:  # noqa: ANN401  # Keras's
        super().__init__(**settings)
        self.rate = rate
        self.seed = seed
        self._generator = keras.random.SeedGenerator(seed)

    def call(self, inputs: Any, *, training: bool = False) -> Any:  # noqa: ANN401  # a tensor of the backend
        """Return the batch, some of its images mirrored in training."""
        if not training or not self.rate:
            return inputs
        drawn = keras.random.uniform(
            (ops.shape(inputs)[0], 1, 1, 1), dtype="float32", seed=self._generator
        )
        return ops.where(drawn < self.rate, ops.flip(inputs, axis=2), inputs)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


class PatchConv2D(keras.layers.Conv2D):  # type: ignore[misc]  # Keras publishes no types
    """A convolution whose filters can begin as the principal components of the images' patches.

    These are the directions of a whitening of the patches, in pairs of opposite sign (a ReLU keeps
    one half of each), all at the norm that He's initialisation has on average. They are trained on
    like any others, or stay with `trainable=False`. Filters beyond twice the size of a patch keep
    their initialisation.
    """

    def adapt(self, images: np.ndarray, seed: int = 0) -> None:
        """Set the filters from images of the training set, before training.

        Args:
            images: (n, height, width, channels) with the channels that the layer was built for;
                their scale and offset do not matter.
            seed: of the patches that are drawn.

        Raises:
            ValueError: The images are too small, or have other channels.
        """
        height, width, channels, filters = self.kernel.shape
        size = height * width * channels
        free_rows, free_columns = (
            images.shape[1] - height + 1,
            images.shape[2] - width + 1,
        )
        if images.shape[3] != channels or min(free_rows, free_columns) < 1:
            raise ValueError(f"a kernel {self.kernel.shape[:3]} has no place in {images.shape}")
        random = np.random.default_rng(seed)
        which, top, left = (
            random.integers(n, size=PATCHES) for n in (len(images), free_rows, free_columns)
        )
        patches = np.stack(
            [
                images[which, top + row, left + column]
                for row in range(height)
                for column in range(width)
            ],
            axis=1,
        ).reshape(PATCHES, size)
        _, components = np.linalg.eigh(np.cov(patches.T))
        pairs = min(filters // 2, size)
        chosen = components[:, ::-1][:, :pairs] * 2**0.5
        kernel = np.array(ops.convert_to_numpy(self.kernel))
        kernel.reshape(size, filters)[:, : 2 * pairs] = np.concatenate([chosen, -chosen], axis=1)
        self.kernel.assign(kernel)


for _layer in (BiasRelu, RandomShift, RandomMirror, PatchConv2D):  # so that saved models find them
    keras.saving.register_keras_serializable(package="fmnist")(_layer)
