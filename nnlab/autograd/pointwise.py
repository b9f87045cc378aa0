"""Functions of single elements for activations and losses: one pass forward, and derivatives in tensor operations.

Each function is a pair ``value(xp, x, *numbers)``, array code in float32 or float64, and
``derivative(dy, x, *numbers)``, tensor code, so that it can be differentiated again. Neither overflows where the
function does not. NaN propagates. What they compute is said where users see it, in ``nnlab.nn.functional``, except:

- ``at_least(x, low)`` -> max(x, low), whose gradient passes everywhere;
- ``huber(x, delta)`` -> x**2 / 2 up to delta, a straight line beyond;
- ``x_log_x(x)`` -> x * log(x), 0 at 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nnlab import types
from nnlab.autograd.elementwise import cast, sum_to, where
from nnlab.autograd.tape import Node, Op
from nnlab.ops import erf as erf_ops
from nnlab.ops import pointwise as pointwise_ops

if TYPE_CHECKING:
    from nnlab.autograd.tensor import Tensor

Value = Callable[..., Any]
Derivative = Callable[..., Any]


def _op(name: str, value: Value, derivative: Derivative) -> type[Op]:
    def forward(ctx: Node, x: Any, *numbers: float) -> Any:
        ctx.save_inputs(0)
        ctx.numbers = numbers
        return pointwise_ops.apply(ctx.be, function=value, x=x, numbers=numbers)

    def backward(ctx: Node, dy: Tensor) -> Any:
        x = ctx.input(0)
        wide = types.wide(x.dtype)
        return (cast(derivative(cast(dy, wide), cast(x, wide), *ctx.numbers), x.dtype),)

    return type(name, (Op,), {"forward": staticmethod(forward), "backward": staticmethod(backward)})


def _elu(xp: Any, x: Any, alpha: float, scale: float, input_scale: float) -> Any:
    # One of the two terms is 0: no choice, which costs more than the sum.
    return xp.maximum(x, 0) * scale + xp.expm1(xp.minimum(x, 0) * input_scale) * (alpha * scale)


def _elu_derivative(dy: Tensor, x: Tensor, alpha: float, scale: float, input_scale: float) -> Tensor:
    # Limited from above, so that no exponential overflows where it is not wanted.
    decay = (x.clamp(max=0.0) * input_scale).exp() * (alpha * scale * input_scale)
    return where(x > 0, dy * scale, dy * decay)


def _leaky_relu(xp: Any, x: Any, slope: float) -> Any:
    return xp.maximum(x, x * slope) if 0 < slope <= 1 else xp.where(x > 0, x, x * slope)


def _log_sigmoid(xp: Any, x: Any) -> Any:
    return xp.minimum(x, 0) - xp.log1p(xp.exp(-xp.abs(x)))


def _softplus(xp: Any, x: Any, beta: float, threshold: float) -> Any:
    return xp.where(x * beta > threshold, x, _log_sigmoid(xp, x * -beta) * (-1 / beta))


def _huber(xp: Any, x: Any, delta: float) -> Any:
    size = xp.abs(x)
    inner = xp.minimum(size, delta)
    return inner * (size - inner / 2)


_POINTWISE: dict[str, type[Op]] = {
    "at_least": _op("AtLeast", lambda xp, x, low: xp.maximum(x, low), lambda dy, x, low: dy),
    "elu": _op("Elu", _elu, _elu_derivative),
    "hardshrink": _op(
        "Hardshrink",
        lambda xp, x, limit: xp.where((x >= -limit) & (x <= limit), 0, x),
        lambda dy, x, limit: where((x >= -limit) & (x <= limit), 0.0, dy),
    ),
    "hardsigmoid": _op(
        "Hardsigmoid",
        lambda xp, x: xp.clip(x + 3, 0, 6) / 6,
        lambda dy, x: where((x > -3) & (x < 3), dy / 6, 0.0),
    ),
    "hardswish": _op(
        "Hardswish",
        lambda xp, x: x * xp.clip(x + 3, 0, 6) / 6,
        lambda dy, x: where(x <= -3, 0.0, where(x < 3, dy * (x / 3 + 0.5), dy)),
    ),
    "hardtanh": _op(
        "Hardtanh",
        lambda xp, x, low, high: xp.clip(x, low, high),
        lambda dy, x, low, high: where((x <= low) | (x >= high), 0.0, dy),
    ),
    "huber": _op("Huber", _huber, lambda dy, x, delta: dy * x.clamp(-delta, delta)),
    "leaky_relu": _op(
        "LeakyReLU",
        _leaky_relu,
        lambda dy, x, slope: where(x > 0, dy, dy * slope),
    ),
    "log_sigmoid": _op("LogSigmoid", _log_sigmoid, lambda dy, x: dy * (-x).sigmoid()),
    "softplus": _op(
        "Softplus",
        _softplus,
        lambda dy, x, beta, threshold: where(x * beta > threshold, dy, dy * (x * beta).sigmoid()),
    ),
    "softshrink": _op(
        "Softshrink",
        lambda xp, x, limit: x - xp.clip(x, -limit, limit),
        lambda dy, x, limit: where((x >= -limit) & (x <= limit), 0.0, dy),
    ),
    "softsign": _op(
        "Softsign",
        lambda xp, x: x / (1 + xp.abs(x)),
        lambda dy, x: dy / (1 + x.abs()).square(),
    ),
    "tanhshrink": _op(
        "Tanhshrink",
        lambda xp, x: x - xp.tanh(x),
        lambda dy, x: dy * x.tanh().square(),
    ),
    "threshold": _op(
        "Threshold",
        lambda xp, x, limit, value: xp.where(x <= limit, value, x),
        lambda dy, x, limit, value: where(x <= limit, 0.0, dy),
    ),
    "x_log_x": _op(
        "XLogX",
        lambda xp, x: xp.where(x == 0, 0, x * xp.log(x)),
        lambda dy, x: dy * (x.log() + 1),
    ),
}


def pointwise(name: str, x: Tensor, *numbers: float) -> Tensor:
    """A function of the table by name."""
    return _POINTWISE[name].apply(x, *numbers)


class Erf(Op):
    @staticmethod
    def forward(ctx: Node, x: Any) -> Any:
        ctx.save_inputs(0)
        return erf_ops.erf(ctx.be, x=x)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return dy * ((-ctx.input(0).square()).exp() * 1.1283791670955126)


class NormalCdf(Op):
    @staticmethod
    def forward(ctx: Node, x: Any) -> Any:
        ctx.save_inputs(0)
        return erf_ops.normal_cdf(ctx.be, x=x)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return dy * ((ctx.input(0).square() * -0.5).exp() * 0.3989422804014327)


class PReLU(Op):
    """x where x > 0, else weight * x; the weight (broadcast) takes the sum of dy * x over the others."""

    @staticmethod
    def forward(ctx: Node, x: Any, weight: Any) -> Any:
        ctx.save_inputs(0, 1)
        return ctx.be.xp.where(x > 0, x, x * weight)

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        x, weight = ctx.input(0), ctx.input(1)
        return (
            where(x > 0, dy, dy * weight) if ctx.needs[0] else None,
            sum_to(dy * where(x > 0, 0.0, x), weight.shape) if ctx.needs[1] else None,
        )


def erf(input: Tensor) -> Tensor:
    """Error function, 2 / sqrt(pi) times the integral of exp(-u**2) from 0 to x; integers go to the default dtype."""
    return Erf.apply(input if types.is_floating(input.dtype) else cast(input, types.DEFAULT_FLOAT))


def normal_cdf(input: Tensor) -> Tensor:
    """Distribution function of the normal distribution, (1 + erf(x / sqrt(2))) / 2."""
    return NormalCdf.apply(input)


def prelu(input: Tensor, weight: Tensor) -> Tensor:
    """x where x > 0, else weight * x, the weight broadcast."""
    return PReLU.apply(input, weight)
