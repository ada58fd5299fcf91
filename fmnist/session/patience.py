"""Patience with a virtual machine's host, which gives processors to other guests for minutes.

What is withheld is known from the kernel, not from the times that are measured: to wait until it
is over chooses no result.
"""

import hashlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from fmnist import machine
from fmnist.measure import Allowance

MOST_WITHHELD = 0.05
"""Of the processor time that is wanted; above that, there is something to wait for."""
LOOK_S = 0.5
PAUSE_S = 5.0
BLOCK = bytes(1 << 20)
"""So large that its digest is computed without Python's lock."""


def is_much(had_s: float, withheld_s: float) -> bool:
    """Tell whether so much was withheld, where so much was had, that it is better to wait."""
    return machine.withheld_share(had_s, withheld_s) > MOST_WITHHELD


def withheld_now() -> float:
    """Return the share withheld while all processors are asked for, for a moment; in [0, 1]."""
    processors = len(machine.usable_cpus() or [None])
    before = machine.processor_times()
    with ThreadPoolExecutor(processors) as pool:
        for computing in [pool.submit(_compute) for _ in range(processors)]:
            computing.result()
    after = machine.processor_times()
    return machine.withheld_share(after.had_s - before.had_s, after.withheld_s - before.withheld_s)


def _compute() -> None:
    allowance = Allowance(LOOK_S)
    allowance.run()
    while allowance.left_s:
        hashlib.sha256(BLOCK).digest()


class Patience:
    """An allowance of seconds to wait in, until the host gives what is asked for.

    Args:
        limit_s: to wait in all; 0: never look.
        look: returns the share that is withheld now.
        pause: lets some time pass between two looks.
    """

    def __init__(
        self,
        limit_s: float = 0.0,
        look: Callable[[], float] = withheld_now,
        pause: Callable[[], None] = lambda: time.sleep(PAUSE_S),
    ) -> None:
        self._allowance = Allowance(limit_s)
        self._look = look
        self._pause = pause

    def wait(self, told: Callable[[float, float], None]) -> None:
        """Return once nothing much is withheld, or the patience is at its end.

        Args:
            told: is given, if there is something to wait for, the share that is withheld and the
                seconds of patience left.
        """
        if not self._allowance.left_s or (share := self._look()) <= MOST_WITHHELD:
            return
        told(share, self._allowance.left_s)
        self._allowance.run()
        try:
            while share > MOST_WITHHELD and self._allowance.left_s:
                self._pause()
                share = self._look()
        finally:
            self._allowance.rest()
