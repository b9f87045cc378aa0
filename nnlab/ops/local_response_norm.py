"""Local response normalisation across channels (axis 1).

``y[c] = x[c] / s[c]**beta`` with ``s[c] = k + alpha / size * sum of x[j]**2`` over the channels ``c - size // 2 <= j <=
c + (size - 1) // 2`` that exist. As in PyTorch alpha is divided by ``size``; the paper's is not.

Shapes: x, y, s (N, C, ...). Source: Krizhevsky, Sutskever, Hinton, NIPS 2012, section 3.3.
docs/math/local_response_norm.md.
"""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.ops import body


def forward(be: Backend, *, x: Any, size: int, alpha: float, beta: float, k: float) -> tuple[Any, Any]:
    """(y, s)."""
    return body(be, "local_response_norm").forward(be, x=x, size=size, alpha=alpha, beta=beta, k=k)


def backward(be: Backend, *, dy: Any, x: Any, s: Any, size: int, alpha: float, beta: float) -> Any:
    """dx (N, C, ...)."""
    return body(be, "local_response_norm").backward(be, dy=dy, x=x, s=s, size=size, alpha=alpha, beta=beta)


def channel_sum(be: Backend, *, x: Any, below: int, above: int) -> Any:
    """Sum over the channels c - below .. c + above that exist; its gradient swaps ``below`` and ``above``."""
    return body(be, "local_response_norm").channel_sum(be, x=x, below=below, above=above)
