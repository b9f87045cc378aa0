"""Activations that saturate, softmax and its relatives, gates, and dropout. Any shape unless one is given."""

from __future__ import annotations

from nnlab.autograd import Tensor
from nnlab.autograd import activation as ops
from nnlab.autograd.pointwise import pointwise
from nnlab.errors import ArgumentError, ShapeError, complaint
from nnlab.nn.functional._checks import check_input, write_over


def sigmoid(input: Tensor) -> Tensor:
    """1 / (1 + exp(-x))."""
    return input.sigmoid()


def tanh(input: Tensor) -> Tensor:
    """Hyperbolic tangent."""
    return input.tanh()


def logsigmoid(input: Tensor) -> Tensor:
    """``log(1 / (1 + exp(-x)))``, without overflow and with all digits on both sides."""
    check_input("logsigmoid", input)
    return pointwise("log_sigmoid", input)


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """``min(max(x + 3, 0), 6) / 6``; the gradient at -3 and 3 is 0.

    Source: Howard et al., "Searching for MobileNetV3", ICCV 2019.
    """
    check_input("hardsigmoid", input)
    return write_over(input, lambda x: pointwise("hardsigmoid", x), inplace)


def hardtanh(input: Tensor, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False) -> Tensor:
    """``min(max(x, min_val), max_val)``; the gradient at the two ends is 0.

    Raises:
        ArgumentError: ``min_val`` is above ``max_val``.
    """
    check_input("hardtanh", input)
    if min_val > max_val:
        raise ArgumentError(complaint("hardtanh", "max_val", f"be at least min_val={min_val}", max_val))
    return write_over(input, lambda x: pointwise("hardtanh", x, min_val, max_val), inplace)


def softsign(input: Tensor) -> Tensor:
    """``x / (1 + abs(x))``."""
    check_input("softsign", input)
    return pointwise("softsign", input)


def tanhshrink(input: Tensor) -> Tensor:
    """``x - tanh(x)``."""
    check_input("tanhshrink", input)
    return pointwise("tanhshrink", input)


def hardshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """0 where ``-lambd <= x <= lambd``, else x."""
    check_input("hardshrink", input)
    return pointwise("hardshrink", input, lambd)


def softshrink(input: Tensor, lambd: float = 0.5) -> Tensor:
    """``x - lambd`` above lambd, ``x + lambd`` below -lambd, 0 between.

    Raises:
        ArgumentError: ``lambd`` is negative.
    """
    check_input("softshrink", input)
    if not lambd >= 0:
        raise ArgumentError(complaint("softshrink", "lambd", "not be negative", lambd))
    return pointwise("softshrink", input, lambd)


def _dim(name: str, dim: int | None) -> int:
    if dim is None:
        raise ArgumentError(complaint(name, "dim", "be given (the dimension that sums to 1)", dim))
    return dim


def softmax(input: Tensor, dim: int | None = None) -> Tensor:
    """exp(x) / sum of exp(x) along ``dim``, which must be given."""
    check_input("softmax", input)
    return ops.softmax(input, _dim("softmax", dim))


def softmin(input: Tensor, dim: int | None = None) -> Tensor:
    """exp(-x) / sum of exp(-x) along ``dim``, which must be given."""
    check_input("softmin", input)
    return ops.softmax(-input, _dim("softmin", dim))


def log_softmax(input: Tensor, dim: int | None = None) -> Tensor:
    """Logarithm of the softmax along ``dim``, which must be given; computed without overflow."""
    check_input("log_softmax", input)
    return ops.log_softmax(input, _dim("log_softmax", dim))


def glu(input: Tensor, dim: int = -1) -> Tensor:
    """Gated linear unit: ``a * sigmoid(b)``, a and b the first and the second half of x along ``dim``.

    Raises:
        ShapeError: the length of ``dim`` is odd, or there is no such dimension.

    Source: Dauphin et al., "Language modeling with gated convolutional networks", ICML 2017.
    """
    check_input("glu", input)
    if not -input.ndim <= dim < input.ndim or input.shape[dim] % 2:
        must = f"have an even length along dimension {dim}"
        raise ShapeError(complaint("glu", "input", must, tuple(input.shape)))
    half = input.shape[dim] // 2
    return input.narrow(dim, 0, half) * input.narrow(dim, half, half).sigmoid()
