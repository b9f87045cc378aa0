"""Comparison of a layer with PyTorch's of the same name, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import nn

TOLERANCE = 1e-10


def close(ours: Any, theirs: Any, what: str = "", tolerance: float = TOLERANCE) -> None:
    """Equal shapes, and values within the tolerance of the larger of 1 and the values' own size."""
    a = ours.detach().cpu().numpy() if isinstance(ours, nnlab.Tensor) else np.asarray(ours)
    b = np.asarray(theirs.detach()) if hasattr(theirs, "detach") else np.asarray(theirs)
    assert a.shape == b.shape, what
    scale = max(1.0, float(np.abs(b).max())) if b.size else 1.0
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * scale, err_msg=what)


def arrays(state: dict[str, Any]) -> dict[str, np.ndarray]:
    """A PyTorch state_dict as host arrays."""
    return {name: value.detach().numpy() for name, value in state.items()}


def pair(name: str, *args: Any, **kwargs: Any) -> tuple[nn.Module, Any]:
    """The layer in both libraries, in float64 and with PyTorch's values."""
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn, name)(*args, **kwargs).double()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for value in theirs.parameters():
            value.copy_(torch.randn(value.shape, generator=generator, dtype=torch.float64))
    ours = getattr(nn, name)(*args, **kwargs).double()
    ours.load_state_dict(arrays(theirs.state_dict()))
    return ours, theirs


def outputs(result: Any) -> list[Any]:
    return list(result) if isinstance(result, tuple) else [result]


def compare(ours: nn.Module, theirs: Any, *inputs: np.ndarray, needs: tuple[int, ...] = (0,), **kwargs: Any) -> Any:
    """Values, gradients of inputs and parameters, and buffers agree; returns our result.

    Args:
        inputs: float64 or integer arrays.
        needs: positions of the inputs that take a gradient.
    """
    torch = pytest.importorskip("torch")
    a = [nnlab.tensor(x, requires_grad=i in needs) for i, x in enumerate(inputs)]
    b = [torch.tensor(x, requires_grad=i in needs) for i, x in enumerate(inputs)]
    y, z = ours(*a, **kwargs), theirs(*b, **kwargs)
    for i, (one, other) in enumerate(zip(outputs(y), outputs(z), strict=True)):
        close(one, other, f"output {i}")
    first, second = outputs(y)[0], outputs(z)[0]
    seed = np.random.default_rng(11).standard_normal(tuple(second.shape))
    first.backward(nnlab.tensor(seed))
    second.backward(torch.tensor(seed))
    for i in needs:
        close(a[i].grad, b[i].grad, f"gradient of input {i}")
    others = dict(theirs.named_parameters())
    assert list(others) == [name for name, _ in ours.named_parameters()]
    for name, param in ours.named_parameters():
        close(param.grad, others[name].grad, f"gradient of {name}")
    others = dict(theirs.named_buffers())
    assert list(others) == [name for name, _ in ours.named_buffers()]
    for name, buffer in ours.named_buffers():
        close(buffer, others[name], f"buffer {name}")
    return y


def normals(*shape: int, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def gaps(*shape: int, seed: int = 5) -> np.ndarray:
    """Distinct values at least 0.01 apart, so that no maximum is a close call."""
    count = int(np.prod(shape))
    return (np.random.default_rng(seed).permutation(count).reshape(shape) - count / 2) * 0.01
