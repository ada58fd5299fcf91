"""The axes of the grid as data: backends, devices, modes, precisions, presets, and the cell.

A new backend or device is an entry here and nothing else. Importing this starts no framework.
"""

import math
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from types import MappingProxyType
from typing import Any

from packaging.specifiers import SpecifierSet

FLAG_PREFIXES = (
    "CUDA_",
    "GLIBC_TUNABLES",
    "JAX_",
    "KERAS_",
    "LD_PRELOAD",
    "MALLOC_",
    "MKL_",
    "NVIDIA_",
    "OMP_",
    "ONEDNN_",
    "OPENBLAS_",
    "TF_",
    "XLA_",
)
"""Environment variables that can change a timing: recorded with every cell."""

NOT_FLAGS = ("KERAS_HOME", "TF_CLI_", "TF_VAR_")
"""What has such a prefix and changes no timing: a path of the user's, and another program's."""

TRUNCATING = ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH")
"""Variables that make Keras stop an epoch early without a word: never handed to a worker."""

Change = Callable[[Any, Any], Any]
"""A function of two tensors of a backend that returns one like the first."""

SMALLEST_LISTED_BATCH = 20
MOST_REPLICAS = 1_024

AUDIT_STEPS = 5
NOISE_STEPS = 100
BREAKDOWN_STEPS = 20
"""Steps of an epoch that is run in variants; a per cent of NOISE_STEPS is a whole step."""


class UnknownNameError(ValueError):
    """A name that the grid does not have; the message lists those that it has."""

    def __init__(self, axis: str, name: str, known: Iterable[str]) -> None:
        super().__init__(f"unknown {axis} {name!r}; there are: {', '.join(known)}")


@dataclass(frozen=True)
class Setting:
    """One environment variable of the knob `environment`, and where it helps.

    Measured with and without: docs/findings.md. Where it was not seen to help it is not set.
    """

    variable: str
    value: str
    """Appended to what the user has there, with a space, if `is_list`; else in its place."""
    is_list: bool = False
    systems: tuple[str, ...] = ("Linux",)
    """As `platform.system` calls them."""
    package: str = ""
    """Whose release decides, and which releases those are; empty: any."""
    releases: SpecifierSet = SpecifierSet()  # noqa: RUF009  # nobody changes it
    for_halves: bool = False
    """Whether it is for a loop that computes halves of a batch side by side on two processors."""

    @property
    def is_known_early(self) -> bool:
        """Whether the parent can tell that it helps; else the worker does, before it imports."""
        return not self.package and not self.for_halves

    def into(self, environ: Mapping[str, str]) -> dict[str, str]:
        """Return the variable as it is to be set in an environment."""
        before = f"{environ.get(self.variable, '')} " if self.is_list else ""
        return {self.variable: f"{before}{self.value}".strip()}


@dataclass(frozen=True)
class Backend:
    """One Keras backend: its package, how to install it, and its environment for each device."""

    title: str
    """The name as its people write it."""
    package: str
    install: Mapping[str, str]
    environment: Mapping[str, Mapping[str, str]]
    tuned: Mapping[str, tuple[Setting, ...]]
    """By device, what the knob `environment` sets; nothing where nothing was found to help."""
    virtual_devices: str
    """The variable that makes so many devices of one processor; empty: the worker makes them."""
    deterministic: Mapping[str, str]
    """What makes the same work give the same numbers; it costs time: in a timing it is a trap."""
    gpu_peak_bytes: Callable[[], int]
    """The allocator's own peak on the first GPU; called in a worker of this backend only."""
    gpu_products: Callable[[], str]
    """How float32 products are computed on a GPU; called in a worker of this backend only."""
    in_place: Callable[[Change, Any, Any], Callable[[], Any]]
    """Return a call that puts change(a, b) in the place of a, compiled by XLA, and returns a tensor
    to wait for; called in a worker of this backend only."""


def _tensorflow_gpu_peak_bytes() -> int:
    import tensorflow as tf

    return int(tf.config.experimental.get_memory_info("GPU:0")["peak"])


