"""The dense layer."""

from __future__ import annotations

from nnlab.autograd import Tensor
from nnlab.autograd import matmul as ops
from nnlab.nn.functional._checks import check_input


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ weight.T + bias``: input (..., in), weight (out, in), bias (out,)."""
    check_input("linear", input, weight=weight, bias=bias)
    return ops.linear(input, weight, bias)
