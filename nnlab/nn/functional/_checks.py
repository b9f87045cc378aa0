"""Checks and shape changes that several functions share."""

from __future__ import annotations

from collections.abc import Callable

from nnlab.autograd import Tensor, is_grad_enabled
from nnlab.autograd.amp import is_autocast_enabled
from nnlab.autograd.elementwise import cast
from nnlab.errors import ArgumentError, DeviceError, DtypeError, ShapeError, complaint
from nnlab.types import is_floating, wide

_AXES = {1: "L", 2: "H, W", 3: "D, H, W"}
REDUCTIONS = ("mean", "sum", "none")


def check_input(where: str, input: Tensor, **others: Tensor | None) -> None:
    """The input is a floating tensor, all others are on its device and, outside autocast, share its dtype."""
    if not isinstance(input, Tensor):
        raise DtypeError(complaint(where, "input", "be a Tensor", type(input).__name__))
    if not is_floating(input.dtype):
        raise DtypeError(complaint(where, "input", "be floating point", str(input.dtype)))
    for name, other in others.items():
        if other is None:
            continue
        if other.device != input.device:
            raise DeviceError(f"[{where}] 'input' is on {input.device} but '{name}' is on {other.device}")
        if other.dtype != input.dtype and not is_autocast_enabled(input.device.type):
            raise DtypeError(f"[{where}] 'input' is {input.dtype} but '{name}' is {other.dtype}")


def with_batch(where: str, input: Tensor, spatial: int) -> tuple[Tensor, bool]:
    """The input with a batch dimension, and whether it had one.

    Raises:
        ShapeError: it is neither (N, C, ...) nor (C, ...) with that many spatial dimensions.
    """
    if input.ndim == spatial + 2:
        return input, True
    if input.ndim == spatial + 1:
        return input.unsqueeze(0), False
    axes = _AXES[spatial]
    raise ShapeError(complaint(where, "input", f"have shape (N, C, {axes}) or (C, {axes})", tuple(input.shape)))


def check_reduction(where: str, reduction: str, known: tuple[str, ...] = REDUCTIONS) -> None:
    """The reduction is one of 'mean', 'sum' and 'none', or of those given."""
    if reduction not in known:
        raise ArgumentError(complaint(where, "reduction", f"be one of {known}", reduction))


def check_count(where: str, argument: str, value: object) -> None:
    """The value is a positive int."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ArgumentError(complaint(where, argument, "be a positive int", value))


def check_probability(where: str, p: float) -> None:
    """0 <= p <= 1."""
    if not 0 <= p <= 1:
        raise ArgumentError(complaint(where, "p", "be a probability between 0 and 1", p))


def reduce(loss: Tensor, reduction: str) -> Tensor:
    """Mean, sum, or the loss as it is."""
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()


def in_wide(input: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """The function's value, computed in float32 and rounded once if the input has a half type."""
    return cast(function(cast(input, wide(input.dtype))), input.dtype)


def write_over(input: Tensor, function: Callable[[Tensor], Tensor], inplace: bool) -> Tensor:
    """The function's value, written over the input if that was asked for."""
    if not inplace:
        return function(input)
    # The gradient may need the input as it was: where one is wanted, a copy of it is kept.
    return input.copy_(function(input.clone() if is_grad_enabled() and input.requires_grad else input))
