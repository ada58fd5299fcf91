"""Answers a question of `fmnist.lessons.ask`: the child process, the one that imports Keras.

python -m fmnist.lessons.answer FOLDER
"""

import sys
import zipfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np

import fmnist.layers  # noqa: F401  # registers what saved models may hold
from fmnist import models
from fmnist.lessons import ask
from fmnist.lessons.ask import Answer, Arrays, Refused
from fmnist.measure import Stopwatch
from fmnist.training import flops, train

INPUTS: Final = (None, 28, 28, 1)
OUTPUTS: Final = (None, 10)
BATCH_SIZE: Final = 100
LOADING: Final = (
    *(ValueError, TypeError, KeyError, AttributeError, OSError, RuntimeError, ImportError),
    *(IndexError, zipfile.BadZipFile),
)
"""What Keras raises on a file that is damaged, or holds what it does not know."""

POOLING: Final = (
    *(keras.layers.MaxPooling1D, keras.layers.MaxPooling2D, keras.layers.MaxPooling3D),
    *(keras.layers.AveragePooling1D, keras.layers.AveragePooling2D),
    keras.layers.AveragePooling3D,
)

Told = Mapping[str, Any]


def predict(arrays: Arrays, told: Told) -> Answer:
    """Classify `images`, float32 (n, 28, 28, 1) in [0, 1], by the `.keras` file `model`.

    The answer has `outputs`, float32 (n, 10), as the model gives them.
    """
    model = _loaded(told["model"])
    outputs = train.predict(model, arrays["images"], BATCH_SIZE)
    return Answer({"outputs": outputs}, {"keras": keras.__version__})


def _loaded(path: str) -> keras.Model:
    """Return the model in a file that `saved` has looked at, uncompiled, in safe mode."""
    try:
        model = keras.saving.load_model(path, compile=False, safe_mode=True)
    except LOADING as error:
        # Keras tells the cause last, between two copies of the whole configuration.
        cause = str(error).rpartition("Exception encountered: ")[2].partition(". ")[0]
        raise Refused(f"{path} cannot be loaded by Keras {keras.__version__}: {cause}") from error
    inputs, outputs = (getattr(model, name, None) for name in ("input_shape", "output_shape"))
    if inputs != INPUTS or outputs != OUTPUTS:
        raise Refused(
            f"{path} takes {inputs} and gives {outputs}, where {INPUTS} and {OUTPUTS} are needed: "
            "28x28 grey images, ten classes"
        )
    return model


def convolve(arrays: Arrays, told: Told) -> Answer:
    """Convolve `inputs0` with `kernel0` to `outputs0`, and so on, each by its own terms."""
    outputs, seconds = {}, []
    for i, case in enumerate(told["cases"]):
        strides = case["strides"]
        made, case_s = _timed(
            partial(
                _convolved,
                arrays[f"inputs{i}"],
                arrays[f"kernel{i}"],
                tuple(strides) if isinstance(strides, list) else strides,
                case["padding"],
            ),
            told["rounds"],
        )
        outputs[f"outputs{i}"] = made
        seconds.append(case_s)
    return Answer(outputs, {"seconds": seconds})


def _convolved(
    inputs: np.ndarray, kernel: np.ndarray, strides: int | tuple[int, int], padding: str
) -> np.ndarray:
    """Return what Keras makes of it as a NumPy array: when it returns, the device is done."""
    made = keras.ops.conv(inputs, kernel, strides=strides, padding=padding)
    return np.asarray(keras.ops.convert_to_numpy(made))


def one_hot(arrays: Arrays, told: Told) -> Answer:
    """Encode `labels` as `encoded`, (n, n_classes)."""
    encoded, seconds = _timed(
        partial(keras.utils.to_categorical, arrays["labels"], told["n_classes"]), told["rounds"]
    )
    return Answer({"encoded": encoded}, {"seconds": seconds})


def _timed(call: Callable[[], np.ndarray], rounds: int) -> tuple[np.ndarray, list[float]]:
    """Return what a call returns, and the seconds of so many more: the first one compiles."""
    made, seconds, stopwatch = call(), [], Stopwatch()
    for _ in range(rounds):
        stopwatch.start()
        call()
        seconds.append(stopwatch.stop())
    return made, seconds


def layers(_arrays: Arrays, told: Told) -> Answer:
    """Build the model `name` and tell its `layers`, as `fmnist.report.layers.Layer` has them."""
    model = models.build(told["name"])
    macs = flops.forward_macs(model)
    found = [
        {
            "name": use.name,
            "kind": type(use.layer).__name__,
            "family": train.kind_of(use.layer),
            "inputs": use.layer.input.shape[1:],
            "outputs": use.layer.output.shape[1:],
            "does": _does(use.layer),
            "parameters": use.layer.count_params(),
            "macs": macs.get(use.name, 0),
        }
        for use in flops.uses(model)
        if not isinstance(use.layer, keras.layers.InputLayer)
    ]
    return Answer({}, {"layers": found})


def _does(layer: keras.layers.Layer) -> str:
    """Return in words what a layer without weights does to the shape; empty if it keeps it."""
    if isinstance(layer, keras.layers.Flatten):
        return f"{' * '.join(map(str, layer.input.shape[1:]))} in one row"
    if isinstance(layer, POOLING):
        return f"1 of each {'x'.join(map(str, layer.pool_size))}, {layer.padding}"
    return ""


ANSWERS: Final[Mapping[str, Callable[[Arrays, Told], Answer]]] = {
    "predict": predict,
    "convolve": convolve,
    "one_hot": one_hot,
    "layers": layers,
}


def main(folder: Path) -> None:
    """Answer the question in a folder there."""
    arrays, told = ask.read(folder / ask.QUESTION)
    try:
        answer = ANSWERS[told["question"]](arrays, told)
    except Refused as refused:
        answer = Answer({}, {"refused": str(refused)})
    ask.write(folder / ask.ANSWER, answer)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
