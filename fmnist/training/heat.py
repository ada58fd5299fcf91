"""One entrant's run in the race, in a worker: a whole training by the clock, then one reading."""

import keras
import numpy as np
from scipy.special import log_softmax

from fmnist.channel import Job, Raced
from fmnist.data import preprocess
from fmnist.measure import Fence, Lap, Stopwatch, withheld_clock
from fmnist.models import Recipe
from fmnist.record import Race
from fmnist.training import train

READING_BATCH = 1_000


Images = tuple[np.ndarray, np.ndarray]
"""One set: images (n, 28, 28, 1) float32 in [0, 1]; labels (n,) or, one-hot, (n, 10)."""


def run(
    model: keras.Model,
    fit: train.Fit,
    predict: train.Predict,
    training: Images,
    to_read: Images,
    job: Job,
) -> Raced:
    """Train a whole schedule with everything compiled, and read a set once, at the end.

    Args:
        model: compiled for as many steps as the schedule has; it is changed.
        fit: trains it: Keras's own, or a tuned loop.
        predict: gives its logits, by the same.
        training: the images to train on.
        to_read: the set whose accuracy counts.
        job: of task `race`. Raises ValueError for one without a role.
    """
    if job.role is None:
        raise ValueError("a job of task race needs a role")
    recipe, fence = job.recipe, train.fence_of(model)
    restore = train.restorer(model)
    (first,) = _fitted(fit, fence, training, recipe.batch_size, epochs=1)
    restore()
    stopwatch = Stopwatch(fence=fence)
    stopwatch.start()
    adapted = train.adapt(model, training[0], job.seed)
    adapt_s = stopwatch.stop() if adapted else 0.0
    stopwatch.start()
    epochs = _fitted(fit, fence, training, recipe.batch_size, recipe.epochs)
    fit_s = stopwatch.stop()
    epoch_s, processor_s, withheld_s = zip(*epochs, strict=True)
    return Raced(
        first_epoch_s=first.seconds,
        epoch_s=epoch_s,
        processor_s=processor_s,
        withheld_s=withheld_s,
        race=Race(
            role=job.role, adapt_s=adapt_s, fit_s=fit_s, **_reading(predict, to_read, recipe)
        ),
    )


def _fitted(
    fit: train.Fit, fence: Fence, training: Images, batch_size: int, epochs: int
) -> list[Lap]:
    """Train so many epochs; return what each took."""
    stopwatch = Stopwatch(fence=fence, withheld_clock=withheld_clock)
    measured: list[Lap] = []
    clock = train.EpochClock(stopwatch, lambda _, __: measured.append(stopwatch.lap))
    fit(*training, batch_size=batch_size, epochs=epochs, callbacks=[clock])
    return measured


def _reading(predict: train.Predict, to_read: Images, recipe: Recipe) -> dict[str, float]:
    """Return the accuracy by one view and, apart and by the clock, by as many as the recipe has."""
    images, labels = to_read
    batch_size = min(READING_BATCH, len(images))
    plain = train.recognised(predict(images, batch_size), labels)
    reading = {"accuracy": float(plain.mean())}
    if recipe.views:
        stopwatch = Stopwatch()
        stopwatch.start()
        joined = sum(
            log_softmax(predict(view, batch_size).astype(np.float32), axis=1)  # bfloat16 adds badly
            for view in preprocess.views(images, recipe.views)
        )
        chosen = np.asarray(joined).argmax(axis=1)
        reading["views_s"] = stopwatch.stop()
        reading["views_accuracy"] = float((chosen == train.classes_of(labels)).mean())
    return reading
