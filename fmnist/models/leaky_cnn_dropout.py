"""`leaky_cnn` with dropout after each stage: the cure for its overfitting.

(n, 28, 28, 1) -> conv 32 3x3 same, leaky 0.1 -> pool same (n, 14, 14, 32) -> drop 0.25
-> conv 64 3x3 same, leaky 0.1 -> pool same (n, 7, 7, 64) -> drop 0.25
-> conv 128 3x3 same, leaky 0.1 -> pool same (n, 4, 4, 128) -> drop 0.4
-> flatten (n, 2048) -> dense 128, leaky 0.1 -> drop 0.3 -> dense 10 logits
parameters: 320 + 18_496 + 73_856 + 2048*128 + 128 + 128*10 + 10 = 356_234
"""

import keras
from keras import layers

FAMILY = "conv"
PARAMETERS = 356_234
ORIGIN = "tutorial: Convolutional Neural Networks in Python with Keras"
RECIPE = {
    "loss": "categorical_crossentropy",
    "optimizer": "adam",
    "learning_rate": 0.001,
    "batch_size": 100,
    "epochs": 20,
    "validation_share": 0.2,
}


def build() -> keras.Model:
    """Return the uncompiled model, (n, 28, 28, 1) floats in [0, 1] to (n, 10) logits."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, padding="same"),
            layers.LeakyReLU(negative_slope=0.1),
            layers.MaxPooling2D(padding="same"),
            layers.Dropout(0.25),
            layers.Conv2D(64, 3, padding="same"),
            layers.LeakyReLU(negative_slope=0.1),
            layers.MaxPooling2D(padding="same"),
            layers.Dropout(0.25),
            layers.Conv2D(128, 3, padding="same"),
            layers.LeakyReLU(negative_slope=0.1),
            layers.MaxPooling2D(padding="same"),
            layers.Dropout(0.4),
            layers.Flatten(),
            layers.Dense(128),
            layers.LeakyReLU(negative_slope=0.1),
            layers.Dropout(0.3),
            layers.Dense(10),
        ]
    )
