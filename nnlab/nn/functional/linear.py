"""The dense layer and padding."""

from __future__ import annotations

from nnlab.autograd import Tensor
from nnlab.autograd import matmul as ops
from nnlab.autograd.pad import pad
from nnlab.nn.functional._checks import check_input

__all__ = ["linear", "pad"]


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ weight.T + bias``: input (..., in), weight (out, in), bias (out,)."""
    check_input("linear", input, weight=weight, bias=bias)
    return ops.linear(input, weight, bias)
