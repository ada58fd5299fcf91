"""Convolution by hand, in one and two dimensions: NumPy alone, in float64.

What Keras calls a convolution is a cross-correlation: the kernel slides over the image as it is.
`convolve1d` and `convolve2d` do the same, with the same shapes (channels last), strides and
padding, and are what `keras.ops.conv` is held against. `true_convolve1d` and `true_convolve2d` are
the convolutions of mathematics, in which the kernel is turned round first; for a kernel that is
symmetric, both are equal.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt

Padding = Literal["valid", "same"]
Numbers = npt.NDArray[np.number[Any]]
Floats = npt.NDArray[np.float64]

KERNELS: Final[Mapping[str, tuple[tuple[float, ...], ...]]] = {
    "identity": ((0, 0, 0), (0, 1, 0), (0, 0, 0)),
    "blur": ((1 / 9,) * 3,) * 3,
    "gauss": ((1 / 16, 2 / 16, 1 / 16), (2 / 16, 4 / 16, 2 / 16), (1 / 16, 2 / 16, 1 / 16)),
    "sharpen": ((0, -1, 0), (-1, 5, -1), (0, -1, 0)),
    "emboss": ((-2, -1, 0), (-1, 1, 1), (0, 1, 2)),
    "edges": ((-1, -1, -1), (-1, 8, -1), (-1, -1, -1)),
    "edges_horizontal": ((1, 1, 1), (0, 0, 0), (-1, -1, -1)),
    "edges_vertical": ((1, 0, -1), (1, 0, -1), (1, 0, -1)),
    "sobel_x": ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1)),
    "sobel_y": ((-1, -2, -1), (0, 0, 0), (1, 2, 1)),
}
"""Kernels of one channel by name; `edges_horizontal` finds edges that run from left to right."""


class ConvolutionError(ValueError):
    """What was to be convolved makes no sense: says which shapes or values came."""


def convolve1d(
    signals: Numbers, kernel: Numbers, strides: int = 1, padding: Padding = "valid"
) -> Floats:
    """Slide a kernel along signals, as Keras does.

    Args:
        signals: (n, steps, channels).
        kernel: (size, channels, filters), with size at most steps.
        strides: steps from one window to the next.
        padding: `valid` has only windows that lie within; `same` adds zeros around, as many on both
            sides, or one more behind, so that there are ceil(steps / strides) windows.

    Returns:
        (n, windows, filters).

    Raises:
        ConvolutionError: The shapes do not fit, the kernel is larger than the signals, a number is
            not finite, or strides or padding are of no kind that there is.
    """
    return _correlate(signals, kernel, (strides,), padding)


def convolve2d(
    images: Numbers,
    kernel: Numbers,
    strides: int | tuple[int, int] = 1,
    padding: Padding = "valid",
) -> Floats:
    """Slide a kernel over images, as Keras does.

    Args:
        images: (n, height, width, channels).
        kernel: (height, width, channels, filters), no larger than the images.
        strides: pixels from one window to the next, down and across.
        padding: as in `convolve1d`, on each axis.

    Returns:
        (n, windows down, windows across, filters).

    Raises:
        ConvolutionError: As `convolve1d`.
    """
    return _correlate(
        images, kernel, (strides, strides) if isinstance(strides, int) else strides, padding
    )


def true_convolve1d(
    signals: Numbers, kernel: Numbers, strides: int = 1, padding: Padding = "valid"
) -> Floats:
    """Convolve as mathematics does: `convolve1d` with the kernel turned round."""
    return convolve1d(signals, kernel[::-1], strides, padding)


def true_convolve2d(
    images: Numbers,
    kernel: Numbers,
    strides: int | tuple[int, int] = 1,
    padding: Padding = "valid",
) -> Floats:
    """Convolve as mathematics does: `convolve2d` with the kernel turned round on both axes."""
    return convolve2d(images, kernel[::-1, ::-1], strides, padding)


def parse_kernel(text: str) -> Floats:
    """Return the kernel (height, width) of a name in KERNELS, or of rows like `1 0 -1; 2 0 -2`.

    Raises:
        ConvolutionError: It is neither, its rows are not of one length, or a number is not finite.
    """
    if text.strip() in KERNELS:
        return np.array(KERNELS[text.strip()], np.float64)
    rows = [_parse_numbers(row, text) for row in text.split(";")]
    lengths = {len(row) for row in rows}
    if len(lengths) > 1:
        raise ConvolutionError(
            f"kernel {text!r} is no rectangle: its rows have "
            f"{', '.join(str(len(row)) for row in rows)} numbers"
        )
    return np.array(rows, np.float64)


def parse_signal(text: str) -> Floats:
    """Return the numbers (steps,) of a text like `0 0 1 1`. Raises ConvolutionError."""
    return np.array(_parse_numbers(text, text), np.float64)


def relative_difference(found: Numbers, expected: Numbers) -> float:
    """Return the largest difference, as a share of the largest magnitude that was expected.

    It is 0 where both are 0 everywhere; infinite where the shapes differ or a number is NaN.
    """
    if found.shape != expected.shape or not np.isfinite(found).all():
        return math.inf
    difference = float(np.abs(found - expected).max(initial=0))
    magnitude = float(np.abs(expected).max(initial=0))
    return difference / magnitude if magnitude else (math.inf if difference else 0.0)


def zeros_around(length: int, size: int, stride: int) -> tuple[int, int]:
    """Return how many zeros padding `same` has before and behind an axis."""
    n_windows = math.ceil(length / stride)
    missing = max((n_windows - 1) * stride + size - length, 0)
    return missing // 2, missing - missing // 2


def _parse_numbers(row: str, whole: str) -> list[float]:
    words = re.split(r"[\s,]+", row.strip())
    try:
        numbers = [float(word) for word in words]
    except ValueError as error:
        raise ConvolutionError(
            f"{whole!r} is neither numbers (rows apart by `;`, like '1 0 -1; 2 0 -2; 1 0 -1') nor "
            f"a kernel's name; there are: {', '.join(KERNELS)}"
        ) from error
    if not all(map(math.isfinite, numbers)):
        raise ConvolutionError(f"{whole!r} holds NaN or infinity: give finite numbers")
    return numbers


def _correlate(
    inputs: Numbers, kernel: Numbers, strides: Sequence[int], padding: Padding
) -> Floats:
    """Sum, at each place of a window, the products of its numbers with the kernel's."""
    n_axes = len(strides)
    _check(inputs, kernel, strides, padding)
    axes = tuple(range(1, n_axes + 1))
    lengths, sizes = inputs.shape[1:-1], kernel.shape[:n_axes]
    around = [(0, 0)] * inputs.ndim
    if padding == "same":
        around[1:-1] = map(zeros_around, lengths, sizes, strides)
    padded = np.pad(inputs.astype(np.float64), around)
    windows = np.lib.stride_tricks.sliding_window_view(padded, sizes, axes)
    # (n, places..., channels, sizes...), of which the strides leave some places
    kept = windows[(slice(None), *(slice(None, None, stride) for stride in strides))]
    summed = tuple(range(n_axes + 1, kept.ndim))
    return np.tensordot(kept, kernel.astype(np.float64), (summed, (n_axes, *range(n_axes))))


