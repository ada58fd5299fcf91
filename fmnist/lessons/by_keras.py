"""What Keras makes of the same arrays on a backend, in a process of its own: by `ask`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fmnist.lessons import ask
from fmnist.lessons.convolution import Floats, Numbers, Padding, convolve1d, convolve2d
from fmnist.report.layers import Layer


@dataclass(frozen=True, eq=False)
class Convolution:
    """What is convolved, in the terms of `convolution`; the axes tell the dimensions."""

    inputs: Numbers
    kernel: Numbers
    strides: int | tuple[int, int] = 1
    padding: Padding = "valid"

    def by_hand(self) -> Floats:
        """Return what our own code makes of it. Raises ConvolutionError."""
        if isinstance(self.strides, int) and self.inputs.ndim == 3:  # noqa: PLR2004 (n, steps, channels)
            return convolve1d(self.inputs, self.kernel, self.strides, self.padding)
        return convolve2d(self.inputs, self.kernel, self.strides, self.padding)


def convolved(cases: Sequence[Convolution], backend: str) -> list[npt.NDArray[np.float32]]:
    """Return what `keras.ops.conv` makes of each case, in float32. Raises ask.NoAnswerError."""
    answer = _convolved(cases, backend, rounds=0)
    return [answer.arrays[f"outputs{i}"] for i in range(len(cases))]


def timed_convolution(
    case: Convolution, backend: str, rounds: int
) -> tuple[npt.NDArray[np.float32], list[float]]:
    """Return what `convolved` makes of a case, and the seconds of so many more rounds of it."""
    answer = _convolved([case], backend, rounds)
    (seconds,) = answer.told["seconds"]
    return answer.arrays["outputs0"], seconds


def _convolved(cases: Sequence[Convolution], backend: str, rounds: int) -> ask.Answer:
    arrays = {f"inputs{i}": case.inputs.astype(np.float32) for i, case in enumerate(cases)}
    arrays |= {f"kernel{i}": case.kernel.astype(np.float32) for i, case in enumerate(cases)}
    told = [{"strides": case.strides, "padding": case.padding} for case in cases]
    return ask.keras("convolve", backend, arrays, {"cases": told, "rounds": rounds})


def one_hot(labels: npt.NDArray[Any], n_classes: int, backend: str) -> npt.NDArray[Any]:
    """Return `keras.utils.to_categorical` of labels (n,). Raises ask.NoAnswerError."""
    return timed_one_hot(labels, n_classes, backend, rounds=0)[0]


def timed_one_hot(
    labels: npt.NDArray[Any], n_classes: int, backend: str, rounds: int
) -> tuple[npt.NDArray[Any], list[float]]:
    """Return what `one_hot` does, and the seconds of so many more rounds of it."""
    told = {"n_classes": n_classes, "rounds": rounds}
    answer = ask.keras("one_hot", backend, {"labels": labels}, told)
    return answer.arrays["encoded"], answer.told["seconds"]


def layers(name: str, backend: str) -> list[Layer]:
    """Return the layers of a model by its name, as built on a backend.

    Raises ask.NoAnswerError.
    """
    told = ask.keras("layers", backend, {}, {"name": name}).told["layers"]
    return [
        Layer(**{**layer, "inputs": tuple(layer["inputs"]), "outputs": tuple(layer["outputs"])})
        for layer in told
    ]
