"""Two blocks of two convolutions with batch normalisation, pooling, dropout and L2.

block f: conv f 3x3 same (no bias, L2) -> batch norm -> relu, twice; pool; drop
(n, 28, 28, 1) -> block 32 (n, 14, 14, 32) -> block 64 (n, 7, 7, 64) -> flatten (n, 3136)
-> dense 128 (no bias, L2) -> batch norm -> relu -> drop 0.4 -> dense 10 logits
parameters: 288 + 9_216 + 18_432 + 36_864 conv, 2*4*32 + 2*4*64 + 4*128 batch norm
(half of them not trained), 3136*128 + 128*10 + 10 dense = 468_778
"""

import keras
from keras import layers

FAMILY = "conv"
PARAMETERS = 468_778
BATCH_STATISTICS = True
ORIGIN = "imagerecognition: image recognition with Keras on fashion data"
RECIPE = {
    "loss": "categorical_crossentropy",
    "optimizer": "adam",
    "learning_rate": 0.001,
    "batch_size": 100,
    "epochs": 15,
    "validation_share": 0.2,
}


def build() -> keras.Model:
    """Return the uncompiled model, (n, 28, 28, 1) floats in [0, 1] to (n, 10) logits."""
    inputs = x = keras.Input((28, 28, 1))
    for filters in (32, 64):
        for _ in range(2):
            x = layers.Conv2D(filters, 3, padding="same", use_bias=False, kernel_regularizer=_l2())(
                x
            )
            x = layers.BatchNormalization()(x)
            x = layers.ReLU()(x)
        x = layers.MaxPooling2D()(x)
        x = layers.Dropout(0.25)(x)
    x = layers.Flatten()(x)
    x = layers.Dense(128, use_bias=False, kernel_regularizer=_l2())(x)
    x = layers.BatchNormalization()(x)
    x = layers.ReLU()(x)
    x = layers.Dropout(0.4)(x)
    return keras.Model(inputs, layers.Dense(10)(x))


def _l2() -> keras.regularizers.Regularizer:
    return keras.regularizers.L2(1e-4)
