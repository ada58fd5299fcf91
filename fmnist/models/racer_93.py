"""Racer for 93 %: two convolutions of 16 and 48 filters, batches shifted and images mirrored.

(n, 28, 28, 1) -> shift, mirror in training -> rescale
-> conv 16 3x3 same (n, 28, 28, 16) -> pool (n, 14, 14, 16) -> bias relu
-> conv 48 3x3 same (n, 14, 14, 48) -> pool (n, 7, 7, 48) -> bias relu
-> flatten (n, 2352) -> dense 256 relu -> dense 10 logits
parameters: 144 + 16 + 6_912 + 48 + 2352*256 + 256 + 256*10 + 10 = 612_058
"""

import keras
from keras import layers

from fmnist.layers import BiasRelu, PatchConv2D, RandomMirror, RandomShift

FAMILY = "conv"
PARAMETERS = 612_058
ORIGIN = "fmnist: time to accuracy"
TIER = 0.93
RECIPE = {
    "loss": "categorical_crossentropy",
    "optimizer": "adam",
    "learning_rate": 0.005,
    "batch_size": 200,
    "epochs": 10,
    "validation_share": 0.0,
    "rise_share": 0.25,
    "beta_2": 0.99,
    "label_smoothing": 0.05,
}

MEAN, DEVIATION = 0.28604, 0.35302  # of the training set's pixels in [0, 1]


def build() -> keras.Model:
    """Return the uncompiled model, (n, 28, 28, 1) floats in [0, 1] to (n, 10) logits."""
    drawn = {"use_bias": False, "kernel_initializer": "he_normal", "padding": "same"}
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            RandomShift(),
            RandomMirror(),
            layers.Rescaling(1 / DEVIATION, -MEAN / DEVIATION),
            PatchConv2D(16, 3, **drawn),
            layers.MaxPooling2D(),
            BiasRelu(),
            layers.Conv2D(48, 3, **drawn),
            layers.MaxPooling2D(),
            BiasRelu(),
            layers.Flatten(),
            layers.Dense(256, activation="relu", kernel_initializer="he_normal"),
            layers.Dense(10),
        ]
    )
