"""Pictures: what is drawn is what the records say, and is drawn the same everywhere."""

import hashlib
import itertools
import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import vl_convert
from samples import RESULT, failed, noise, pair, parity, record

from fmnist import stats
from fmnist.record import Record, samples
from fmnist.report import trust
from fmnist.report.choose import sessions_of
from fmnist.report.pictures import labels, plots
from fmnist.report.pictures.picture import proper, slugs

HOSTILE = (
    "<script>alert(1)</script>",
    '"]};alert(2);{["',
    "datum.x",
    "'+alert(1)+'",
    '{"expr": "1"}',
    "a\x00\x1b[2J\u202eb",
    "x" * 199 + "y",
    "x" * 199 + "z",
)
EXPRESSIONS = ("signal", "expr", "update", "test", "init", "calculate", "filter")
"""Where Vega reads a text as an expression."""


def sized(total: int, model: str, **own: Any) -> dict[str, Any]:  # noqa: ANN401  # any field
    """Return the fields of a model with so many parameters."""
    kinds = {"total": total, "trainable": total, "dense": total, "conv": 0, "other": 0}
    return {"model": model, "parameters": kinds, **own}


def breakdown(**own: Any) -> Record:  # noqa: ANN401  # any field of a record
    """Return a breakdown in which taking the metrics away made an epoch longer."""
    parts = {"no_work": 0.8, "no_input": 0.6, "no_metrics": 0.7, "half": 0.4, "hooked": 1.2}
    beside = {name: (seconds,) * 3 for name, seconds in (parts | {"fence": 0.001}).items()}
    return noise(**{"task": "breakdown", "epoch_s": (1.0, 1.0, 1.0), "beside_s": beside} | own)


def session() -> list[Record]:
    """Return a session that fills every picture."""
    return [
        *pair(),
        *pair(**sized(7_850, "softmax_regression")),
        *(noise(process=process) for process in range(3)),
        breakdown(),
        parity(),
    ]


def picture(name: str, records: list[Record], against: str | None = None) -> plots.Picture:
    """Return a session's picture by its name."""
    (found,) = (p for p in plots.of_session(records, against) if p.name == name)
    return found


def values(drawn: plots.Picture, *fields: str) -> list[tuple[Any, ...]]:
    """Return these fields of all data that have all of them, in the order of drawing."""
    rows = (row for rows in drawn.spec["datasets"].values() for row in rows)
    return [tuple(row[name] for name in fields) for row in rows if set(fields) <= row.keys()]


def texts(drawn: plots.Picture, theme: str = "light") -> str:
    """Return all text in a picture's SVG, line by line."""
    return "\n".join(ET.fromstring(plots.svg(drawn, theme)).itertext())  # noqa: S314  # our own


def test_session_fills_every_picture() -> None:
    """A whole session has six pictures, the speed first, each with a name for a file."""
    names = [p.name for p in plots.of_session(session())]

    assert names == [
        "speed",
        "epoch-times",
        "accuracy-parameters",
        "accuracy-over-time",
        "where-an-epoch-goes",
        "noise",
    ]
    assert all(re.fullmatch(r"[a-z-]+", name) for name in names)


@pytest.mark.parametrize(
    ("records", "names"),
    [
        ([], []),
        ([failed()], []),
        ([noise()], ["noise"]),
        ([breakdown()], ["where-an-epoch-goes"]),
    ],
)
def test_pictures_without_records_are_left_out(records: list[Record], names: list[str]) -> None:
    """What the records do not fill is not drawn; one noise pair, without interval, is."""
    made = plots.of_session(records)

    assert [p.name for p in made] == names
    assert all("NaN" not in plots.svg(p) for p in made)


def test_one_backend_alone_is_drawn() -> None:
    """A backend that ran alone, for one round, has its figure and nothing to be held against."""
    speed = picture("speed", [record(backend="jax", epoch_s=(1.5,))])

    assert values(speed, "backend", "seconds", "low") == [("JAX", 1.5, None)]
    assert "as long" not in texts(speed)
    assert "TensorFlow" not in texts(speed)


def test_speed_shows_the_records_epochs() -> None:
    """Middles and intervals are those that the statistics make of the epochs."""
    rounds = (2.0, 2.2, 2.1)
    speed = picture("speed", [record(epoch_s=rounds), record(backend="jax", epoch_s=(4.0, 4.1))])
    expected = stats.geometric_mean(rounds)

    drawn = values(speed, "model", "backend", "seconds", "low", "high")
    assert [row[:2] for row in drawn] == [("dense3", "TensorFlow"), ("dense3", "JAX")]
    assert drawn[0][2:] == pytest.approx((expected.value, expected.low, expected.high), rel=1e-5)


