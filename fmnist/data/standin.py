"""The drawn data set: ten kinds of garment, drawn by NumPy from tables of outlines.

It stands in for Fashion-MNIST where the real files cannot be had: same shapes, types, sizes and
class order, light garments on black. It is not Fashion-MNIST and must never be passed off as it:
no accuracy reached here says anything about the real set, and every result made from it has to
name it.

It is graded so that models separate as they do on the real set. Test accuracy after 5 epochs on
all 60,000, Adam 1e-3, batch 100, pixels / 255, one seed (1), Keras 3.15.1 on TensorFlow 2.21.0,
CPU:

    softmax_regression                        0.845
    dense3                                    0.880
    dense_wide                                0.885
    lenet_dropout                             0.934
    lenet_dropout without its dropout         0.937

About 5 % of the images carry a label other than their shape's. Drawing all 70,000 took 1.7 s on
one x86-64 core.
"""

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

TRAIN_IMAGES = 60_000
TEST_IMAGES = 10_000
SIDE = 28
CLASSES = 10

# The random numbers of one chunk are drawn together, so that any first n can be made alone.
_CHUNK = 1_000
_SPLITS = {"train": (0, TRAIN_IMAGES), "test": (1, TEST_IMAGES)}

# How far one image of a class lies from the next. The accuracies above hang on these.
_SHIFT = 0.17  # each way, in half sides of the image
_SCALE = 0.15  # each way, height and width apart
_SLANT = 0.12  # each way, sideways for each step down
_STRETCH = 0.12  # each way, of one part's height
_EDGE = 0.03  # each way, of one point of an outline, in half sides
_DARKEST = 0.12  # brightness of the darkest cloth; the lightest has 1
_LIGHTER = 0.3  # share of the darker details that are drawn lighter instead, and the reverse
_STRIPED = (0.3, 0.2)  # share with stripes across, along
_GRAIN = 0.15  # each way, of each pixel's brightness
_PATCHED = 0.2  # share with a grey rectangle somewhere over the image

_Floats = NDArray[np.float32]
_Bytes = NDArray[np.uint8]


class _Part(NamedTuple):
    """What lies between a left and a right edge, both piecewise linear in height.

    Coordinates run from -1 (left, top) to 1 (right, bottom). A shoe is drawn from the side;
    every other garment is its right half and the mirror image of it, so that its edges are
    distances from the axis, and no left edge means that the part reaches the axis.
    """

    heights: tuple[float, ...]
    right: tuple[float, ...]
    left: tuple[float, ...] | None = None
    tone: float = 1.0
    """Multiplies the garment's brightness; 0 cuts a hole."""
    when: tuple[float, float] = (0.0, 1.0)
    """Drawn where the image's one choice number lies here: for parts that exclude each other."""
    chance: float = 1.0
    dash: float = 0.0
    """Period of the gaps along the height, 0 for none."""


_SHORT_SLEEVE = _Part(
    (-0.74, -0.5, -0.28, -0.1), (0.38, 0.72, 0.88, 0.74), (0.3, 0.4, 0.42, 0.6), 0.95
)
_LONG_SLEEVE = _Part((-0.74, -0.5, 0.7), (0.4, 0.66, 0.86), (0.3, 0.4, 0.6), 0.92)
_ROUND_NECK = _Part((-0.9, -0.68), (0.2, 0.06), tone=0)
_HIGH_NECK = _Part((-0.88, -0.76), (0.17, 0.17), tone=0.75)
_V_NECK = _Part((-0.9, -0.35), (0.17, 0.01), tone=0)

