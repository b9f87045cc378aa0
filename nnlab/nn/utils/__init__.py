"""Gradient clipping, and all parameters as one vector; ``rnn``: sequences of several lengths."""

from __future__ import annotations

import math
from collections.abc import Iterable

from nnlab.autograd import Tensor, no_grad
from nnlab.autograd.creation import zeros
from nnlab.autograd.shape import cat, stack
from nnlab.errors import ArgumentError, NonFiniteError, ShapeError, complaint
from nnlab.nn.utils import rnn

__all__ = [
    "clip_grad_norm_",
    "clip_grad_value_",
    "parameters_to_vector",
    "rnn",
    "vector_to_parameters",
]


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    listed = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    return [p.grad for p in listed if p.grad is not None]


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients together, in place, so that their norm as one vector is at most ``max_norm``.

    The factor is ``min(1, max_norm / (norm + 1e-6))``; it stays on the device (no wait for the GPU).

    Args:
        parameters: tensors whose ``grad`` to scale; those without a gradient are passed over.
        max_norm: largest norm allowed, not negative.
        norm_type: p of the p-norm; ``math.inf`` for the largest absolute value.
        error_if_nonfinite: raise NonFiniteError for a NaN or infinite norm (waits for the GPU).

    Returns:
        The norm before scaling, a 0-d tensor.
    """
    if not max_norm >= 0:
        raise ArgumentError(complaint("clip_grad_norm_", "max_norm", "not be negative", max_norm))
    if not norm_type > 0:
        raise ArgumentError(complaint("clip_grad_norm_", "norm_type", "be positive", norm_type))
    gradients = _gradients(parameters)
    if not gradients:
        return zeros(())
    with no_grad():
        total = stack([g.norm(norm_type) for g in gradients]).norm(norm_type)
        if error_if_nonfinite and not math.isfinite(total.item()):
            raise NonFiniteError(f"[clip_grad_norm_] the norm of the gradients is {total.item()}; nothing was scaled")
        factor = (max_norm / (total + 1e-6)).clamp(max=1.0)
        for g in gradients:
            g.mul_(factor)
    return total


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Limit every element of every gradient to ``+-clip_value``, in place."""
    if not clip_value >= 0:
        raise ArgumentError(complaint("clip_grad_value_", "clip_value", "not be negative", clip_value))
    with no_grad():
        for g in _gradients(parameters):
            g.clamp_(-clip_value, clip_value)


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters, flattened, one after another."""
    return cat([p.reshape(-1) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Copy consecutive pieces of a vector into the parameters.

    Raises:
        ShapeError: the vector's length is not the number of all elements.
    """
    listed = list(parameters)
    count = sum(p.numel() for p in listed)
    if tuple(vec.shape) != (count,):
        raise ShapeError(complaint("vector_to_parameters", "vec", f"have shape ({count},)", tuple(vec.shape)))
    start = 0
    with no_grad():
        for p in listed:
            p.copy_(vec[start : start + p.numel()].reshape(p.shape))
            start += p.numel()
