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

    def arrays(self, xp: Any, part: str, arrays: Arrays) -> Call:
        """A product and a few statements a step, gates in the order i, f, g, o."""
        x, dy = arrays["x"], arrays["dy"]
        if part == "forward":
            return lambda: self._run(xp, arrays, x)[0]

        def both() -> Any:
            _, kept = self._run(xp, arrays, x)
            d = dy
            for layer in reversed(range(self.layers)):
                d = self._run_back(xp, arrays, layer, d, *kept[layer])[0]
            return d

        return both

    def _run(self, xp: Any, arrays: Arrays, x: Any) -> tuple[Any, list[tuple[Any, ...]]]:
        n, kept = self.hidden, []
        for layer in range(self.layers):
            inputs = x @ arrays[f"weight_ih_l{layer}"].T + arrays[f"bias_ih_l{layer}"] + arrays[f"bias_hh_l{layer}"]
            w = arrays[f"weight_hh_l{layer}"].T
            hs, cs = (xp.zeros((self.steps + 1, self.batch, n), x.dtype) for _ in range(2))
            gates = xp.empty((self.steps, self.batch, 4 * n), x.dtype)
            for t in range(self.steps):
                s = inputs[t] + hs[t] @ w
                gates[t] = 1 / (1 + xp.exp(-s))
                gates[t, :, 2 * n : 3 * n] = xp.tanh(s[:, 2 * n : 3 * n])
                i, f, g, o = (gates[t, :, k * n : (k + 1) * n] for k in range(4))
                cs[t + 1] = f * cs[t] + i * g
                hs[t + 1] = o * xp.tanh(cs[t + 1])
            kept.append((x, hs, cs, gates))
            x = hs[1:]
        return x, kept

    def _run_back(
        self, xp: Any, arrays: Arrays, layer: int, dy: Any, x: Any, hs: Any, cs: Any, gates: Any
    ) -> tuple[Any, ...]:
        """Gradients to a layer's input, weights and biases."""
        n, w = self.hidden, arrays[f"weight_hh_l{layer}"]
        ds = xp.empty_like(gates)
        dh = dc = xp.zeros((self.batch, n), dy.dtype)
        for t in reversed(range(self.steps)):
            i, f, g, o = (gates[t, :, k * n : (k + 1) * n] for k in range(4))
            dh = dh + dy[t]
            tanh = xp.tanh(cs[t + 1])
            dc = dc + dh * o * (1 - tanh * tanh)
            ds[t, :, :n] = dc * g * i * (1 - i)
            ds[t, :, n : 2 * n] = dc * cs[t] * f * (1 - f)
            ds[t, :, 2 * n : 3 * n] = dc * i * (1 - g * g)
            ds[t, :, 3 * n :] = dh * tanh * o * (1 - o)
            dc, dh = dc * f, ds[t] @ w
        rows = ds.reshape(-1, 4 * n)
        to_inputs = rows.T @ x.reshape(rows.shape[0], -1)
        return ds @ arrays[f"weight_ih_l{layer}"], to_inputs, rows.T @ hs[:-1].reshape(-1, n), rows.sum(axis=0)