# One row for each class in Fashion-MNIST's order; later parts lie over earlier ones.
_GARMENTS: tuple[tuple[_Part, ...], ...] = (
    (  # 0 T-shirt/top
        _Part((-0.82, -0.66, -0.3, 0.8), (0.3, 0.46, 0.42, 0.42)),
        _SHORT_SLEEVE._replace(when=(0.0, 0.85)),
        _ROUND_NECK._replace(when=(0.0, 0.7)),
        _V_NECK._replace(when=(0.7, 1.0)),
        _Part((-0.35, 0.1), (0.24, 0.24), tone=0.65, chance=0.35),
    ),
    (  # 1 Trouser
        _Part((-0.85, -0.5, 0.88), (0.27, 0.36, 0.4)),
        _Part((-0.4, 0.9), (0.0, 0.14), tone=0),
        _Part((-0.85, -0.76), (0.27, 0.28), tone=0.75, chance=0.6),
        _Part((-0.66, -0.5), (0.2, 0.26), (0.14, 0.2), 0.6, chance=0.5),
    ),
    (  # 2 Pullover
        _Part((-0.82, -0.66, -0.3, 0.8), (0.28, 0.46, 0.43, 0.42)),
        _LONG_SLEEVE,
        _ROUND_NECK._replace(when=(0.0, 0.55)),
        _HIGH_NECK._replace(when=(0.4, 0.8)),
        _V_NECK._replace(when=(0.8, 1.0)),
        _Part((0.68, 0.8), (0.42, 0.42), tone=0.72, chance=0.6),
        _Part((-0.35, 0.1), (0.24, 0.24), tone=0.7, chance=0.15),
    ),
    (  # 3 Dress
        _Part((-0.85, -0.62, -0.15, 0.88), (0.18, 0.28, 0.22, 0.42)),
        _SHORT_SLEEVE._replace(when=(0.3, 0.55)),
        _LONG_SLEEVE._replace(when=(0.55, 0.75)),
        _Part((-0.92, -0.6), (0.14, 0.1), tone=0),
        _Part((-0.2, -0.1), (0.24, 0.24), tone=0.6, chance=0.45),
    ),
    (  # 4 Coat
        _Part((-0.84, -0.68, -0.3, 0.86), (0.28, 0.46, 0.44, 0.5)),
        _LONG_SLEEVE,
        _Part((-0.9, 0.9), (0.05, 0.05), tone=0.3, chance=0.8),
        _Part((-0.86, -0.25), (0.2, 0.09), (0.12, 0.02), 0.45, when=(0.0, 0.6), chance=0.9),
        _HIGH_NECK._replace(when=(0.6, 1.0)),
        _Part((0.2, 0.28), (0.34, 0.34), (0.15, 0.15), 0.45, chance=0.6),
    ),
    (  # 5 Sandal
        _Part((0.1, 0.28, 0.42), (0.8, 0.84, 0.84), (0.45, -0.1, -0.85), when=(0.0, 0.6)),
        _Part((0.2, 0.48), (0.78, 0.8), (0.5, 0.3), 0.0, when=(0.0, 0.25)),
        _Part((0.26, 0.42), (0.84, 0.84), (-0.86, -0.84), when=(0.6, 1.0)),
        _Part((-0.1, 0.32), (-0.2, -0.55), (-0.35, -0.75), 0.9),
        _Part((-0.15, 0.3), (-0.15, 0.0), (-0.3, -0.2), 0.8, chance=0.7),
        _Part((-0.3, 0.25), (0.76, 0.8), (0.62, 0.64), 0.9, chance=0.8),
        _Part((-0.32, 0.18), (0.18, 0.7), (0.0, 0.55), 0.85, chance=0.6),
    ),
    (  # 6 Shirt
        _Part((-0.84, -0.66, -0.3, 0.7, 0.88), (0.26, 0.46, 0.41, 0.43, 0.3)),
        _LONG_SLEEVE._replace(when=(0.0, 0.62)),
        _SHORT_SLEEVE._replace(when=(0.62, 1.0)),
        _V_NECK._replace(heights=(-0.9, -0.5), chance=0.85),
        _Part((-0.94, -0.56), (0.24, 0.18), (0.08, 0.0), 1.35, chance=0.8),
        _Part((-0.55, 0.84), (0.06, 0.06), tone=0.45, chance=0.85, dash=0.28),
        _Part((-0.3, -0.06), (0.31, 0.31), (0.14, 0.14), 0.7, chance=0.3),
    ),
    (  # 7 Sneaker
        _Part((-0.2, 0.02, 0.22, 0.4), (0.74, 0.76, 0.8, 0.84), (0.08, -0.3, -0.78, -0.86)),
        _Part((-0.24, -0.06), (0.62, 0.56), (0.28, 0.36), 0.0),
        _Part((0.28, 0.42), (0.86, 0.85), (-0.87, -0.85), 1.35, chance=0.8),
        _Part((-0.1, 0.14), (0.06, -0.3), (-0.1, -0.5), 0.5, chance=0.8, dash=0.12),
        _Part((-0.02, 0.26), (0.3, 0.1), (0.1, -0.1), 0.6, chance=0.5),
    ),
    (  # 8 Bag
        _Part((-0.85, -0.6, -0.15), (0.24, 0.42, 0.48), tone=0.8, when=(0.0, 0.75)),
        _Part((-0.74, -0.55, -0.1), (0.14, 0.32, 0.39), tone=0, when=(0.0, 0.75)),
        _Part((-0.24, -0.16, 0.72), (0.66, 0.72, 0.76)),
        _Part((0.08, 0.14), (0.74, 0.74), tone=0.6, chance=0.5),
        _Part((0.06, 0.24), (0.1, 0.1), tone=1.4, chance=0.5),
    ),
    (  # 9 Ankle boot
        _Part((-0.8, -0.1, 0.12), (0.68, 0.66, 0.76), (0.02, 0.0, -0.2)),
        _Part((0.0, 0.16, 0.5), (0.74, 0.78, 0.78), (-0.2, -0.66, -0.84)),
        _Part((0.46, 0.66), (0.78, 0.78), (0.36, 0.4), 0.7, when=(0.0, 0.6)),
        _Part((0.46, 0.56), (0.8, 0.8), (-0.85, -0.85), 0.6, when=(0.4, 1.0)),
        _Part((-0.7, 0.0), (0.18, 0.1), (0.04, -0.06), 0.5, chance=0.5, dash=0.14),
    ),
)

