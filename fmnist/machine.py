"""The machine that a session runs on: collected, never typed in. No host or user name is read."""

import os
import platform
import shutil
import subprocess
import sys
import uuid
from functools import cache
from importlib.util import cache_from_source, find_spec
from pathlib import Path
from typing import Any, NamedTuple

import cpuinfo
import psutil

CHECKOUT = Path(__file__).parent.parent
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
BUSY_LOAD_PER_CPU = 0.25
FULL_MEMORY_PERCENT = 90
MOST_WITHHELD = 0.01
IDLE_GPU_MIB = 500
GPU_QUERY = ("index", "name", "driver_version", "memory.total", "memory.used")


def facts() -> dict[str, Any]:
    """Return what the hardware and the operating system are. Takes about a second."""
    cpu = _processor()
    return {
        "cpu": cpu.get("brand_raw", platform.processor() or "unknown"),
        "cpu_family": cpu.get("family"),
        "cpu_model": cpu.get("model"),
        "cpu_features": sorted(
            set(cpu.get("flags", [])) & {"avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16"}
        ),
        "l3_bytes": cpu.get("l3_cache_size"),
        "cores": psutil.cpu_count(logical=False),
        "threads": psutil.cpu_count(),
        "usable_threads": len(usable_cpus() or range(os.cpu_count() or 1)),
        "memory_bytes": psutil.virtual_memory().total,
        "gpus": [{n: v for n, v in gpu.items() if n != "memory.used"} for gpu in gpus()],
        "architecture": platform.machine(),
        "system": platform.system(),
        "kernel": platform.release(),
        "governor": _read(GOVERNOR),
        "transparent_hugepages": _chosen(_read(HUGE_PAGES)),
        "virtual": "hypervisor" in cpu.get("flags", []),
    }


@cache
def _processor() -> dict[str, Any]:
    """Return what is known of the processor; it does not change while we look."""
    known: dict[str, Any] = cpuinfo.get_cpu_info()
    return known


def identity() -> str:
    """Return what is the same for all processes of this machine since it was started, and else not.

    It says nothing about the machine: a number that the system drew, else one of its network card.
    """
    return _read(BOOT_ID) or str(uuid.getnode())


def summary(machine: dict[str, Any]) -> str:
    """Return one line for people, like `2 x AMD EPYC, 23.5 GiB, Linux 6.1`.

    Of one of several machines in a session, it ends with which one (`node2`).
    """
    gpu_names = [str(gpu["name"]) for gpu in machine.get("gpus", [])]
    parts = [
        f"{machine.get('usable_threads', '?')} x {_processor_name(machine)}",
        *gpu_names,
        f"{machine.get('memory_bytes', 0) / 2**30:.1f} GiB",
        f"{machine.get('system', '')} {machine.get('kernel', '')}".strip(),
        *(["virtual machine"] if machine.get("virtual") else []),
        *([str(machine["node"])] if machine.get("node") else []),
    ]
    return ", ".join(parts)


def _processor_name(machine: dict[str, Any]) -> str:
    """Return the processor's name, on a virtual machine with its numbers.

    A host may name it without a model: `AMD EPYC` are processors of several generations.
    """
    name = str(machine.get("cpu", "unknown processor"))
    family, model = (machine.get(f"cpu_{number}") for number in ("family", "model"))
    if not machine.get("virtual") or None in (family, model):
        return name
    return f"{name} (family {family}, model {model})"