def _tensorflow_gpu_products() -> str:
    import tensorflow as tf

    is_on = tf.config.experimental.tensor_float_32_execution_enabled()
    return f"TF32 {'where the GPU has it' if is_on else 'off'}"


def _tensorflow_in_place(change: Change, a: Any, b: Any) -> Callable[[], Any]:  # noqa: ANN401  # tensors
    import tensorflow as tf

    held = tf.Variable(a)

    @tf.function(jit_compile=True)  # type: ignore[untyped-decorator]  # TensorFlow publishes no types
    def step() -> None:  # returns nothing: a value that is returned is a copy
        held.assign(change(held, b))

    def update() -> Any:  # noqa: ANN401  # a tensor
        step()
        return held[:1]

    return update


def _jax_gpu_peak_bytes() -> int:
    import jax

    return int(jax.local_devices()[0].memory_stats()["peak_bytes_in_use"])


def _jax_gpu_products() -> str:
    import jax

    precision = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]  # set at run time
    return "TF32 where the GPU has it" if precision is None else f"precision {precision}"


def _jax_in_place(change: Change, a: Any, b: Any) -> Callable[[], Any]:  # noqa: ANN401  # tensors
    import jax

    held = [a]
    step = jax.jit(change, donate_argnums=0)

    def update() -> Any:  # noqa: ANN401  # a tensor
        held[0] = step(held[0], b)
        return held[0][:1]

    return update


KEEP_MEMORY = Setting(
    "GLIBC_TUNABLES",
    "glibc.malloc.arena_max=1:glibc.malloc.hugetlb=1"
    ":glibc.malloc.mmap_threshold=8589934592:glibc.malloc.trim_threshold=8589934592",
)
"""Temporaries of many megabytes stay in the process, in one heap and on huge pages: else each one
is mapped, and its pages are faulted in, anew."""
XLA_CONVOLUTION = Setting(
    "XLA_FLAGS",
    "--xla_cpu_experimental_ynn_fusion_type=-individual_convolution",
    is_list=True,
    package="jaxlib",
    releases=SpecifierSet(">=0.10.1,!=0.11.*,<0.13"),
)
"""Keeps convolutions out of a fusion whose gradients are slow. Releases before 0.8.2 end the
process for it, in 0.11 it makes no difference, and later ones were not measured."""
ONE_THREAD_FOR_EACH_HALF = (
    Setting("TF_NUM_INTRAOP_THREADS", "1", for_halves=True),
    Setting("TF_NUM_INTEROP_THREADS", "2", for_halves=True),
)
"""Operations of two halves run beside each other; else each of them is cut for two threads too."""

BY_BUS = MappingProxyType({"CUDA_DEVICE_ORDER": "PCI_BUS_ID"})
"""GPUs are numbered as the driver's tools do: the one that is watched is the one at work."""

BACKENDS: Mapping[str, Backend] = MappingProxyType(
    {
        "tensorflow": Backend(
            title="TensorFlow",
            package="tensorflow",
            install={
                "cpu": 'pip install -e ".[tensorflow]"',
                "gpu": 'pip install -e ".[tensorflow-gpu]"',
            },
            environment={
                "cpu": {"CUDA_VISIBLE_DEVICES": "-1"},
                # The workers of a group share the device: none may take all of its memory.
                "gpu": {"TF_FORCE_GPU_ALLOW_GROWTH": "true", **BY_BUS},
            },
            tuned={"cpu": ONE_THREAD_FOR_EACH_HALF, "gpu": ()},
            virtual_devices="",
            deterministic={"TF_DETERMINISTIC_OPS": "1"},
            gpu_peak_bytes=_tensorflow_gpu_peak_bytes,
            gpu_products=_tensorflow_gpu_products,
            in_place=_tensorflow_in_place,
        ),
        "jax": Backend(
            title="JAX",
            package="jax",
            install={
                "cpu": 'pip install -e ".[jax]"',
                "gpu": 'pip install -e ".[jax-gpu]"',
            },
            environment={
                "cpu": {"JAX_PLATFORMS": "cpu"},
                "gpu": {
                    "JAX_PLATFORMS": "cuda",
                    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
                    **BY_BUS,
                },
            },
            tuned={"cpu": (KEEP_MEMORY, XLA_CONVOLUTION), "gpu": ()},
            virtual_devices="JAX_NUM_CPU_DEVICES",
            deterministic={"XLA_FLAGS": "--xla_gpu_deterministic_ops=true"},
            gpu_peak_bytes=_jax_gpu_peak_bytes,
            gpu_products=_jax_gpu_products,
            in_place=_jax_in_place,
        ),
    }
)

