"""Losses of scores for classes."""

from __future__ import annotations

from nnlab.autograd import Tensor
from nnlab.errors import ArgumentError, complaint
from nnlab.nn import functional as F
from nnlab.nn.modules.loss.base import Loss, WeightedLoss


class CrossEntropyLoss(WeightedLoss):
    """``-weight[t] * log softmax(x)[t]``.

    Args:
        weight: weight of each class (C,).
        ignore_index: class number whose samples take no part.
        reduction: 'mean' (divided by the sum of the weights that took part), 'sum' or 'none'.
        label_smoothing: share of the target spread evenly over all classes, 0..1.

    Called with scores (N, C), (N, C, ...) or (C,) and class numbers (N,), (N, ...) or (), or class probabilities.
    """

    def __init__(
        self,
        weight: Tensor | None = None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, reduction)
        if not 0 <= label_smoothing <= 1:
            must = "be between 0 and 1"
            raise ArgumentError(complaint("CrossEntropyLoss", "label_smoothing", must, label_smoothing))
        self.ignore_index = ignore_index
        self.label_smoothing = label_smoothing

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
            label_smoothing=self.label_smoothing,
        )


class NLLLoss(WeightedLoss):
    """``-weight[t] * x[t]`` for log-probabilities x and class numbers t; arguments as for CrossEntropyLoss."""

    def __init__(self, weight: Tensor | None = None, *, ignore_index: int = -100, reduction: str = "mean") -> None:
        super().__init__(weight, reduction)
        self.ignore_index = ignore_index

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.nll_loss(input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


class MultiMarginLoss(WeightedLoss):
    """``sum over c != t of weight[t] * max(0, margin - x[t] + x[c])**p / C``, p 1 or 2."""

    def __init__(
        self, p: int = 1, margin: float = 1.0, weight: Tensor | None = None, *, reduction: str = "mean"
    ) -> None:
        super().__init__(weight, reduction)
        if p not in (1, 2):
            raise ArgumentError(complaint("MultiMarginLoss", "p", "be 1 or 2", p))
        self.p = p
        self.margin = margin

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multi_margin_loss(input, target, self.p, self.margin, self.weight, reduction=self.reduction)


class MultiLabelMarginLoss(Loss):
    """``sum of max(0, 1 - x[t] + x[c]) / C`` over the classes t of a sample and all others c."""

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__(reduction)

    def forward(self, input: Tensor, target: Tensor) -> Tensor:
        return F.multilabel_margin_loss(input, target, reduction=self.reduction)
