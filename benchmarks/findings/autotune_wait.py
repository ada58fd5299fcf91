"""How long TensorFlow waits to let go of an iterator of tf.data, with autotuning and without.

First an iterator alone, read for a while; then Keras's `fit`, which has one for each epoch.
"""

import os
import statistics
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from measured import MS, arguments, print_ms, print_terms

READ_S = (0.5, 1.5)
IMAGES, BATCH, EPOCHS = 3_000, 100, 7


def main() -> None:
    """Time both ways in turn; print the medians, and how often there was a wait."""
    given = arguments(__doc__, backends=("tensorflow",), repeats=10)
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import keras
    import numpy as np
    import tensorflow as tf

    draw = np.random.default_rng(0)
    images = draw.random((IMAGES, 28, 28, 1), dtype="float32")
    labels = draw.integers(10, size=IMAGES)

    def set_of(*, autotune: bool) -> Any:  # noqa: ANN401  # a data set of TensorFlow
        options = tf.data.Options()
        options.autotune.enabled = autotune
        batches = tf.data.Dataset.range(IMAGES).shuffle(IMAGES).batch(BATCH)
        return batches.map(
            lambda places: (tf.gather(images, places), tf.gather(labels, places)),
            num_parallel_calls=tf.data.AUTOTUNE,
        ).with_options(options)

    sets = {"as it comes": set_of(autotune=True), "autotuning off": set_of(autotune=False)}
    let_go: dict[tuple[float, str], list[float]] = {(s, name): [] for s in READ_S for name in sets}
    for _ in range(given.repeats):
        for (read_s, name), seconds in let_go.items():
            seconds.append(released_after(sets[name].repeat(), read_s))
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(32, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(64, 3, activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    given_to_fit: dict[str, tuple[Any, ...]] = {
        "arrays": (images, labels, BATCH),
        **{f"a data set, {name}": (data,) for name, data in sets.items()},
    }
    fitted: dict[str, list[float]] = {name: [] for name in given_to_fit}
    for _ in range(given.repeats):
        for name, data in given_to_fit.items():
            fitted[name] += epochs_of(model, data)
    print_terms(given.repeats)
    for (read_s, name), seconds in let_go.items():
        print_ms(f"let go after {read_s} s, {name}", seconds)
        print(f"waits after {read_s} s, {name}: {sum(s > read_s / 10 for s in seconds)}")
    for name, seconds in fitted.items():
        print_ms(f"epoch of {name}", seconds)
        print(f"mean epoch of {name}: {MS * statistics.fmean(seconds):.0f} ms")


def released_after(data: Any, read_s: float) -> float:  # noqa: ANN401  # a data set of TensorFlow
    """Return the seconds that it takes to let go of an iterator that was read for some seconds."""
    iterator = iter(data)
    begun = time.perf_counter()
    while time.perf_counter() - begun < read_s:
        next(iterator)
    begun = time.perf_counter()
    del iterator
    return time.perf_counter() - begun


def epochs_of(model: Any, data: tuple[Any, ...]) -> Sequence[float]:  # noqa: ANN401  # Keras's
    """Return the seconds from the end of each epoch of a `fit` to the end of the next one."""
    import keras

    ends: list[float] = []
    watch = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: ends.append(time.perf_counter()))
    model.fit(*data, epochs=EPOCHS, verbose=0, callbacks=[watch])
    return [after - before for before, after in pairwise(ends)]


if __name__ == "__main__":
    main()
