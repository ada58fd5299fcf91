"""What a GPU does while an epoch is timed: clocks, power, temperature, and why it is throttled.

By the driver's own library, through nvidia-ml-py. The parent looks, in a thread, a few times a
second; the worker and its device are not asked.
"""

import importlib
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import fmean
from types import ModuleType
from typing import Any, NamedTuple

from fmnist.record import Watched

PERIOD_S = 0.2
THROTTLING = (
    "SwPowerCap",
    "HwSlowdown",
    "SwThermalSlowdown",
    "HwThermalSlowdown",
    "HwPowerBrakeSlowdown",
)
"""Of the reasons that the driver may give for a clock, those that hold it down against its will:
not being idle, nor clocks that a person has set."""


class Look(NamedTuple):
    """One look at one GPU; None for what the driver does not tell."""

    clock_mhz: int | None
    power_w: float | None
    temperature_c: int | None
    throttled: tuple[str, ...]


class GpuWatch:
    """Looks at GPUs while an epoch runs.

    Args:
        nvml: the module `pynvml`, initialised.
        visible: CUDA_VISIBLE_DEVICES: which GPUs the worker sees, by index or UUID; empty: all.
        devices: how many of them the worker uses, the first ones.
    """

    def __init__(self, nvml: Any, visible: str, devices: int) -> None:  # noqa: ANN401  # a module without types
        self._nvml = nvml
        names = [name.strip() for name in visible.split(",") if name.strip()]
        chosen = names or [str(index) for index in range(nvml.nvmlDeviceGetCount())]
        self._handles = [self._handle(name) for name in chosen[:devices]]
        self._looks: list[Look] = []
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def _handle(self, name: str) -> object:
        if name.isdigit():
            return self._nvml.nvmlDeviceGetHandleByIndex(int(name))
        return self._nvml.nvmlDeviceGetHandleByUUID(name)

    def start(self) -> None:
        """Begin to look."""
        self._looks.clear()
        self._over.clear()
        self._thread = threading.Thread(target=self._look_until_over, daemon=True)
        self._thread.start()

    def stop(self) -> Watched:
        """Return what was seen since `start`: by now, if there was no time for a look before."""
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        if not self._looks:
            self._look()
        return seen(self._looks)

    def _look_until_over(self) -> None:
        while not self._over.wait(PERIOD_S):
            self._look()

    def _look(self) -> None:
        self._looks += [self._look_at(handle) for handle in self._handles]

    def _look_at(self, handle: object) -> Look:
        nvml = self._nvml
        power_mw = self._told(partial(nvml.nvmlDeviceGetPowerUsage, handle))
        return Look(
            self._told(partial(nvml.nvmlDeviceGetClockInfo, handle, nvml.NVML_CLOCK_SM)),
            None if power_mw is None else power_mw / 1_000,
            self._told(partial(nvml.nvmlDeviceGetTemperature, handle, nvml.NVML_TEMPERATURE_GPU)),
            self._reasons(handle),
        )

    def _told(self, ask: Callable[[], int]) -> int | None:
        """Return what the driver tells, or None for what it has no figure of on this GPU."""
        try:
            return ask()
        except self._nvml.NVMLError:
            return None

    def _reasons(self, handle: object) -> tuple[str, ...]:
        bits = self._told(partial(self._nvml.nvmlDeviceGetCurrentClocksEventReasons, handle)) or 0
        known: Mapping[str, int] = {
            name: getattr(self._nvml, f"nvmlClocksEventReason{name}") for name in THROTTLING
        }
        return tuple(name for name, bit in known.items() if bits & bit)


def seen(looks: Sequence[Look]) -> Watched:
    """Return what several looks say together."""
    clocks = [look.clock_mhz for look in looks if look.clock_mhz is not None]
    powers = [look.power_w for look in looks if look.power_w is not None]
    reasons = {reason for look in looks for reason in look.throttled}
    return Watched(
        lowest_clock_mhz=min(clocks, default=None),
        highest_clock_mhz=max(clocks, default=None),
        power_w=fmean(powers) if powers else None,
        temperature_c=max(
            (look.temperature_c for look in looks if look.temperature_c is not None), default=None
        ),
        throttled=tuple(name for name in THROTTLING if name in reasons),
    )


def driver() -> ModuleType | str:
    """Return the module `pynvml`, initialised, or why GPUs cannot be watched here."""
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return "nvidia-ml-py is not installed: pip install nvidia-ml-py"
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return f"the driver's library says: {error}"
    return nvml
