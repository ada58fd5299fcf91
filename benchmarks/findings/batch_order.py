"""In which order `fit` shows eight images, epoch by epoch, with Keras's seed and without."""

from typing import Any

from measured import arguments, print_terms

IMAGES = 8
EPOCHS = 3


def main() -> None:
    """Print the order of each epoch, as numbers of images."""
    arguments(__doc__, backends=("tensorflow",))
    import keras

    print_terms(1)
    print_orders("not seeded")
    keras.utils.set_random_seed(1)
    print_orders("seeded")


def print_orders(name: str) -> None:
    """Train on batches of one image whose label is its number; print the labels as they come."""
    import keras
    import numpy as np

    seen: list[int] = []

    def loss(labels: Any, outputs: Any) -> Any:  # noqa: ANN401  # a backend's tensors
        seen.append(int(labels[0, 0]))
        return keras.ops.mean(outputs)

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(loss=loss, optimizer="sgd", run_eagerly=True)
    numbers = np.arange(IMAGES).reshape(-1, 1)
    model.fit(numbers.astype("float32"), numbers, batch_size=1, epochs=EPOCHS, verbose=0)
    for epoch in range(EPOCHS):
        order = seen[epoch * IMAGES : (epoch + 1) * IMAGES]
        print(f"{name}, epoch {epoch + 1}: {' '.join(map(str, order))}")


if __name__ == "__main__":
    main()
