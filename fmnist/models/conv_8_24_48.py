"""Three valid convolutions of 8, 24 and 48 filters, no pooling: almost all weights are dense.

(n, 28, 28, 1) -> conv 8 3x3 relu (n, 26, 26, 8) -> conv 24 3x3 relu (n, 24, 24, 24)
-> conv 48 3x3 relu (n, 22, 22, 48) -> flatten (n, 23232)
-> dense 100 relu -> dense 10 logits
parameters: 80 + 1_752 + 10_416 + 23232*100 + 100 + 100*10 + 10 = 2_336_558
"""

import keras
from keras import layers

FAMILY = "conv"
PARAMETERS = 2_336_558
ORIGIN = "conv_8_24_48: Deep Learning - Fashion MNIST Image Classification"
RECIPE = {
    "loss": "categorical_crossentropy",
    "optimizer": "adam",
    "learning_rate": 0.001,
    "batch_size": 100,
    "epochs": 20,
    "validation_share": 0.2,
}
PUBLISHED = {"validation_accuracy_epoch_5": 0.9167}


def build() -> keras.Model:
    """Return the uncompiled model, (n, 28, 28, 1) floats in [0, 1] to (n, 10) logits."""
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(8, 3, activation="relu"),
            layers.Conv2D(24, 3, activation="relu"),
            layers.Conv2D(48, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(100, activation="relu"),
            layers.Dense(10),
        ]
    )
