"""Where a point's label goes, so that it covers neither a point nor another label.

Vega has a transform for this, Vega-Lite has not.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

FONT_SIZE: Final = 11.0
CHARACTER: Final = 0.53 * FONT_SIZE
"""A character's width in pixels, the mean of names in lower case with digits in them."""
REACH: Final = 6.0
"""From a point's middle to its edge, in pixels."""
GAP: Final = 9.0
"""From a point's middle to its label beside it, in pixels."""
LIFT: Final = 9.0
"""By how much a label beside a point may lie higher or lower, in pixels."""
NEAR: Final = 22.0
"""Two points above each other and not farther apart share a label, in pixels."""

Place = tuple[float, float]
"""Pixels from the plot's upper left corner: to the right, and down."""
Side = Literal["left", "right", "center"]


@dataclass(frozen=True)
class Spot:
    """Where a label is anchored, its text aligned there and its middle at that height."""

    place: Place
    align: Side


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: "Box") -> bool:
        """Tell whether two rectangles overlap."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def lies_in(self, width: float, height: float) -> bool:
        """Tell whether the rectangle lies in a plot of that size."""
        return self.left >= 0 and self.top >= 0 and self.right <= width and self.bottom <= height


def apart(places: Iterable[Place]) -> list[list[Place]]:
    """Return places of the same x in groups, from the top down; one label is near all of each."""
    groups: list[list[Place]] = []
    for place in sorted(places, key=lambda place: place[1]):
        if groups and place[1] - groups[-1][-1][1] < NEAR:
            groups[-1].append(place)
        else:
            groups.append([place])
    return groups


def spots(
    marks: Sequence[tuple[str, Sequence[Place]]],
    lines: Iterable[tuple[Place, Place]],
    size: tuple[float, float],
) -> list[Spot | None]:
    """Return where each name goes: beside one of its points, or above or below them all.

    Args:
        marks: names, each with its points, at least one; the first ones choose first.
        lines: from left to right, or straight up or down: labels keep off them too.
        size: width and height of the plot in pixels: no label leaves it.

    Returns:
        A spot for each name; None where there is no room, so labels never overlap.
    """
    taken = [_around(place, place, REACH) for _, points in marks for place in points]
    taken += [_around(start, end, 1.0) for start, end in lines]
    found: list[Spot | None] = []
    for name, points in marks:
        free = (
            (spot, box)
            for spot in _candidates(points)
            for box in [_box(spot, name)]
            if box.lies_in(*size) and not any(map(box.meets, taken))
        )
        spot, box = next(free, (None, None))
        found.append(spot)
        taken += [box] if box else []
    return found


def _candidates(points: Iterable[Place]) -> Iterator[Spot]:
    """Yield the spots of a name's label, the best one first."""
    down = sorted(points, key=lambda place: place[1])
    for rise in (0.0, -LIFT / 2, LIFT / 2, -LIFT, LIFT):
        for x, y in down:
            yield Spot((x + GAP, y + rise), "left")
            yield Spot((x - GAP, y + rise), "right")
    (x, top), (_, bottom) = down[0], down[-1]
    yield Spot((x, top - LIFT - REACH), "center")
    yield Spot((x, bottom + LIFT + REACH), "center")


def _around(start: Place, end: Place, distance: float) -> Box:
    """Return what lies around a line from a place to another, or around a place alone."""
    (left, right), (top, bottom) = sorted((start[0], end[0])), sorted((start[1], end[1]))
    return Box(left - distance, top - distance, right + distance, bottom + distance)


def _box(spot: Spot, name: str) -> Box:
    """Return what a label covers."""
    (x, y), width = spot.place, CHARACTER * len(name) + 4
    left = {"left": x, "center": x - width / 2, "right": x - width}[spot.align]
    return Box(left, y - FONT_SIZE / 2 - 1, left + width, y + FONT_SIZE / 2 + 1)
