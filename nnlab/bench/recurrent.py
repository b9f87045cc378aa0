"""Recurrent layers over whole sequences."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import numpy as np

from nnlab import nn
from nnlab.autograd import no_grad
from nnlab.autograd.tape import wrap
from nnlab.backend import Backend
from nnlab.bench.problem import Arrays, Call, Cost, Problem


@dataclass(frozen=True)
class LSTM(Problem):
    """Layers of an LSTM; the result is the last layer's output, or the gradient to the input."""

    op: ClassVar[str] = "lstm"
    parts: ClassVar[tuple[str, ...]] = ("forward", "forward+backward")

    steps: int
    batch: int
    inputs: int
    hidden: int
    layers: int = 1

    def shape(self) -> str:
        return f"T{self.steps} B{self.batch} I{self.inputs} H{self.hidden} x{self.layers}"

    def cost(self, part: str, itemsize: int) -> Cost:
        """Products of all steps (three times as many with gradients); weights once, inputs and states once a step."""
        features = [self.inputs, *[self.hidden] * (self.layers - 1)]
        weights = sum(4 * self.hidden * (n + self.hidden) for n in features)
        rows = self.steps * self.batch
        passes = 1 if part == "forward" else 3
        numbers = weights + rows * (self.inputs + 6 * self.hidden * self.layers)
        return Cost(2 * rows * weights * passes, itemsize * numbers * passes)

    def draw(self, random: np.random.Generator) -> dict[str, np.ndarray]:
        arrays = {
            "x": random.standard_normal((self.steps, self.batch, self.inputs)),
            "dy": random.standard_normal((self.steps, self.batch, self.hidden)),
        }
        bound = self.hidden**-0.5
        for layer in range(self.layers):
            for name, width in (("ih", self.inputs if layer == 0 else self.hidden), ("hh", self.hidden)):
                arrays[f"weight_{name}_l{layer}"] = random.uniform(-bound, bound, (4 * self.hidden, width))
                arrays[f"bias_{name}_l{layer}"] = random.uniform(-bound, bound, 4 * self.hidden)
        return arrays

    def ours(self, be: Backend, part: str, arrays: Arrays) -> Call:
        layer = nn.LSTM(self.inputs, self.hidden, self.layers)
        for name, _ in list(layer.named_parameters()):
            setattr(layer, name, nn.Parameter(wrap(be, arrays[name])))
        if part == "forward":
            x = wrap(be, arrays["x"])

            def forward() -> Any:
                with no_grad():
                    return layer(x)[0]._data

            return forward
        x, dy = wrap(be, arrays["x"]).detach().requires_grad_(), wrap(be, arrays["dy"])

        def both() -> Any:
            x.grad = None
            layer.zero_grad()
            layer(x)[0].backward(dy)
            gradient: Any = x.grad
            return gradient._data

        return both

    def torch(self, part: str, tensors: Arrays) -> Call:
        torch = import_module("torch")
        x, dy = tensors["x"], tensors["dy"]
        layer = torch.nn.LSTM(self.inputs, self.hidden, self.layers, device=x.device, dtype=x.dtype)
        names = [name for name, _ in layer.named_parameters()]
        layer.load_state_dict({name: tensors[name] for name in names})
        if part == "forward":
            return lambda: layer(x)[0]
        x = x.detach().requires_grad_()

        def both() -> Any:
            x.grad = None
            layer.zero_grad()
            layer(x)[0].backward(dy)
            return x.grad

        return both
