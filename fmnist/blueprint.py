"""Models that are described by their name: `conv32-pool-drop25-conv64-pool-drop25-dense128-drop40`.

A blueprint is tokens joined by `-`, from the image (28, 28, 1) to ten logits:

- `convF`: 3x3 convolution to F channels, no padding, relu
- `pool`: the largest of each 2x2
- `dropP`: dropout of P per cent
- `denseN`: N fully connected units, relu
- `norm`: after a convolution or a dense layer, batch normalisation between it and its relu; the
  layer then has no bias
- `l2eN`: at the end, L2 regularisation by 10^-N of every kernel, that of the logits too
- `logits`: alone, no hidden layer at all

Flattening, before the first dense layer, and the dense layer of the logits are implied. Parsing
starts no framework.
"""

import re
from typing import TYPE_CHECKING, Final, Literal, Self

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import keras

EXAMPLE: Final = "conv8-pool-dense64"
LONGEST: Final = 120
"""Characters of a name: it becomes part of file names, with the terms of its cell."""
MOST_PARAMETERS: Final = 10**8
SIDE: Final = 28
CLASSES: Final = 10
MOST_PER_CENT: Final = 99
LARGEST_EXPONENT: Final = 9
TOKEN: Final = re.compile(r"(conv|drop|dense|l2e)([1-9]\d*)|(pool|norm|logits)", re.ASCII)
ALLOWED: Final = "convF, pool, dropP, denseN, norm, l2eN, logits"

Kind = Literal["conv", "pool", "drop", "dense", "norm", "l2e", "logits"]


class BlueprintError(ValueError):
    """A name that describes no model; the message says which token, and what is allowed."""


class Token(BaseModel):
    """One word of a blueprint: what it is, and how much of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Kind
    size: int = 0
    """Channels, units, per cent, or the exponent of L2; 0 where there is no number."""

    def __str__(self) -> str:
        return f"{self.kind}{self.size or ''}"

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the token of a word. Raises BlueprintError for any other word."""
        found = TOKEN.fullmatch(text)
        if found is None or len(text) > len("dense") + len(str(MOST_PARAMETERS)):
            raise BlueprintError(f"{text[:20]!r} is no token; there are: {ALLOWED}")
        return cls.model_validate({"kind": found[1] or found[3], "size": int(found[2] or 0)})


