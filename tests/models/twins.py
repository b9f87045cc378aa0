"""A network's twin in PyTorch, and what both compute from the same weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import nn
from nnlab.bench import training

Arrays = dict[str, np.ndarray]


def twin(model: nn.Module, weights: Arrays) -> Any:
    """The same layers in PyTorch, in evaluation mode, with these very arrays; for chains of children."""
    torch = pytest.importorskip("torch")

    made = training.twin(torch, model)
    made.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()}, assign=True)
    return made.eval()


def gradients(model: Any, x: Any, target: Any, cross_entropy: Any) -> Arrays:
    """Output, and gradients of the cross-entropy with respect to the input and all parameters; frees the latter."""
    y = model(x)
    cross_entropy(y, target).backward()
    found = {"output": np.array(y.detach().numpy()), "input": x.grad.numpy()}
    for name, param in model.named_parameters():
        found[name] = param.grad.numpy()
        param.grad = None
    return found


def record(model: Any, switches: list[np.ndarray]) -> None:
    """Note, in either library, each decision of a forward pass: where a ReLU is open, and where a maximum was found."""

    def note(layer: Any, args: Any, result: Any) -> None:
        torch = pytest.importorskip("torch")
        if type(layer).__name__ == "ReLU":
            switches.append(result.detach().numpy() > 0)
        elif type(layer).__name__ == "MaxPool2d":
            given = torch.from_numpy(args[0].detach().numpy())
            pool = torch.nn.functional.max_pool2d(given, layer.kernel_size, layer.stride, return_indices=True)
            switches.append(pool[1].numpy())

    for layer in model.modules():
        layer.register_forward_hook(note)


def impose(other: Any, switches: list[np.ndarray]) -> None:
    """Make a PyTorch twin take recorded decisions instead of its own."""
    torch = pytest.importorskip("torch")
    left = [torch.from_numpy(switch) for switch in switches]

    def decide(layer: Any, args: Any, result: Any) -> Any:
        x = args[0]
        if isinstance(layer, torch.nn.ReLU):
            return x * left.pop(0)
        if isinstance(layer, torch.nn.MaxPool2d):
            index = left.pop(0)
            return x.flatten(2).gather(2, index.flatten(2)).view(index.shape)
        return None

    for layer in other.modules():
        layer.register_forward_hook(decide)


def ours(
    model: nn.Module, weights: Arrays, x: np.ndarray, target: np.ndarray, switches: list[np.ndarray] | None = None
) -> Arrays:
    """What nnlab computes, in the dtype of x; its decisions are added to ``switches``."""
    model.load_state_dict({name: nnlab.from_numpy(value) for name, value in weights.items()}, assign=True)
    if switches is not None:
        record(model, switches)
    given = nnlab.tensor(x, requires_grad=True)
    return gradients(model.eval(), given, nnlab.tensor(target), nn.functional.cross_entropy)


def theirs(
    model: nn.Module,
    weights: Arrays,
    x: np.ndarray,
    target: np.ndarray,
    switches: list[np.ndarray] | None = None,
    imposed: list[np.ndarray] | None = None,
) -> Arrays:
    """What PyTorch computes, in the dtype of x; its decisions are added to ``switches``, or ``imposed`` on it."""
    torch = pytest.importorskip("torch")
    other = twin(model, weights)
    if switches is not None:
        record(other, switches)
    if imposed is not None:
        impose(other, imposed)
    given = torch.tensor(x, requires_grad=True)
    return gradients(other, given, torch.tensor(target), torch.nn.functional.cross_entropy)


def cast(weights: Arrays, dtype: Any) -> Arrays:
    return {name: value.astype(dtype) if value.dtype.kind == "f" else value for name, value in weights.items()}


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Euclidean norm of the difference over that of b, in float64, without large temporaries."""
    total = norm = 0.0
    rows, others = a.reshape(-1), b.reshape(-1)
    for start in range(0, rows.size, 1 << 20):
        p = rows[start : start + (1 << 20)].astype(np.float64)
        q = others[start : start + (1 << 20)].astype(np.float64)
        total += float(((p - q) ** 2).sum())
        norm += float((q**2).sum())
    return (total / norm) ** 0.5


def largest(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference over the largest value of b."""
    return float(max(np.abs(p - q).max() for p, q in zip(a, b, strict=True)) / max(np.abs(q).max() for q in b))
