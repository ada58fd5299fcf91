"""One epoch in variants: longer by a known part, with and without the fence, part after part gone.

Each is a `fit` of one epoch by the cell's own loop, the same lines on every backend. Runs in a
worker; the parent knows the names from `grid`.
"""

from collections.abc import Callable, Mapping
from functools import partial

import keras
import numpy as np

from fmnist.grid import REFERENCE, SPIKES, base_of
from fmnist.measure import Lap, Stopwatch, no_fence, withheld_clock
from fmnist.training import train
from fmnist.training.tuned.loops import Loop

REFERENCE_SIZE = 1_024


class Variants:
    """A compiled model whose epoch can be run in variants. Each trains the model on.

    Args:
        model: compiled.
        loop: what trains instead of Keras's `fit`; None: nothing does.
        compile_stand_in: compiles what stands in for it in the breakdown; with metrics or not.
        train_set: images (n, 28, 28, 1), repeated where the longest spike takes more, and labels
            to suit the loss.
        batch_size: images per step.
        steps: of the epoch that is varied.
    """

    def __init__(
        self,
        model: keras.Model,
        loop: Loop | None,
        compile_stand_in: Callable[[keras.Model, bool], None],
        train_set: tuple[np.ndarray, np.ndarray],
        *,
        batch_size: int,
        steps: int,
    ) -> None:
        self._model = model
        self._loop = loop
        self._compile_stand_in = compile_stand_in
        images, labels = train_set
        order = np.arange(batch_size * (steps + steps * max(SPIKES.values()) // 100)) % len(images)
        self._images = images = images[order]
        self._labels = labels[order]
        self._batch_size = batch_size
        self._steps = steps
        self._stand_ins: dict[str, keras.Model] = {}
        self._matrix = np.random.default_rng(0).random((REFERENCE_SIZE,) * 2, dtype=np.float32)
        self._runs: Mapping[str, Callable[[], Lap]] = {
            **dict.fromkeys(
                ("epoch", "twin", "fenced", *map(base_of, SPIKES)),
                partial(self._fit, model, images),
            ),
            **{
                name: partial(self._fit, model, images, steps=steps + steps * percent // 100)
                for name, percent in SPIKES.items()
            },
            REFERENCE: self._reference,
            "unfenced": partial(self._fit, model, images, fenced=False),
            "steps": self._sum_of_steps,
            "no_work": self._without_work,
            "no_input": self._without_input,
            "no_metrics": partial(self._without_input, metrics=False),
            "half": partial(self._without_input, metrics=False, steps=steps // 2),
            "hooked": self._hooked,
            "fence": self._fence_alone,
        }

    def run(self, name: str) -> Lap:
        """Return what one round took. Raises ValueError for no variant."""
        if name not in self._runs:
            raise ValueError(f"no variant {name!r}; there are: {', '.join(self._runs)}")
        return self._runs[name]()

    def _fit(
        self,
        model: keras.Model,
        images: np.ndarray,
        *,
        steps: int | None = None,
        fenced: bool = True,
        more: tuple[keras.callbacks.Callback, ...] = (),
    ) -> Lap:
        """Return the seconds of one epoch of so many steps, without the end of what fed it.

        TensorFlow may wait for that as long again: it would hide the parts and the machine's noise.
        """
        n = (steps or self._steps) * self._batch_size
        fence = train.fence_of(model) if fenced else no_fence
        stopwatch = Stopwatch(fence=fence, withheld_clock=withheld_clock)
        clock = train.EpochClock(stopwatch, lambda _, __: None)
        train_on = (
            self._loop.fit if self._loop and model is self._model else partial(train.fit, model)
        )
        train_on(
            images[:n],
            self._labels[:n],
            batch_size=self._batch_size,
            epochs=1,
            callbacks=[clock, *more],
        )
        return stopwatch.lap

    def _sum_of_steps(self) -> Lap:
        """Return the seconds inside the steps, each waited for."""
        if self._loop is not None:
            n = self._steps * self._batch_size
            stopwatch = Stopwatch(fence=train.fence_of(self._model))
            batches = np.arange(n).reshape(self._steps, self._batch_size)
            stopwatch.start()
            for _ in self._loop.unwatched_steps(self._images, self._labels, batches):
                # As the fence reads, but not by it: it is what is audited. Logs would wait too, but
                # what makes them takes longer than a small net's step.
                for variable in self._model.trainable_variables:
                    keras.ops.convert_to_numpy(variable)
            stopwatch.stop()
            return stopwatch.lap
        clock = train.StepClock()
        return self._fit(self._model, self._images, more=(clock,))._replace(seconds=clock.seconds)

    def _hooked(self) -> Lap:
        """Return the seconds of an epoch with a callback that does nothing at every batch."""
        idle = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)  # noqa: ARG005  # Keras's signature
        return self._fit(self._model, self._images, more=(idle,))

    def _without_work(self) -> Lap:
        """Return the seconds with a model that has nearly nothing to compute."""
        return self._fit(self._stand_in("whole images", self._images, metrics=True), self._images)

    def _without_input(self, *, metrics: bool = True, steps: int | None = None) -> Lap:
        """Return the seconds with such a model on images of one pixel."""
        pixels = np.ascontiguousarray(self._images[:, :1, :1])
        model = self._stand_in(f"pixels, metrics {metrics}", pixels, metrics=metrics)
        return self._fit(model, pixels, steps=steps)

    def _stand_in(self, key: str, images: np.ndarray, *, metrics: bool) -> keras.Model:
        """Return the smallest model that takes the images and can learn, compiled."""
        if key not in self._stand_ins:
            inputs = keras.Input(images.shape[1:])
            pixel = keras.layers.Cropping2D(((0, images.shape[1] - 1), (0, images.shape[2] - 1)))
            outputs = keras.layers.Dense(10)(keras.layers.Flatten()(pixel(inputs)))
            model = keras.Model(inputs, outputs)
            self._compile_stand_in(model, metrics)
            self._stand_ins[key] = model
        return self._stand_ins[key]

    def _fence_alone(self) -> Lap:
        """Return the seconds of the fence when there is nothing to wait for: the suite's own."""
        wait = train.fence_of(self._model)
        wait()
        stopwatch = Stopwatch()
        stopwatch.start()
        wait()
        stopwatch.stop()
        return stopwatch.lap

    def _reference(self) -> Lap:
        """Return the seconds of a product of two matrices, 1,024 x 1,024, by NumPy."""
        stopwatch = Stopwatch()
        stopwatch.start()
        np.matmul(self._matrix, self._matrix)
        stopwatch.stop()
        return stopwatch.lap