def _check(inputs: Numbers, kernel: Numbers, strides: Sequence[int], padding: str) -> None:
    n_axes = len(strides)
    if inputs.ndim != n_axes + 2 or kernel.ndim != n_axes + 2 or 0 in kernel.shape:
        expected = {1: "(n, steps, channels)", 2: "(n, height, width, channels)"}[n_axes]
        raise ConvolutionError(
            f"shapes {inputs.shape} and {kernel.shape}, where {expected} and a kernel of as many "
            "axes (sizes, channels, filters), none of them 0, were expected"
        )
    if inputs.shape[-1] != kernel.shape[-2]:
        raise ConvolutionError(
            f"{inputs.shape[-1]} channels and a kernel for {kernel.shape[-2]}: shapes "
            f"{inputs.shape} and {kernel.shape}"
        )
    if any(size > length for size, length in zip(kernel.shape, inputs.shape[1:-1], strict=False)):
        sizes, lengths = (
            "x".join(map(str, shape)) for shape in (kernel.shape[:n_axes], inputs.shape[1:-1])
        )
        raise ConvolutionError(f"a kernel of {sizes} is larger than what it slides over: {lengths}")
    if min(strides) < 1:
        raise ConvolutionError(f"strides {tuple(strides)}: each must be at least 1")
    if padding not in ("valid", "same"):
        raise ConvolutionError(f"padding {padding!r}: there are valid and same")
    if not (np.isfinite(inputs).all() and np.isfinite(kernel).all()):
        raise ConvolutionError("NaN or infinity in what is convolved, or in the kernel")
