"""Documents made hostile by the bytes of a fuzzer: each byte is a choice, so that it can learn."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

LONG = 3_000
MOST_EDITS = 7

TEXTS = tuple(
    json.dumps(text)
    for text in (
        *("", "<xss a=1>", '"><xss b=2>', "</script><xss>", "</td><xss>", "<!-- -->", "&lt;xss"),
        *("a|b", "a\\|b", "`", "``|`", "![x](y)", "[x](javascript:y)", "=HYPERLINK(1)", "@SUM(1)"),
        *("\x1b[2J", "\r\n# x", "\x00", "\u202e", "\u2028", "\ud800", "é" * 40, "x" * LONG),
        *("../../x", "/etc/passwd", "\\input{x}", "$(x)", "%s%n", "nan", "-1", "1e999", "*_~#"),
        *("stand-in", "jax", "tuned", "train", "noise", "parity", "race", "full", "{{7*7}}"),
    )
)
NUMBERS = (
    *("0", "-1", "1", "2", "3", "0.5", "0.75", "1e-9", "1e9", "1e-300", "1e308", "-0.0", "1e999"),
    *("100", "2000", "6000", str(10**15), str(10**16), str(2**63), str(2**64), str(10**400)),
    *("NaN", "Infinity", "-Infinity"),
)
OTHERS = (
    *("null", "true", "false", "[]", "{}", "[[]]", '{"x": {}}', "[null]", '{"": 0}', "[1, 1]", ""),
    *(f"[{', '.join(['0'] * LONG)}]", f"[{', '.join(['{}'] * LONG)}]"),
    *("[" * depth + "]" * depth for depth in (150, 900, 992, 5_000)),
)


class Choices:
    """Choices by the bytes of an input; where it ends, the first choice each time."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def below(self, n: int) -> int:
        """Return a number from 0, below n, which is 65,536 at most."""
        width = 1 if n <= 256 else 2
        taken = self._data[self._at : self._at + width]
        self._at += width
        return int.from_bytes(taken) % n

    def text(self) -> str:
        """Return some of the bytes as text."""
        length = self.below(32)
        found = self._data[self._at : self._at + length]
        self._at += length
        return json.dumps(found.decode("utf-8", "replace"))


@dataclass(frozen=True)
class Sound:
    """A sound JSON document as text, and where in it which values stand: begin, end, kind."""

    text: str
    values: tuple[tuple[int, int, str], ...]

    @classmethod
    def of(cls, document: Any) -> "Sound":  # noqa: ANN401  # JSON
        """Return a document with its values found."""
        pieces: list[str] = []
        values = list(_written(document, pieces, 0))
        return cls("".join(pieces), tuple(sorted(values)))

    def edited(self, choices: Choices, *, gently: bool = False) -> str:
        """Return the text with some of its values replaced by hostile ones.

        Gently: a text by a text and a number by a number, so that much of it stays sound.
        """
        chosen = {}
        values = [v for v in self.values if v[2] != "other"] if gently else self.values
        for _ in range(choices.below(3) if gently else 1 + choices.below(MOST_EDITS)):
            begin, end, kind = values[choices.below(len(values))]
            chosen[begin, end] = _other(kind, choices, gently=gently)
        text, at = [], 0
        for (begin, end), other in sorted(chosen.items()):
            if begin >= at:  # not inside of one that is replaced already
                text += [self.text[at:begin], other]
                at = end
        return "".join([*text, self.text[at:]])


def _written(value: Any, pieces: list[str], at: int) -> Iterator[tuple[int, int, str]]:  # noqa: ANN401
    """Append a value's text to `pieces`, `at` characters in; yield where it and those in it are."""
    begin = at

    def put(text: str) -> None:
        nonlocal at
        pieces.append(text)
        at += len(text)

    kind = {str: "text", int: "number", float: "number"}.get(type(value), "other")
    if isinstance(value, dict | list):
        put("{" if isinstance(value, dict) else "[")
        for number, item in enumerate(value):
            put(", " if number else "")
            if isinstance(value, dict):
                put(f"{json.dumps(item)}: ")
            inside = list(_written(value[item] if isinstance(value, dict) else item, pieces, at))
            yield from inside
            at = max(end for _, end, _ in inside)
        put("}" if isinstance(value, dict) else "]")
    else:
        put(json.dumps(value))
    yield begin, at, kind


def _other(kind: str, choices: Choices, *, gently: bool) -> str:
    """Return the text of what is to stand in a value's place."""
    if not gently or kind == "other":
        kind = ("text", "number", "other")[choices.below(3)]
    if kind == "text":
        which = choices.below(len(TEXTS) + 4)
        return TEXTS[which] if which < len(TEXTS) else choices.text()
    known = NUMBERS if kind == "number" else OTHERS
    return known[choices.below(len(known))]