@pytest.mark.parametrize(
    ("against", "with_noise", "answer"),
    [
        (None, True, "JAX 2.00× faster"),  # noqa: RUF001  # as it is drawn
        ("jax", True, "TensorFlow 2.00× slower"),  # noqa: RUF001  # as it is drawn
        (None, False, "JAX 0.500× as long"),  # noqa: RUF001  # as it is drawn
    ],
)
def test_answer_says_no_more_than_its_verdict(
    *, against: str | None, with_noise: bool, answer: str
) -> None:
    """Faster and slower are words of verdicts; without the session's noise there is a ratio."""
    trained = [r for process in range(3) for r in pair(process=process)]
    noises = [noise(process=process) for process in range(3)] if with_noise else []
    speed = picture("speed", [*trained, *noises], against)

    assert (answer,) in values(speed, "upper")
    assert answer in texts(speed)
    assert answer in speed.alternative
    assert ("no verdicts" in speed.caption) != with_noise


def test_wild_noise_leaves_it_open() -> None:
    """Where the noise reaches the ratio, the picture says that it cannot tell."""
    wild = [
        noise(process=p, beside_s=noise().beside_s | {"twin": (f, 1.1 * f, f)})
        for p, f in enumerate((0.2, 1.0, 4.0))
    ]
    trained = [r for process in range(3) for r in pair(process=process)]

    assert ("cannot tell",) in values(picture("speed", [*trained, *wild]), "upper")


def test_unequal_work_is_marked() -> None:
    """A model that failed its certificate is marked where its speed is drawn."""
    certificate = parity().parity
    assert certificate is not None
    apart = certificate.model_copy(update={"differences": {"outputs": 1.0, "first_loss": 1.0}})
    speed = picture("speed", [*pair(), parity(parity=apart)])

    assert ("dense3 (!)",) in values(speed, "upper")
    assert "did NOT do the same work" in speed.caption


def test_every_round_is_a_mark() -> None:
    """Every steady round of every process is drawn once, beside its process and backend."""
    records = [
        record(backend=backend, process=p, epoch_s=(1.0 + p, 1.1, 1.2))
        for backend in ("tensorflow", "jax")
        for p in range(3)
    ]
    drawn = values(picture("epoch-times", records), "backend", "process", "round", "seconds")

    assert sorted(drawn) == sorted(
        (proper(r.backend), r.process, i + 1, seconds)
        for r in records
        for i, seconds in enumerate(r.epoch_s)
    )


def test_frontier_is_of_what_nothing_smaller_beats() -> None:
    """A larger model that is less accurate is drawn, but the frontier passes above it."""
    better, worse = ([RESULT | {"test_accuracy": a}] * 4 for a in (0.8, 0.7))
    drawn = picture(
        "accuracy-parameters",
        [
            record(**sized(1_000, "small"), history=better, accuracy=0.8),
            record(**sized(9_000, "large"), history=worse, accuracy=0.7),
        ],
    )
    steps = [row for rows in drawn.spec["datasets"].values() for row in rows if len(row) == 2]

    assert values(drawn, "model", "family", "parameters", "accuracy") == [
        ("small", "dense", 1_000, 80.0),
        ("large", "dense", 9_000, 70.0),
    ]
    assert [step["accuracy"] for step in steps] == [80.0, 80.0]
    assert steps[0]["parameters"] == 1_000


def test_curve_counts_the_first_epoch() -> None:
    """Accuracies stand at the seconds of all epochs so far, that with compilation included."""
    history = [RESULT | {"test_accuracy": a} for a in (0.5, 0.6, 0.75)]
    drawn = picture(
        "accuracy-over-time", [record(history=history, epoch_s=(2.0, 2.5), first_epoch_s=3.0)]
    )

    assert values(drawn, "epoch", "seconds", "accuracy") == [
        (1, 3.0, 50.0),
        (2, 5.0, 60.0),
        (3, 7.5, 75.0),
    ]


def test_part_below_zero_lies_left_of_zero() -> None:
    """Parts stand end to end; one below 0 reaches to the left; with signs they are the whole."""
    drawn = picture("where-an-epoch-goes", [breakdown()])
    parts = {part: row for part, *row in values(drawn, "part", "start", "end", "ms")}

    assert parts == {
        "device work": [0, 200, 200],
        "input": [200, 400, 200],
        "metrics": [-100, 0, -100],
        "dispatch": [400, 1_000, 600],
        "epoch boundary": [1_000, 1_100, 100],
    }
    assert sum(row[2] for row in parts.values()) == values(drawn, "whole")[0][0] == 1_000
    assert "metrics -100" in drawn.alternative


