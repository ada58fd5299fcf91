"""Page faults of a training epoch, and which of glibc's settings ends them.

A network like LeNet, trained by stock Keras `fit` in batches of 100 random images, in processes
that differ in nothing but GLIBC_TUNABLES, in turn. Needs Linux with glibc.
"""

import json
import statistics
import sys
import time

from measured import arguments, child, print_ms, print_terms

LARGE = 8 * 2**30
HUGE_PAGES = "glibc.malloc.hugetlb=1"
MMAP = f"glibc.malloc.mmap_threshold={LARGE}"
TRIM = f"glibc.malloc.trim_threshold={LARGE}"
ONE_ARENA = "glibc.malloc.arena_max=1"
SETTINGS = {
    "as it comes": (),
    "huge pages": (HUGE_PAGES,),
    "trim threshold": (TRIM,),
    "mmap and trim thresholds": (MMAP, TRIM),
    "both and huge pages": (MMAP, TRIM, HUGE_PAGES),
    "both and one arena": (MMAP, TRIM, ONE_ARENA),
    "all four": (MMAP, TRIM, HUGE_PAGES, ONE_ARENA),
}
BATCH = 100
EPOCHS = 3


def train(batches: int) -> dict[str, list[float]]:
    """Return the seconds and the page faults of each epoch, compiled before."""
    import resource

    import keras
    import numpy as np
    from keras import layers

    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(10),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(loss=loss, optimizer="adam")
    draw = np.random.default_rng(0)
    images = draw.random((batches * BATCH, 28, 28, 1), dtype="float32")
    labels = draw.integers(0, 10, len(images))
    model.fit(images, labels, batch_size=BATCH, verbose=0)
    seconds: list[float] = []
    faults: list[float] = []
    for _ in range(EPOCHS):
        before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        model.fit(images, labels, batch_size=BATCH, verbose=0)
        seconds.append(time.perf_counter() - started)
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before.ru_minflt)
    return {"seconds": seconds, "faults": faults}


def main() -> None:
    """Run every setting in turn; print the time and the page faults of a step."""
    given = arguments(__doc__, backends=("jax", "tensorflow"))
    batches = 2 if given.quick else 10
    names = ["as it comes", "all four"] if given.quick else list(SETTINGS)
    steps: dict[str, list[float]] = {name: [] for name in names}
    faults: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(given.repeats):
        for name in names:
            numbers = child(__file__, {"GLIBC_TUNABLES": ":".join(SETTINGS[name])}, str(batches))
            steps[name] += [second / batches for second in numbers["seconds"]]
            faults[name] += [count / batches for count in numbers["faults"]]
    print_terms(given.repeats * EPOCHS)
    for name in names:
        print_ms(f"step, {name}", steps[name])
        print(f"page faults of a step, {name}: {statistics.median(faults[name]):,.0f}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(train(int(sys.argv[2]))))
    else:
        main()
