"""The only caller of Keras's compile, fit, evaluate and predict. Runs in a worker."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import keras
import numpy as np

from fmnist import models, parity
from fmnist.grid import XLA
from fmnist.layers import PatchConv2D, RandomMirror, RandomShift
from fmnist.measure import Fence, Stopwatch
from fmnist.models import Recipe
from fmnist.record import Parameters
from fmnist.training.schedule import RiseAndFall

CONV_LAYERS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)
BATCH_LAYERS = (keras.layers.BatchNormalization,)
"""Layers that compute with statistics of a batch: its images see each other."""
LOSSES = {
    "sparse_categorical_crossentropy": keras.losses.SparseCategoricalCrossentropy,
    "categorical_crossentropy": keras.losses.CategoricalCrossentropy,
}


def compile_model(
    model: keras.Model,
    recipe: Recipe,
    xla: str = "auto",
    *,
    steps: int,
    metrics: bool = True,
    steps_per_execution: int = 1,
) -> None:
    """Compile by the recipe.

    Args:
        model: built.
        recipe: loss, optimizer and its learning rate.
        xla: a key of `grid.XLA`.
        steps: of the whole training, for a learning rate that changes.
        metrics: accuracy is kept while training; False where its cost is asked.
        steps_per_execution: as Keras has it.
    """
    rate: float | RiseAndFall = recipe.learning_rate
    if recipe.rise_share is not None:
        rate = RiseAndFall(recipe.learning_rate, steps, recipe.rise_share)
    optimizer = keras.optimizers.get({"class_name": recipe.optimizer, "config": {}})
    settings = {} if recipe.beta_2 is None else {"beta_2": recipe.beta_2}
    smoothed = {"label_smoothing": recipe.label_smoothing} if recipe.label_smoothing else {}
    model.compile(
        optimizer=type(optimizer)(learning_rate=rate, **settings),
        loss=LOSSES[recipe.loss](from_logits=True, **smoothed),
        metrics=["accuracy"] if metrics else None,
        jit_compile=XLA[xla],
        steps_per_execution=steps_per_execution,
    )


def compile_alike(model: keras.Model, other: keras.Model) -> None:
    """Compile a model as another one is: the same loss, metrics of its own, and one optimizer."""
    metrics = other.get_compile_config()["metrics"]
    model.compile(
        optimizer=other.optimizer,
        loss=other.loss,
        metrics=keras.saving.deserialize_keras_object(metrics),
        jit_compile=other.jit_compile,
    )


def fence_of(model: keras.Model) -> Fence:
    """Return a wait for the device: until every trained weight can be read.

    The same lines on every backend; on a CPU, JAX hands its memory over without a copy.
    """

    def wait() -> None:
        for variable in model.trainable_variables:
            keras.ops.convert_to_numpy(variable)

    return wait


def adapt(model: keras.Model, images: np.ndarray, seed: int) -> bool:
    """Set the layers that learn from images before training; return whether there are any.

    Args:
        model: built.
        images: of the training set, (n, 28, 28, 1).
        seed: of what the layers draw.
    """
    adaptive = [layer for layer in leaves(model) if isinstance(layer, PatchConv2D)]
    for layer in adaptive:
        layer.adapt(images, seed)
    return bool(adaptive)


def restorer(model: keras.Model) -> Callable[[], None]:
    """Return what puts a compiled model back to what it is now.

    Weights, the optimizer's variables, random states; and metrics to nothing.
    """
    model.optimizer.build(model.trainable_variables)
    kept = [
        (variable, np.array(keras.ops.convert_to_numpy(variable)))
        for variable in (*model.variables, *model.optimizer.variables)
    ]

    def restore() -> None:
        for variable, value in kept:
            variable.assign(value)
        model.reset_metrics()

    return restore


class EpochClock(keras.callbacks.Callback):  # type: ignore[misc]  # Keras publishes no types
    """Times each epoch of a training: the first of its callbacks.

    It defines no per-batch hook: one would make Keras wait for the device at every batch on JAX.

    Args:
        stopwatch: started when the epoch begins, stopped when its last batch is done; its
            `lap` is the epoch's.
        measured: is given the seconds and Keras's logs of the epoch; what it does is not timed.
            What it returns is put into the logs, for the callbacks after this one.
    """

    def __init__(
        self,
        stopwatch: Stopwatch,
        measured: Callable[[float, Mapping[str, float]], Mapping[str, float] | None],
    ) -> None:
        super().__init__()
        self._stopwatch = stopwatch
        self._measured = measured

    def on_epoch_begin(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002  # Keras's signature
        """Start the stopwatch."""
        self._stopwatch.start()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:  # noqa: ARG002  # Keras's signature
        """Stop the stopwatch, and hand on what it says."""
        seconds = self._stopwatch.stop()
        logs = {} if logs is None else logs
        found = self._measured(seconds, {name: float(value) for name, value in logs.items()})
        logs.update(found or {})


class EpochGate(keras.callbacks.Callback):  # type: ignore[misc]  # Keras publishes no types
    """Asks after each epoch whether to go on: the last of the callbacks.

    Args:
        go_on: is told whether another callback has ended the training; returns whether there is to
            be another epoch; may block, which is not timed.
    """

    def __init__(self, go_on: Callable[[bool], bool]) -> None:
        super().__init__()
        self._go_on = go_on

    def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002  # Keras's signature
        """Ask."""
        if not self._go_on(bool(self.model.stop_training)):
            self.model.stop_training = True


class BestWeights(keras.callbacks.ModelCheckpoint):  # type: ignore[misc]  # Keras publishes no types
    """Keras's checkpoint of the best validation accuracy, put back when training ends.

    The file lies in a temporary folder for as long as the training takes.
    """

    def __init__(self) -> None:
        self._folder = TemporaryDirectory(prefix="fmnist-best-")
        path = Path(self._folder.name) / "best.weights.h5"
        super().__init__(
            path, monitor="val_accuracy", mode="max", save_best_only=True, save_weights_only=True
        )

    # Keras's own is for saving within an epoch: a hook per batch, for nothing.
    on_train_batch_end = keras.callbacks.Callback.on_train_batch_end

    def on_train_end(self, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002  # Keras's signature
        """Put the best weights back."""
        self.model.load_weights(self.filepath)
        self._folder.cleanup()


def callbacks_of(recipe: Recipe) -> list[keras.callbacks.Callback]:
    """Return Keras's callbacks for what a recipe makes of the validation set.

    They read `val_loss` and `val_accuracy` in an epoch's logs, where a callback before them has put
    these; when the training ends, the weights that the recipe asks for are in the model. Where it
    both stops early and keeps the best, they are those of the best accuracy.
    """
    return [
        *(
            [keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=recipe.halve_after)]
            if recipe.halve_after is not None
            else []
        ),
        *(
            [keras.callbacks.EarlyStopping(patience=recipe.stop_after, restore_best_weights=True)]
            if recipe.stop_after is not None
            else []
        ),
        *([BestWeights()] if recipe.keep_best else []),
    ]


class StepClock(keras.callbacks.Callback):  # type: ignore[misc]  # Keras publishes no types
    """Adds up the seconds of each step. As it has per-batch hooks, Keras waits at every step."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds = 0.0
        self._stopwatch = Stopwatch()

    def on_train_batch_begin(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002  # Keras's signature
        """Start the stopwatch."""
        self._stopwatch.start()

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:  # noqa: ARG002  # Keras's signature
        """Stop it: the logs are numbers by now, so the step is done."""
        self.seconds += self._stopwatch.stop()


class Fit(Protocol):
    """What trains a model: Keras's own `fit`, or a tuned loop."""

    def __call__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        *,
        batch_size: int,
        epochs: int,
        callbacks: list[keras.callbacks.Callback],
    ) -> object:
        """Train for at most `epochs`, as long as the callbacks go on."""


