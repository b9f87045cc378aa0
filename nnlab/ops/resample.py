"""Resampling of planes: a linear map along each spatial dimension.

``y[..., o, ...] = sum over i of w[o, i] * x[..., i, ...]``, one sparse matrix w a dimension, whose rows are (with
``scale`` input positions an output position, by default in / out, and centre c = scale * (o + 0.5) - 0.5, with
``align_corners`` c = o * (in - 1) / (out - 1)):

    nearest        1 at floor(scale * o)
    nearest-exact  1 at floor(scale * (o + 0.5))
    linear         1 - t, t at floor(c) and the next, t = c - floor(c); c at least 0
    cubic          k(1 + t), k(t), k(1 - t), k(2 - t) at floor(c) - 1 and the next three, k Keys' kernel with a = -0.75

Positions outside the input mean its edge. Whatever the scale, a dimension whose size stays is copied, and nearest
doubles one by repeating each position (there PyTorch's forward and backward passes may contradict each other). With
``antialias`` linear and cubic take all positions around c, by the kernel stretched by ``scale`` where that is above 1
(cubic: a = -0.5), divided by their sum.

The nearest positions are computed in float32, as PyTorch does whatever the dtype: where scale * o should be a whole
number, rounding decides.

Shapes: x (N, C, *in), y (N, C, *out). The transpose is again such a map: ``transposed``.

Source: Keys, "Cubic convolution interpolation for digital image processing", 1981.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np

from nnlab.backend import Backend
from nnlab.ops import body

Places = slice | np.ndarray


@dataclass(frozen=True, eq=False)
class Row:
    """Some outputs' k-th terms: outputs ``where`` get inputs ``index`` times ``weight`` (None: times 1)."""

    where: Places
    index: Places
    weight: np.ndarray | None


@dataclass(frozen=True, eq=False)
class Line:
    """The map along one dimension: entries w[o, i], each (o, i) once, sorted by o, then i."""

    out: int
    size: int
    o: np.ndarray
    i: np.ndarray
    w: np.ndarray

    @cached_property
    def rows(self) -> list[Row]:
        """The entries by their number among those of their output."""
        number = np.arange(len(self.o)) - np.searchsorted(self.o, self.o)
        picks = [np.flatnonzero(number == k) for k in range(int(number.max(initial=-1)) + 1)]
        weights = [None if (self.w[pick] == 1).all() else self.w[pick] for pick in picks]
        return [Row(_places(self.o[p]), _places(self.i[p]), w) for p, w in zip(picks, weights, strict=True)]

    @cached_property
    def is_copy(self) -> bool:
        ones = len(self.o) == self.out == self.size and (self.w == 1).all()
        return bool(ones and (self.o == self.i).all())

    @cached_property
    def transposed(self) -> Line:
        return line(self.size, self.out, self.i, self.o, self.w)


def _places(places: np.ndarray) -> Places:
    """A slice if the places have equal distances."""
    steps = np.diff(places)
    if len(places) == 0 or (len(steps) and ((steps != steps[0]).any() or steps[0] < 1)):
        return places
    return slice(int(places[0]), int(places[-1]) + 1, int(steps[0]) if len(steps) else 1)


def line(out: int, size: int, o: np.ndarray, i: np.ndarray, w: np.ndarray) -> Line:
    """Entries in any order; those of one (o, i) are added up, zeros are left out."""
    keys, found = np.unique(o * size + i, return_inverse=True)
    weight = np.bincount(found.reshape(-1), w, len(keys)) if len(keys) else np.zeros(0)
    kept = weight != 0
    return Line(out, size, keys[kept] // size, keys[kept] % size, weight[kept])


@lru_cache(maxsize=256)
def resampling(
    mode: str, size: int, out: int, scale: float | None, align_corners: bool = False, antialias: bool = False
) -> Line:
    """The map of one dimension from ``size`` to ``out`` elements.

    Args:
        mode: "nearest", "nearest-exact", "linear" or "cubic".
        scale: input positions an output position; None for size / out.
    """
    step = size / out if scale is None else scale
    outputs = np.arange(out)
    if size == out:
        return line(out, size, outputs, outputs, np.ones(out))
    if mode == "nearest" and out == 2 * size:
        return line(out, size, outputs, outputs // 2, np.ones(out))
    if mode.startswith("nearest"):
        half = np.float32(0.5 if mode == "nearest-exact" else 0.0)
        index = np.minimum(np.floor((outputs.astype(np.float32) + half) * np.float32(step)).astype(np.int64), size - 1)
        return line(out, size, outputs, index, np.ones(out))
    if align_corners:
        step = (size - 1) / (out - 1) if out > 1 else 0.0
    if antialias:
        return _antialiased(mode, size, out, step)
    centre = step * outputs if align_corners else step * (outputs + 0.5) - 0.5
    if mode == "linear":
        centre = np.maximum(centre, 0.0)
    first = np.minimum(np.floor(centre).astype(np.int64), size - 1)
    t = np.clip(centre - first, 0.0, 1.0)
    if mode == "linear":
        taps = [(first, 1 - t), (first + 1, t)]
    else:
        taps = [(first + k, _cubic(np.abs(t - k), -0.75)) for k in (-1, 0, 1, 2)]
    index = np.clip(np.concatenate([place for place, _ in taps]), 0, size - 1)
    return line(out, size, np.tile(outputs, len(taps)), index, np.concatenate([weight for _, weight in taps]))


def _cubic(distance: np.ndarray, a: float) -> np.ndarray:
    """Keys' kernel at distances >= 0."""
    d = distance
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return np.where(d < 1, near, np.where(d < 2, far, 0.0))


def _antialiased(mode: str, size: int, out: int, step: float) -> Line:
    """Weights by the stretched kernel around each centre, divided by their sum."""
    stretch = max(step, 1.0)
    radius = (1.0 if mode == "linear" else 2.0) * stretch
    o: list[np.ndarray] = []
    i: list[np.ndarray] = []
    w: list[np.ndarray] = []
    for output in range(out):
        centre = step * (output + 0.5)
        places = np.arange(max(math.floor(centre - radius + 0.5), 0), min(math.floor(centre + radius + 0.5), size))
        distance = np.abs(places - centre + 0.5) / stretch
        weight = np.maximum(1 - distance, 0.0) if mode == "linear" else _cubic(distance, -0.5)
        o.append(np.full(len(places), output))
        i.append(places)
        w.append(weight / weight.sum())
    return line(out, size, *(np.concatenate(parts) for parts in (o, i, w)))


def forward(be: Backend, *, x: Any, lines: tuple[Line, ...]) -> Any:
    """y (N, C, *out), ``lines`` the map of each spatial dimension."""
    return body(be, "resample").forward(be, x=x, lines=lines)
