"""Three fully connected layers on flattened pixels: the simple network to begin with.

(n, 28, 28, 1) -> flatten (n, 784) -> dense 128 relu -> dense 64 relu -> dense 10 logits
parameters: 784*128 + 128 + 128*64 + 64 + 64*10 + 10 = 109_386
"""

import keras
from keras import layers

FAMILY = "dense"
PARAMETERS = 109_386
ORIGIN = "dense_then_conv: Fashion-MNIST with Keras"
RECIPE = {
    "loss": "sparse_categorical_crossentropy",
    "optimizer": "adam",
    "learning_rate": 0.001,
    "batch_size": 100,
    "epochs": 10,
    "validation_share": 0.0,
}


def build() -> keras.Model:
    """Return the uncompiled model, (n, 28, 28, 1) floats in [0, 1] to (n, 10) logits."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dense(64, activation="relu"),
            layers.Dense(10),
        ]
    )
