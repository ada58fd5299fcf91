"""Saves models that `fmnist predict` may meet, and tells what Keras itself says by one of them.

Run by test_saved.py in a process of its own; the folder it writes to holds `images.npy`.
"""

import json
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from fmnist.layers import BiasRelu


class Foreign(layers.Layer):  # type: ignore[misc]  # Keras publishes no types
    """A layer that only this script knows."""

    def call(self, inputs: Any) -> Any:  # noqa: ANN401  # a tensor of the backend
        """Return the inputs."""
        return inputs


def model(*first: layers.Layer, classes: int = 10, channels: int = 1) -> keras.Model:
    """Return a small convolutional model with the same weights on every backend."""
    made = keras.Sequential(
        [
            keras.Input((28, 28, channels)),
            *first,
            layers.Conv2D(4, 3, use_bias=False),
            layers.MaxPooling2D(),
            BiasRelu(),
            layers.Flatten(),
            layers.Dense(classes),
        ]
    )
    rng = np.random.default_rng(0)
    made.set_weights([rng.normal(0, 0.3, w.shape).astype(np.float32) for w in made.get_weights()])
    return made


def main(folder: Path) -> None:
    """Save the models, and print what the sound one says about the images."""
    sound = model()
    diverged = model()
    diverged.set_weights([w * np.nan for w in diverged.get_weights()])
    for name, made in {
        "sound": sound,
        "probabilities": keras.Sequential([sound, layers.Softmax()]),
        "diverged": diverged,
        "colour": model(channels=3),
        "five": model(classes=5),
        "foreign": model(Foreign()),
        "code": model(layers.Lambda(lambda x: x)),
    }.items():
        made.save(folder / f"{name}.keras")
    images = np.load(folder / "images.npy").astype(np.float32)[..., None] / 255
    logits = keras.ops.convert_to_tensor(sound.predict(images, verbose=0))
    told = keras.ops.convert_to_numpy(keras.ops.softmax(logits)).tolist()
    print(f"RESULT {json.dumps({'probabilities': told})}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
