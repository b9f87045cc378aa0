"""Max pooling."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from math import prod
from typing import Any, ClassVar

import numpy as np

from nnlab.backend import Backend
from nnlab.bench.problem import Arrays, Call, Cost, Problem
from nnlab.geometry import PoolGeometry, pool_geometry
from nnlab.ops import max_pool


@dataclass(frozen=True)
class MaxPool2d(Problem):
    """Forward keeps the positions, as training needs them."""

    op: ClassVar[str] = "max_pool2d"
    parts: ClassVar[tuple[str, ...]] = ("forward", "backward")

    batch: int
    channels: int
    side: int
    kernel: int
    stride: int
    padding: int = 0

    @cached_property
    def geometry(self) -> PoolGeometry:
        x = (self.batch, self.channels, self.side, self.side)
        return pool_geometry(x, self.kernel, self.stride, self.padding)

    def shape(self) -> str:
        return f"{self.batch}x{self.channels}x{self.side}x{self.side}, {self.kernel}x{self.kernel} s{self.stride}"

    def cost(self, part: str, itemsize: int) -> Cost:
        """A comparison a tap; x, y and a byte of position an output."""
        g = self.geometry
        outputs = prod(g.y_shape)
        comparisons = outputs * (prod(g.kernel) - 1) if part == "forward" else 0
        return Cost(comparisons, itemsize * (prod(g.x_shape) + outputs) + outputs)

    def draw(self, random: np.random.Generator) -> dict[str, np.ndarray]:
        g = self.geometry
        return {"x": random.standard_normal(g.x_shape), "dy": random.standard_normal(g.y_shape)}

    def ours(self, be: Backend, part: str, arrays: Arrays) -> Call:
        x, dy, geometry = arrays["x"], arrays["dy"], self.geometry
        if part == "forward":
            return lambda: max_pool.forward(be, x=x, geometry=geometry)[0]
        index = max_pool.forward(be, x=x, geometry=geometry)[1]
        return lambda: max_pool.scatter(be, dy=dy, index=index, geometry=geometry)

    def torch(self, part: str, tensors: Arrays) -> Call:
        torch = import_module("torch")
        x, dy, window = tensors["x"], tensors["dy"], (self.kernel, self.stride, self.padding)
        pool: Any = torch.nn.functional.max_pool2d
        if part == "forward":
            return lambda: pool(x, *window, return_indices=True)[0]
        index = pool(x, *window, return_indices=True)[1]
        sizes = [[n, n] for n in window]
        gradient = torch.ops.aten.max_pool2d_with_indices_backward
        return lambda: gradient(dy, x, *sizes, [1, 1], False, index)

    def arrays(self, xp: Any, part: str, arrays: Arrays) -> Call:
        """Windows as a view, and a pass for each tap back."""
        x, dy, k, step, pad = arrays["x"], arrays["dy"], self.kernel, self.stride, self.padding
        n, c, height, width = self.geometry.y_shape

        def windows() -> Any:
            a = x
            if pad:
                a = xp.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), constant_values=-xp.inf)
            line, column = a.strides[2:]
            strides = (*a.strides[:2], line * step, column * step, line, column)
            view = xp.lib.stride_tricks.as_strided(a, (n, c, height, width, k, k), strides)
            return view.reshape(n, c, height, width, k * k)

        def forward() -> Any:
            taps = windows()
            return taps.max(axis=-1), taps.argmax(axis=-1)

        if part == "forward":
            return lambda: forward()[0]
        index = forward()[1]

        def backward() -> Any:
            side = self.side + 2 * pad
            dx = xp.zeros((n, c, side, side), dy.dtype)
            for tap in range(k * k):
                i, j = divmod(tap, k)
                place = dx[:, :, i : i + step * height : step, j : j + step * width : step]
                place[:, :, :height, :width] += dy * (index == tap)
            return dx[:, :, pad : side - pad, pad : side - pad]

        return backward
