"""One wide hidden layer, with as many parameters as `lenet_dropout` (225_034) within 0.02 %.

Dense and conv meet here at equal size: what differs between the two is the convolution.

    (n, 28, 28, 1) -> flatten (n, 784) -> dense 283 relu -> dense 10 logits
    parameters: 784*283 + 283 + 283*10 + 10 = 224_995
"""

import keras
from keras import layers

FAMILY = "dense"
PARAMETERS = 224_995
ORIGIN = "the suite: dense against conv at equal size"
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
            layers.Dense(283, activation="relu"),
            layers.Dense(10),
        ]
    )
