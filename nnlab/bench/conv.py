"""Convolution and transposed convolution."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from math import prod
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from nnlab.backend import Backend
from nnlab.bench.problem import Arrays, Call, Cost, Problem
from nnlab.geometry import ConvGeometry, conv_geometry, conv_transpose_geometry
from nnlab.ops import conv, conv_transpose


def _pair(size: int | tuple[int, int]) -> tuple[int, int]:
    return size if isinstance(size, tuple) else (size, size)


def _short(size: int | tuple[int, int]) -> str:
    return "x".join(map(str, _pair(size)))


@dataclass(frozen=True)
class _Convolution(Problem):
    """Images of ``side`` squared unless a tuple; everything else as the layer's arguments."""

    parts: ClassVar[tuple[str, ...]] = ("forward", "input_grad", "weight_grad")
    contract: ClassVar[ModuleType]

    batch: int
    in_channels: int
    out_channels: int
    side: int | tuple[int, int]
    kernel: int | tuple[int, int]
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    groups: int = 1

    @property
    def geometry(self) -> ConvGeometry:
        raise NotImplementedError

    def shape(self) -> str:
        text = f"{self.batch}x{self.in_channels}x{_short(self.side)} to {self.out_channels}"
        text += f", {_short(self.kernel)}"
        for letter, value, usual in (
            ("s", self.stride, 1), ("p", self.padding, 0), ("d", self.dilation, 1), ("g", self.groups, 1),
        ):  # fmt: skip
            text += f" {letter}{value}" if value != usual else ""
        return text

    def cost(self, part: str, itemsize: int) -> Cost:
        """Each product of a weight and a number under it, padding included; each array once."""
        g = self.geometry
        flops = 2 * prod(g.y_shape) * prod(g.w_shape[1:])
        return Cost(flops, itemsize * (prod(g.x_shape) + prod(g.w_shape) + prod(g.y_shape)))

    def ours(self, be: Backend, part: str, arrays: Arrays) -> Call:
        ops, x, w, dy, geometry = self.contract, arrays["x"], arrays["w"], arrays["dy"], self.geometry
        if part == "forward":
            return lambda: ops.forward(be, x=x, w=w, geometry=geometry)
        if part == "input_grad":
            return lambda: ops.input_grad(be, dy=dy, w=w, geometry=geometry)
        return lambda: ops.weight_grad(be, x=x, dy=dy, geometry=geometry)


@dataclass(frozen=True)
class Conv2d(_Convolution):
    op: ClassVar[str] = "conv2d"
    contract: ClassVar[ModuleType] = conv

    @cached_property
    def geometry(self) -> ConvGeometry:
        x = (self.batch, self.in_channels, *_pair(self.side))
        w = (self.out_channels, self.in_channels // self.groups, *_pair(self.kernel))
        return conv_geometry(x, w, self.stride, self.padding, self.dilation, self.groups)

    def draw(self, random: np.random.Generator) -> dict[str, np.ndarray]:
        g = self.geometry
        fan_in = prod(g.w_shape[1:])
        return {
            "x": random.standard_normal(g.x_shape),
            "w": random.standard_normal(g.w_shape) / np.sqrt(fan_in),
            "dy": random.standard_normal(g.y_shape),
        }

    def torch(self, part: str, tensors: Arrays) -> Call:
        torch = import_module("torch")
        x, w, dy = tensors["x"], tensors["w"], tensors["dy"]
        if part == "forward":
            options = (self.stride, self.padding, self.dilation, self.groups)
            return lambda: torch.nn.functional.conv2d(x, w, None, *options)
        return _backward(torch, part, x, w, dy, self, transposed=False)


@dataclass(frozen=True)
class ConvTranspose2d(_Convolution):
    op: ClassVar[str] = "conv_transpose2d"
    contract: ClassVar[ModuleType] = conv_transpose

    output_padding: int = 0

    @cached_property
    def geometry(self) -> ConvGeometry:
        x = (self.batch, self.in_channels, *_pair(self.side))
        w = (self.in_channels, self.out_channels // self.groups, *_pair(self.kernel))
        return conv_transpose_geometry(x, w, self.stride, self.padding, self.output_padding, self.groups, self.dilation)

    def draw(self, random: np.random.Generator) -> dict[str, np.ndarray]:
        g = self.geometry  # of the convolution that goes the other way: its y is our x
        return {
            "x": random.standard_normal(g.y_shape),
            "w": random.standard_normal(g.w_shape) / np.sqrt(prod(g.w_shape[:1])),
            "dy": random.standard_normal(g.x_shape),
        }

    def torch(self, part: str, tensors: Arrays) -> Call:
        torch = import_module("torch")
        x, w, dy = tensors["x"], tensors["w"], tensors["dy"]
        if part == "forward":
            options = (self.stride, self.padding, self.output_padding, self.groups, self.dilation)
            return lambda: torch.nn.functional.conv_transpose2d(x, w, None, *options)
        return _backward(torch, part, x, w, dy, self, transposed=True)


def _backward(torch: Any, part: str, x: Any, w: Any, dy: Any, problem: _Convolution, transposed: bool) -> Call:
    """One of PyTorch's gradients of a convolution, alone."""
    pair = [[n, n] for n in (problem.stride, problem.padding, problem.dilation)]
    output_padding = [getattr(problem, "output_padding", 0)] * 2
    which = 0 if part == "input_grad" else 1
    needed = [which == 0, which == 1, False]
    gradient = torch.ops.aten.convolution_backward
    return lambda: gradient(dy, x, w, None, *pair, transposed, output_padding, problem.groups, needed)[which]