def test_noise_is_drawn_by_what_was_added() -> None:
    """Nothing added is the A/A ratio; each spike stands at its part of more steps."""
    records = [noise(process=process) for process in range(3)]
    again = stats.nested_ratio(samples(records, "twin"), samples(records))
    found = trust.noise_of(records)
    assert found is not None
    drawn = values(picture("noise", records), "added", "measured", "low")

    assert [row[0] for row in drawn[:5]] == [0, 1, 2, 3, 5]
    assert drawn[0][1] == pytest.approx(100 * (again.value - 1), rel=1e-5)
    assert drawn[4][1] == pytest.approx(100 * (found.spikes["spike_5"].value - 1), rel=1e-5)


def of_machine(cpu: str, day: int, **own: Any) -> list[Record]:  # noqa: ANN401  # any field
    """Return a session of a machine."""
    machine = {"cpu": cpu, "usable_threads": 2, "memory_bytes": 2**34, "system": "Linux"}
    started = {"session": f"{cpu}-{day}", "started_at": f"2026-11-{day}T00:00:00Z"}
    return pair(machine=machine, **started, **own)


def test_machines_show_their_first_sessions() -> None:
    """Two machines are set side by side, each by the first of its sessions of the same preset."""
    drawn = plots.of_machines(
        [
            of_machine("Quipu", 22, preset="smoke"),
            [r.model_copy(update={"epoch_s": (5.0, 5.0)}) for r in of_machine("Abacus", 20)],
            of_machine("Abacus", 21),
            of_machine("Quipu", 19),
        ]
    )
    assert drawn is not None

    assert sorted(values(drawn, "machine", "backend", "seconds")) == [
        ("2 x Abacus, 16.0 GiB, Linux", "JAX", 5.0),
        ("2 x Abacus, 16.0 GiB, Linux", "TensorFlow", 5.0),
        ("2 x Quipu, 16.0 GiB, Linux", "JAX", 1.0),
        ("2 x Quipu, 16.0 GiB, Linux", "TensorFlow", 2.0),
    ]


@pytest.mark.parametrize("other", [{"dataset": "stand-in"}, {"preset": "full"}])
def test_machines_of_other_work_are_not_compared(other: dict[str, str]) -> None:
    """One machine alone has no picture, nor have two that ran different data or presets."""
    assert plots.of_machines([of_machine("Abacus", 20)]) is None
    assert plots.of_machines([of_machine("Abacus", 20), of_machine("Quipu", 21, **other)]) is None


def test_other_image_counts_are_other_rows() -> None:
    """Machines that trained on other numbers of images have rows of their own, and say so."""
    ours, theirs = of_machine("Abacus", 20), of_machine("Quipu", 21, train_images=500)
    drawn = plots.of_machines([ours, theirs])
    assert drawn is not None

    assert {model for (model,) in values(drawn, "model")} == {
        "dense3, 6,000 images",
        "dense3, 500 images",
    }


