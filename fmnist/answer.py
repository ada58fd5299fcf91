"""Answers a question of `fmnist.ask`: the child process, the one that imports Keras.

python -m fmnist.answer FOLDER
"""

import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import keras
import numpy as np

import fmnist.layers  # noqa: F401  # registers what saved models may hold
from fmnist import ask
from fmnist.ask import Answer, Arrays, Refused

INPUTS: Final = (None, 28, 28, 1)
OUTPUTS: Final = (None, 10)
BATCH_SIZE: Final = 100
LOADING: Final = (
    *(ValueError, TypeError, KeyError, AttributeError, OSError, RuntimeError, ImportError),
    *(IndexError, zipfile.BadZipFile),
)
"""What Keras raises on a file that is damaged, or holds what it does not know."""

Told = Mapping[str, Any]


def predict(arrays: Arrays, told: Told) -> Answer:
    """Classify `images`, float32 (n, 28, 28, 1) in [0, 1], by the `.keras` file `model`.

    The answer has `outputs`, float32 (n, 10), as the model gives them.
    """
    model = _loaded(told["model"])
    outputs = model.predict(arrays["images"], batch_size=BATCH_SIZE, verbose=0)
    return Answer({"outputs": np.asarray(outputs)}, {"keras": keras.__version__})


def _loaded(path: str) -> keras.Model:
    """Return the model in a file that `fmnist.saved` has looked at, uncompiled, in safe mode."""
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
    outputs = {}
    for i, case in enumerate(told["cases"]):
        strides = case["strides"]
        made = keras.ops.conv(
            arrays[f"inputs{i}"],
            arrays[f"kernel{i}"],
            strides=tuple(strides) if isinstance(strides, list) else strides,
            padding=case["padding"],
        )
        outputs[f"outputs{i}"] = keras.ops.convert_to_numpy(made)
    return Answer(outputs, {})


def one_hot(arrays: Arrays, told: Told) -> Answer:
    """Encode `labels` as `encoded`, (n, n_classes)."""
    return Answer({"encoded": keras.utils.to_categorical(arrays["labels"], told["n_classes"])}, {})


ANSWERS: Final[Mapping[str, Callable[[Arrays, Told], Answer]]] = {
    "predict": predict,
    "convolve": convolve,
    "one_hot": one_hot,
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
