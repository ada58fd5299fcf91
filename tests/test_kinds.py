"""What a session was for: its name, and its place among others."""

import pytest
from samples import failed, learned, noise, pair, parity, race, record

from fmnist.report.kinds import rank, title

LATER = "2026-11-23T00:00:00Z"
SESSIONS = {
    "Backends side by side": [*pair(), noise()],
    "Modes side by side": [record(), record(mode="tuned")],
    "One device and several": [record(task="scale"), record(task="scale", replicas=2)],
    "Race to an accuracy": [race()],
    "Times": [record(), noise()],
    "What whole trainings learned": [learned()],
    "Study ablation": [learned(study="ablation")],
    "How sure times are": [noise(), parity()],
}


@pytest.mark.parametrize("name", SESSIONS)
def test_a_session_is_headed_by_what_it_was_for(name: str) -> None:
    """The heading begins with what was compared, however else the session measured itself."""
    first = SESSIONS[name][0]

    assert title(SESSIONS[name]) == (
        f"{name}, 2026-11-21 00:00 UTC, preset {first.preset}, data set {first.dataset}"
    )


def test_a_session_that_failed_has_a_heading() -> None:
    """Where nothing was measured, day, preset and data set are left."""
    assert title([failed()]) == "2026-11-21 00:00 UTC, preset quick, data set fashion-mnist"


def test_what_most_people_ask_for_comes_first() -> None:
    """Sessions of one preset and day are shown by what they were for."""
    mixed = [SESSIONS[name] for name in sorted(SESSIONS, key=len)]

    assert sorted(mixed, key=rank, reverse=True) == list(SESSIONS.values())


def test_figures_that_mean_something_come_first() -> None:
    """Real data before the stand-in, meaningless presets last; most models, full and new first."""
    wanted = [
        [*pair(), *pair(model="dense_wide")],
        pair(preset="full"),
        pair(started_at=LATER),
        pair(),
        [race(preset="quick", started_at=LATER)],
        pair(preset="smoke", started_at=LATER),
        pair(preset="full", dataset="stand-in", started_at=LATER),
    ]

    mixed = [*wanted[4:], *wanted[:4]]

    assert sorted(mixed, key=rank, reverse=True) == wanted
