"""Classifying images by a saved `.keras` model of anyone: looked at here, run by a child process.

Nothing in the file is executed: a Lambda layer, which is Python code, is refused here by name, and
Keras loads in its safe mode. Besides Keras's own layers, those of `fmnist.layers` are known.
"""

import json
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from fmnist.data import preprocess
from fmnist.lessons import ask

MOST_BYTES: Final = 512 * 2**20
"""Of a model's file, and of what it holds unpacked."""
MOST_CONFIG_BYTES: Final = 16 * 2**20
CONFIG: Final = "config.json"
CODE: Final = ("Lambda", "__lambda__")
"""Classes, by the names in a configuration, that hold Python code."""
SUM_TOLERANCE: Final = 1e-2
"""By how much probabilities in float16 may miss a sum of 1."""


class ModelError(ValueError):
    """A saved model cannot be used: names the file, what is wrong with it, and what to do."""


@dataclass(frozen=True, eq=False)
class Classified:
    """What a model says about images.

    Attributes:
        probabilities: float64 (n, 10), rows that sum to 1.
        from_logits: whether they are the softmax of what the model gave; else it gave them.
        keras: the version that computed them.
    """

    probabilities: npt.NDArray[np.float64]
    from_logits: bool
    keras: str


def classify(images: npt.NDArray[np.uint8], path: Path, backend: str) -> Classified:
    """Return the class probabilities of uint8 images (n, 28, 28) by a model saved as `.keras`.

    The model gets them as `preprocess.rescale` makes them: (n, 28, 28, 1) in [0, 1].

    Raises:
        ModelError: The file is missing, no `.keras` file, damaged, too large, holds code or layers
            that are not known, is of another shape, or the model gives no numbers.
        ask.NoAnswerError: The process that runs it crashed.
    """
    check(path)
    try:
        arrays = {"images": preprocess.rescale(images)}
        answer = ask.keras("predict", backend, arrays, {"model": str(path.resolve())})
    except ask.Refused as refused:
        raise ModelError(str(refused)) from refused
    outputs = answer.arrays["outputs"].astype(np.float64)
    if not np.isfinite(outputs).all():
        raise ModelError(f"{path} gives NaN or infinity: its training has diverged")
    sums = outputs.sum(axis=1)
    given = bool((outputs >= 0).all() and (np.abs(sums - 1) < SUM_TOLERANCE).all())
    probabilities = outputs / sums[:, None] if given else softmax(outputs, axis=1)
    return Classified(probabilities, not given, answer.told["keras"])


def check(path: Path) -> None:
    """Look at a model's file without loading it.

    Raises:
        ModelError: As `classify`, for what can be seen from outside.
    """
    if path.suffix != ".keras":
        raise ModelError(f"{path} does not end in .keras: save the model by model.save('X.keras')")
    if not path.is_file():
        there = "is no file" if path.exists() else "does not exist"
        raise ModelError(f"{path} {there}: name a model that was saved as .keras")
    try:
        size = path.stat().st_size
        if size > MOST_BYTES:
            raise ModelError(f"{path} has {size:,} bytes: the limit is {MOST_BYTES:,}")
        config = _config(path)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
        raise ModelError(f"{path} is empty, truncated or no .keras file ({error})") from error
    except (OSError, RuntimeError) as error:
        raise ModelError(f"{path} cannot be read ({error})") from error
    for name in _holders_of_code(config):
        raise ModelError(
            f"{path} holds Python code in its layer {name!r} (Lambda), which could do anything: "
            "it is not loaded. Build the model with a registered layer instead"
        )


def _config(path: Path) -> object:
    """Return a model's configuration, after a look at the sizes of what the file holds."""
    with zipfile.ZipFile(path) as file:
        sizes = {member.filename: member.file_size for member in file.infolist()}
        if sum(sizes.values()) > MOST_BYTES or sizes.get(CONFIG, 0) > MOST_CONFIG_BYTES:
            raise ModelError(
                f"{path} unpacks to {sum(sizes.values()):,} bytes: the limit is {MOST_BYTES:,}, "
                f"and {MOST_CONFIG_BYTES:,} for its {CONFIG}"
            )
        if CONFIG not in sizes:
            raise ModelError(f"{path} is a zip file without {CONFIG}: no model that Keras saved")
        with file.open(CONFIG) as member:
            text = member.read(MOST_CONFIG_BYTES + 1)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path} holds a damaged {CONFIG} ({error})") from error


def _holders_of_code(config: object) -> Iterator[str]:
    """Yield the name of each object in a configuration that is Python code, at any depth."""
    waiting: list[Any] = [config]
    while waiting:
        match waiting.pop():
            case dict(holder):
                if holder.get("class_name") in CODE:
                    inner = holder.get("config")
                    yield str(inner.get("name", "")) if isinstance(inner, dict) else ""
                waiting.extend(holder.values())
            case list(members):
                waiting.extend(members)
