"""Where a training step of a small dense net goes on JAX: whole, and in parts.

A net of 784, 128, 64 and 10 units with Keras's Adam: 100 steps of 100 images, gathered from 10,000,
in one compiled loop. What a part computes goes into the next step, so that no step is left out.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

from measured import arguments, print_in_turn

IMAGES, BATCH, STEPS = 10_000, 100, 100


def main() -> None:
    """Time a loop of each in turn; print the medians."""
    given = arguments(__doc__, backends=("jax",), repeats=30)
    import jax
    import jax.numpy as jnp
    import keras
    from keras import layers

    def drawn(*shape: int) -> Any:  # noqa: ANN401  # an array
        return jax.random.uniform(jax.random.key(0), shape)

    model = keras.Sequential(
        [
            keras.Input((784,)),
            layers.Dense(128, activation="relu"),
            layers.Dense(64, activation="relu"),
            layers.Dense(10),
        ]
    )
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    weights = [variable.value for variable in model.trainable_variables]
    state = weights, [variable.value for variable in optimizer.variables]
    images, labels = drawn(IMAGES, 784), jnp.arange(IMAGES) % 10
    batches = jax.random.permutation(jax.random.key(1), IMAGES).reshape(STEPS, BATCH)

    def loss(weights: Any, images: Any, batch: Any) -> Any:  # noqa: ANN401  # arrays
        return entropy(labels[batch], model.stateless_call(weights, [], images[batch])[0])

    def whole(state: Any, images: Any, batch: Any) -> Any:  # noqa: ANN401  # arrays
        weights, slots = state
        slopes = jax.grad(loss)(weights, images, batch)
        weights, slots = optimizer.stateless_apply(slots, slopes, weights)
        return list(weights), list(slots)

    def descent(weights: Any, images: Any, batch: Any) -> Any:  # noqa: ANN401  # arrays
        slopes = jax.grad(loss)(weights, images, batch)
        return [w - 0.01 * slope for w, slope in zip(weights, slopes, strict=True)]

    def forward(first: Any, images: Any, batch: Any) -> Any:  # noqa: ANN401  # arrays
        return first + 1e-9 * loss([first, *weights[1:]], images, batch)

    def products(first: Any, images: Any, _: Any) -> Any:  # noqa: ANN401  # arrays
        outputs = images[:BATCH] @ first
        return images[:BATCH].T @ (outputs * 1e-9)

    def gathered(total: Any, images: Any, batch: Any) -> Any:  # noqa: ANN401  # arrays
        return total + images[batch]

    def looped(step: Callable[..., Any]) -> Any:  # noqa: ANN401  # a compiled function
        def loop(start: Any, images: Any) -> Any:  # noqa: ANN401  # arrays
            return jax.lax.scan(lambda kept, b: (step(kept, images, b), None), start, batches)[0]

        return jax.jit(loop)

    begun = {
        "whole": (whole, state),
        "with plain descent for Adam": (descent, weights),
        "forward alone": (forward, weights[0]),
        "both products of the first layer alone": (products, weights[0]),
        "gathering of images alone": (gathered, drawn(BATCH, 784)),
    }
    calls = {
        f"{STEPS} steps, {name}": partial(looped(step), start, images)
        for name, (step, start) in begun.items()
    }
    print_in_turn(calls, given.repeats)


if __name__ == "__main__":
    main()
