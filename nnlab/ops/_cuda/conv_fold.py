"""Few input channels on tensor cores: ``kernels/conv_fold.cu`` sorts the input by remainders, so that channels fill the
16 bytes that are copied at a time (``nnlab.geometry.space_to_depth``).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from nnlab.backend import Backend
from nnlab.cuda.launch import Kernel, launch
from nnlab.geometry import ConvGeometry, space_to_depth
from nnlab.ops._cuda.memory import memory_of

DEPTH, COLUMNS = 128, 64  # bytes of K and results that tiles are made of
TOGETHER = (1, 2)  # neighbouring outputs that may be one place

_LINE = ("in", "places", "step", "pad")
_KERNEL = Kernel(
    "conv_fold",
    "conv_fold_input",
    {
        "x": "scalar*",
        "y": "scalar*",
        **dict.fromkeys(("n", "channels", "filled"), "index"),
        "last": "int32",
        **{f"{name}_{axis}": "index" for axis in "dhw" for name in _LINE},
    },
    ("float16", "bfloat16", "float32"),
)


@dataclass(frozen=True)
class Fold:
    """A convolution of few channels as another one.

    Attributes:
        outer: what is asked for.
        inner: what is computed, ``space_to_depth(outer, together)``.
        together: outputs that are channels of one place.
    """

    outer: ConvGeometry
    inner: ConvGeometry
    together: int

    @property
    def steps(self) -> tuple[int, ...]:
        return (*self.outer.stride[:-1], self.outer.stride[-1] * self.together)


@lru_cache(maxsize=1024)
def choose(g: ConvGeometry, itemsize: int) -> Fold | None:
    """The fold with the fewest products in whole tiles, if those are fewer than without one; a function of the shapes.

    Only where channels do not fill 16 bytes, so that the input is copied in any case.
    """
    chunk = 16 // itemsize
    if g.groups > 1 or max(g.dilation) > 1 or g.w_shape[1] % chunk == 0 or 0 in g.y_shape:
        return None
    best, least = None, _products(g, chunk)
    for together in TOGETHER:
        if g.out_size[-1] % together or (together > 1 and g.w_shape[0] % chunk):
            continue
        inner = space_to_depth(g, together)
        if (products := _products(inner, chunk)) < least:
            best, least = Fold(g, inner, together), products
    return best


def _products(g: ConvGeometry, chunk: int) -> int:
    depth = DEPTH * chunk // 16
    terms, columns = prod(g.kernel) * -(-g.w_shape[1] // chunk) * chunk, -(-g.w_shape[0] // COLUMNS) * COLUMNS
    return g.y_shape[0] * prod(g.out_size) * columns * -(-terms // depth) * depth


def fold_input(be: Backend, x: Any, fold: Fold) -> Any:
    """The inner x (N, *places, channels), channels filled up with zeros."""
    outer, chunk = fold.outer, 16 // x.dtype.itemsize
    filled = -(-fold.inner.w_shape[1] // chunk) * chunk
    memory, last = memory_of(be, x)
    y = be.xp.empty((outer.x_shape[0], *fold.inner.in_size, filled), x.dtype)
    lines = list(zip(outer.in_size, fold.inner.in_size, fold.steps, outer.pad_low, strict=True))
    lines = [(1, 1, 1, 0)] * (3 - len(lines)) + lines
    launch(
        be, _KERNEL, threads=y.size // chunk, reach=max(places * step for _, places, step, _ in lines), x=memory, y=y,
        n=y.size // chunk, channels=outer.w_shape[1], filled=filled, last=int(last),
        **{f"{name}_{a}": n for a, line in zip("dhw", lines, strict=True) for name, n in zip(_LINE, line, strict=True)},
    )  # fmt: skip
    return y


def _wide(fold: Fold) -> tuple[int, ...]:
    """(together, O, C, *(taps of the inner kernel, step)) along each dimension."""
    pairs = (n for pair in zip(fold.inner.kernel, fold.steps, strict=True) for n in pair)
    return (fold.together, *fold.outer.w_shape[:2], *pairs)


def _places(fold: Fold) -> list[tuple[Any, ...]]:
    """Where the taps of each of the outputs lie in (together, O, C, *(taps * step))."""
    *ends, last = fold.outer.kernel
    starts = [a * fold.outer.stride[-1] for a in range(fold.together)]
    return [(a, ..., *[slice(k) for k in ends], slice(start, start + last)) for a, start in enumerate(starts)]


def _order(fold: Fold) -> tuple[int, ...]:
    """The axes of ``_wide`` as the inner kernel has them: outputs, taps, then rests and channels."""
    dims = len(fold.steps)
    return (0, 1, *range(3, 3 + 2 * dims, 2), *range(4, 4 + 2 * dims, 2), 2)


def fold_weight(be: Backend, w: Any, fold: Fold) -> Any:
    """The inner w (outputs, *kernel, channels), channels filled up with zeros."""
    chunk, shape = 16 // w.dtype.itemsize, fold.inner.w_shape
    wide = _wide(fold)
    spread = be.xp.zeros((*wide[:3], *(q * s for q, s in zip(wide[3::2], wide[4::2], strict=True))), w.dtype)
    for place in _places(fold):
        spread[place] = w
    filled = be.xp.zeros((shape[0], *shape[2:], -(-shape[1] // chunk) * chunk), w.dtype)
    filled[..., : shape[1]] = spread.reshape(wide).transpose(_order(fold)).reshape(shape[0], *shape[2:], shape[1])
    return filled


def unfold_weight(be: Backend, dw: Any, fold: Fold, dtype: Any) -> Any:
    """The outer gradient of the inner one (outputs, channels, *kernel) in float32, rounded once."""
    wide, order = _wide(fold), _order(fold)
    moved = be.xp.moveaxis(dw, 1, -1).reshape([wide[axis] for axis in order]).transpose(np.argsort(order).tolist())
    spread = moved.reshape(*wide[:3], *(q * s for q, s in zip(wide[3::2], wide[4::2], strict=True)))
    first, *others = (spread[place] for place in _places(fold))
    total = be.xp.array(first)
    for other in others:
        total += other
    return total.astype(dtype, copy=False)