_SIDE_VIEWS = frozenset({5, 7, 9})

# The share of a class (first) drawn in the shape of another (second), as in the real set, where
# a person cannot always tell the two apart. It keeps every model below 1.
_MISTAKEN = (
    (0, 6, 0.06),
    (0, 3, 0.01),
    (2, 4, 0.03),
    (2, 6, 0.04),
    (3, 0, 0.02),
    (3, 4, 0.02),
    (4, 2, 0.04),
    (4, 6, 0.03),
    (5, 7, 0.02),
    (6, 0, 0.07),
    (6, 2, 0.05),
    (6, 4, 0.03),
    (7, 5, 0.01),
    (7, 9, 0.02),
    (8, 0, 0.01),
    (9, 7, 0.03),
)


def draw(split: Literal["train", "test"], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the first `n` images of a split and their labels.

    The first n of a longer draw are the same images. Each whole 1,000 holds each class 100
    times, in a shuffled order.

    Args:
        split: "train" or "test"; the two share no random numbers.
        n: number of images, from 0 to `TRAIN_IMAGES` or `TEST_IMAGES`.

    Returns:
        Images, uint8 (n, 28, 28), 0 is the black background, and labels, uint8 (n,), 0 to 9 in
        Fashion-MNIST's order.

    Raises:
        ValueError: the split is neither of the two, or has no `n` images.
    """
    if split not in _SPLITS:
        raise ValueError(f"no split {split!r}: it is 'train' or 'test'")
    number, size = _SPLITS[split]
    if not 0 <= n <= size:
        raise ValueError(f"{n} images asked for: the {split} split has 0 to {size}")
    images = np.empty((n, SIDE, SIDE), np.uint8)
    labels = np.empty(n, np.uint8)
    for start in range(0, n, _CHUNK):
        stop = min(start + _CHUNK, n)
        drawn, named = _chunk(number, start // _CHUNK)
        images[start:stop] = drawn[: stop - start]
        labels[start:stop] = named[: stop - start]
    return images, labels


def _chunk(split: int, chunk: int) -> tuple[_Bytes, _Bytes]:
    rng = np.random.default_rng([split, chunk])
    labels = rng.permutation(np.repeat(np.arange(CLASSES, dtype=np.uint8), _CHUNK // CLASSES))
    shapes = _mistake(labels, rng)
    images = np.empty((_CHUNK, SIDE, SIDE), np.float32)
    for shape in range(CLASSES):
        chosen = np.flatnonzero(shapes == shape)
        images[chosen] = _garments(shape, len(chosen), rng)
    return np.rint(images * np.float32(255)).astype(np.uint8), labels


def _mistake(labels: _Bytes, rng: np.random.Generator) -> _Bytes:
    """Return the class whose shape each image takes: mostly its own."""
    shapes = labels.copy()
    lot = rng.random(len(labels))
    start = np.zeros(CLASSES)
    for label, shape, share in _MISTAKEN:
        hit = (lot >= start[label]) & (lot < start[label] + share)
        shapes[(labels == label) & hit] = shape
        start[label] += share
    return shapes


def _garments(shape: int, n: int, rng: np.random.Generator) -> _Floats:
    """Return n images of one shape, float32 (n, 28, 28) in [0, 1]."""
    across, down = _coordinates(n, rng)
    sideways = across if shape in _SIDE_VIEWS else np.abs(across)
    choice = _spread(rng, 0, 1, n)
    image = np.zeros((n, SIDE, SIDE), np.float32)
    for part in _GARMENTS[shape]:
        cover = _cover(part, sideways, down, rng)
        cover *= _present(part, choice, rng)[:, None, None]
        image += cover * (_tone(part, n, rng) - image)
    return _patch(image * _cloth(across, down, rng), rng)


def _coordinates(n: int, rng: np.random.Generator) -> tuple[_Floats, _Floats]:
    """Return each pixel's place on the garment: across (n, 28, 28), and down (n, 28) by row."""
    pixel = ((np.arange(SIDE) + 0.5) / (SIDE / 2) - 1).astype(np.float32)
    shift = _spread(rng, -_SHIFT, _SHIFT, 2, n, 1, 1)
    scale = _spread(rng, 1 - _SCALE, 1 + _SCALE, 2, n, 1, 1)
    slant = _spread(rng, -_SLANT, _SLANT, n, 1, 1)
    down = (pixel[:, None] - shift[0]) / scale[0]
    across = (pixel - shift[1] - slant * down) / scale[1]
    return across, down[:, :, 0]


def _present(part: _Part, choice: _Floats, rng: np.random.Generator) -> NDArray[np.bool_]:
    low, high = part.when
    return (choice >= low) & (choice < high) & _some(part.chance, rng, len(choice))


def _tone(part: _Part, n: int, rng: np.random.Generator) -> _Floats:
    if not part.tone:
        return np.zeros((n, 1, 1), np.float32)
    tone = np.full((n, 1, 1), part.tone, np.float32)
    tone = np.where(_some(_LIGHTER, rng, n, 1, 1), 2 - tone, tone)
    return tone * _spread(rng, 0.85, 1.15, n, 1, 1)


def _cover(part: _Part, sideways: _Floats, down: _Floats, rng: np.random.Generator) -> _Floats:
    """Return how much of each pixel the part covers, float32 (n, 28, 28) in [0, 1]."""
    n = len(down)
    top, bottom = np.float32(part.heights[0]), np.float32(part.heights[-1])
    height = top + (down - top) / _spread(rng, 1 - _STRETCH, 1 + _STRETCH, n, 1)
    inside = _edge(part.heights, part.right, height, rng)[:, :, None] - sideways
    if part.left is not None:
        left = _edge(part.heights, part.left, height, rng)[:, :, None]
        inside = np.minimum(inside, sideways - left)
    rows = _ramp(np.minimum(height - top, bottom - height))
    if part.dash:
        rows *= _phase(height / np.float32(part.dash)) < np.float32(0.5)
    return _ramp(inside) * rows[:, :, None]


def _edge(
    heights: tuple[float, ...],
    places: tuple[float, ...],
    height: _Floats,
    rng: np.random.Generator,
) -> _Floats:
    """Return where the edge lies at each `height` (n, 28), every point of it moved a little."""
    moved = [np.float32(place) + _spread(rng, -_EDGE, _EDGE, len(height), 1) for place in places]
    edge = moved[0] + np.zeros_like(height)
    for k in range(len(heights) - 1):
        run = np.float32(heights[k + 1] - heights[k])
        done = np.clip(height - np.float32(heights[k]), 0, run)
        edge += (moved[k + 1] - moved[k]) / run * done
    return edge


def _cloth(across: _Floats, down: _Floats, rng: np.random.Generator) -> _Floats:
    """Return the brightness of the cloth at each pixel, float32 (n, 28, 28)."""
    n = len(down)
    cloth = _spread(rng, _DARKEST, 1, n, 1, 1) * np.ones_like(across)
    for axis, share in zip((down[:, :, None], across), _STRIPED, strict=True):
        depth = _spread(rng, 0.2, 0.7, n, 1, 1) * _some(share, rng, n, 1, 1)
        turn = axis * _spread(rng, 1, 4, n, 1, 1) + _spread(rng, 0, 1, n, 1, 1)
        cloth *= 1 - depth * np.abs(2 * _phase(turn) - 1)
    return cloth * _spread(rng, 1 - _GRAIN, 1 + _GRAIN, n, SIDE, SIDE)


def _patch(image: _Floats, rng: np.random.Generator) -> _Floats:
    """Return the images, some with a grey rectangle over them, clipped to [0, 1]."""
    n = len(image)
    pixel = np.arange(SIDE, dtype=np.float32)
    corner = _spread(rng, 0, SIDE, 2, n, 1)
    hit = (pixel >= corner) & (pixel < corner + _spread(rng, 2, 9, 2, n, 1))
    patch = hit[0][:, :, None] & hit[1][:, None, :] & _some(_PATCHED, rng, n, 1, 1)
    return np.clip(np.where(patch, _spread(rng, 0, 0.6, n, 1, 1), image), 0, 1)


# Below is all that random numbers and curves are made of: single-precision +, -, *, /, floor and
# comparisons. Every platform rounds these alike; sines, normal draws and matrix products it does
# not, and the bytes of the images would differ.


def _spread(rng: np.random.Generator, low: float, high: float, *shape: int) -> _Floats:
    return np.float32(low) + np.float32(high - low) * rng.random(shape, dtype=np.float32)


def _some(share: float, rng: np.random.Generator, *shape: int) -> NDArray[np.bool_]:
    return rng.random(shape, dtype=np.float32) < np.float32(share)


def _ramp(inside: _Floats) -> _Floats:
    """Return the coverage at a distance inside an edge: it rises over one pixel."""
    coverage: _Floats = np.clip(inside * np.float32(SIDE / 2) + np.float32(0.5), 0, 1)
    return coverage


def _phase(turn: _Floats) -> _Floats:
    fraction: _Floats = turn - np.floor(turn)
    return fraction
