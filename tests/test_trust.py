"""What a session says of its own trustworthiness, from its records."""

import math

import numpy as np
import pytest
from samples import noise, pair, parity, record

from fmnist.record import packed
from fmnist.report import tables, trust, trust_tables


def certificate(**own: object) -> dict[str, object]:
    """Return the fields of a certificate with the test's own ones in place."""
    some = parity().parity
    assert some is not None
    return some.model_dump() | own


def test_session_without_noise_has_none() -> None:
    """Where no cell was run against itself, no noise is made up."""
    assert trust.noise_of(pair()) is None
    assert trust_tables.noise(pair()) is None


def test_noise_floor_is_as_far_as_the_interval_reaches() -> None:
    """The floor is the larger end of the A/A interval, as a logarithm."""
    found = trust.noise_of([noise(process=0), noise(process=1)])

    assert found is not None
    assert found.again.low is not None
    assert found.again.high is not None
    assert trust.floor_of(found) == max(-math.log(found.again.low), math.log(found.again.high))


def test_one_pair_knows_no_smallest_effect() -> None:
    """A single pair of processes says nothing of how processes differ."""
    found = trust.noise_of([noise()])

    assert found is not None
    assert found.smallest_effect is None


def test_report_opens_with_its_noise() -> None:
    """The first table of a session is what it found out about its own noise."""
    records = [*pair(), noise(process=0), noise(process=1), parity()]

    titles = [table.title for table in tables.of_session(records)]
    assert titles[:3] == [
        "The noise of this session",
        "The same work: parity certificate",
        "Speed: seconds per steady epoch",
    ]


def test_spike_is_found_or_not() -> None:
    """Each spike says whether it was found, and the A/A that there is no difference."""
    table = trust_tables.noise([noise(process=p) for p in range(2)])
    assert table is not None

    shown = {row[0]: row[-1] for row in table.rows}
    assert shown["the same again (A/A)"] == "no difference"
    assert set(shown.values()) <= {"no difference", "yes", "no"}


def test_many_pairs_are_tried_as_small_sessions() -> None:
    """With 20 pairs the report says how often a false verdict was given, and what was found."""
    spread = [1 + 0.002 * (p % 5 - 2) for p in range(20)]
    pairs = [
        noise(process=p, beside_s={n: tuple(f * s for s in v) for n, v in noise().beside_s.items()})
        for p, f in enumerate(spread)
    ]
    table = trust_tables.noise(pairs)
    assert table is not None

    terms = "; ".join(table.terms)
    assert "each A/A pair taken as a session of its own: 0 of 20" in terms
    assert trust.found_share(pairs, "spike_5", 5) == 1.0


def test_verdict_is_held_against_the_noise() -> None:
    """JAX at half the time is faster in a quiet session, and `cannot tell` in a wild one."""
    trained = [r for p in range(3) for r in pair(process=p)]
    wild = [
        noise(
            process=p, beside_s=noise().beside_s | {"twin": tuple(f * s for s in (1.1, 1.0, 1.0))}
        )
        for p, f in enumerate((0.2, 1.0, 4.0))
    ]
    quiet = [noise(process=p) for p in range(3)]

    for noises, verdict in ((quiet, "faster"), (wild, "cannot tell")):
        table = tables.speed([*trained, *noises])
        assert table is not None
        assert dict(zip(table.header, table.rows[0], strict=True))["jax is"] == verdict


def test_reached_precision_is_told() -> None:
    """With several processes the terms say how precise the least precise cell came out."""
    table = tables.speed([r for process in range(3) for r in pair(process=process)])
    assert table is not None

    assert "precision reached: every epoch's interval within ±0 %" in table.terms


def test_session_without_noise_gives_no_verdict() -> None:
    """Without an A/A nothing is called faster, and the terms say why."""
    table = tables.speed(pair())
    assert table is not None

    assert "jax is" not in table.header
    assert any("did not run a cell against itself" in term for term in table.terms)