class Blueprint(BaseModel):
    """A model as its name describes it, checked: it can be built."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens: tuple[Token, ...]

    @property
    def name(self) -> str:
        """The name that describes it."""
        return "-".join(map(str, self.tokens))

    @property
    def family(self) -> Literal["dense", "conv"]:
        """Whether it has convolutions."""
        return "conv" if any(token.kind == "conv" for token in self.tokens) else "dense"

    @property
    def batch_statistics(self) -> bool:
        """Whether it has batch normalization."""
        return any(token.kind == "norm" for token in self.tokens)

    @property
    def parameters(self) -> int:
        """All weights of the model, counted from the shapes of its layers."""
        return _counted(self.tokens)

    @property
    def summary(self) -> str:
        """What the model is, in a sentence."""
        return f"Blueprint: {', '.join(map(_in_words, self.tokens))}; ten logits."

    @property
    def l2(self) -> float:
        """The factor of L2 regularisation; 0: there is none."""
        last = self.tokens[-1]
        return 10.0**-last.size if last.kind == "l2e" else 0.0

    def build(self) -> "keras.Model":
        """Return the uncompiled Keras model, (n, 28, 28, 1) to (n, 10) logits. Starts Keras."""
        import keras

        made: list[keras.layers.Layer] = [keras.Input((SIDE, SIDE, 1))]
        followers = (*self.tokens[1:], None)
        flat = False
        for token, follower in zip(self.tokens, followers, strict=True):
            if token.kind == "dense" and not flat:
                made.append(keras.layers.Flatten())
                flat = True
            normed = follower is not None and follower.kind == "norm"
            made += self._layers(token, normed=normed)
        output = keras.layers.Dense(CLASSES, kernel_regularizer=self._regularizer())
        return keras.Sequential([*made, *([] if flat else [keras.layers.Flatten()]), output])

    def _layers(self, token: Token, *, normed: bool) -> list["keras.layers.Layer"]:
        """Return what a token stands for; `normed`: batch normalisation follows."""
        from keras import layers

        own = {
            "activation": None if normed else "relu",
            "use_bias": not normed,
            "kernel_regularizer": self._regularizer(),
        }
        if token.kind == "conv":
            return [layers.Conv2D(token.size, 3, **own)]
        if token.kind == "dense":
            return [layers.Dense(token.size, **own)]
        if token.kind == "norm":
            return [layers.BatchNormalization(), layers.ReLU()]
        if token.kind == "pool":
            return [layers.MaxPooling2D()]
        return [layers.Dropout(token.size / 100)] if token.kind == "drop" else []

    def _regularizer(self) -> "keras.regularizers.Regularizer | None":
        import keras

        return keras.regularizers.L2(self.l2) if self.l2 else None


def looks_like_one(name: str) -> bool:
    """Tell whether any word of a name is a token: then it is meant as a blueprint."""
    return any(TOKEN.fullmatch(word) for word in name.split("-"))


def parse(name: str) -> Blueprint:
    """Return the blueprint of a name.

    Raises BlueprintError, naming the token and what is allowed, for a name that describes no model:
    an unknown word, a layer where it cannot stand, an image that has shrunk away, too many
    parameters, too long a name.
    """
    if len(name) > LONGEST:
        raise BlueprintError(
            f"blueprint {name[:20]}...: {len(name)} characters; {LONGEST} are allowed"
        )
    try:
        tokens = tuple(map(Token.of, name.split("-")))
        _check_order(tokens)
        parameters = _counted(tokens)
    except BlueprintError as error:
        raise BlueprintError(f"blueprint {name!r}: {error}") from None
    if parameters > MOST_PARAMETERS:
        raise BlueprintError(
            f"blueprint {name!r}: {parameters:,} parameters; {MOST_PARAMETERS:,} are allowed"
        )
    return Blueprint(tokens=tokens)


def _check_order(tokens: tuple[Token, ...]) -> None:
    """Raise BlueprintError for a token where it cannot stand, or a share that is none."""
    if tokens[0].kind in ("norm", "l2e"):
        raise BlueprintError(f"{tokens[0]} has no layer before it; begin with {ALLOWED}")
    before: Token | None = None
    flat = False
    for place, token in enumerate(tokens):
        if token.kind == "logits" and len(tokens) > 1:
            raise BlueprintError("logits stands alone: they are implied behind any other layer")
        if token.kind == "l2e" and place + 1 < len(tokens):
            raise BlueprintError(f"{token} is for the whole model: it stands at the end, once")
        if token.kind == "drop" and token.size > MOST_PER_CENT:
            raise BlueprintError(f"{token}: dropout is from 1 to {MOST_PER_CENT} per cent")
        if token.kind == "l2e" and token.size > LARGEST_EXPONENT:
            raise BlueprintError(f"{token}: the exponent is from 1 to {LARGEST_EXPONENT}")
        if token.kind in ("conv", "pool") and flat:
            raise BlueprintError(f"{token} behind a dense layer: there is no image any more")
        if token.kind == "norm" and (before is None or before.kind not in ("conv", "dense")):
            raise BlueprintError(f"norm behind {before}: it stands right behind a conv or dense")
        flat = flat or token.kind == "dense"
        before = token


def _counted(tokens: tuple[Token, ...]) -> int:
    """Return the weights of all layers. Raises BlueprintError if the image shrinks away."""
    side, channels, inputs, total = SIDE, 1, SIDE**2, 0
    for token, follower in zip(tokens, (*tokens[1:], None), strict=True):
        per_unit = 4 if follower is not None and follower.kind == "norm" else 1  # else a bias
        if token.kind == "conv":
            side -= 2
            total += (9 * channels + per_unit) * token.size
            channels = token.size
        elif token.kind == "pool":
            side //= 2
        elif token.kind == "dense":
            total += (inputs + per_unit) * token.size
            inputs = token.size
        if side < 1:
            raise BlueprintError(
                f"{token}: the image has shrunk away; a conv takes 2 pixels off each side's "
                "length, a pool halves it"
            )
        if token.kind in ("conv", "pool"):
            inputs = side**2 * channels
    return total + (inputs + 1) * CLASSES


def _in_words(token: Token) -> str:
    return {
        "conv": f"conv {token.size} 3x3 relu",
        "pool": "pool 2x2",
        "drop": f"drop {token.size / 100:g}",
        "dense": f"dense {token.size} relu",
        "norm": "batch norm before that relu",
        "l2e": f"L2 1e-{token.size} on all kernels",
        "logits": "no hidden layer",
    }[token.kind]
