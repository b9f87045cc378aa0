"""The dense layers."""

from __future__ import annotations

from nnlab.autograd import Tensor
from nnlab.autograd import matmul as ops
from nnlab.autograd.amp import in_float32, low_precision
from nnlab.errors import ShapeError, complaint
from nnlab.nn.functional._checks import check_input


@low_precision
def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ weight.T + bias``: input (..., in), weight (out, in), bias (out,)."""
    check_input("linear", input, weight=weight, bias=bias)
    return ops.linear(input, weight, bias)


@in_float32
def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``y[o] = sum over i, j of x1[i] * weight[o, i, j] * x2[j] + bias[o]``.

    Args:
        input1: (..., I).
        input2: (..., J), of the same leading sizes.
        weight: (O, I, J).
        bias: (O,) or None.

    Returns:
        (..., O).
    """
    check_input("bilinear", input1, input2=input2, weight=weight, bias=bias)
    if weight.ndim != 3:
        raise ShapeError(complaint("bilinear", "weight", "have shape (O, I, J)", tuple(weight.shape)))
    out, one, two = weight.shape
    if input1.shape[-1:] != (one,):
        raise ShapeError(complaint("bilinear", "input1", f"have shape (..., {one})", tuple(input1.shape)))
    if input2.shape != (*input1.shape[:-1], two):
        must = f"have shape {(*input1.shape[:-1], two)}"
        raise ShapeError(complaint("bilinear", "input2", must, tuple(input2.shape)))
    if bias is not None and tuple(bias.shape) != (out,):
        raise ShapeError(complaint("bilinear", "bias", f"have shape ({out},)", tuple(bias.shape)))
    products = (input1 @ weight.permute(1, 0, 2).reshape(one, out * two)).reshape(*input1.shape[:-1], out, two)
    y = (products @ input2.unsqueeze(-1)).squeeze(-1)
    return y if bias is None else y + bias