DEVICES = ("cpu", "gpu")
KNOBS = ("environment", "layers", "loop")
"""What can be tuned: the process environment; layers, by the same mathematics; the epoch's loop."""


@dataclass(frozen=True)
class Mode:
    """How an epoch is run; by default as Keras comes."""

    knobs: tuple[str, ...] = ()
    """Of KNOBS."""
    whole_epoch: bool = False
    """Keras's `steps_per_execution` is all steps of an epoch."""
    deterministic: bool = False
    """The same numbers every time, asked for as Keras and the backend have it."""


TRAPS: Mapping[str, Mode] = MappingProxyType(
    {
        "steps_per_execution": Mode(whole_epoch=True),
        "deterministic": Mode(deterministic=True),
    }
)
"""What people turn on for speed, or without a thought of it, and what it then costs."""
MODES: Mapping[str, Mode] = MappingProxyType(
    {
        "stock": Mode(),
        "tuned": Mode(KNOBS),
        **{
            "+".join(knobs): Mode(knobs)
            for n in range(1, len(KNOBS))
            for knobs in combinations(KNOBS, n)
        },
        **TRAPS,
    }
)
"""`stock` and `tuned`, the knobs one by one and in pairs, and the traps."""
ABLATION = ("environment", "environment+layers", "layers+loop", "environment+loop")
"""Between `stock` and `tuned`: knob after knob added, and all but one (all but the loop is among
the first)."""
NAMED_MODES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"ablation": ("stock", *ABLATION, "tuned"), "traps": ("stock", *TRAPS)}
)
"""What `--modes` takes for several at once."""
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
XLA: Mapping[str, str | bool] = MappingProxyType({"auto": "auto", "on": True, "off": False})
"""What Keras is given as `jit_compile`: its own choice, or the same on every backend."""

SPIKES: Mapping[str, int] = MappingProxyType(
    {"spike_1": 1, "spike_2": 2, "spike_3": 3, "spike_5": 5}
)
"""Variants of an epoch that are longer by a known part: by how many per cent of its steps."""

REFERENCE = "reference"
"""The variant that is no epoch: a product of two matrices, to set machines side by side."""


def base_of(spike: str) -> str:
    """Return the name of the epochs, as long as ever, that a spike is held against."""
    return f"base_of_{spike}"


NOISE_VARIANTS = ("twin", *SPIKES)
"""What the second process of a noise pair runs, in turn with the `epoch` of the first."""

AUDIT_VARIANTS = ("fenced", "unfenced", "steps")
"""One epoch, timed in three ways that must agree."""

BREAKDOWN_VARIANTS = ("no_work", "no_input", "no_metrics", "half", "hooked", "fence")
"""What is run in turn with a whole `epoch`, to find out where its time goes."""

KERAS_CONFIGURATION = MappingProxyType({"floatx": "float32", "image_data_format": "channels_last"})
"""What every cell runs by, whatever the user's keras.json says."""


