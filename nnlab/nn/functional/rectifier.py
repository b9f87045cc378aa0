"""Rectifiers: activations that pass large numbers, and bend or leak below 0. Any shape unless one is given."""

from __future__ import annotations

from nnlab.autograd import Tensor
from nnlab.autograd import activation as ops
from nnlab.autograd import pointwise as pw
from nnlab.autograd.amp import in_float32, low_precision
from nnlab.autograd.creation import rand
from nnlab.autograd.pointwise import pointwise
from nnlab.errors import ArgumentError, ShapeError, complaint
from nnlab.nn.functional._checks import check_input, in_wide, write_over

# Fixed point of mean 0 and variance 1 (Klambauer et al. 2017, equation 14).
_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805
_SQRT_8_PI = 1.5957691216057308  # sqrt(8 / pi)


def relu(input: Tensor, inplace: bool = False) -> Tensor:
    """max(x, 0); the gradient at 0 is 0, NaN stays NaN."""
    return input.relu_() if inplace else ops.relu(input)


def relu_(input: Tensor) -> Tensor:
    """In-place :func:`relu`."""
    return relu(input, inplace=True)


def relu6(input: Tensor, inplace: bool = False) -> Tensor:
    """``min(max(x, 0), 6)``; the gradient at 0 and 6 is 0."""
    check_input("relu6", input)
    return write_over(input, lambda x: pointwise("hardtanh", x, 0.0, 6.0), inplace)


@low_precision
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
    check_input("leaky_relu", input)
    return write_over(input, lambda x: pointwise("leaky_relu", x, negative_slope), inplace)


@low_precision
def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x where x > 0, else ``weight`` * x, the weight learned.

    Args:
        input: any shape; (N, C, ...) or (N,) with C = 1 if each channel has its weight.
        weight: (C,) or (1,) or (), of the input's dtype.

    Raises:
        ShapeError: the weight does not fit the channels.

    Source: He et al., "Delving deep into rectifiers", ICCV 2015.
    """
    check_input("prelu", input, weight=weight)
    if weight.numel() == 1:
        return pw.prelu(input, weight.reshape(()))
    channels = input.shape[1] if input.ndim > 1 else 1
    if weight.ndim != 1 or len(weight) != channels:
        must = f"have shape ({channels},) or (1,) for input {tuple(input.shape)}"
        raise ShapeError(complaint("prelu", "weight", must, tuple(weight.shape)))
    return pw.prelu(input, weight.reshape(-1, *[1] * (input.ndim - 2)))


def rrelu(
    input: Tensor, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False, inplace: bool = False
) -> Tensor:
    """Leaky ReLU with a random slope: in training uniform between ``lower`` and ``upper``, else their mean.

    The slopes, one an element, are one draw of ``nnlab.random.default_generator``, the same on every device.

    Raises:
        ArgumentError: ``lower`` is above ``upper``.

    Source: Xu et al., "Empirical evaluation of rectified activations in convolutional network", 2015.
    """
    check_input("rrelu", input)
    if lower > upper:
        raise ArgumentError(complaint("rrelu", "upper", f"be at least lower={lower}", upper))
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    slope = rand(*input.shape, dtype=input.dtype, device=input.device) * (upper - lower) + lower
    return write_over(input, lambda x: pw.prelu(x, slope), inplace)


def elu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, else ``alpha * (exp(x) - 1)``.

    Source: Clevert et al., "Fast and accurate deep network learning by exponential linear units (ELUs)", ICLR 2016.
    """
    check_input("elu", input)
    return write_over(input, lambda x: pointwise("elu", x, alpha, 1.0, 1.0), inplace)


def selu(input: Tensor, inplace: bool = False) -> Tensor:
    """``1.0507 * elu(x, 1.6733)``, the two numbers to all digits: keeps mean 0 and variance 1 from layer to layer.

    Source: Klambauer et al., "Self-normalizing neural networks", NeurIPS 2017.
    """
    check_input("selu", input)
    return write_over(input, lambda x: pointwise("elu", x, _SELU_ALPHA, _SELU_SCALE, 1.0), inplace)


def celu(input: Tensor, alpha: float = 1.0, inplace: bool = False) -> Tensor:
    """x where x > 0, else ``alpha * (exp(x / alpha) - 1)``: an ELU with slope 1 on both sides of 0.

    Raises:
        ArgumentError: ``alpha`` is 0.

    Source: Barron, "Continuously differentiable exponential linear units", 2017.
    """
    check_input("celu", input)
    if alpha == 0:
        raise ArgumentError(complaint("celu", "alpha", "not be 0", alpha))
    return write_over(input, lambda x: pointwise("elu", x, alpha, 1.0, 1.0 / alpha), inplace)


def gelu(input: Tensor, approximate: str = "none") -> Tensor:
    """x * Phi(x), Phi the distribution function of the normal distribution.

    Args:
        approximate: 'none', or 'tanh' for ``x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))``.

    Raises:
        ArgumentError: another ``approximate``.

    Source: Hendrycks and Gimpel, "Gaussian error linear units (GELUs)", 2016.
    """
    check_input("gelu", input)
    if approximate not in ("none", "tanh"):
        raise ArgumentError(complaint("gelu", "approximate", "be 'none' or 'tanh'", approximate))
    if approximate == "none":
        return in_wide(input, lambda x: x * pw.normal_cdf(x))
    # (1 + tanh(u)) / 2 = sigmoid(2 u), which keeps its digits below 0.
    return in_wide(input, lambda x: x * ((x * x * 0.044715 + 1) * x * _SQRT_8_PI).sigmoid())


def silu(input: Tensor, inplace: bool = False) -> Tensor:
    """``x * sigmoid(x)``, also called swish.

    Source: Ramachandran et al., "Searching for activation functions", 2017.
    """
    check_input("silu", input)
    return write_over(input, lambda x: in_wide(x, lambda w: w * w.sigmoid()), inplace)


def mish(input: Tensor, inplace: bool = False) -> Tensor:
    """``x * tanh(softplus(x))``.

    Source: Misra, "Mish: a self regularized non-monotonic activation function", BMVC 2020.
    """
    check_input("mish", input)
    return write_over(input, lambda x: in_wide(x, lambda w: w * pointwise("softplus", w, 1.0, 20.0).tanh()), inplace)


def hardswish(input: Tensor, inplace: bool = False) -> Tensor:
    """``x * min(max(x + 3, 0), 6) / 6``.

    Source: Howard et al., "Searching for MobileNetV3", ICCV 2019.
    """
    check_input("hardswish", input)
    return write_over(input, lambda x: pointwise("hardswish", x), inplace)


@in_float32
def softplus(input: Tensor, beta: float = 1.0, threshold: float = 20.0) -> Tensor:
    """``log(1 + exp(beta * x)) / beta``, and x itself where ``beta * x`` is above ``threshold``.

    Raises:
        ArgumentError: ``beta`` is 0.
    """
    check_input("softplus", input)
    if beta == 0:
        raise ArgumentError(complaint("softplus", "beta", "not be 0", beta))
    return pointwise("softplus", input, beta, threshold)


def threshold(input: Tensor, threshold: float, value: float, inplace: bool = False) -> Tensor:
    """``value`` where ``x <= threshold``, else x."""
    check_input("threshold", input)
    return write_over(input, lambda x: pointwise("threshold", x, threshold, value), inplace)
