"""Elementwise functions of one tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nnlab import types
from nnlab.autograd.amp import in_float32
from nnlab.autograd.elementwise import cast, test
from nnlab.autograd.tape import Node, Op
from nnlab.ops import unary as ops

if TYPE_CHECKING:
    from nnlab.autograd.tensor import Tensor

Derivative = Callable[[Any, Any], Any]


def _unary(name: str, derivative: Derivative, *, uses: str, function: str | None = None) -> type[Op]:
    """An elementwise function as an Op.

    Args:
        name: class name, for messages.
        derivative: ``(dy, x or y) -> dx`` written in tensor operations.
        uses: which of ``"x"`` and ``"y"`` the derivative needs, or ``""``.
        function: its name in the array module.
    """

    def forward(ctx: Node, x: Any) -> Any:
        if uses == "x":
            ctx.save_inputs(0)
        elif uses == "y":
            ctx.save_output()
        return ops.forward(ctx.be, x=x, function=function or name.lower())

    def backward(ctx: Node, dy: Tensor) -> Any:
        saved = ctx.input(0) if uses == "x" else ctx.output() if uses == "y" else None
        return (derivative(dy, saved),)

    methods = {"forward": staticmethod(forward), "backward": staticmethod(backward)}
    if name.lower() in ops.GRADIENTS:

        def backward_raw(ctx: Node, dy: Any) -> Any:
            return ops.backward(ctx.be, dy=dy, y=ctx.output_raw(), function=name.lower())

        methods["backward_raw"] = staticmethod(backward_raw)
    return type(name, (Op,), methods)


_UNARY: dict[str, type[Op]] = {
    "neg": _unary("Neg", lambda dy, _: -dy, uses="", function="negative"),
    "exp": _unary("Exp", lambda dy, y: dy * y, uses="y"),
    "expm1": _unary("Expm1", lambda dy, y: dy * (y + 1), uses="y"),
    "log": _unary("Log", lambda dy, x: dy / x, uses="x"),
    "log1p": _unary("Log1p", lambda dy, x: dy / (x + 1), uses="x"),
    "log2": _unary("Log2", lambda dy, x: dy / (x * 0.6931471805599453), uses="x"),
    "log10": _unary("Log10", lambda dy, x: dy / (x * 2.302585092994046), uses="x"),
    "sqrt": _unary("Sqrt", lambda dy, y: dy / (y * 2), uses="y"),
    "abs": _unary("Abs", lambda dy, x: dy * sign(x), uses="x"),
    "sin": _unary("Sin", lambda dy, x: dy * unary("cos", x), uses="x"),
    "cos": _unary("Cos", lambda dy, x: -dy * unary("sin", x), uses="x"),
    "tan": _unary("Tan", lambda dy, y: dy * (y * y + 1), uses="y"),
    "atan": _unary("Atan", lambda dy, x: dy / (x * x + 1), uses="x", function="arctan"),
    "tanh": _unary("Tanh", lambda dy, y: dy * (1 - y * y), uses="y"),
    "sigmoid": _unary("Sigmoid", lambda dy, y: dy * (y * (1 - y)), uses="y"),
}


def unary(name: str, x: Tensor) -> Tensor:
    """A differentiable elementwise function by name."""
    if not types.is_floating(x.dtype) and name not in ("neg", "abs"):
        x = cast(x, types.DEFAULT_FLOAT)
    return _UNARY[name].apply(x)


def sign(x: Tensor) -> Tensor:
    """-1, 0 or 1 by sign; its gradient is zero everywhere."""
    return test("sign", x)


def _function(name: str, summary: str) -> Callable[[Tensor], Tensor]:
    def function(input: Tensor) -> Tensor:
        return unary(name, input)

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{summary} Elementwise; integers go to the default floating dtype (except neg and abs)."
    return function


exp = in_float32(_function("exp", "e ** x."))
expm1 = in_float32(_function("expm1", "e ** x - 1, accurate near 0."))
log = in_float32(_function("log", "Natural logarithm."))
log1p = in_float32(_function("log1p", "log(1 + x), accurate near 0."))
log2 = in_float32(_function("log2", "Logarithm to base 2."))
log10 = in_float32(_function("log10", "Logarithm to base 10."))
sqrt = _function("sqrt", "Square root.")
abs = _function("abs", "Absolute value; derivative 0 at 0.")
neg = _function("neg", "-x.")
sin = _function("sin", "Sine.")
cos = _function("cos", "Cosine.")
tan = in_float32(_function("tan", "Tangent."))
atan = _function("atan", "Inverse tangent.")
tanh = _function("tanh", "Hyperbolic tangent.")
sigmoid = _function("sigmoid", "Logistic function 1 / (1 + exp(-x)), computed without overflow.")


def isnan(input: Tensor) -> Tensor:
    """Where the elements are NaN."""
    return test("isnan", input)


def isinf(input: Tensor) -> Tensor:
    """Where the elements are infinite."""
    return test("isinf", input)


def isfinite(input: Tensor) -> Tensor:
    """Where the elements are neither NaN nor infinite."""
    return test("isfinite", input)
