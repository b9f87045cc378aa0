"""What a row of the tables of layers is made of: the layer's name, its arguments, and inputs that are drawn."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Input(NamedTuple):
    """An input of a layer, drawn anew wherever it is needed.

    kind: 'normal', 'gaps' (different numbers at least 0.01 apart, so that no maximum is a close call), 'unit' (between
    0 and 1, away from both), 'positive', 'signs' (-1 and 1), 'distribution' (positive, sum 1 along axis 1, or of a
    vector), 'log' (its logarithm), 'classes' (integers below ``below``), 'lists' (rows of different class numbers below
    ``below``, ended by -1), 'given' (``values``).
    """

    kind: str
    shape: tuple[int, ...]
    below: int = 0
    values: Any = None

    def draw(self, random: np.random.Generator) -> np.ndarray:
        return np.asarray(_KINDS[self.kind](self, random))

    @property
    def takes_gradient(self) -> bool:
        return self.kind not in ("signs", "classes", "lists", "given")


def _gaps(spec: Input, random: np.random.Generator) -> np.ndarray:
    count = int(np.prod(spec.shape))
    return (random.permutation(count).reshape(spec.shape) - count / 2) * 0.01


def _distribution(spec: Input, random: np.random.Generator) -> np.ndarray:
    raw = random.uniform(0.1, 1.0, spec.shape)
    return raw / raw.sum(min(1, len(spec.shape) - 1), keepdims=True)


def _lists(spec: Input, random: np.random.Generator) -> np.ndarray:
    rows = np.full(spec.shape, -1)
    for row in rows.reshape(-1, spec.shape[-1]):
        count = random.integers(0, spec.shape[-1] + 1)
        row[:count] = random.permutation(spec.below)[:count]
    return rows


_KINDS: dict[str, Any] = {
    "normal": lambda spec, random: random.standard_normal(spec.shape) * 2,
    "gaps": _gaps,
    "unit": lambda spec, random: random.uniform(0.02, 0.98, spec.shape),
    "positive": lambda spec, random: random.uniform(0.1, 4.0, spec.shape),
    "signs": lambda spec, random: random.choice([-1.0, 1.0], spec.shape),
    "distribution": _distribution,
    "log": lambda spec, random: np.log(_distribution(spec, random)),
    "classes": lambda spec, random: random.integers(0, spec.below, spec.shape),
    "lists": _lists,
    "given": lambda spec, random: spec.values.copy(),
}


def normal(*shape: int) -> Input:
    return Input("normal", shape)


def gaps(*shape: int) -> Input:
    return Input("gaps", shape)


def unit(*shape: int) -> Input:
    return Input("unit", shape)


def positive(*shape: int) -> Input:
    return Input("positive", shape)


def signs(*shape: int) -> Input:
    return Input("signs", shape)


def classes(below: int, *shape: int) -> Input:
    return Input("classes", shape, below)


def given(values: Any) -> Input:
    values = np.asarray(values)
    return Input("given", values.shape, values=values)


class Case(NamedTuple):
    """One row: a call ``layer(*inputs, **call)`` of the layer of this name in ``nn``; arrays become tensors.

    prepare: makes the layer's arguments of the inputs, with methods that tensors of both libraries have.
    batch: the axis of the inputs that counts samples; None: there is none, or other arguments fix their number.
    tolerance: how far PyTorch may be away.
    exact: whether the gradient is the derivative; that of a limit ``eps`` passes below it.
    peer: whether PyTorch has the layer, with results that do not depend on random numbers.
    """

    name: str
    inputs: tuple[Input, ...]
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = {}
    call: dict[str, Any] = {}
    prepare: Callable[..., tuple[Any, ...]] | None = None
    batch: int | None = 0
    tolerance: float = 1e-10
    exact: bool = True
    peer: bool = True

    @property
    def id(self) -> str:
        said = [_word(a) for a in self.args] + [f"{k}={_word(v)}" for k, v in self.kwargs.items()]
        shapes = ["x".join(map(str, i.shape)) or "0d" for i in self.inputs]
        called = [f"{k}={_word(v)}" for k, v in self.call.items()]
        return "-".join([f"{self.name}({', '.join(said)})", *shapes, *called])

    def draw(self) -> list[np.ndarray]:
        """The inputs: the same every time."""
        random = np.random.default_rng(zlib.crc32(self.id.encode()))
        return [spec.draw(random) for spec in self.inputs]


def _word(value: Any) -> str:
    if isinstance(value, Case):
        return value.id
    if isinstance(value, np.ndarray):
        return "array" + "x".join(map(str, value.shape))
    return repr(value)
