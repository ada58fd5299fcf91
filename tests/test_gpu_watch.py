"""GPUs are watched while an epoch runs. The tests have none: its library is stood in for."""

import sys
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import samples

from fmnist.grid import Cell
from fmnist.record import Record
from fmnist.report.terms import throttled_terms
from fmnist.session import gpu_watch
from fmnist.session.gpu_watch import GpuWatch, Look, seen
from fmnist.session.launch import watch_of
from fmnist.session.plan import Plan


class NotSupportedError(Exception):
    """What the driver raises for a figure that it does not have."""


def library(**own: Any) -> Any:  # noqa: ANN401  # any function of the library
    """Return a library of two GPUs; the second one is throttled by heat."""
    bits = {name: 2**i for i, name in enumerate(("GpuIdle", *gpu_watch.THROTTLING))}
    functions: dict[str, Any] = {
        "NVMLError": NotSupportedError,
        "NVML_CLOCK_SM": 1,
        "NVML_TEMPERATURE_GPU": 0,
        "nvmlDeviceGetCount": lambda: 2,
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetHandleByUUID": lambda uuid: {"GPU-b": 1}[uuid],
        "nvmlDeviceGetClockInfo": lambda handle, _: (1_900, 1_200)[handle],
        "nvmlDeviceGetPowerUsage": lambda handle: (300_000, 500_000)[handle],
        "nvmlDeviceGetTemperature": lambda handle, _: (60, 90)[handle],
        "nvmlDeviceGetCurrentClocksEventReasons": lambda handle: (
            bits["GpuIdle"],
            bits["HwThermalSlowdown"],
        )[handle],
        **{f"nvmlClocksEventReason{name}": bit for name, bit in bits.items()},
    }
    return SimpleNamespace(**functions | own)


@pytest.mark.parametrize(
    ("visible", "devices", "clocks", "throttled"),
    [
        ("", 1, (1_900, 1_900), ()),
        ("1", 1, (1_200, 1_200), ("HwThermalSlowdown",)),
        ("GPU-b,0", 1, (1_200, 1_200), ("HwThermalSlowdown",)),
        ("", 2, (1_200, 1_900), ("HwThermalSlowdown",)),
    ],
)
def test_watch_looks_at_the_devices_that_train(
    visible: str, devices: int, clocks: tuple[int, int], throttled: tuple[str, ...]
) -> None:
    """Index, UUID and count choose the GPUs; being idle is no throttling, heat is."""
    watch = GpuWatch(library(), visible, devices)
    watch.start()
    found = watch.stop()

    assert (found.lowest_clock_mhz, found.highest_clock_mhz) == clocks
    assert found.throttled == throttled


def test_watch_looks_while_an_epoch_runs() -> None:
    """A look is taken before the epoch's end, by a thread of the parent."""
    looked = threading.Event()

    def clock(_handle: int, _kind: int) -> int:
        looked.set()
        return 1_500

    watch = GpuWatch(library(nvmlDeviceGetClockInfo=clock), "0", 1)
    watch.start()
    in_time = looked.wait(timeout=60)
    found = watch.stop()

    assert in_time
    assert (found.lowest_clock_mhz, found.highest_clock_mhz) == (1_500, 1_500)


def test_each_epoch_is_watched_for_itself() -> None:
    """What an epoch was throttled by is not told of the next one."""
    reasons = iter([2, 0, 0, 0])
    told = library(
        nvmlClocksEventReasonGpuIdle=1,
        nvmlClocksEventReasonSwPowerCap=2,
        nvmlDeviceGetCurrentClocksEventReasons=lambda _: next(reasons, 0),
    )
    watch = GpuWatch(told, "0", 1)
    found = []
    for _ in range(2):
        watch.start()
        found.append(watch.stop().throttled)

    assert found == [("SwPowerCap",), ()]


def test_figure_that_the_driver_lacks_is_absent() -> None:
    """A GPU that does not tell its power is watched without it."""

    def refuse(_handle: int) -> int:
        raise NotSupportedError

    watch = GpuWatch(library(nvmlDeviceGetPowerUsage=refuse), "0", 1)
    watch.start()
    found = watch.stop()

    assert (found.power_w, found.temperature_c) == (None, 60)


def test_looks_are_put_together() -> None:
    """Of several looks: the range of clocks, the mean power, the highest temperature."""
    found = seen([Look(1_000, 100.0, 50, ()), Look(2_000, 200.0, None, ("SwPowerCap",))])

    assert (found.lowest_clock_mhz, found.highest_clock_mhz) == (1_000, 2_000)
    assert (found.power_w, found.temperature_c, found.throttled) == (150.0, 50, ("SwPowerCap",))


def test_machine_without_a_driver_says_so() -> None:
    """Where the driver's library cannot be had, there is a sentence in its place."""
    found = gpu_watch.driver()
    if not isinstance(found, str):
        pytest.skip("this machine has NVIDIA's driver")

    assert found.startswith("the driver's library says: ")


def test_library_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without nvidia-ml-py the sentence says how to get it."""
    monkeypatch.setitem(sys.modules, "pynvml", None)

    assert gpu_watch.driver() == "nvidia-ml-py is not installed: pip install nvidia-ml-py"


def test_processor_is_not_watched(make_plan: Callable[..., Plan]) -> None:
    """A cell on a processor has no watch, whatever library there is."""
    assert watch_of(make_plan(), Cell("dense3", "jax", "cpu")) is None


def record(*throttled: tuple[str, ...]) -> Record:
    """Return a record of a GPU of which these epochs were throttled."""
    state = samples.WATCHED
    watched = [state | {"throttled": reasons} for reasons in throttled]
    return samples.record(device="gpu", epoch_s=(2.0,) * len(watched), watched=watched)


def test_throttled_epochs_are_marked_under_the_table() -> None:
    """The terms name the cell, how many of its epochs, and why; or say that there was none."""
    cell = "dense3-tensorflow-gpu-stock-b100-float32"

    assert throttled_terms([record(("SwPowerCap",), (), ("SwPowerCap",))]) == (
        f"THROTTLED, clocks held down by the driver during epochs: 2 of {cell} (SwPowerCap)",
    )
    assert throttled_terms([record(("SwPowerCap",)), record(("SwPowerCap",), ())]) == (
        f"THROTTLED, clocks held down by the driver during epochs: 2 of {cell} (SwPowerCap)",
    )
    assert throttled_terms([samples.record(device="gpu")]) == (
        "whether GPUs were throttled was not watched",
    )
    assert throttled_terms([record((), ())]) == ("no epoch ran while the GPU was throttled",)
    assert throttled_terms([samples.record()]) == ()


def test_watched_epochs_are_those_that_were_timed() -> None:
    """A record with fewer watched epochs than timed ones contradicts itself."""
    with pytest.raises(ValueError, match="watched must hold every epoch"):
        samples.record(watched=[samples.WATCHED])
