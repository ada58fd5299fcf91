"""Facts of Keras, TensorFlow and JAX that the suite's measurements rest on.

A new release may change each. The message of a failing test says what to look at then; the whole
list is in docs/upgrading.md.
"""

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from on_backend import answer

LOOK = "docs/upgrading.md, fact"

SCRIPT = Path(__file__).with_name("facts_script.py")


@cache
def facts(backend: str) -> dict[str, Any]:
    """Return what Keras does on a backend, asked once."""
    return answer(SCRIPT, backend)


def keras_source(*parts: str) -> str:
    """Return the text of a module of Keras, which is not imported."""
    found = importlib.util.find_spec("keras")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).parent.joinpath("src", *parts).read_text(encoding="utf-8")


def test_steps_per_execution_is_a_python_loop_on_jax() -> None:
    """Keras's JAX trainer takes the steps of one execution by a `for`, not in one program."""
    text = keras_source("backend", "jax", "trainer.py")

    assert "for _ in range(self.steps_per_execution - 1)" in text, (
        f"{LOOK} 8: steps_per_execution changed on JAX: measure it again (docs/tuned.md), the "
        "suite's own loop may have become needless"
    )


def test_tensorflow_takes_the_steps_of_an_execution_in_one_loop() -> None:
    """Keras's TensorFlow trainer has one `tf.while_loop`."""
    text = keras_source("backend", "tensorflow", "trainer.py")

    assert "tf.while_loop(" in text, (
        f"{LOOK} 8: steps_per_execution changed on TensorFlow: run the trap of that name again"
    )


def test_an_epoch_ends_after_the_state_is_synced_on_jax() -> None:
    """`on_epoch_end` comes after `jax_state_sync` in Keras's JAX trainer."""
    fit = keras_source("backend", "jax", "trainer.py").partition("def fit(")[2]
    fit = fit.partition("\n    @traceback_utils")[0]

    assert 0 <= fit.find("self.jax_state_sync()") < fit.find("callbacks.on_epoch_end("), (
        f"{LOOK} 4: weights may not be readable in on_epoch_end: check the fence in "
        "fmnist/training/train.py"
    )


def test_data_is_downloaded_over_https_only() -> None:
    """Keras names one place for Fashion-MNIST, and it begins with https."""
    text = keras_source("datasets", "fashion_mnist.py")

    assert 'base = "https://' in text
    assert '"http://' not in text


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "resolved"), [("tensorflow", False), ("jax", True)])
def test_auto_means_xla_on_jax_alone_on_a_processor(backend: str, resolved: bool) -> None:  # noqa: FBT001
    """`jit_compile="auto"` is resolved to XLA on JAX, and to none on TensorFlow without a GPU."""
    assert facts(backend)["jit_compile"] is resolved, (
        f"{LOOK} 5: auto is resolved in another way: stock times of {backend} are not comparable "
        "with older ones"
    )


@pytest.mark.slow
def test_a_seed_gives_other_weights_on_each_backend() -> None:
    """The same seed starts from other weights: learning is compared from one NumPy source."""
    assert facts("tensorflow")["initial"] != facts("jax")["initial"], (
        f"{LOOK} 9: weights are the same now: fmnist/parity.py could do without its own"
    )


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["tensorflow", "jax"])
def test_a_seed_fixes_weights_and_order_of_batches(backend: str) -> None:
    """Two trainings in one process from the same seed end in the same weights."""
    first, second = facts(backend)["trained"]

    assert first == second, f"{LOOK} 9: a seed no longer fixes the order of batches on {backend}"


@pytest.mark.slow
def test_a_hook_per_batch_makes_jax_wait() -> None:
    """Callbacks are dispatched without waiting, unless one has a hook for each batch."""
    assert facts("jax")["dispatched"] == [True, False], (
        f"{LOOK} 3: look again at what a hook costs, and at the callbacks of "
        "fmnist/training/train.py"
    )
