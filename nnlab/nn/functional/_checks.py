"""Checks and shape changes that several functions share."""

from __future__ import annotations

from nnlab.autograd import Tensor
from nnlab.errors import ArgumentError, DeviceError, DtypeError, ShapeError, complaint
from nnlab.types import is_floating

_AXES = {1: "L", 2: "H, W", 3: "D, H, W"}
REDUCTIONS = ("mean", "sum", "none")


def check_input(where: str, input: Tensor, **others: Tensor | None) -> None:
    """The input is a floating tensor, and all others share its dtype and device."""
    if not isinstance(input, Tensor):
        raise DtypeError(complaint(where, "input", "be a Tensor", type(input).__name__))
    if not is_floating(input.dtype):
        raise DtypeError(complaint(where, "input", "be floating point", str(input.dtype)))
    for name, other in others.items():
        if other is None:
            continue
        if other.device != input.device:
            raise DeviceError(f"[{where}] 'input' is on {input.device} but '{name}' is on {other.device}")
        if other.dtype != input.dtype:
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


def check_reduction(where: str, reduction: str) -> None:
    """The reduction is one of 'mean', 'sum' and 'none'."""
    if reduction not in REDUCTIONS:
        raise ArgumentError(complaint(where, "reduction", f"be one of {REDUCTIONS}", reduction))


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
