"""Tensors and automatic differentiation."""

from __future__ import annotations

from nnlab.autograd.engine import grad
from nnlab.autograd.function import Function
from nnlab.autograd.tape import Node, Op, enable_grad, is_grad_enabled, no_grad, set_grad_enabled, wrap
from nnlab.autograd.tensor import Size, Tensor

__all__ = [
    "Function",
    "Node",
    "Op",
    "Size",
    "Tensor",
    "enable_grad",
    "grad",
    "is_grad_enabled",
    "no_grad",
    "set_grad_enabled",
    "wrap",
]
