"""The child process: one cell, one backend, one device. Started by `launch` with its environment.

It pins itself, imports Keras by the stopwatch, builds, and then does one thing for each order.
An exception ends it: the traceback goes to the cell's log and the parent reads the reason there.
"""

import importlib
import importlib.metadata
import math
import os
import platform
import random
import resource
import socket
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple

from fmnist import bounds, grid, models
from fmnist.channel import (
    Answer,
    Channel,
    EpochDone,
    Job,
    Learned,
    Order,
    PeaksReached,
    Raced,
    Ready,
    Recognised,
    Stopped,
    Timed,
    Traced,
)
from fmnist.measure import Lap, Stopwatch, withheld_clock
from fmnist.record import EVALUATED, EpochResult, PeakMemory, Predictions, packed

if TYPE_CHECKING:
    import numpy as np
    from keras import Model

    from fmnist.training.distributed.spread import Spread
    from fmnist.training.train import Fit

VERSIONED = ("fmnist", "jax", "jaxlib", "keras", "numpy", "tensorflow")
LATENCY_WARMUP_CALLS = 10
HALVES = 2
PROC_STATUS = Path("/proc/self/status")


class Images(NamedTuple):
    """One set: images (n, 28, 28, 1) float32 in [0, 1]; labels (n,) or, one-hot, (n, 10)."""

    images: "np.ndarray"
    labels: "np.ndarray"


class Sets(NamedTuple):
    """The sets of a cell; without a validation share there is no validation set."""

    train: Images
    validation: Images | None
    test: Images


def main(arguments: list[str]) -> None:
    """Serve one job on the channel whose file descriptor is the first argument."""
    end = socket.socket(fileno=int(arguments[0]))
    bounds.bind(end)
    channel = Channel(end)
    job = Job.model_validate_json(channel.receive_line())
    environment = settle_environment(job)
    flags = grid.flags_in(os.environ)  # before libraries set some of their own
    if job.cpus is not None:
        os.sched_setaffinity(0, job.cpus)
    stopwatch = Stopwatch()
    stopwatch.start()
    keras = importlib.import_module("keras")
    import_s = stopwatch.stop()
    flags |= _settle_configuration(keras, job)
    from fmnist.training.distributed import spread

    if job.addresses:
        sys.excepthook = _end_at_once
    devices = spread.spread_for(job)
    device_names = _devices(keras, job)
    if job.device == "gpu":
        flags["float32 products"] = grid.BACKENDS[job.backend].gpu_products()
    Served(channel, job, environment, devices).serve(import_s, device_names[0], flags)


