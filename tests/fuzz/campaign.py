"""Fuzz one target by coverage, with libFuzzer through atheris.

Usage: python campaign.py TARGET COUNT; TARGET is idx, record, channel or report, or all: one after
the other, with a hundredth of COUNT for the report. It begins with the kept inputs in
corpus/TARGET. Ends with another status than 0 at the first crash, the first input that takes more
than a second of processor time, and above 1 GiB of resident memory; the input that did it is then
in .tox/fuzz-found. TMPDIR should lie in memory: each input is a file.
"""

import importlib
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import atheris

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # for its samples
FOUND = HERE.parents[1] / ".tox" / "fuzz-found"
LONGEST_INPUT_BYTES = 4_096
SLOWEST_S = 1.0
"""Of processor time, unless the target has a limit of its own."""
MOST_MEMORY_MIB = 1_024
SEED = 1
SHARES = {"idx": 1, "channel": 1, "record": 1, "report": 100}
"""By target, one input in how many is for it, when all are run."""


class SlowInputError(RuntimeError):
    """An input took longer than it may."""


def main(name: str, count: int) -> None:
    """Run one target on as many inputs; print how many, how long, and the worst of them."""
    with atheris.instrument_imports(include=["fmnist"]):
        target = importlib.import_module(f"fuzz_{name}")
    limit_s = getattr(target, "SLOWEST_S", SLOWEST_S)
    inputs, slowest_s, began = 0, 0.0, time.monotonic()

    def one(data: bytes) -> None:
        nonlocal inputs, slowest_s
        started = time.process_time()
        came_to_something = target.one(data) is not False
        took_s = time.process_time() - started
        inputs += came_to_something
        # The first ones import and fill caches.
        slowest_s = max(slowest_s, took_s) if inputs > 100 else slowest_s
        if slowest_s > limit_s:
            raise SlowInputError(f"{took_s:.2f} s of processor time")
        if inputs == count:
            peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(
                f"fuzzed {name}: {inputs:,} inputs in {time.monotonic() - began:.0f} s, "
                f"no crash, slowest {1000 * slowest_s:.0f} ms, peak memory {peak_mib:.0f} MiB",
                flush=True,
            )
            # libFuzzer counts inputs of which nothing comes, too, and knows no other way to stop.
            shutil.rmtree(grown)
            os._exit(0)

    FOUND.mkdir(parents=True, exist_ok=True)
    os.chdir(FOUND)
    grown = tempfile.mkdtemp(prefix="fmnist-fuzz-")
    limits = [f"-max_len={LONGEST_INPUT_BYTES}", f"-rss_limit_mb={MOST_MEMORY_MIB}"]
    terms = ["-runs=-1", f"-seed={SEED}", "-timeout=30"]
    folders = [grown, str(HERE / "corpus" / name)]
    atheris.Setup([sys.argv[0], *limits, *terms, *folders], one)
    atheris.Fuzz()


if __name__ == "__main__":
    target, inputs = sys.argv[1], int(sys.argv[2])
    if target != "all":
        main(target, inputs)
    for name, share in SHARES.items():
        # A process each: libFuzzer ends the one that it runs in.
        subprocess.run([sys.executable, __file__, name, str(max(1, inputs // share))], check=True)
