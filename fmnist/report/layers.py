"""The table of a model's layers: what each does to the shape, and what it costs."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from fmnist.report.render import NOTHING, Table

FAMILIES: Final = ("dense", "conv", "other")


class Layer(NamedTuple):
    """A layer of a model that is built.

    Attributes:
        name: in the model; those of a nested model have its name before theirs.
        kind: its class.
        family: `dense`, `conv` or `other`, by which it is summed.
        inputs: the shape of one example that it takes, from its first call.
        outputs: the shape of what it makes of that.
        does: to the shape, in words; empty where the kind says it.
        parameters: all of them, trainable or not.
        macs: multiply-accumulates for one image; None where they cannot be counted.
    """

    name: str
    kind: str
    family: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    does: str
    parameters: int
    macs: int | None


def layer_table(name: str, summary: str, layers: Sequence[Layer]) -> Table:
    """Return the layers of a model, then the sums of those that are dense, conv, and other."""
    rows: list[tuple[str, ...]] = [
        (
            layer.name,
            layer.kind,
            _shape(layer.inputs),
            _shape(layer.outputs),
            layer.does,
            f"{layer.parameters:,}",
            _count(layer.macs),
        )
        for layer in layers
    ]
    sums = [(f"sum of {family}", [x for x in layers if x.family == family]) for family in FAMILIES]
    rows += [_sum(title, summed) for title, summed in [*sums, ("sum", layers)]]
    header = ("layer", "kind", "takes", "gives", "", "parameters", "multiply-accumulates")
    terms = ("for one image", "activations, pooling and normalisation multiply no matrices")
    return Table(f"{name}: {summary}", header, tuple(rows), terms)


def _sum(title: str, layers: Sequence[Layer]) -> tuple[str, ...]:
    macs = [layer.macs for layer in layers]
    known = None if None in macs else sum(m for m in macs if m is not None)
    parameters = sum(layer.parameters for layer in layers)
    return (title, f"{len(layers)} layers", "", "", "", f"{parameters:,}", _count(known))


def _shape(lengths: Sequence[int]) -> str:
    return "x".join(map(str, lengths))


def _count(macs: int | None) -> str:
    return NOTHING if macs is None else f"{macs:,}"
