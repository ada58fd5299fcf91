"""What a backend takes for the derivative where there is more than one: at a kink and in a tie."""

from typing import Any

from measured import arguments, print_terms


def main() -> None:
    """Print each derivative."""
    given = arguments(__doc__, backends=("jax", "tensorflow"))
    from keras import ops

    zero, equal = ops.zeros((1,)), ops.ones((1, 2, 2, 1))
    cases = {
        "relu at 0": (ops.relu, zero),
        "leaky_relu at 0, slope 0.2": (lambda x: ops.leaky_relu(x, 0.2), zero),
        "max_pool of four equals": (lambda x: ops.max_pool(x, (2, 2), (2, 2)), equal),
        "max of four equals": (ops.max, equal),
        "maximum of two equals": (lambda x: ops.maximum(x[0], x[1]), ops.ones((2, 1))),
    }
    print_terms(1)
    for name, (function, at) in cases.items():
        found = ops.convert_to_numpy(derivative(function, at, given.backend))
        print(f"{name}: {' '.join(f'{number:g}' for number in found.ravel())}")


def derivative(function: Any, at: Any, backend: str) -> Any:  # noqa: ANN401  # a backend's tensors
    """Return the derivative of the function's sum, of the shape of `at`."""
    if backend == "jax":
        import jax

        return jax.grad(lambda x: function(x).sum())(at)
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(at)
        result = function(at)
    return tape.gradient(result, at)


if __name__ == "__main__":
    main()
