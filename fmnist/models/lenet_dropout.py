"""LeNet-like network with dropout after each stage: the larger net that follows `dense3`.

(n, 28, 28, 1) -> conv 32 3x3 relu (n, 26, 26, 32) -> pool (n, 13, 13, 32) -> drop 0.25
-> conv 64 3x3 relu (n, 11, 11, 64) -> pool (n, 5, 5, 64) -> drop 0.25
-> flatten (n, 1600) -> dense 128 relu -> drop 0.4 -> dense 10 logits
parameters: 320 + 18_496 + 1600*128 + 128 + 128*10 + 10 = 225_034
"""

import keras
from keras import layers

FAMILY = "conv"
PARAMETERS = 225_034
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
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Dropout(0.25),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Dropout(0.25),
            layers.Flatten(),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.4),
            layers.Dense(10),
        ]
    )
