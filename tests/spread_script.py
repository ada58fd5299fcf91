"""Trains by so many replicas from fixed weights, without dropout, and prints each epoch's loss.

Usage: python spread_script.py MODEL REPLICAS HOST [ADDRESS...]; the backend is KERAS_BACKEND.
Without addresses it is one host; then the batches are those that several hosts take together.
"""

import json
import os
import sys
from contextlib import nullcontext

import keras
import numpy as np

from fmnist import data, models, parity
from fmnist.channel import Job
from fmnist.data import preprocess
from fmnist.training import train
from fmnist.training.distributed.spread import Shards, spread_for
from fmnist.training.worker import seed_generators

IMAGES, BATCH_SIZE, EPOCHS, SEED = 1_200, 60, 3, 5


def main(model_name: str, replicas: int, host: int, addresses: tuple[str, ...]) -> None:
    """Print the losses of the epochs as a JSON list."""
    recipe = models.card(model_name).recipe
    job = Job(
        task="scale",
        model=model_name,
        backend=keras.config.backend(),
        device="cpu",
        mode="stock",
        batch_size=BATCH_SIZE,
        precision="float32",
        xla="auto",
        data_kind="stand-in",
        data_folder=None,
        data_found_by="the test",
        train_images=IMAGES,
        validation_images=0,
        test_images=100,
        seed=SEED,
        epochs=EPOCHS,
        latency_calls=0,
        steps=1,
        recipe=recipe,
        trace_path=None,
        cpus=None,
        replicas=replicas,
        addresses=addresses,
        host=host,
        wait_s=60,
    )
    seed_generators(SEED)
    spread = spread_for(job)
    source = data.Source(kind="stand-in", folder=None, found_by="the test")
    dataset = data.load_sample(source, IMAGES, 100, SEED)
    images = preprocess.rescale(dataset.train_images)
    labels = dataset.train_labels.astype("int32")
    if recipe.loss == "categorical_crossentropy":
        labels = preprocess.one_hot(labels)
    with spread.scope() if spread else nullcontext():
        model = models.build(model_name)
        train.compile_model(model, recipe, steps=1)
    for layer in train.leaves(model):
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    shapes = [(weight.name, tuple(weight.shape)) for weight in model.weights]
    model.set_weights(parity.initial_weights(shapes, SEED))
    losses: list[float] = []
    kept = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda _, logs: losses.append(float(logs["loss"]))
    )
    if spread is not None and addresses:
        spread.fit(model, images, labels, batch_size=BATCH_SIZE, epochs=EPOCHS, callbacks=[kept])
    else:
        shards = Shards(images, labels, batch_size=BATCH_SIZE, host=0, hosts=1, seed=SEED)
        with spread.scope() if spread else nullcontext():
            calls = [kept, shards.beginning()]
            train.fit_batches(model, shards, epochs=EPOCHS, callbacks=calls)
    weights = np.concatenate([np.ravel(weight) for weight in model.get_weights()])
    print(json.dumps({"losses": losses, "weights": float(np.abs(weights).sum())}), flush=True)
    os._exit(0)  # TensorFlow's servers wait for one another in vain


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), tuple(sys.argv[4:]))
