"""Optimizer steps over all parameters of a network."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from itertools import count
from math import prod
from typing import Any, ClassVar

import numpy as np

from nnlab.autograd.tape import wrap
from nnlab.backend import Backend
from nnlab.bench.problem import Arrays, Call, Cost, Problem
from nnlab.nn import Parameter
from nnlab.optim import SGD, Adam


@dataclass(frozen=True)
class OptimizerStep(Problem):
    """SGD with momentum or Adam, one step of parameters of the given shapes. The result is the first parameter."""

    op: ClassVar[str] = "optimizer"
    parts: ClassVar[tuple[str, ...]] = ("sgd", "adam")

    shapes: tuple[tuple[int, ...], ...]

    def shape(self) -> str:
        return f"{len(self.shapes)} parameters, {sum(map(prod, self.shapes)):,} numbers"

    def cost(self, part: str, itemsize: int) -> Cost:
        """Reads parameter, gradient and state, writes parameter and state."""
        n = sum(map(prod, self.shapes))
        return Cost((6 if part == "sgd" else 14) * n, itemsize * n * (5 if part == "sgd" else 7))

    def draw(self, random: np.random.Generator) -> dict[str, np.ndarray]:
        arrays = {}
        for i, shape in enumerate(self.shapes):
            arrays[f"p{i}"] = random.standard_normal(shape)
            arrays[f"g{i}"] = random.standard_normal(shape)
        return arrays

    def _start(self, part: str, parameters: list[Any], sgd: Any, adam: Any) -> Any:
        if part == "sgd":
            return sgd(parameters, lr=1e-4, momentum=0.9, weight_decay=5e-4)
        return adam(parameters, lr=1e-4)

    def ours(self, be: Backend, part: str, arrays: Arrays) -> Call:
        parameters = []
        for i in range(len(self.shapes)):
            parameter = Parameter(wrap(be, arrays[f"p{i}"]))
            parameter.grad = wrap(be, arrays[f"g{i}"])
            parameters.append(parameter)
        optimizer = self._start(part, parameters, SGD, Adam)

        def step() -> Any:
            optimizer.step()
            return parameters[0]._data

        return step

    def torch(self, part: str, tensors: Arrays) -> Call:
        torch = import_module("torch")
        parameters = []
        for i in range(len(self.shapes)):
            parameter = torch.nn.Parameter(tensors[f"p{i}"].clone())
            parameter.grad = tensors[f"g{i}"]
            parameters.append(parameter)
        optimizer = self._start(part, parameters, torch.optim.SGD, torch.optim.Adam)

        def step() -> Any:
            optimizer.step()
            return parameters[0]

        return step

    def arrays(self, xp: Any, part: str, arrays: Arrays) -> Call:
        """A few statements a parameter."""
        parameters = [arrays[f"p{i}"] for i in range(len(self.shapes))]
        gradients = [arrays[f"g{i}"] for i in range(len(self.shapes))]
        first, second = ([xp.zeros_like(p) for p in parameters] for _ in range(2))
        steps = count(1)

        def sgd() -> Any:
            for p, g, velocity in zip(parameters, gradients, first, strict=True):
                velocity *= 0.9
                velocity += g + 5e-4 * p
                p -= 1e-4 * velocity
            return parameters[0]

        def adam() -> Any:
            t = next(steps)
            for p, g, m, v in zip(parameters, gradients, first, second, strict=True):
                m += 0.1 * (g - m)
                v += 0.001 * (g * g - v)
                p -= 1e-4 / (1 - 0.9**t) * m / (xp.sqrt(v / (1 - 0.999**t)) + 1e-8)
            return parameters[0]

        return sgd if part == "sgd" else adam
