"""The drawn data set is deterministic, balanced, prefix-stable and neither trivial nor hopeless."""

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from typing import Literal, cast

import numpy as np
import pytest

from fmnist.data.standin import TEST_IMAGES, TRAIN_IMAGES, draw

BOTH = pytest.mark.parametrize("split", ["train", "test"])
Split = Literal["train", "test"]


@BOTH
@pytest.mark.parametrize("n", [0, 1, 500, 1_000, 1_001])
def test_the_first_n_of_a_longer_draw_are_a_draw_of_n(split: Split, n: int) -> None:
    """Any first n can be made alone, on either side of a chunk's end."""
    images, labels = draw(split, n)
    more_images, more_labels = draw(split, 2_000)
    np.testing.assert_array_equal(images, more_images[:n])
    np.testing.assert_array_equal(labels, more_labels[:n])


@pytest.mark.parametrize(
    ("split", "checksum"),
    [
        ("train", "6df470442dbc1197"),
        ("test", "33f8ec756bb82cd8"),
    ],
)
def test_the_bytes_are_the_same_everywhere(split: Split, checksum: str) -> None:
    """A change of these bytes makes the results before and after it incomparable."""
    images, labels = draw(split, 200)
    digest = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    assert digest[:16] == checksum


@BOTH
def test_every_whole_thousand_holds_each_class_100_times(split: Split) -> None:
    """Classes are balanced over each chunk, so over the whole split too."""
    _, labels = draw(split, 3_000)
    for chunk in labels.reshape(3, 1_000):
        assert np.bincount(chunk, minlength=10).tolist() == [100] * 10


@BOTH
def test_classes_come_in_a_shuffled_order(split: Split) -> None:
    """The first 100 labels hold every class and are not sorted."""
    _, labels = draw(split, 100)
    assert set(labels.tolist()) == set(range(10))
    assert (np.diff(labels.astype(int)) < 0).any()


def test_no_image_is_drawn_twice() -> None:
    """Train and test, and two chunks of one split, share no image."""
    images = np.concatenate([draw("train", 2_000)[0], draw("test", 2_000)[0]])
    assert len({image.tobytes() for image in images}) == 4_000


@BOTH
def test_images_have_the_real_set_s_type_shape_and_range(split: Split) -> None:
    """Bytes of 28 x 28, mostly black, reaching white."""
    images, labels = draw(split, 1_000)
    assert images.dtype == labels.dtype == np.uint8
    assert images.shape == (1_000, 28, 28)
    assert labels.shape == (1_000,)
    assert (images.min(), images.max()) == (0, 255)
    assert 0.4 < (images == 0).mean() < 0.8


@pytest.mark.parametrize("n", [1, 999])
def test_every_image_shows_something(n: int) -> None:
    """No garment is shifted, darkened or patched out of sight."""
    images, _ = draw("test", n)
    assert (images > 0).sum(axis=(1, 2)).min() > 28


@pytest.mark.parametrize(
    ("split", "n", "limit"),
    [
        ("train", -1, "60000"),
        ("train", TRAIN_IMAGES + 1, "60000"),
        ("test", -1, "10000"),
        ("test", TEST_IMAGES + 1, "10000"),
    ],
)
def test_an_impossible_n_is_refused_with_the_limits(split: Split, n: int, limit: str) -> None:
    """The message names the split and how many images it has."""
    with pytest.raises(ValueError, match=f"{split} split has 0 to {limit}"):
        draw(split, n)


def test_an_unknown_split_is_refused() -> None:
    """Only train and test exist."""
    with pytest.raises(ValueError, match="no split 'valid'"):
        draw(cast("Split", "valid"), 1)


def test_class_means_tell_some_images_apart() -> None:
    """Nearest class mean, 0.51 when made, lies well above chance (0.1) and well below 1."""
    images, labels = draw("train", 5_000)
    means = np.stack([images[labels == k].mean(axis=0).ravel() for k in range(10)])
    test_images, test_labels = draw("test", 2_000)
    pixels = test_images.reshape(len(test_images), -1).astype(float)
    scores = pixels @ means.T - (means**2).sum(axis=1) / 2
    assert 0.45 < (scores.argmax(axis=1) == test_labels).mean() < 0.57


TRAIN_THREE = """
import importlib, json
import keras
from fmnist.data.standin import draw

(x, y), (test_x, test_y) = draw("train", 12_000), draw("test", 5_000)
x, test_x = (images[..., None].astype("float32") / 255 for images in (x, test_x))
accuracies = []
for name in ("softmax_regression", "dense3", "lenet_dropout"):
    keras.utils.set_random_seed(1)
    model = importlib.import_module("fmnist.models." + name).build()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, metrics=["accuracy"])
    model.fit(x, y, batch_size=100, epochs=4, verbose=0)
    accuracies.append(model.evaluate(test_x, test_y, verbose=0)[1])
print(json.dumps(accuracies))
"""


@pytest.mark.slow
@pytest.mark.skipif(not importlib.util.find_spec("tensorflow"), reason="needs TensorFlow")
def test_models_separate_as_on_the_real_set() -> None:
    """A linear model stays behind a dense one, and that one behind a convolutional one."""
    done = subprocess.run(
        [sys.executable, "-c", TRAIN_THREE],
        env={**os.environ, "KERAS_BACKEND": "tensorflow"},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    softmax, dense, conv = json.loads(done.stdout.splitlines()[-1])
    assert 0.7 < softmax < dense < conv < 0.97
