"""The sync audit: what it lets pass, and what it fails."""

import pytest

from fmnist.session.audit import disagreement


def audit(fenced: float, steps: float) -> dict[str, tuple[float, ...]]:
    """Return an audit of three rounds, one of them disturbed."""
    return {
        "fenced": (fenced, fenced, 10 * fenced),
        "unfenced": (fenced,) * 3,
        "steps": (steps, steps, 10 * steps),
    }


@pytest.mark.parametrize(("fenced", "steps"), [(1.0, 0.9), (1.0, 1.5), (0.004, 0.02)])
def test_epoch_that_agrees_with_its_steps_passes(fenced: float, steps: float) -> None:
    """Steps may take longer than the epoch, as each is waited for; tiny ones many times longer."""
    assert disagreement(audit(fenced, steps), steps=10) is None


def test_clock_that_stops_too_early_is_found() -> None:
    """An epoch of 0.1 s whose steps take 1 s was not waited for."""
    reason = disagreement(audit(0.1, 1.0), steps=10)

    assert reason is not None
    assert "0.1 s by the fence and 1 s as the sum of its steps" in reason


def test_cell_without_a_whole_audit_is_not_failed() -> None:
    """A cell that died before or in its audit fails for its own reason."""
    assert disagreement({}, steps=10) is None
    assert disagreement({"fenced": (0.1,)}, steps=10) is None