def test_failed_certificate_flags_the_model_everywhere() -> None:
    """A model whose backends differ is marked in every table that shows it, with the term."""
    bad = certificate(differences={"outputs": 1e-7, "first_loss": 1.0})
    shown = [t for t in tables.of_session([*pair(), parity(parity=bad)]) if "model" in t.header]

    for table in shown:
        if table.title.startswith(("The same work", "Break-even")):
            continue
        assert all("dense3 (!)" in row for row in table.rows), table.title
        assert any("did NOT do the same work" in term for term in table.terms), table.title
    (same,) = (t for t in shown if t.title.startswith("The same work"))
    assert "DIFFERS: first_loss" in same.rows[0]


def test_difference_that_is_no_number_is_no_certificate() -> None:
    """A run that diverged differs by NaN, which no tolerance covers."""
    broken = parity(parity=certificate(differences={"outputs": math.nan, "first_loss": 0.0}))

    assert broken.parity is not None
    assert broken.parity.exceeded == ("outputs",)


def test_accuracy_of_seeds_is_compared() -> None:
    """Two points less on one backend are two points, found by McNemar, and no equivalence."""
    fewer = {
        "tensorflow": packed(np.arange(2_000) < 1_500),
        "jax": packed(np.arange(2_000) < 1_460),
    }
    records = [parity(parity=certificate(correct=fewer, seed=s), process=s) for s in range(3)]

    assert trust.accuracy_differences(records) == pytest.approx([-2.0] * 3)
    assert max(trust.p_of_images(records)) < 0.001


def test_one_seed_tells_a_difference_without_an_interval() -> None:
    """The accuracy of a certificate of one seed is its difference alone."""
    table = trust_tables.parity([parity()])
    assert table is not None
    row = dict(zip(table.header, table.rows[0], strict=True))

    assert "[" not in row["accuracy [points]"]


def test_break_even_is_where_the_totals_cross() -> None:
    """5 s more for the first epoch and 1 s less for each other: ahead at the end of epoch 7."""
    table = trust_tables.break_even(
        [
            record(first_epoch_s=3.0, epoch_s=(2.0, 2.0, 2.0)),
            record(backend="jax", first_epoch_s=8.0, epoch_s=(1.0, 1.0, 1.0)),
        ]
    )
    assert table is not None

    row = dict(zip(table.header, table.rows[0], strict=True))
    assert row["ahead in the long run"] == "jax"
    assert row["from epoch"] == "7 [7, 7]"


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [((2.0, 2.5, 3.0), (2.1, 2.4, 3.0)), ((2.0, 2.0, 2.0), (2.0, 2.0, 2.0)), ((2.0,), (2.0,))],
)
def test_break_even_cannot_tell_where_epochs_may_be_equal(
    ours: tuple[float, ...], theirs: tuple[float, ...]
) -> None:
    """Two epochs that may be equal, or are, have no crossing."""
    table = trust_tables.break_even([record(epoch_s=ours), record(backend="jax", epoch_s=theirs)])
    assert table is not None

    assert "cannot tell" in table.rows[0]


def test_parts_of_an_epoch_add_up() -> None:
    """Device work, input, metrics, dispatch and boundary together are the whole epoch."""
    beside = {
        name: (seconds,) * 3
        for name, seconds in {
            "no_work": 0.8,
            "no_input": 0.6,
            "no_metrics": 0.5,
            "half": 0.3,
            "hooked": 1.2,
            "fence": 0.001,
        }.items()
    }
    made = noise(task="breakdown", epoch_s=(1.0, 1.0, 1.0), beside_s=beside)
    table = trust_tables.breakdown([made])
    assert table is not None

    row = dict(zip(table.header, table.rows[0], strict=True))
    parts = ("device work", "input", "metrics", "dispatch", "epoch boundary")
    shown = {name: float(row[name].split()[0]) for name in parts}
    assert shown == pytest.approx(
        {"device work": 200, "input": 200, "metrics": 100, "dispatch": 400, "epoch boundary": 100}
    )
    assert float(row["a per-batch callback"].split()[0]) == pytest.approx(200)


def test_certificate_says_whether_images_were_dithered() -> None:
    """Older certificates are of images as they are, and do not claim otherwise."""
    dithered = parity()
    assert dithered.parity is not None
    plain = parity(parity=dithered.parity.model_copy(update={"dither": 0.0}))

    said = [
        "dithered" in "; ".join(table.terms)
        for table in map(trust_tables.parity, ([dithered], [plain]))
        if table is not None
    ]
    assert said == [True, False]
