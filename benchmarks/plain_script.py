"""What a user would write to time epochs of `dense3`, and nothing else.

The only addition is that it waits for a line of input before each epoch, so that another program
can take turns with it. Usage: python plain_script.py IMAGES.npz BATCH_SIZE EPOCHS
"""

import sys
import time

import keras
import numpy as np

path, batch_size, epochs = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with np.load(path) as file:
    x = file["images"].astype("float32")[..., None] / 255
    y = file["labels"].astype("int32")

model = keras.Sequential(
    [
        keras.Input((28, 28, 1)),
        keras.layers.Flatten(),
        keras.layers.Dense(128, activation="relu"),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(10),
    ]
)
model.compile(
    loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    optimizer="adam",
    metrics=["accuracy"],
)


class EpochBegins(keras.callbacks.Callback):
    """Knows when an epoch began."""

    def on_epoch_begin(self, epoch, logs=None):
        """Wait for a turn, then look at the clock."""
        sys.stdin.readline()
        self.began = time.perf_counter()


print("ready", 1, flush=True)
begins = EpochBegins()
for _ in range(epochs):
    model.fit(x, y, batch_size=batch_size, verbose=0, callbacks=[begins])
    print("epoch", time.perf_counter() - begins.began, flush=True)