class Predict(Protocol):
    """What predicts: Keras's own, or a tuned loop's."""

    def __call__(self, images: np.ndarray, batch_size: int) -> np.ndarray:
        """Return the logits, (n, ...) to (n, 10)."""


Steps = Callable[[np.ndarray, np.ndarray, np.ndarray], Iterator[Mapping[str, float]]]


def fit(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    batch_size: int,
    epochs: int,
    callbacks: list[keras.callbacks.Callback],
) -> None:
    """Train for at most `epochs`, in one `fit`, as long as the callbacks go on."""
    model.fit(images, labels, batch_size=batch_size, epochs=epochs, verbose=0, callbacks=callbacks)


def fit_in_turns(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    batch_size: int,
    epochs: int,
    callbacks: list[keras.callbacks.Callback],
) -> None:
    """Train as `fit` does, each epoch by one of its own, which has returned when the epoch ends.

    Keras's `fit` holds what fed an epoch until the first step of the next one, and TensorFlow may
    wait to let go of it, for as long again as it has lived. So the wait falls into its own epoch,
    and a rest between two epochs does not lengthen it.

    Args:
        model: compiled.
        images: (n, 28, 28, 1).
        labels: to suit the loss.
        batch_size: images per step.
        epochs: at most.
        callbacks: see one training. Their hooks are for epochs, and for its beginning and end.
    """
    one_training = keras.callbacks.CallbackList(callbacks, model=model)
    begins = keras.callbacks.LambdaCallback(on_epoch_begin=one_training.on_epoch_begin)
    one_training.on_train_begin()
    logs: dict[str, float] = {}
    for epoch in range(epochs):
        history = model.fit(
            images,
            labels,
            batch_size=batch_size,
            initial_epoch=epoch,
            epochs=epoch + 1,
            verbose=0,
            callbacks=[begins],
        ).history
        logs = {name: values[-1] for name, values in history.items()}
        one_training.on_epoch_end(epoch, logs)
        if model.stop_training:
            break
    one_training.on_train_end(logs)