def _end_at_once(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """End the process of an exception. JAX would wait for the other hosts first, for minutes."""
    traceback.print_exception(kind, error, trace)
    sys.stderr.flush()
    os._exit(1)


def settle_environment(job: Job) -> str:
    """Set what the knob `environment` sets for this release and model; say what is set.

    What is known early the parent has set: an allocator reads it before Python runs.
    """
    found = helpful_settings(job)
    for setting in found:
        if not setting.is_known_early:
            os.environ |= setting.into(os.environ)
    if platform.system() != "Linux":
        return f"nothing: no setting was measured on {platform.system()}"
    names = ", ".join(setting.variable for setting in found)
    return names or f"nothing: no setting is known to help {job.model} here"


def helpful_settings(job: Job) -> list[grid.Setting]:
    """Return the settings of a job's mode that help its model, by the releases that are here."""
    return [
        setting
        for setting in grid.settings(job.backend, job.device, job.mode)
        if not setting.package or importlib.metadata.version(setting.package) in setting.releases
        if not setting.for_halves or _has_a_processor_for_each_half(job)
    ]


def _has_a_processor_for_each_half(job: Job) -> bool:
    """Tell whether the loop will cut batches in two, and has just two processors for them.

    With more of them, a thread for each half would leave the others idle.
    """
    card = models.card(job.model)
    is_cut = card.family == "conv" and not card.batch_statistics
    processors = os.sched_getaffinity(0) if job.cpus is None else job.cpus
    return is_cut and "loop" in grid.MODES[job.mode].knobs and len(processors) == HALVES


def _settle_configuration(keras: Any, job: Job) -> dict[str, str]:  # noqa: ANN401  # untyped module
    """Overrule the user's keras.json by the cell's terms, and seed the generators.

    Returns what was overruled, for the record. Raises RuntimeError for another backend.
    """
    if keras.config.backend() != job.backend:
        raise RuntimeError(f"asked for backend {job.backend}, Keras took {keras.config.backend()}")
    found = {
        "floatx": keras.config.floatx(),
        "image_data_format": keras.config.image_data_format(),
    }
    keras.config.set_floatx(grid.KERAS_CONFIGURATION["floatx"])
    keras.config.set_image_data_format(grid.KERAS_CONFIGURATION["image_data_format"])
    keras.config.set_dtype_policy(job.precision)
    if grid.MODES[job.mode].deterministic:
        keras.utils.set_random_seed(job.seed)
    seed_generators(job.seed)
    return {
        f"keras.json {name}": f"{value}, overruled"
        for name, value in found.items()
        if value != grid.KERAS_CONFIGURATION[name]
    }


def seed_generators(seed: int) -> None:
    """Seed what decides weights and dropout on both backends, and the order of batches on JAX.

    TensorFlow's own generator is left alone. Keras shuffles by it inside a data set that starts
    anew every epoch, so a seeded one gives every epoch the same order: another recipe
    (Keras 3.15.1, TensorFlow 2.21). `keras.utils.set_random_seed` does just that, and it imports
    TensorFlow into a JAX process.
    """
    import numpy as np

    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002  # Keras shuffles by the legacy generator


def _devices(keras: Any, job: Job) -> list[str]:  # noqa: ANN401  # untyped module
    """Return the devices of the job's kind. Raises RuntimeError if the backend sees none."""
    try:
        names = keras.distribution.list_devices(job.device)
    except (RuntimeError, AssertionError) as error:  # JAX without CUDA fails on an assertion
        raise RuntimeError(f"{job.backend} sees no {job.device} on this machine: {error}") from None
    if not names:
        raise RuntimeError(f"{job.backend} sees no {job.device} on this machine")
    return list(names)


def prepare(job: Job) -> Sets:
    """Load, sample, split and rescale by the job's terms. Raises DataError for damaged data."""
    # Imported here and not above: Keras's import is timed in a process that holds little else.
    from fmnist import data
    from fmnist.data import preprocess

    folder = Path(job.data_folder) if job.data_folder else None
    source = data.Source(kind=job.data_kind, folder=folder, found_by=job.data_found_by)
    dataset = data.load_sample(source, job.train_images, job.test_images, job.seed)
    train = dataset.train_images, dataset.train_labels
    test = dataset.test_images, dataset.test_labels

    def ready(images: "np.ndarray", labels: "np.ndarray") -> Images:
        return Images(preprocess.rescale(images), preprocess.for_loss(labels, job.recipe.loss))

    if not job.validation_images:
        return Sets(ready(*train), None, ready(*test))
    share = job.validation_images / job.train_images
    parts = preprocess.split(*train, share=share, seed=job.seed)
    return Sets(ready(*parts[:2]), ready(*parts[2:]), ready(*test))


class Served:
    """A built model that does what the parent orders."""

    def __init__(
        self, channel: Channel, job: Job, environment: str, spread: "Spread | None"
    ) -> None:
        from fmnist.training import flops, train, variants
        from fmnist.training.tuned import layers, loops

        self._train = train
        self._flops = flops
        self._peak_memory_bytes: PeakMemory | None = None
        self._channel = channel
        self._job = job
        self._card = models.card(job.model)
        self._sets = prepare(job)
        mode, tuning = grid.MODES[job.mode], {"environment": environment}
        epoch_steps = math.ceil(len(self._sets.train.images) / job.batch_size)
        steps = epoch_steps * job.epochs
        self._spread = spread
        stopwatch = Stopwatch()
        stopwatch.start()
        with spread.scope() if spread else nullcontext():
            self._model = self._counted = models.build(job.model)
            if "layers" in mode.knobs:
                self._model, tuning["layers"] = layers.put_in(self._model, job.backend, job.device)
            train.compile_model(
                self._model,
                job.recipe,
                job.xla,
                steps=steps,
                steps_per_execution=epoch_steps if mode.whole_epoch else 1,
            )
        self._loop = None
        if "loop" in mode.knobs:
            self._loop = loops.loop_for(self._model, job.backend, job.device)
            tuning["loop"] = self._loop.summary
        self._tuning = {knob: tuning[knob] for knob in mode.knobs}
        self._fence = train.fence_of(self._model)
        self._fence()
        self._build_s = stopwatch.stop()
        if spread is not None:
            with spread.alone():
                self._reader = models.build(job.model)
                train.compile_model(self._reader, job.recipe, job.xla, steps=steps)
        self._variants = variants.Variants(
            self._model,
            self._loop,
            lambda model, metrics: train.compile_model(
                model, job.recipe, job.xla, steps=steps, metrics=metrics
            ),
            self._sets.train,
            batch_size=job.batch_size,
            steps=job.steps,
        )

    def serve(self, import_s: float, device_name: str, flags: dict[str, str]) -> None:
        """Report what was built, then carry out orders until the one to stop."""
        self._channel.send(self._ready(import_s, device_name, flags))
        order = self._next_order()
        if order.command == "epoch":
            order = self._fit()
        while order.command != "stop":
            self._channel.send(self._answer_to(order))
            order = self._next_order()
        if "torch" in sys.modules:
            raise RuntimeError("torch was imported: the suite is free of PyTorch")
        memory = self._peak_memory_bytes or self._peak_memory()
        self._channel.send(Stopped(peak_memory_bytes=memory))

    def _next_order(self) -> Order:
        order = self._channel.receive()
        if not isinstance(order, Order):
            raise TypeError(f"expected an order, got {order}")
        return order

    def _answer_to(self, order: Order) -> Answer:
        """Carry an order out. Raises ValueError for one that has no place after training."""
        if order.command == "variant":
            return _epoch_of(self._variants.run(order.variant))
        answers: Mapping[str, Callable[[], Answer]] = {
            "recognise": lambda: Recognised(correct=packed(self._recognised())),
            "trace": self._traced,
            "race": self._raced,
            "learned": self._learned,
            "peaks": self._peaks,
        }
        if order.command in answers:
            return answers[order.command]()
        return Timed(seconds=self._timed_prediction(order))

    def _fit(self) -> Order:
        """Train an epoch for each order to do so; return the first order that is another one."""
        following: list[Order] = []
        done: list[EpochDone] = []
        stopwatch = Stopwatch(fence=self._fence, withheld_clock=withheld_clock)

        def measured(_: float, logs: Mapping[str, float]) -> Mapping[str, float]:
            done[:] = [self._epoch_done(stopwatch.lap, logs)]
            result = done[0].result
            if result is None or result.validation_loss is None:
                return {}
            # As Keras names them: its own callbacks look for these.
            accuracy = result.validation_accuracy or 0.0
            return {"val_loss": result.validation_loss, "val_accuracy": accuracy}

        def go_on(has_ended: bool) -> bool:  # noqa: FBT001  # a callback's signature
            self._channel.send(done[0].model_copy(update={"last": has_ended}))
            following[:] = [self._next_order()]
            return following[0].command == "epoch"

        steering = self._train.callbacks_of(self._job.recipe) if self._job.task == "learn" else []
        self._fit_by(self._train.fit_in_turns)(
            *self._sets.train,
            batch_size=self._job.batch_size,
            epochs=self._job.epochs,
            callbacks=[
                self._train.EpochClock(stopwatch, measured),
                *steering,
                self._train.EpochGate(go_on),
            ],
        )
        return following[0]

    def _fit_by(self, keras_fit: "Callable[..., object]") -> "Fit":
        """Return what trains the model: several devices, a tuned loop, or Keras by `keras_fit`."""
        if self._spread is not None:
            return partial(self._spread.fit, self._model)
        return self._loop.fit if self._loop else partial(keras_fit, self._model)

    def _epoch_done(self, lap: Lap, logs: Mapping[str, float]) -> EpochDone:
        """Return what an epoch achieved: evaluated, outside the clock, where the task asks it."""
        done = _epoch_of(lap)
        if self._job.task not in EVALUATED:
            return done
        stopwatch = Stopwatch()
        stopwatch.start()
        test_loss, test_accuracy = self._evaluate(self._sets.test)
        evaluate_s = stopwatch.stop()
        validation_loss, validation_accuracy = self._validation()
        result = EpochResult(
            train_loss=logs["loss"],
            train_accuracy=logs["accuracy"],
            validation_loss=validation_loss,
            validation_accuracy=validation_accuracy,
            test_loss=test_loss,
            test_accuracy=test_accuracy,
        )
        return done.model_copy(update={"evaluate_s": evaluate_s, "result": result})

    def _validation(self) -> tuple[float, float] | tuple[None, None]:
        """Return loss and accuracy on the validation set; nothing without one."""
        return self._evaluate(self._sets.validation) if self._sets.validation else (None, None)

    def _evaluate(self, images: Images) -> tuple[float, float]:
        with self._one_device() as model:
            return self._train.evaluate(model, *images, batch_size=self._job.batch_size)

    def _recognised(self) -> "np.ndarray":
        images, labels = self._sets.test
        return self._train.recognised(self._predict(images, self._job.batch_size), labels)

    def _predict(self, images: "np.ndarray", batch_size: int) -> "np.ndarray":
        """Return the logits (n, 10), by what trained the model: a tuned loop, or Keras."""
        if self._loop is not None:
            return self._loop.predict(images, batch_size)
        with self._one_device() as model:
            return self._train.predict(model, images, batch_size)

    @contextmanager
    def _one_device(self) -> "Iterator[Model]":
        """Give what was trained as a model on one device: a copy, where several train."""
        if self._spread is None:
            yield self._model
            return
        with self._spread.alone():
            self._reader.set_weights(self._model.get_weights())
            yield self._reader

    def _traced(self) -> Traced:
        """Follow the steps that the other backend follows too, and leave the trace in its file."""
        from fmnist import parity

        if self._job.trace_path is None:
            raise ValueError("a job that is to be traced needs a trace_path")
        train, seed = self._sets.train, self._job.seed
        batches = parity.batches(len(train.images), self._job.batch_size, self._job.steps, seed)
        images = parity.dithered(train.images, seed)
        steps = self._loop.steps if self._loop else None
        trace = self._train.follow(self._model, images, train.labels, seed, batches, steps)
        trace.save(Path(self._job.trace_path), self._recognised())
        return Traced(weights_sha256=trace.weights_sha256)

    def _raced(self) -> Raced:
        """Train by the whole schedule, and read the test set or, in choosing, the held-out part."""
        from fmnist.training import heat

        job, sets = self._job, self._sets
        to_read = sets.validation if job.role == "choosing" else sets.test
        if to_read is None:
            raise ValueError("a job of choosing needs a validation set")
        # No turns of others come between the epochs of a race: they are of one `fit`, as a user's.
        fit = self._fit_by(self._train.fit)
        return heat.run(self._model, fit, self._predict, sets.train, to_read, job)

    def _learned(self) -> Learned:
        """Return what the trained model makes of the test set, and save it."""
        job, test = self._job, self._sets.test
        if job.model_path is None:
            raise ValueError("a job of learning needs a model_path")
        path = Path(job.model_path)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._train.save(self._card.name, self._model.get_weights(), path)
        loss, accuracy = self._evaluate(test)
        validation_loss, validation_accuracy = self._validation()
        logits = self._predict(test.images, job.batch_size)
        return Learned(
            accuracy=accuracy,
            loss=loss,
            validation_accuracy=validation_accuracy,
            validation_loss=validation_loss,
            predictions=Predictions.of(self._train.classes_of(test.labels), logits),
        )

    def _peaks(self) -> PeaksReached:
        """Measure what the machine gives; the arrays for it are no memory of the cell's."""
        from fmnist.training import peaks

        self._peak_memory_bytes = self._peak_memory()
        halved = any(setting.for_halves for setting in helpful_settings(self._job))
        at_once = HALVES if halved else 1
        return PeaksReached(peaks=peaks.measure(self._job.backend, at_once=at_once))

    def _timed_prediction(self, order: Order) -> tuple[float, ...]:
        """Return the seconds of one prediction of the test set, or of single images in turn."""
        stopwatch, seconds = Stopwatch(), []
        images = self._sets.test.images
        if order.command == "predict":
            stopwatch.start()
            self._predict(images, self._job.batch_size)
            return (stopwatch.stop(),)
        if order.command != "latency":
            raise ValueError(f"cannot carry out {order.command!r} now")
        for index in range(LATENCY_WARMUP_CALLS + self._job.latency_calls):
            image = images[index % len(images)][None]
            stopwatch.start()
            self._train.predict_one(self._model, image)
            seconds.append(stopwatch.stop())
        return tuple(seconds[LATENCY_WARMUP_CALLS:])

    def _ready(self, import_s: float, device_name: str, flags: dict[str, str]) -> Answer:
        parameters = self._train.count_parameters(self._counted)
        if parameters.total != self._card.parameters:
            raise RuntimeError(
                f"model {self._job.model} states PARAMETERS = {self._card.parameters:_}, "
                f"as built it has {parameters.total:_}"
            )
        batch_statistics = self._train.has_batch_statistics(self._counted)
        if batch_statistics != self._card.batch_statistics:
            raise RuntimeError(
                f"model {self._job.model} needs BATCH_STATISTICS = {batch_statistics} in its file: "
                f"that is what its layers make of a batch"
            )
        validation = self._sets.validation
        return Ready(
            import_s=import_s,
            build_s=self._build_s,
            parameters=parameters,
            forward_macs=self._flops.forward_macs(self._counted),
            train_flop_per_image=self._flops.train_flop_per_image(self._counted),
            jit_compile=bool(self._model.jit_compile),
            train_images=len(self._sets.train.images),
            validation_images=len(validation.images) if validation else 0,
            test_images=len(self._sets.test.images),
            device_name=device_name,
            versions=_versions(),
            threads=_threads(),
            flags=flags,
            tuning=self._tuning,
            shared_device=self._spread is not None and self._spread.shared_device,
        )

    def _peak_memory(self) -> PeakMemory:
        on_gpu = self._job.device == "gpu"
        device = grid.BACKENDS[self._job.backend].gpu_peak_bytes() if on_gpu else None
        return PeakMemory(host=_host_peak_bytes(), device=device)


def _epoch_of(lap: Lap) -> EpochDone:
    """Return an epoch of which nothing is known but what it took."""
    return EpochDone(
        epoch_s=lap.seconds,
        processor_s=lap.processor_s,
        withheld_s=lap.withheld_s,
        evaluate_s=None,
        result=None,
    )


def _host_peak_bytes() -> int:
    """Return the peak resident memory of this process."""
    if PROC_STATUS.exists():
        # Linux's getrusage would count the parent's peak in, from between fork and exec.
        lines = PROC_STATUS.read_text(encoding="utf-8").splitlines()
        kib = next(line for line in lines if line.startswith("VmHWM:")).split()[1]
        return int(kib) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _versions() -> dict[str, str]:
    """Return the versions of what is imported here, and of Python."""
    imported = [name for name in VERSIONED if name in sys.modules]
    versions = {name: str(sys.modules[name].__version__) for name in imported}
    return {"python": platform.python_version(), **versions}


def _threads() -> dict[str, Any]:
    """Return the processors this process may use, and the size of each native thread pool."""
    from threadpoolctl import threadpool_info

    cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    pools = {str(p["internal_api"]): int(p["num_threads"]) for p in threadpool_info()}
    return {"cpus": cpus, "cpu_count": os.cpu_count(), "pools": pools}


if __name__ == "__main__":
    main(sys.argv[1:])