def strings(document: object, *path: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield every text of a JSON document with the keys that lead to it."""
    if isinstance(document, str):
        yield path, document
    elif isinstance(document, dict):
        for key, value in document.items():
            yield from strings(value, *path, key)
    elif isinstance(document, list):
        for value in document:
            yield from strings(value, *path)


def hostile() -> list[Record]:
    """Return a session in which all that a stranger can name is named to do harm."""
    machine = {"cpu": HOSTILE[0] * 500, "system": HOSTILE[5]}
    trained = [
        r
        for i, name in enumerate(HOSTILE)
        for r in pair(**sized(10 ** (i + 1), name), machine=machine, versions={"keras": HOSTILE[3]})
    ]
    return [*trained, *(noise(model=HOSTILE[2], process=p) for p in range(2)), breakdown()]


def test_names_of_strangers_stay_text() -> None:
    """Hostile names are text in a well-formed SVG, and no expression of Vega is made of them."""
    for drawn in plots.of_session(hostile()):
        root = ET.fromstring(plots.svg(drawn))  # noqa: S314  # what is tested is that it parses
        assert not [e for e in root.iter() if e.tag.endswith("script")], drawn.name
        assert max(map(len, root.itertext())) < 200, drawn.name
        assert all(len(text) < 10_000 for text in (drawn.caption, drawn.alternative, drawn.title))
        for text in expressions(drawn):
            assert not re.search(r"script|alert|xxx|2J|datum\.x\b", text), drawn.name


def expressions(drawn: plots.Picture) -> list[str]:
    """Return what Vega reads as expressions in a picture; there are some."""
    compiled = vl_convert.vegalite_to_vega(plots.themed(drawn.spec, "light"), plots.VEGA_LITE)
    found = [text for path, text in strings(compiled) if set(path) & set(EXPRESSIONS)]
    assert found
    return found


def test_figures_of_noise_keep_apart_however_wide_it_is() -> None:
    """Where pairs differ by half of their time, each figure still ends before the next begins."""
    pairs = [noise(process=i, epoch_s=(1.0 + 0.2 * i, 1.3 - 0.1 * i, 1.0)) for i in range(3)]
    figures = re.findall(
        r'<text text-anchor="(\w+)" transform="translate\(([\d.]+),[^>]*>([+-][\d.]+ %)<',
        plots.svg(picture("noise", pairs)),
    )
    assert len(figures) == 5

    ends = []
    for anchor, x, figure in figures:
        width = 7 * len(figure)  # pixels: more than a character of 11 takes
        start = float(x) - (width if anchor == "end" else 0)
        ends.append((start, start + width))
    assert all(end < start for (_, end), (start, _) in itertools.pairwise(sorted(ends)))


def test_alike_names_stay_apart() -> None:
    """Two long names that are cut to the same are two rows with two names."""
    records = [record(**sized(i, name)) for i, name in enumerate(HOSTILE[-2:], start=10)]
    names = [name for (name,) in values(picture("speed", records), "model")]

    assert len(set(names)) == 2
    assert all(len(name) <= 45 for name in names)


def test_more_models_than_fit_are_told() -> None:
    """Of 30 models the 24 smallest are drawn, and the picture says so."""
    records = [record(**sized(1_000 + i, f"model_{i}")) for i in range(30)]
    made = plots.of_session(records)

    assert len(made) == 4
    for drawn in made:
        assert len({model for (model,) in values(drawn, "model")}) == 24, drawn.name
        assert "The 24 smallest of 30 rows" in drawn.caption


def test_knobs_one_by_one_are_left_to_the_tables() -> None:
    """Of a session of knobs the pictures show stock and tuned, and say where the others are."""
    modes = ("stock", "environment", "layers+loop", "tuned")
    records = [
        record(**sized(1_000 + i, f"model_{i}"), mode=mode) for i in range(12) for mode in modes
    ]
    for drawn in plots.of_session(records):
        assert len({model for (model,) in values(drawn, "model")}) == 24, drawn.name
        assert "Other modes are in the tables." in drawn.caption
        assert "smallest of" not in drawn.caption


def test_what_is_not_real_says_so() -> None:
    """Stand-in data and the smoke preset are named in every picture, its title and its words."""
    records = [r.model_copy(update={"dataset": "stand-in", "preset": "smoke"}) for r in session()]
    for drawn in plots.of_session(records):
        for text in (json.dumps(drawn.spec["title"]), drawn.title, drawn.alternative):
            assert "stand-in data, not Fashion-MNIST" in text
            assert "smoke: figures mean nothing" in text
    for drawn in plots.of_session(session()):
        assert "stand-in" not in json.dumps(drawn.spec)


def test_terms_travel_with_every_picture() -> None:
    """Data set, preset, versions and machine are drawn; the caption has all terms."""
    for drawn in plots.of_session(session()):
        below_title = " ".join(drawn.spec["title"]["subtitle"])
        assert "fashion-mnist, preset quick, keras 3.15.1" in below_title, drawn.name
        assert "2 x Abacus, 16.0 GiB, Linux" in below_title, drawn.name
        assert "commit 0123456789ab" in drawn.caption
        assert "session 20261121-000000-test" in drawn.caption
    assert "2 x Abacus, 16.0 GiB, Linux" in texts(picture("noise", session()))


def numbers(document: object) -> Iterator[float]:
    """Yield every number of a JSON document."""
    if isinstance(document, dict | list):
        for value in document.values() if isinstance(document, dict) else document:
            yield from numbers(value)
    elif isinstance(document, float):
        yield document


def test_specs_hold_no_last_bits_and_no_colours() -> None:
    """Figures have six digits, as platforms differ in the last bits; colours are the theme's."""
    uneven = [r.model_copy(update={"epoch_s": (1 / 3, 2 / 7, 1 / 7)}) for r in session()]
    for drawn in plots.of_session([r for r in uneven if r.task == "train"]):
        assert all(n == float(f"{n:.6g}") for n in numbers(drawn.spec)), drawn.name
        assert "#" not in json.dumps(drawn.spec)
        assert "config" not in drawn.spec


@pytest.mark.parametrize("theme", plots.THEMES)
def test_picture_becomes_svg_and_png(theme: str) -> None:
    """Both themes render, in their own colours; a PNG has twice the SVG's pixels."""
    drawn = picture("speed", session())
    root = ET.fromstring(plots.svg(drawn, theme))  # noqa: S314  # our own
    png = plots.png(drawn, theme)
    width, height = (int.from_bytes(png[i : i + 4]) for i in (16, 20))

    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert (width, height) == (2 * int(root.get("width", 0)), 2 * int(root.get("height", 0)))
    assert plots.themed(drawn.spec, theme)["config"]["background"] in plots.svg(drawn, theme)


def test_picture_asks_no_network() -> None:
    """A picture that names an address is refused, not fetched."""
    spec = {"data": {"url": "http://127.0.0.1:9/x.json"}, "mark": "point", "encoding": {}}
    drawn = plots.Picture("a", "a", "a", "a", spec)

    with pytest.raises(ValueError, match="not allowed"):
        plots.svg(drawn)


def digest(text: str) -> str:
    """Return what tells a text from any other."""
    return hashlib.sha256(text.encode()).hexdigest()


DRAW = """
import sys
sys.path.insert(0, sys.argv[1])
from test_plots import digest, picture, plots, session
print(digest(plots.svg(picture("speed", session()))))
"""


def test_svg_is_the_same_without_the_fonts_of_the_system(tmp_path: Path) -> None:
    """A process without fonts, home or our locale draws the same bytes as this one."""
    fonts = tmp_path / "fonts.conf"
    fonts.write_text(
        f'<?xml version="1.0"?><fontconfig><dir>{tmp_path}</dir></fontconfig>', encoding="utf-8"
    )
    elsewhere = {"FONTCONFIG_FILE": str(fonts), "HOME": str(tmp_path), "TZ": "Asia/Tokyo"}
    drawn = subprocess.run(
        [sys.executable, "-c", DRAW, str(Path(__file__).parent)],
        env={**os.environ, **elsewhere, "LC_ALL": "de_DE.UTF-8"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert drawn.stdout.strip() == digest(plots.svg(picture("speed", session())))


def test_drawing_leaves_no_trace() -> None:
    """The same picture is the same after others were drawn in between."""
    speed, curves = picture("speed", session()), picture("accuracy-over-time", session())
    before = plots.svg(speed)
    plots.svg(curves)

    assert plots.svg(speed) == before


def test_resumed_sessions_are_drawn_once() -> None:
    """What failed and was run again when the session was resumed is drawn once."""
    again = [r.model_copy(update={"epoch_s": (3.0, 3.0, 3.0)}) for r in pair()]
    (whole,) = sessions_of([*pair(), *again])

    assert [s for (s,) in values(picture("speed", whole), "seconds")] == [3.0, 3.0]


def boxes(name: str, spot: labels.Spot) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of a label's text."""
    width, (x, y) = labels.CHARACTER * len(name), spot.place
    left = {"left": x, "center": x - width / 2, "right": x - width}[spot.align]
    return left, y - labels.FONT_SIZE / 2, left + width, y + labels.FONT_SIZE / 2


def test_labels_never_meet() -> None:
    """Of 40 crowded points each label is in the plot, free of points, lines and other labels."""
    generator = random.Random(0)  # noqa: S311  # not for secrets
    marks = [
        (f"model_{i}", [(generator.uniform(0, 400), generator.uniform(0, 300))]) for i in range(40)
    ]
    line = ((0.0, 150.0), (400.0, 150.0))
    found = labels.spots(marks, [line], (400, 300))
    placed = [boxes(name, s) for (name, _), s in zip(marks, found, strict=True) if s is not None]

    assert 20 < len(placed) < 40
    for i, (left, top, right, bottom) in enumerate(placed):
        assert left >= 0
        assert right <= 400
        assert not top < 150 < bottom
        assert not [1 for _, [(x, y)] in marks if left < x < right and top < y < bottom]
        for other in placed[:i]:
            assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top


def test_no_two_names_have_one_file() -> None:
    """A name keeps its letters and figures; what would be the same is numbered."""
    names = ["Conv 8/24", "conv-8-24", "conv_8_24", "..", "x" * 99]

    assert list(slugs(names, "model").values()) == [
        *("conv-8-24", "conv-8-24-no2", "conv-8-24-no3", "model", "x" * 60)
    ]
