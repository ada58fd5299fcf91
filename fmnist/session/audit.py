"""Whether an epoch's time by the fence agrees with the sum of its steps.

The same epoch without the fence is measured beside them: what the fence waits for is a figure of
the record, and nearly nothing where Keras itself waits.
"""

from collections.abc import Mapping, Sequence

LEAST_SHARE = 0.5
STEP_ALLOWANCE_S = 0.004
"""What waiting at every step may add to it: the program, not the device. A call of one tuned step
of `dense3` on TensorFlow took 3.3 ms more than its part of an epoch, on two slow cores."""


def disagreement(audit_s: Mapping[str, Sequence[float]], steps: int) -> str | None:
    """Return why an epoch's time cannot be trusted; None where the two agree.

    A fence that lets the clock stop while the device still works shows as an epoch shorter than
    its own steps. Steps are waited for one by one, so they may take longer, but not by much. The
    shortest round of each counts: what else the machine does only makes rounds longer.
    """
    if not {"fenced", "steps"} <= audit_s.keys():
        return None  # the cell ended before its audit did, for a reason of its own
    fenced, summed = (min(audit_s[name]) for name in ("fenced", "steps"))
    if fenced < LEAST_SHARE * (summed - steps * STEP_ALLOWANCE_S):
        return (
            f"sync audit: an epoch takes {fenced:.3g} s by the fence and {summed:.3g} s as the sum "
            f"of its steps: the clock stops before the device is done"
        )
    return None