@dataclass(frozen=True)
class Preset:
    """How much is run. `None` means: everything there is, or what the model's recipe says."""

    summary: str
    models: tuple[str, ...] | None
    train_images: int | None
    test_images: int | None
    rounds: int | None
    batch_size: int | None
    validation: bool
    predict_rounds: int
    latency_calls: int
    startup_processes: int
    overhead_images: int
    overhead_rounds: int
    audit_rounds: int
    noise_pairs: int
    """Pairs of processes of one cell that are run against each other."""
    noise_rounds: int
    parity_seeds: int
    parity_images: int
    parity_steps: int
    breakdown_models: tuple[str, ...] | None
    breakdown_rounds: int
    time_limit_s: float
    accuracy_floor: float
    """What was learned worse than this is broken, not slow: a guess has 0.1."""

    def by_recipe(self) -> "Preset":
        """Return the same, but each model trained by its recipe: epochs, batch size, validation."""
        return replace(self, rounds=None, batch_size=None, validation=True)


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "smoke": Preset(
            summary="seconds, for tests: the figures mean nothing",
            models=("dense3", "lenet_dropout"),
            train_images=500,
            test_images=500,
            rounds=2,
            batch_size=100,
            validation=False,
            predict_rounds=2,
            latency_calls=5,
            startup_processes=1,
            overhead_images=500,
            overhead_rounds=2,
            audit_rounds=3,
            noise_pairs=1,
            noise_rounds=1,
            parity_seeds=1,
            parity_images=2_000,
            parity_steps=20,
            breakdown_models=("dense3",),
            breakdown_rounds=2,
            time_limit_s=180,
            accuracy_floor=0.0,
        ),
        "quick": Preset(
            summary="the default: minutes on two cores, on a sample of the images",
            models=("dense3", "lenet_dropout", "conv_8_24_48"),
            train_images=2_500,
            test_images=2_000,
            rounds=6,
            batch_size=100,
            validation=False,
            predict_rounds=3,
            latency_calls=100,
            startup_processes=1,
            overhead_images=0,
            overhead_rounds=0,
            audit_rounds=3,
            noise_pairs=3,
            noise_rounds=3,
            parity_seeds=1,
            parity_images=2_000,
            parity_steps=20,
            breakdown_models=("dense3",),
            breakdown_rounds=6,
            time_limit_s=600,
            accuracy_floor=0.2,
        ),
        "full": Preset(
            summary="complete data, each model's own recipe: what gets published",
            models=None,
            train_images=None,
            test_images=None,
            rounds=None,
            batch_size=None,
            validation=True,
            predict_rounds=5,
            latency_calls=200,
            startup_processes=3,
            overhead_images=60_000,
            overhead_rounds=40,
            audit_rounds=3,
            noise_pairs=5,
            noise_rounds=10,
            parity_seeds=10,
            parity_images=5_000,
            parity_steps=150,
            breakdown_models=None,
            breakdown_rounds=10,
            time_limit_s=4 * 3_600,
            accuracy_floor=0.5,
        ),
    }
)


