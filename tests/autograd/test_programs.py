"""Random small programs, in-place operations and views among them: first and second derivatives as PyTorch's."""

from __future__ import annotations

import random
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import nnlab

STEPS = [
    lambda L, a, b, d, i: a + b,
    lambda L, a, b, d, i: (a * b).clamp(-3, 3),
    lambda L, a, b, d, i: a - b * 0.5,
    lambda L, a, b, d, i: a / (b * b + 1),
    lambda L, a, b, d, i: a.tanh(),
    lambda L, a, b, d, i: (a * 0.3).exp().clamp(-3, 3),
    lambda L, a, b, d, i: (a.transpose(0, 1) @ b).clamp(-3, 3),
    lambda L, a, b, d, i: a.reshape(9)[L.tensor([0, 0, 4, 8, 3, 3, 1, 2, 7])].reshape(3, 3),
    lambda L, a, b, d, i: a.sum(d, keepdim=True).expand(3, 3) * b,
    lambda L, a, b, d, i: L.cat([a[:1], b[1:]], 0),
    lambda L, a, b, d, i: a.max(d)[0].unsqueeze(d) * b,
    lambda L, a, b, d, i: (a * 1.0).mul_(b),
    lambda L, a, b, d, i: (a * 1.0).add_(b).exp_().clamp(-3, 3),
    lambda L, a, b, d, i: assigned(a * 1.0, i, b[i] * 2),
    lambda L, a, b, d, i: L.where(a > b, a, b * 2),
    lambda L, a, b, d, i: a.softmax(d),
    lambda L, a, b, d, i: a.T.clone()[:, [2, 0, 1]],
    lambda L, a, b, d, i: a.clamp(-1, 1) + b.abs(),
]


def assigned(x: Any, place: int, value: Any) -> Any:
    x[place] = value
    return x


def program(library: ModuleType, leaves: list[Any], seed: int) -> Any:
    """A scalar made of 4 to 13 steps, each on two of the tensors so far."""
    choose = random.Random(seed)
    tensors = list(leaves)
    for _ in range(4 + seed % 10):
        step, a, b = choose.choice(STEPS), choose.choice(tensors), choose.choice(tensors)
        tensors.append(step(library, a, b, choose.randrange(2), choose.randrange(3)))
    return sum((t * t * 0.1).sum() for t in tensors[len(leaves) :])


def derivatives(library: ModuleType, grad: Any, leaves: list[Any], seed: int) -> list[np.ndarray]:
    """Value, gradients, and the gradients of the gradients' sum of squares; zeros where there is no dependence."""
    value = program(library, leaves, seed)
    first = grad(value, leaves, create_graph=True, allow_unused=True)
    squares = sum((g * g).sum() for g in first if g is not None)
    second = grad(squares, leaves, allow_unused=True) if squares.requires_grad else (None, None)
    found = [np.zeros((3, 3)) if g is None else g.detach().numpy() for g in (*first, *second)]
    return [value.detach().numpy(), *found]


@pytest.mark.torch
@pytest.mark.external
@pytest.mark.parametrize("block", range(10))
def test_against_torch(block):
    torch = pytest.importorskip("torch")
    for seed in range(40 * block, 40 * block + 40):
        arrays = [np.random.default_rng([seed, k]).standard_normal((3, 3)) for k in range(2)]
        ours = derivatives(nnlab, nnlab.grad, [nnlab.tensor(a, requires_grad=True) for a in arrays], seed)
        theirs = derivatives(torch, torch.autograd.grad, [torch.tensor(a, requires_grad=True) for a in arrays], seed)
        for mine, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(mine, other, rtol=1e-7, atol=1e-7, err_msg=f"seed {seed}")