def usable_cpus() -> tuple[int, ...] | None:
    """Return the processors this process may use, or None where the system does not tell."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    return tuple(sorted(os.sched_getaffinity(0)))


def gpus() -> list[dict[str, str]]:
    """Return the NVIDIA devices by the driver's own tool; none if there is no driver."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return []
    command = [program, f"--query-gpu={','.join(GPU_QUERY)}", "--format=csv,noheader"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603  # fixed arguments
    if answer.returncode != 0:
        return []
    rows = [line.split(", ") for line in answer.stdout.strip().splitlines()]
    return [dict(zip(GPU_QUERY, row, strict=True)) for row in rows]


def commit() -> str | None:
    """Return the suite's commit, with `-dirty` if files differ from it; None outside a checkout."""
    git = shutil.which("git")
    if git is None or not (CHECKOUT / ".git").exists():
        return None
    answers = [
        subprocess.run(  # noqa: S603  # fixed arguments
            [git, "-C", str(CHECKOUT), *words], capture_output=True, text=True, check=False
        )
        # Results are what a run writes: they do not make its code another one.
        for words in (
            ["rev-parse", "HEAD"],
            ["status", "--porcelain", "--", ".", ":!results"],
        )
    ]
    if answers[0].returncode != 0:
        return None
    return answers[0].stdout.strip() + ("-dirty" if answers[1].stdout.strip() else "")


def disturbances() -> list[str]:
    """Return what would disturb a measurement now, one sentence each; none is the wish."""
    found = []
    load, cpus = os.getloadavg()[0], len(usable_cpus() or range(os.cpu_count() or 1))
    if load > BUSY_LOAD_PER_CPU * cpus:
        found.append(f"the load is {load:.2f} on {cpus} processors: something else is computing")
    governor = _read(GOVERNOR)
    if governor not in (None, "performance"):
        found.append(
            f"the CPU governor is {governor!r}: clocks follow load; 'performance' is steadier"
        )
    battery = psutil.sensors_battery() if hasattr(psutil, "sensors_battery") else None
    if battery is not None and not battery.power_plugged:
        found.append("the machine runs on battery: clocks are lowered")
    if psutil.swap_memory().used > 0 and psutil.virtual_memory().percent > FULL_MEMORY_PERCENT:
        found.append("memory is nearly full and swap is in use")
    if (share := withheld_share(*processor_times())) > MOST_WITHHELD:
        found.append(
            f"since this machine started, its host has withheld {share:.0%} of the processor time "
            "that it asked for: other guests compute there"
        )
    if sys.dont_write_bytecode and not _has_bytecode("keras"):
        found.append(
            "packages have no bytecode and PYTHONDONTWRITEBYTECODE keeps it from being written: "
            "each process compiles all it imports, and import times hold that"
        )
    found += [
        f"GPU {gpu['index']} has {gpu['memory.used']} in use by others"
        for gpu in gpus()
        if _mib(gpu["memory.used"]) > IDLE_GPU_MIB
    ]
    return found


class ProcessorTimes(NamedTuple):
    """Seconds since the machine started, of all processors and all programs together.

    Attributes:
        had_s: that programs computed.
        withheld_s: that they wanted to, and the host gave to other guests, as Linux tells it; 0
            elsewhere, and on a machine that is no guest.
    """

    had_s: float
    withheld_s: float


def processor_times() -> ProcessorTimes:
    """Return what programs had until now, and what was withheld from them."""
    times = psutil.cpu_times()
    return ProcessorTimes(times.user + times.system, getattr(times, "steal", 0.0))


def withheld_share(had_s: float, withheld_s: float) -> float:
    """Return what share was withheld of the processor time that was wanted, in [0, 1]."""
    return withheld_s / (had_s + withheld_s) if withheld_s > 0 else 0.0


def _has_bytecode(package: str) -> bool:
    """Tell whether a package's first module was compiled; also where there is no such package."""
    spec = find_spec(package)
    return spec is None or not spec.origin or Path(cache_from_source(spec.origin)).exists()


def _mib(text: str) -> int:
    """Return a figure like `512 MiB`; 0 where the driver does not tell (`[N/A]`)."""
    number = text.partition(" ")[0]
    return int(number) if number.isdigit() else 0


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _chosen(text: str | None) -> str | None:
    """Return the bracketed word of a kernel setting like `always [madvise] never`."""
    return text.partition("[")[2].partition("]")[0] if text else None
