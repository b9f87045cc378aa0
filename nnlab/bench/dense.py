"""Dense layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from nnlab.backend import Backend
from nnlab.bench.problem import Arrays, Call, Cost, Problem
from nnlab.ops import matmul


@dataclass(frozen=True)
class Linear(Problem):
    """y = x w^T, x (batch, inputs), w (outputs, inputs), and its gradients."""

    op: ClassVar[str] = "linear"
    parts: ClassVar[tuple[str, ...]] = ("forward", "input_grad", "weight_grad")

    batch: int
    inputs: int
    outputs: int

    def shape(self) -> str:
        return f"{self.batch}x{self.inputs} to {self.outputs}"

    def cost(self, part: str, itemsize: int) -> Cost:
        moved = self.batch * (self.inputs + self.outputs) + self.inputs * self.outputs
        return Cost(2 * self.batch * self.inputs * self.outputs, itemsize * moved)

    def draw(self, random: np.random.Generator) -> dict[str, np.ndarray]:
        return {
            "x": random.standard_normal((self.batch, self.inputs)),
            "w": random.standard_normal((self.outputs, self.inputs)) / np.sqrt(self.inputs),
            "dy": random.standard_normal((self.batch, self.outputs)),
        }

    def ours(self, be: Backend, part: str, arrays: Arrays) -> Call:
        x, w, dy = arrays["x"], arrays["w"], arrays["dy"]
        if part == "forward":
            return lambda: matmul.forward(be, a=x, b=w.T)
        if part == "input_grad":
            return lambda: matmul.forward(be, a=dy, b=w)
        return lambda: matmul.forward(be, a=dy.T, b=x)

    def torch(self, part: str, tensors: Arrays) -> Call:
        x, w, dy = tensors["x"], tensors["w"], tensors["dy"]
        if part == "forward":
            return lambda: x @ w.T
        if part == "input_grad":
            return lambda: dy @ w
        return lambda: dy.T @ x
