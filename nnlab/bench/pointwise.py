"""Layers whose cost is memory: normalisation across channels, dropout, softmax with cross-entropy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, ClassVar

import numpy as np

from nnlab.autograd import Tensor
from nnlab.autograd.tape import wrap
from nnlab.backend import Backend
from nnlab.bench.problem import Arrays, Call, Cost, Problem
from nnlab.nn import functional as F
from nnlab.ops import dropout, local_response_norm


@dataclass(frozen=True)
class LocalResponseNorm(Problem):
    """Across 5 channels, with AlexNet's constants."""

    op: ClassVar[str] = "local_response_norm"
    parts: ClassVar[tuple[str, ...]] = ("forward", "backward")

    batch: int
    channels: int
    side: int
    size: int = 5

    def shape(self) -> str:
        return f"{self.batch}x{self.channels}x{self.side}x{self.side}, {self.size} channels"

    def cost(self, part: str, itemsize: int) -> Cost:
        """Forward reads x and writes y and the sums; backward reads dy, x and the sums and writes dx."""
        n = self.batch * self.channels * self.side**2
        return Cost((2 * self.size + 3) * n, itemsize * n * (3 if part == "forward" else 4))

    def draw(self, random: np.random.Generator) -> dict[str, np.ndarray]:
        shape = (self.batch, self.channels, self.side, self.side)
        return {"x": random.standard_normal(shape), "dy": random.standard_normal(shape)}

    def ours(self, be: Backend, part: str, arrays: Arrays) -> Call:
        x, dy = arrays["x"], arrays["dy"]
        o: dict[str, Any] = {"size": self.size, "alpha": 5e-4, "beta": 0.75}
        if part == "forward":
            return lambda: local_response_norm.forward(be, x=x, k=2.0, **o)[0]
        s = local_response_norm.forward(be, x=x, k=2.0, **o)[1]
        return lambda: local_response_norm.backward(be, dy=dy, x=x, s=s, **o)

    def torch(self, part: str, tensors: Arrays) -> Call:
        torch = import_module("torch")

        def forward(x: Any) -> Any:
            return torch.nn.functional.local_response_norm(x, self.size, 5e-4, 0.75, 2.0)

        return _torch_pass(torch, part, forward, tensors)

    def arrays(self, xp: Any, part: str, arrays: Arrays) -> Call:
        x, dy, size, channels = arrays["x"], arrays["dy"], self.size, self.channels

        def across(a: Any, below: int, above: int) -> Any:
            padded = xp.pad(a, ((0, 0), (below, above), (0, 0), (0, 0)))
            return sum(padded[:, i : i + channels] for i in range(size))

        def sums() -> Any:
            return 2.0 + 5e-4 / size * across(x * x, size // 2, (size - 1) // 2)

        if part == "forward":
            return lambda: x * sums() ** -0.75
        s = sums()

        def backward() -> Any:
            direct = dy * s**-0.75
            return direct - 2 * 5e-4 * 0.75 / size * x * across(direct * x / s, (size - 1) // 2, size // 2)

        return backward


@dataclass(frozen=True)
class Dropout(Problem):
    """Random: the results of two libraries are not comparable, so no error is given."""

    op: ClassVar[str] = "dropout"
    parts: ClassVar[tuple[str, ...]] = ("forward", "backward")

    batch: int
    features: int
    p: float = 0.5

    def shape(self) -> str:
        return f"{self.batch}x{self.features}, p={self.p}"

    def cost(self, part: str, itemsize: int) -> Cost:
        """Two arrays of numbers and one of bytes; ten rounds of random numbers are not counted."""
        n = self.batch * self.features
        return Cost(n, n * (2 * itemsize + 1))

    def draw(self, random: np.random.Generator) -> dict[str, np.ndarray]:
        shape = (self.batch, self.features)
        return {"x": random.standard_normal(shape), "dy": random.standard_normal(shape)}

    def ours(self, be: Backend, part: str, arrays: Arrays) -> Call:
        x, dy = arrays["x"], arrays["dy"]
        if part == "forward":
            return lambda: dropout.forward(be, x=x, p=self.p, seed=1, offset=2)[0]
        saved = dropout.forward(be, x=x, p=self.p, seed=1, offset=2)[1]
        return lambda: dropout.backward(be, dy=dy, saved=saved)

    def torch(self, part: str, tensors: Arrays) -> Call:
        torch = import_module("torch")
        return _torch_pass(torch, part, lambda x: torch.nn.functional.dropout(x, self.p, True), tensors)

    def arrays(self, xp: Any, part: str, arrays: Arrays) -> Call:
        x, dy, random = arrays["x"], arrays["dy"], xp.random.default_rng(0)
        mask = random.random(x.shape, xp.float32) >= self.p
        if part == "backward":
            return lambda: dy * mask / (1 - self.p)
        return lambda: x * (random.random(x.shape, xp.float32) >= self.p) / (1 - self.p)


@dataclass(frozen=True)
class CrossEntropy(Problem):
    """Loss of a batch and its gradient to the scores, as training takes them: one after the other."""

    op: ClassVar[str] = "cross_entropy"
    parts: ClassVar[tuple[str, ...]] = ("forward+backward",)

    batch: int
    classes: int

    def shape(self) -> str:
        return f"{self.batch}x{self.classes}"

    def cost(self, part: str, itemsize: int) -> Cost:
        n = self.batch * self.classes
        return Cost(5 * n, 2 * itemsize * n)

    def draw(self, random: np.random.Generator) -> dict[str, np.ndarray]:
        target = random.integers(0, self.classes, self.batch)
        return {"x": random.standard_normal((self.batch, self.classes)), "target": target}

    def ours(self, be: Backend, part: str, arrays: Arrays) -> Call:
        x, target = wrap(be, arrays["x"]).detach().requires_grad_(), wrap(be, arrays["target"])

        def step() -> Any:
            x.grad = None
            F.cross_entropy(x, target).backward()
            gradient = x.grad
            assert isinstance(gradient, Tensor)
            return gradient._data

        return step

    def torch(self, part: str, tensors: Arrays) -> Call:
        torch = import_module("torch")
        x, target = tensors["x"].detach().requires_grad_(), tensors["target"]

        def step() -> Any:
            x.grad = None
            torch.nn.functional.cross_entropy(x, target).backward()
            return x.grad

        return step

    def arrays(self, xp: Any, part: str, arrays: Arrays) -> Call:
        x, target = arrays["x"], arrays["target"]
        line = xp.arange(self.batch)

        def step() -> Any:
            shifted = x - x.max(axis=1, keepdims=True)
            powers = xp.exp(shifted)
            totals = powers.sum(axis=1, keepdims=True)
            loss = (xp.log(totals[:, 0]) - shifted[line, target]).mean()
            gradient = powers / totals
            gradient[line, target] -= 1
            gradient /= self.batch
            return gradient, loss

        return lambda: step()[0]


def _torch_pass(torch: Any, part: str, forward: Callable[[Any], Any], tensors: Arrays) -> Call:
    """PyTorch's forward pass, or its backward pass alone through a graph that is kept."""
    if part == "forward":
        return lambda: forward(tensors["x"])
    with torch.enable_grad():
        x = tensors["x"].detach().requires_grad_()
        y = forward(x)
    return lambda: torch.autograd.grad(y, x, tensors["dy"], retain_graph=True)[0]
