"""What the tests of convolutions share: problems, and all passes of one against float64 loops."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import pytest

from nnlab.geometry import ConvGeometry, conv_geometry
from nnlab.ops._cuda import conv as kernels
from tests.cuda.common import EMULATED, near
from tests.cuda.drawn import channels_last
from tests.ops.common import rng, scattered
from tests.oracles import conv as oracle

MEMORY = [scattered, np.ascontiguousarray, channels_last]

# More rows, columns and steps than a tile, a slice and a table hold; few channels a group; a large stride.
LARGER = [
    conv_geometry((2, 17, 9, 8), (70, 17, 3, 3), 1, 1),
    conv_geometry((2, 40, 9, 8), (40, 1, 3, 2), (1, 2), 1, groups=40),
    conv_geometry((3, 5, 23, 21), (8, 5, 5, 3), (4, 6), 2, (3, 4)),
    conv_geometry((2, 33, 40), (34, 33, 5), 2, 2),
]


def draw(key: int, *shape: int, dtype: str = "float32") -> np.ndarray:
    return rng(121, key).standard_normal(shape).astype(dtype)


def passes(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, dy: np.ndarray, g: ConvGeometry) -> list[np.ndarray]:
    return [
        kernels.forward(EMULATED, x=x, w=w, b=b, geometry=g),
        kernels.input_grad(EMULATED, dy=dy, w=w, geometry=g),
        kernels.weight_grad(EMULATED, x=x, dy=dy, geometry=g),
        kernels.bias_grad(EMULATED, dy=dy),
    ]


def expected(x: np.ndarray, w: np.ndarray, b: Any, dy: np.ndarray, g: ConvGeometry, high: Any = None) -> list[Any]:
    x, w, dy = (array.astype(np.float64) for array in (x, w, dy))
    window = (g.stride, g.pad_low)
    y = oracle.forward(x, w, b, *window, g.pad_low if high is None else high, g.dilation, g.groups)
    return [y, *oracle.gradients(x, w, dy, *window, g.dilation, g.groups)]


def compare(found: list[np.ndarray], wanted: list[Any], g: ConvGeometry, name: str = "") -> None:
    positions, taps = g.y_shape[0] * prod(g.out_size), prod(g.kernel)
    terms = [g.w_shape[1] * taps + 1, g.w_shape[0] // g.groups * taps, positions, positions]
    for result, want, count in zip(found, wanted, terms, strict=True):
        near(result, want, count, name)


def check(g: ConvGeometry, dtype: str, key: int, memory: Any = scattered, high: Any = None, name: str = "") -> None:
    """All passes of one problem against the loops."""
    x, w, dy = (draw(key + i, *s, dtype=dtype) for i, s in enumerate((g.x_shape, g.w_shape, g.y_shape)))
    b = draw(key + 3, g.w_shape[0], dtype=dtype)
    arrays = memory(x), scattered(w), scattered(b), memory(dy)
    compare(passes(*arrays, g), expected(x, w, b, dy, g, high), g, name)


def small_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums over few terms are made of several parts."""
    monkeypatch.setattr(kernels, "LEAST_SHARE", 100)
    monkeypatch.setattr(kernels, "LEAST_SUM_SHARE", 100)
    monkeypatch.setattr(kernels, "LEAST_BIAS_SHARE", 100)
