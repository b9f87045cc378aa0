"""The artificial neuron, its activations, and what one neuron or two layers of them compute.

Sources: McCulloch and Pitts, "A logical calculus of the ideas immanent in nervous activity", 1943; Minsky and Papert,
"Perceptrons", 1969 (exclusive or).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nnlab
from nnlab import Tensor
from nnlab.errors import ArgumentError, ShapeError, complaint

Activation = Callable[[Tensor], Tensor]


def step(u: Tensor) -> Tensor:
    """1 where u >= 0, else 0: the limit of :func:`sigmoid` for a growing steepness, but for its 1/2 at u = 0."""
    return (u >= 0).to(dtype=u.dtype)


def piecewise_linear(u: Tensor, steepness: float = 1.0) -> Tensor:
    """``min(max(steepness * u / 4 + 1 / 2, 0), 1)``: the tangent of :func:`sigmoid` at 0, cut off at 0 and 1.

    Its largest distance from the sigmoid is 1 / (1 + e^2) = 0.119, where it is cut off.
    """
    return (u * (steepness / 4) + 0.5).clamp(0, 1)


def sigmoid(u: Tensor, steepness: float = 1.0) -> Tensor:
    """``1 / (1 + exp(-steepness * u))``, rising at 0 by steepness / 4. ``2 * sigmoid(2 * u) - 1`` is ``tanh(u)``."""
    return nnlab.sigmoid(u * steepness)


def with_bias(x: Tensor) -> Tensor:
    """x (..., m) with x0 = 1 before the others (..., m + 1), so that a weight w0 is the bias."""
    return nnlab.cat([x.new_ones((*x.shape[:-1], 1)), x], -1)


def neurons(x: Tensor, w: Tensor, activation: Activation = step) -> Tensor:
    """Neurons that share their inputs: ``activation(w0 + w1 x1 + ... + wm xm)``.

    Args:
        x: inputs (..., m).
        w: (m + 1,), the bias first: one neuron; or (K, m + 1): a layer of K.
        activation: applied to the weighted sums.

    Returns:
        (...) for one neuron, (..., K) for a layer.

    Raises:
        ShapeError: w does not fit the inputs.
    """
    if w.ndim not in (1, 2) or w.shape[-1] != x.shape[-1] + 1:
        m = x.shape[-1] + 1
        raise ShapeError(
            complaint("neurons", "w", f"have shape ({m},) or (K, {m}) with the bias first", tuple(w.shape))
        )
    return activation(with_bias(x) @ (w if w.ndim == 1 else w.T))


def and_weights(inputs: int = 2, *, dtype: Any = None, device: Any = None) -> Tensor:
    """(-(R - 1/2), 1, ..., 1): a step neuron that fires when all R inputs are 1.

    Args:
        inputs: R.
        dtype, device: of the weights (R + 1,); default float32 on the CPU.
    """
    return _gate(inputs, 0.5 - inputs, dtype, device)


def or_weights(inputs: int = 2, *, dtype: Any = None, device: Any = None) -> Tensor:
    """(-1/2, 1, ..., 1): a step neuron that fires when one of its inputs is 1. Arguments as :func:`and_weights`."""
    return _gate(inputs, -0.5, dtype, device)


def _gate(inputs: int, bias: float, dtype: Any, device: Any) -> Tensor:
    if inputs < 1:
        raise ArgumentError(complaint("neuron", "inputs", "be positive", inputs))
    return nnlab.tensor([bias] + [1.0] * inputs, dtype=dtype, device=device)


def xor(x: Tensor) -> Tensor:
    """Exclusive or of x (..., 2) by two layers of step neurons: OR and NAND, then AND of both.

    No single neuron computes it: w0 < 0 and w0 + w1 + w2 < 0 would have to add up to the same as w0 + w1 >= 0 and
    w0 + w2 >= 0.
    """
    both, either = and_weights(dtype=x.dtype, device=x.device), or_weights(dtype=x.dtype, device=x.device)
    return neurons(neurons(x, nnlab.stack([either, -both])), both)
