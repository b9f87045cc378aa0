"""What losses share: the reduction, and weights that move with the module."""

from __future__ import annotations

from nnlab.autograd import Tensor
from nnlab.nn.functional._checks import REDUCTIONS, check_reduction
from nnlab.nn.module import Module


class Loss(Module):
    def __init__(self, reduction: str, known: tuple[str, ...] = REDUCTIONS) -> None:
        super().__init__()
        check_reduction(type(self).__name__, reduction, known)
        self.reduction = reduction


class WeightedLoss(Loss):
    """A loss with a buffer ``weight`` that moves with the module."""

    weight: Tensor | None

    def __init__(self, weight: Tensor | None, reduction: str) -> None:
        super().__init__(reduction)
        self.register_buffer("weight", weight)