def fit_batches(
    model: keras.Model,
    batches: keras.utils.PyDataset,
    *,
    epochs: int,
    callbacks: list[keras.callbacks.Callback],
) -> None:
    """Train for at most `epochs` on batches that come in an order of their own."""
    model.fit(batches, epochs=epochs, shuffle=False, verbose=0, callbacks=callbacks)


def steps(
    model: keras.Model, images: np.ndarray, labels: np.ndarray, batches: np.ndarray
) -> Iterator[Mapping[str, float]]:
    """Train batch by batch, each waited for; yield the logs of each step.

    `batches` holds indices into the images, (steps, batch size).
    """
    for batch in batches:
        yield model.train_on_batch(images[batch], labels[batch], return_dict=True)


def follow(
    model: keras.Model,
    images: np.ndarray,
    labels: np.ndarray,
    seed: int,
    batches: np.ndarray,
    take_steps: Steps | None = None,
) -> parity.Trace:
    """Train a compiled model so that another backend can do the very same, and trace it.

    Weights are those of `parity.initial_weights`; dropout, shifts and mirroring are off.

    Args:
        model: compiled; it is changed.
        images: (n, 28, 28, 1).
        labels: to suit the loss.
        seed: of the weights.
        batches: (steps, batch size) indices into the images.
        take_steps: a tuned loop's; default: Keras's own steps.
    """
    for layer in leaves(model):
        if isinstance(layer, keras.layers.Dropout | RandomMirror):
            layer.rate = 0.0
        if isinstance(layer, RandomShift):
            layer.pixels = 0
    weights = parity.initial_weights([(w.name, tuple(w.shape)) for w in model.weights], seed)
    model.set_weights(weights)
    outputs = predict(model, images[batches[0]], len(batches[0]))
    losses, updates = [], {}
    taken = (take_steps or partial(steps, model))(images, labels, batches)
    for step, logs in enumerate(taken, start=1):
        losses.append(float(logs["loss"]))
        if step in parity.COMPARED_STEPS:
            updates[step] = parity.update(weights, model.get_weights())
    return parity.Trace(parity.sha256(weights), outputs, np.array(losses), updates)


def evaluate(
    model: keras.Model, images: np.ndarray, labels: np.ndarray, batch_size: int
) -> tuple[float, float]:
    """Return loss and accuracy on a set. The loss holds the model's regularisation, if any."""
    logs = model.evaluate(images, labels, batch_size=batch_size, verbose=0, return_dict=True)
    return float(logs["loss"]), float(logs["accuracy"])


def predict(model: keras.Model, images: np.ndarray, batch_size: int) -> np.ndarray:
    """Return the logits (n, 10) as a NumPy array: when it returns, the device is done."""
    return np.asarray(model.predict(images, batch_size=batch_size, verbose=0))


def recognised(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return which images are given their class, bool (n,); labels (n,) or, one-hot, (n, 10)."""
    return np.asarray(logits.argmax(axis=1) == classes_of(labels))


def classes_of(labels: np.ndarray) -> np.ndarray:
    """Return the class of each label (n,); labels (n,) or, one-hot, (n, 10)."""
    return labels.argmax(axis=1) if labels.ndim > 1 else labels


def save(name: str, weights: list[np.ndarray], path: Path) -> None:
    """Save a model of the suite with these weights as a `.keras` file, whole or not at all.

    It is built anew by its name: uncompiled, and of Keras's own layers whatever the mode.
    """
    model = models.build(name)
    model.set_weights(weights)
    whole = path.with_suffix(".new.keras")
    model.save(whole)
    whole.replace(path)


def predict_one(model: keras.Model, image: np.ndarray) -> np.ndarray:
    """Return the logits (1, 10) of one image (1, 28, 28, 1), without `predict`'s set-up."""
    return np.asarray(model.predict_on_batch(image))


def count_parameters(model: keras.Model) -> Parameters:
    """Return the model's weights by kind of layer."""
    kinds = {"dense": 0, "conv": 0}
    for layer in leaves(model):
        if (kind := kind_of(layer)) in kinds:
            kinds[kind] += layer.count_params()
    total = model.count_params()
    return Parameters(
        total=total,
        trainable=sum(int(np.prod(weight.shape)) for weight in model.trainable_weights),
        other=total - kinds["dense"] - kinds["conv"],
        **kinds,
    )


def has_batch_statistics(model: keras.Model) -> bool:
    """Tell whether the images of a batch see each other."""
    return any(isinstance(layer, BATCH_LAYERS) for layer in leaves(model))


def kind_of(layer: keras.layers.Layer) -> str:
    """Return what a layer's weights count as: `dense`, `conv`, or `other`."""
    if isinstance(layer, keras.layers.Dense):
        return "dense"
    return "conv" if isinstance(layer, CONV_LAYERS) else "other"


def leaves(layer: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Return the layers that hold no layers, nested models opened."""
    inside = getattr(layer, "layers", None)
    return [leaf for child in inside for leaf in leaves(child)] if inside else [layer]