@dataclass(frozen=True, order=True)
class Cell:
    """The unit that is run. Raises UnknownNameError or ValueError if it makes no sense.

    Attributes:
        batch_size: of all replicas together.
        environment: the name that --env gave to the packages its worker runs with; empty: ours.
        replicas: devices that train one model together, each on its part of every batch.
        hosts: processes, each on a machine of its own, that the replicas are spread over.
    """

    model: str
    backend: str
    device: str
    mode: str = "stock"
    batch_size: int = 100
    precision: str = "float32"
    xla: str = "auto"
    environment: str = ""
    replicas: int = 1
    hosts: int = 1

    def __post_init__(self) -> None:
        known("backend", [self.backend], BACKENDS)
        known("device", [self.device], DEVICES)
        known("mode", [self.mode], MODES)
        known("precision", [self.precision], PRECISIONS)
        known("xla", [self.xla], XLA)
        if self.xla != "auto" and self.mode != "stock":
            raise ValueError(f"mode {self.mode} is for XLA auto, got {self.xla}")
        if self.batch_size < 1:
            raise ValueError(f"batch size must be at least 1, got {self.batch_size}")
        self._can_be_spread()

    def _can_be_spread(self) -> None:
        """Raise ValueError unless each replica has the same part of a batch, each host as many."""
        if not 1 <= self.hosts <= self.replicas <= MOST_REPLICAS:
            raise ValueError(
                f"there must be 1 to {MOST_REPLICAS} replicas, and 1 to as many hosts; "
                f"got {self.replicas} replicas on {self.hosts} hosts"
            )
        if self.replicas % self.hosts:
            raise ValueError(
                f"{self.replicas} replicas cannot be spread evenly over {self.hosts} hosts"
            )
        if self.batch_size % self.replicas:
            fitting = [str(n) for n in range(1, MOST_REPLICAS + 1) if self.batch_size % n == 0]
            raise ValueError(
                f"a batch of {self.batch_size} images does not divide over {self.replicas} "
                f"replicas; over these it does: {', '.join(fitting)}"
            )
        if self.replicas > 1 and self.mode != "stock":
            raise ValueError(f"mode {self.mode} is for one device, got {self.replicas} replicas")

    @property
    def local_replicas(self) -> int:
        """The devices that each host trains on."""
        return self.replicas // self.hosts

    @property
    def id(self) -> str:
        """The cell as one word, as in pytest's `-k` and in file names."""
        unusual = [
            f"-xla_{self.xla}" if self.xla != "auto" else "",
            f"-{self.environment}" if self.environment else "",
            f"-x{self.replicas}" if self.replicas > 1 else "",
            f"-on_{self.hosts}_hosts" if self.hosts > 1 else "",
        ]
        return (
            f"{self.model}-{self.backend}-{self.device}-{self.mode}"
            f"-b{self.batch_size}-{self.precision}{''.join(unusual)}"
        )


def known(axis: str, names: Iterable[str], choices: Iterable[str]) -> tuple[str, ...]:
    """Return the names, or raise UnknownNameError for the first one that is no choice."""
    names, choices = tuple(names), tuple(choices)
    for name in names:
        if name not in choices:
            raise UnknownNameError(axis, name, choices)
    return names


def env_for(
    cell: Cell, environ: Mapping[str, str], *, deterministic: bool = False
) -> dict[str, str]:
    """Return the child's environment: the parent's, overruled by the cell's own terms."""
    backend, mode = BACKENDS[cell.backend], MODES[cell.mode]
    kept = {name: value for name, value in environ.items() if name not in TRUNCATING}
    made = {
        **kept,
        **backend.environment[cell.device],
        **(backend.deterministic if deterministic or mode.deterministic else {}),
        **(
            {backend.virtual_devices: str(cell.local_replicas)}
            if backend.virtual_devices and cell.device == "cpu" and cell.local_replicas > 1
            else {}
        ),
        "KERAS_BACKEND": cell.backend,
    }
    for setting in settings(cell.backend, cell.device, cell.mode):
        if setting.is_known_early:
            made |= setting.into(made)
    return made


def settings(backend: str, device: str, mode: str, system: str = "") -> tuple[Setting, ...]:
    """Return what a mode sets on a system (default: this one), whatever is installed there."""
    here = system or platform.system()
    found = BACKENDS[backend].tuned[device] if "environment" in MODES[mode].knobs else ()
    return tuple(setting for setting in found if here in setting.systems)


def flags_in(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of an environment that can change a timing, sorted by name."""
    return {
        name: environ[name]
        for name in sorted(environ)
        if name.startswith(FLAG_PREFIXES) and not name.startswith(NOT_FLAGS)
    }


def check_batch_size(batch_size: int, set_sizes: Sequence[int]) -> None:
    """Raise ValueError, naming sizes that fit, unless the batch size divides every set.

    A partial last batch would be a second shape, compiled inside the clock.
    """
    if batch_size >= 1 and not any(size % batch_size for size in set_sizes):
        return
    common = math.gcd(*set_sizes)
    fitting = [str(b) for b in range(SMALLEST_LISTED_BATCH, common + 1) if common % b == 0]
    raise ValueError(
        f"batch size {batch_size} does not divide the sets of "
        f"{', '.join(f'{size:,}' for size in set_sizes)} images; "
        f"these do: {', '.join(fitting) or common}"
    )
