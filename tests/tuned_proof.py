"""Holds drop-in layers and tuned loops against Keras's own on the backend of the environment.

Prints JSON. Run by test_tuned.py in a process of its own for each backend.
"""

import json
import math
import threading
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from fmnist import data, models
from fmnist.data import preprocess
from fmnist.training import peaks, train
from fmnist.training.tuned import layers, loops

BACKEND = keras.config.backend()
N = 100
POOLS: list[dict[str, Any]] = [
    {"size": size, "padding": padding, "sides": sides, "bare": bare}
    for size in (2, (2, 3))
    for padding in ("valid", "same")
    for sides in ((28, 28), (13, 11))
    for bare in (False, True)
]
CONVOLUTIONS: list[dict[str, Any]] = [
    {"size": size, "padding": padding} for size in (3, (2, 3)) for padding in ("valid", "same")
]


def gradients(model: keras.Model, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """Return the gradient of the compiled loss for every trained weight, dropout off."""
    if BACKEND == "jax":
        import jax

        others = [v.value for v in model.non_trainable_variables]

        def loss(trained: list[Any]) -> Any:  # noqa: ANN401  # an array
            outputs, _ = model.stateless_call(trained, others, x, training=False)
            return keras.ops.mean(model.compute_loss(x=x, y=y, y_pred=outputs))

        found = jax.grad(loss)([v.value for v in model.trainable_variables])
    else:
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = model.compute_loss(x=x, y=y, y_pred=model(x, training=False))
        found = tape.gradient(value, [v.value for v in model.trainable_variables])
    return [np.array(g) for g in found]


def apart(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Return the length of the difference by the length of the second."""
    return float(np.linalg.norm(ours - theirs)) / max(float(np.linalg.norm(theirs)), 1e-12)


def compiled(name: str) -> tuple[keras.Model, np.ndarray, np.ndarray]:
    """Return a model by its recipe, and N real images and labels."""
    recipe = models.card(name).recipe
    sample = data.load_sample(data.locate(), N, N, 0)
    x = preprocess.rescale(sample.train_images)
    one_hot = recipe.loss == "categorical_crossentropy"
    y = preprocess.one_hot(sample.train_labels) if one_hot else sample.train_labels.astype("int32")
    model = models.build(name)
    train.compile_model(model, recipe, steps=1)
    return model, x, y


def layer_proof(name: str, made_for: str) -> dict[str, Any]:
    """Return how far a model with a backend's drop-in layers is from stock, by the same weights.

    The mathematics holds on every backend, so each backend's are tried on both. Pixels and weights
    are of few bits, so that a first convolution of theirs is exact in whatever order it adds: by
    rounding alone, two pixels of a window could change places, and the gradient with them.
    """
    keras.utils.set_random_seed(0)
    model, x, y = compiled(name)
    x = np.round(x * 256) / np.float32(256)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Rescaling):
            layer.scale, layer.offset = 4, -1
    drawn = np.random.default_rng(0)  # a bias that begins at zero would prove nothing
    moved = [w + 0.1 * drawn.standard_normal(w.shape) for w in model.get_weights()]
    model.set_weights([np.round(w * 64) / 64 for w in moved])
    tuned, put = layers.put_in(model, made_for, "cpu")
    if tuned is model:
        return {"put": put, "forward": 0.0, "gradient": 0.0}
    train.compile_model(tuned, models.card(name).recipe, steps=1)
    pairs = zip(gradients(tuned, x, y), gradients(model, x, y), strict=True)
    return {
        "put": put,
        "forward": apart(np.array(tuned(x, training=False)), np.array(model(x, training=False))),
        "gradient": max(apart(*pair) for pair in pairs),
        "weights": [[w.name, list(w.shape)] for w in tuned.weights]
        == [[w.name, list(w.shape)] for w in model.weights],
    }


LEAKY = {"negative_slope": 0.3}
ROWS: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "relu inside": [("Conv2D", {"activation": "relu"}), ("MaxPooling2D", {})],
    "bias alone": [("Conv2D", {}), ("MaxPooling2D", {"pool_size": 3, "strides": 2})],
    "leaky, no bias": [
        ("Conv2D", {"use_bias": False, "padding": "same"}),
        ("LeakyReLU", LEAKY),
        ("MaxPooling2D", {"pool_size": (2, 3), "padding": "same"}),
    ],
    "cut above": [("Conv2D", {}), ("ReLU", {"max_value": 0.2}), ("MaxPooling2D", {})],
    "two activations": [
        ("Conv2D", {"activation": "relu"}),
        ("LeakyReLU", LEAKY),
        ("MaxPooling2D", {}),
    ],
    "another activation": [("Conv2D", {"activation": "silu"}), ("MaxPooling2D", {})],
    "bias held small": [("Conv2D", {"bias_regularizer": "l2"}), ("MaxPooling2D", {})],
    "nothing to move": [("Conv2D", {"use_bias": False}), ("MaxPooling2D", {})],
    "the end": [("Conv2D", {"activation": "relu"})],
}
"""Layers and their arguments, a convolution being of four channels, 3 x 3."""


def row_proof(row: str) -> dict[str, Any]:
    """Return how far a row of layers is from stock where pooling is to come first."""
    of_all = {"Conv2D": {"filters": 4, "kernel_size": 3}}
    made = [getattr(keras.layers, kind)(**of_all.get(kind, {}), **kw) for kind, kw in ROWS[row]]
    model = keras.Sequential(
        [keras.Input((28, 28, 1)), *made, keras.layers.Flatten(), keras.layers.Dense(10)]
    )
    _, x, y = compiled("dense3")
    drawn = np.random.default_rng(0)
    model.set_weights([0.1 * drawn.standard_normal(w.shape) for w in model.get_weights()])
    tuned, put = layers.put_in(model, "tensorflow", "cpu")
    for each in {model, tuned}:
        each.compile(loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    pairs = zip(gradients(tuned, x, y), gradients(model, x, y), strict=True)
    return {
        "row": row,
        "moved": not put.startswith("nothing"),
        "forward": apart(np.array(tuned(x)), np.array(model(x))),
        "gradient": max(apart(*pair) for pair in pairs),
    }


def pool_proof(size: Any, padding: str, sides: tuple[int, int], *, bare: bool) -> dict[str, Any]:  # noqa: ANN401  # int or pair
    """Return how far pooling of whole numbers, full of ties, is from Keras's own.

    Bare: behind a convolution that hands them on as they are, without bias and activation.
    """
    first = (
        keras.layers.Conv2D(3, 1, use_bias=False)
        if bare
        else keras.layers.DepthwiseConv2D(1, use_bias=False)
    )
    model = keras.Sequential(
        [
            keras.Input((*sides, 3)),
            first,
            keras.layers.MaxPooling2D(size, padding=padding),
            keras.layers.Flatten(),
            keras.layers.Dense(2),
        ]
    )
    first.kernel.assign(np.eye(3)[None, None] if bare else np.ones((1, 1, 3, 1)))
    generator = np.random.default_rng(0)
    x = generator.integers(0, 3, (8, *sides, 3)).astype(np.float32)
    return held_against_stock(model, x)


def convolution_proof(size: Any, padding: str) -> dict[str, Any]:  # noqa: ANN401  # int or pair
    """Return how far a convolution of one channel is from Keras's own, its images' gradient too."""
    model = keras.Sequential(
        [
            keras.Input((13, 11, 1)),
            keras.layers.Conv2D(4, size, padding=padding, activation="silu"),
            keras.layers.Flatten(),
            keras.layers.Dense(2),
        ]
    )
    return held_against_stock(model, np.random.default_rng(0).random((8, 13, 11, 1), np.float32))


def held_against_stock(model: keras.Model, x: np.ndarray) -> dict[str, Any]:
    """Return what is put in on JAX, and how far outputs and the images' gradient are from stock."""
    tuned, put = layers.put_in(model, "jax", "cpu")
    y = np.random.default_rng(1).random((len(x), 2)).astype(np.float32)
    found = []
    for each in (tuned, model):
        each.compile(loss="mse")
        found.append((np.array(each(x)), input_gradient(each, x, y)))
    return {
        "put": put,
        "kinds": [type(layer).__name__ for layer in tuned.layers],
        "forward": float(np.abs(found[0][0] - found[1][0]).max()),
        "gradient": apart(found[0][1], found[1][1]),
    }


def input_gradient(model: keras.Model, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the gradient of the loss for every pixel: of equal ones, the chosen one has it."""
    if BACKEND == "jax":
        import jax

        return np.array(jax.grad(lambda x: model.compute_loss(x=x, y=y, y_pred=model(x)))(x))
    import tensorflow as tf

    tensor = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        value = model.compute_loss(x=tensor, y=y, y_pred=model(tensor))
    return np.array(tape.gradient(value, tensor))


def loop_proof(name: str) -> dict[str, Any]:
    """Return how far the losses of tuned steps are from those of stock ones, dropout off."""
    worst, summary = 0.0, ""
    for size in (25, 50):  # an odd batch has no halves
        batches = np.random.default_rng(0).permutation(N).reshape(-1, size)
        model, x, y = compiled(name)
        loop = loops.loop_for(model, BACKEND, "cpu")
        ours = train.follow(model, x, y, 0, batches, loop.steps).losses
        theirs = train.follow(compiled(name)[0], x, y, 0, batches).losses
        worst, summary = max(worst, float(np.abs(ours / theirs - 1).max())), loop.summary
    return {"summary": summary, "losses": worst, "gradient": gradient_proof(name)}


def gradient_proof(name: str) -> float:
    """Return how far the first update of plain gradient descent is from stock: no scale is lost.

    Adam's update would not show it, for it divides by the gradient's size.
    """
    updates = []
    for is_tuned in (True, False):
        model, x, y = compiled(name)
        model.compile(keras.optimizers.SGD(0.1), model.loss, metrics=["accuracy"])
        steps = loops.loop_for(model, BACKEND, "cpu").steps if is_tuned else None
        batches = np.random.default_rng(0).permutation(N).reshape(-1, 50)
        updates.append(train.follow(model, x, y, 0, batches, steps).updates[1])
    return apart(*updates)


def update_proof(kind: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Return how far weights end from those of an optimizer that the loop has not heard of.

    It is a subclass of the same, so Keras's own `apply` updates by it, and nothing is compiled.
    """
    ends, summaries = [], []
    theirs = getattr(keras.optimizers, kind)
    for optimizer_class in (type("Unheard", (theirs,), {}), theirs):
        keras.utils.set_random_seed(0)
        model, x, y = compiled("lenet_dropout")
        rate = keras.optimizers.schedules.ExponentialDecay(0.002, 1, 0.5)
        optimizer = optimizer_class(rate, **settings)
        model.compile(optimizer, model.loss, metrics=["accuracy"])
        loop = loops.loop_for(model, BACKEND, "cpu")
        loop.fit(x, y, batch_size=50, epochs=2, callbacks=[])
        summaries.append(loop.summary)
        ends.append(np.concatenate([np.ravel(w) for w in model.get_weights()]))
    return {
        "apart": ["beside the backward pass" in summary for summary in summaries],
        "weights": apart(*ends),
        "steps": int(optimizer.iterations),
    }


UPDATES: list[tuple[str, dict[str, Any]]] = [
    *((kind, {}) for kind in ("SGD", "Adam", "AdamW", "RMSprop", "Nadam")),
    *(("Adam", {name: 0.01}) for name in ("clipnorm", "clipvalue", "global_clipnorm")),
    *(("Adam", settings) for settings in ({"use_ema": True}, {"gradient_accumulation_steps": 2})),
]


def rest_proof(name: str) -> dict[str, Any]:
    """Return what a tuned fit of two epochs does where the batch does not divide the set."""
    model, x, y = compiled(name)
    model.optimizer.learning_rate = 0.0  # so that every image is seen with the same weights
    before = model.evaluate(x, y, batch_size=N, verbose=0, return_dict=True)
    history = loops.loop_for(model, BACKEND, "cpu").fit(x, y, batch_size=32, epochs=2, callbacks=[])
    return {
        "steps": int(model.optimizer.iterations),
        "epochs": history.epoch,
        "logs": {k: v[-1] for k, v in history.history.items()},
        "evaluated": before,
    }


def fixed_proof() -> dict[str, Any]:
    """Return which models have a fixed part, and two fits with other filters in it in between."""
    model, x, y = compiled("racer_92")
    # At a rate of zero the loss tells which filters were used.
    model.compile(keras.optimizers.SGD(0.0), model.loss, metrics=["accuracy"])
    loop = loops.loop_for(model, BACKEND, "cpu")
    drawn = np.random.default_rng(0)
    losses = []
    for _ in range(2):
        kernel = model.layers[1].kernel
        kernel.assign(drawn.standard_normal(kernel.shape))
        history = loop.fit(x, y, batch_size=50, epochs=2, callbacks=[]).history
        stock = model.evaluate(x, y, batch_size=N, verbose=0, return_dict=True)
        losses.append([*history["loss"], stock["loss"]])
    return {
        "losses": losses,
        "fixed": [n for n in models.names() if loops.parted(compiled(n)[0])[0] is not None],
    }


class OwnOptimizer(keras.optimizers.SGD):  # type: ignore[misc]  # Keras publishes no types
    """An optimizer that the loop has not heard of."""


class Hooked(keras.callbacks.Callback):  # type: ignore[misc]  # Keras publishes no types
    """Wants to be called at every batch."""

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ANN401  # Keras's signature
        """Do nothing."""


def refusal(call: Callable[[], object]) -> str:
    """Return what a ValueError says."""
    try:
        call()
    except ValueError as error:
        return str(error)
    return ""


DROPPED_OF = (101, 99, 7)
"""The shape of what is dropped: no multiple of a word's parts."""


def dropout_proof(rate: float) -> dict[str, Any]:
    """Return what the drop-in dropout makes of ones, in training twice and at test time."""
    import tensorflow as tf

    model = keras.Sequential([keras.Input(DROPPED_OF[1:]), keras.layers.Dropout(rate)])
    tuned, put = layers.put_in(model, "tensorflow", "cpu")
    ones = tf.ones(DROPPED_OF)
    with tf.GradientTape() as tape:
        tape.watch(ones)
        first = tuned(ones, training=True)
    gradient, second = tape.gradient(first, ones), tuned(ones, training=True)
    return {
        "rate": rate,
        "n": math.prod(DROPPED_OF),
        "put": put,
        "dropped": float(np.mean(first == 0)),
        "others": float(np.abs(np.array(first)[first != 0] * (1 - rate) - 1).max()),
        "gradient_goes_there": bool(np.array_equal(gradient, first)),
        "dropped_twice": float(np.mean((first == 0) & (second == 0))),
        "neighbours": float(np.mean((first == 0)[:, 1:] & (first == 0)[:, :-1])),
        "at_test_time": bool(np.array_equal(tuned(ones), ones)),
    }


def untouched_dropout() -> list[str]:
    """Return what is put in for dropout of whole rows, of nothing, and of everything."""
    kinds: list[dict[str, Any]] = [
        {"rate": 0.5, "noise_shape": (None, 1)},
        {"rate": 0},
        {"rate": 1},
    ]
    models_ = [keras.Sequential([keras.Input((4,)), keras.layers.Dropout(**kw)]) for kw in kinds]
    return [layers.put_in(model, "tensorflow", "cpu")[1] for model in models_]


def prediction_proof() -> float:
    """Return how far logits of the loop are from Keras's own, the last batch being of one image."""
    model, x, _ = compiled("lenet_dropout")
    ours = loops.loop_for(model, BACKEND, "cpu").predict(x, N // 9)
    return apart(ours, train.predict(model, x, N))


def peak_proof() -> list[float]:
    """Return peaks of two small operations at once, where each product waits for the other."""
    both, product = threading.Barrier(2, timeout=60), keras.ops.matmul

    def met(*matrices: Any) -> Any:  # noqa: ANN401  # tensors
        both.wait()
        return product(*matrices)

    keras.ops.matmul = met
    found = peaks.measure(BACKEND, (64,), 2**20, at_once=2)
    keras.ops.matmul = product
    return [found.matmul_flop_per_s, found.triad_bytes_per_s]


def unknown_proof() -> dict[str, Any]:
    """Return what is done with layers, optimizers and callbacks that are not covered."""
    overlapping = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Conv2D(4, 3, strides=2),
            keras.layers.MaxPooling2D(3, strides=2),
            keras.layers.BatchNormalization(),
            keras.layers.Flatten(),
            keras.layers.Dense(10),
        ]
    )
    _, x, y = compiled("dense3")
    same, put = layers.put_in(overlapping, "jax", "cpu")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    overlapping.compile(OwnOptimizer(0.01), loss, metrics=["accuracy"])
    loop = loops.loop_for(overlapping, BACKEND, "cpu")
    history = loop.fit(x, y, batch_size=50, epochs=3, callbacks=[])
    return {
        "same": same is overlapping,
        "put": put,
        "losses": history.history["loss"],
        "update": "the update by XLA" in loop.summary,
        "halves": "half" in loop.summary,
        "refused_on_the_instance": refusal(
            lambda: loop.fit(
                x,
                y,
                batch_size=50,
                epochs=1,
                callbacks=[keras.callbacks.LambdaCallback(on_train_batch_end=print)],
            )
        ),
        "refused": refusal(lambda: loop.fit(x, y, batch_size=50, epochs=1, callbacks=[Hooked()])),
    }


if __name__ == "__main__":
    found = {
        "layers": {
            made_for: {name: layer_proof(name, made_for) for name in models.names()}
            for made_for, _ in layers.DROP_INS
        },
        "rows": [row_proof(row) for row in ROWS],
        "pools": [{**pool, **pool_proof(**pool)} for pool in POOLS],
        "loops": {name: loop_proof(name) for name in ("dense3", "lenet_dropout", "racer_92")},
        "rest": {name: rest_proof(name) for name in ("dense3", "leaky_cnn")},
        "convolutions": [{**each, **convolution_proof(**each)} for each in CONVOLUTIONS],
        "fixed": fixed_proof(),
        "predicted": prediction_proof(),
        "peaks": peak_proof(),
        "unknown": unknown_proof(),
    }
    if BACKEND == "tensorflow":
        found["updates"] = [update_proof(*each) for each in UPDATES]
        found["dropout"] = [dropout_proof(rate) for rate in (0.25, 3 / 1_024, 0.4)]
        found["untouched_dropout"] = untouched_dropout()
    print("RESULT " + json.dumps(found))
