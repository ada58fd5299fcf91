"""Multinomial logistic regression on flattened pixels: the floor.

(n, 28, 28, 1) -> flatten (n, 784) -> dense 10 logits
parameters: 784*10 + 10 = 7_850
"""

import keras
from keras import layers

FAMILY = "dense"
PARAMETERS = 7_850
ORIGIN = "the suite: what a linear model reaches"
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
            layers.Dense(10),
        ]
    )
