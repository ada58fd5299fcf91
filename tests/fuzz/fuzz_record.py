"""The reader of records: good lines and damaged lines, and nothing else, whatever a file holds.

An input's first byte says whether the rest is the file, or chooses what is changed in a sound
record.
"""

import json
import re
import tempfile
from pathlib import Path

import samples
from hostile import Choices, Sound

from fmnist.record import MOST_DAMAGED_LINES, Record, read_lines

SOUND = [
    Sound.of(json.loads(record.to_json()))
    for record in (
        *(samples.record(**samples.counted()), samples.failed(), samples.noise()),
        *(samples.parity(), samples.race(), samples.race(views_accuracy=0.9, views_s=1.0)),
    )
]
UNSIGNED = re.compile(r', "digest": "[0-9a-f]*"')
_PATH = Path(tempfile.mkdtemp(prefix="fmnist-fuzz-")) / "records.jsonl"


def one(data: bytes) -> None:
    """Read one file. Raises AssertionError for a record that does not survive being written."""
    _PATH.write_bytes(_file(data))
    good, damaged = read_lines(_PATH)
    assert len(damaged) <= MOST_DAMAGED_LINES + 1
    assert all(line.reason.isprintable() for line in damaged)
    for line in good:
        text = line.record.to_json()
        assert Record.from_json(text).to_json() == text
        assert len(Path(line.record.session, "x").parts) == 2
        assert ".." not in Path(line.record.session).parts


def _file(data: bytes) -> bytes:
    """Return the file that an input stands for."""
    how, rest = data[:1], data[1:]
    if how != b"\1":
        return rest
    choices = Choices(rest)
    text = SOUND[choices.below(len(SOUND))].edited(choices)
    # Without its digest a changed record gets further.
    return (UNSIGNED.sub("", text) if choices.below(8) < 7 else text).encode()


def corpus() -> dict[str, bytes]:
    """Return inputs to begin with."""
    line = samples.record().to_json().encode()
    older = samples.fields(schema=2)
    older.pop("failure")
    return {
        "good": b"\0" + line + b"\n",
        "torn": b"\0" + line[:300] + b"\n" + samples.failed().to_json().encode(),
        "older": b"\0" + json.dumps(older).encode(),
        "newer": b'\0{"schema": 99}',
        "not-an-object": b"\0[1]\n\n\xff\xfe\nnull\n",
        "changed-digest": b"\0" + line.replace(b'"digest":"', b'"digest":"0'),
        **{f"edited-{n}": bytes([1, n, n, 0, 40 * n, n, n]) for n in range(len(SOUND))},
    }
