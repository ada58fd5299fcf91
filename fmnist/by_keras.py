"""What Keras makes of the same arrays on a backend, in a process of its own: by `fmnist.ask`."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fmnist import ask
from fmnist.convolution import Floats, Numbers, Padding, convolve1d, convolve2d
from fmnist.report.layers import Layer


@dataclass(frozen=True, eq=False)
class Convolution:
    """What is convolved, in the terms of `fmnist.convolution`; the axes tell the dimensions."""

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
    arrays = {f"inputs{i}": case.inputs.astype(np.float32) for i, case in enumerate(cases)}
    arrays |= {f"kernel{i}": case.kernel.astype(np.float32) for i, case in enumerate(cases)}
    told = [{"strides": case.strides, "padding": case.padding} for case in cases]
    answer = ask.keras("convolve", backend, arrays, {"cases": told})
    return [answer.arrays[f"outputs{i}"] for i in range(len(cases))]


def one_hot(labels: npt.NDArray[Any], n_classes: int, backend: str) -> npt.NDArray[Any]:
    """Return `keras.utils.to_categorical` of labels (n,). Raises ask.NoAnswerError."""
    told = {"n_classes": n_classes}
    return ask.keras("one_hot", backend, {"labels": labels}, told).arrays["encoded"]


def layers(name: str, backend: str) -> list[Layer]:
    """Return the layers of a model by its name, as built on a backend.

    Raises ask.NoAnswerError.
    """
    told = ask.keras("layers", backend, {}, {"name": name}).told["layers"]
    return [
        Layer(**{**layer, "inputs": tuple(layer["inputs"]), "outputs": tuple(layer["outputs"])})
        for layer in told
    ]
