"""Activations and dropout."""

from __future__ import annotations

from collections.abc import Callable

from nnlab.autograd import Tensor
from nnlab.autograd import activation as ops
from nnlab.autograd.elementwise import where
from nnlab.errors import ArgumentError, ShapeError, complaint
from nnlab.nn.functional._checks import check_input, check_probability


def _inplace(input: Tensor, function: Callable[[Tensor], Tensor], inplace: bool) -> Tensor:
    """The function's value, written over the input if that was asked for."""
    return input.copy_(function(input)) if inplace else function(input)


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0); the gradient at 0 is 0, NaN stays NaN."""
    return input.relu_() if inplace else ops.relu(input)


def relu_(input: Tensor) -> Tensor:
    """In-place :func:`relu`."""
    return relu(input, inplace=True)


def bias_relu(input: Tensor, bias: Tensor) -> Tensor:
    """max(x + b, 0) with a bias per channel: the values of ``relu(x + b)`` in one pass over x, as are the gradients.

    Args:
        input: (N, C, ...).
        bias: (C,), of the input's dtype.

    Raises:
        ShapeError: the input has no channels, or the bias does not fit them.
    """
    check_input("bias_relu", input, bias=bias)
    if input.ndim < 2:
        raise ShapeError(complaint("bias_relu", "input", "have shape (N, C, ...)", tuple(input.shape)))
    if tuple(bias.shape) != (input.shape[1],):
        raise ShapeError(complaint("bias_relu", "bias", f"have shape ({input.shape[1]},)", tuple(bias.shape)))
    return ops.bias_relu(input, bias)


def leaky_relu(input: Tensor, negative_slope: float = 0.01, inplace: bool = False) -> Tensor:
    """x where x > 0, else ``negative_slope`` * x."""
    return _inplace(input, lambda x: where(x > 0, x, x * negative_slope), inplace)


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return input.sigmoid()


def tanh(input: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return input.tanh()


def _dim(name: str, dim: int | None) -> int:
    if dim is None:
        raise ArgumentError(complaint(name, "dim", "be given (the dimension that sums to 1)", dim))
    return dim


def softmax(input: Tensor, dim: int | None = None) -> Tensor:
    """exp(x) / sum of exp(x) along ``dim``, which must be given."""
    check_input("softmax", input)
    return ops.softmax(input, _dim("softmax", dim))


def log_softmax(input: Tensor, dim: int | None = None) -> Tensor:
    """Logarithm of the softmax along ``dim``, which must be given; computed without overflow."""
    check_input("log_softmax", input)
    return ops.log_softmax(input, _dim("log_softmax", dim))


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """In training zero each element with probability p and multiply the others by 1 / (1 - p); else the input.

    The mask is one draw of ``nnlab.random.default_generator``, the same on every device.
    Source: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 2014.
    """
    check_probability("dropout", p)
    check_input("dropout", input)
    if not training or p == 0:
        return input
    return _inplace(input, lambda x: ops.dropout(x, p), inplace)
