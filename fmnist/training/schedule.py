"""How the learning rate of a short training runs: linearly up, then linearly down to zero."""

from typing import Any

import keras

FIRST_SHARE = 0.1


class RiseAndFall(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]  # Keras publishes no types
    """Linear from a tenth of the peak up to it, then linear to zero, and zero from then on.

    Args:
        peak: the highest learning rate, above 0.
        steps: of the whole training, at least 1.
        rise_share: after which share of the steps the peak is reached, in (0, 1).
    """

    def __init__(self, peak: float, steps: int, rise_share: float) -> None:
        super().__init__()
        if steps < 1 or not 0 < rise_share < 1:
            raise ValueError(f"{steps} steps with a rise in {rise_share} of them is no schedule")
        self.peak = peak
        self.steps = steps
        self.rise_share = rise_share

    def __call__(self, step: Any) -> Any:  # noqa: ANN401  # a tensor of the backend
        """Return the learning rate of a step, counted from 0; both are scalars."""
        done = keras.ops.cast(step, "float32") / self.steps
        rising = FIRST_SHARE + (1 - FIRST_SHARE) * done / self.rise_share
        falling = (1 - done) / (1 - self.rise_share)
        return self.peak * keras.ops.maximum(keras.ops.minimum(rising, falling), 0.0)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments."""
        return {"peak": self.peak, "steps": self.steps, "rise_share": self.rise_share}


keras.saving.register_keras_serializable(package="fmnist")(RiseAndFall)  # saved models find it
