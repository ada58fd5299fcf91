"""The rules of the race as data: its tiers, its reference, and what counts."""

from typing import Final

TIERS: Final = (0.90, 0.9167, 0.92, 0.93, 0.94)
"""Mean test accuracies to be reached; 0.9167 is the best validation figure published for one of
the models."""
FEWEST_SEEDS: Final = 5
"""The mean of fewer seeds reaches no tier."""
HELD_OUT_SHARE: Final = 0.2
"""Of the training set: kept out of training by the reference and in choosing."""
CHOOSING_SEED: Final = 1_000_000
"""The first seed of choosing: no seed of a race comes near it."""
REFERENCE_MODEL: Final = "conv_8_24_48"
REFERENCE_BACKEND: Final = "tensorflow"
REFERENCE_EPOCHS: Final = 5
"""Published for the model at 91.67 % of its validation set, after so many epochs."""
