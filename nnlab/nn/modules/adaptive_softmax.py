"""A softmax over many classes, of which few are common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nnlab.autograd import Tensor
from nnlab.autograd.creation import tensor
from nnlab.autograd.shape import cat
from nnlab.errors import ArgumentError, DtypeError, ShapeError, complaint
from nnlab.nn import functional as F
from nnlab.nn.containers import ModuleList, Sequential
from nnlab.nn.functional._checks import check_count, check_input
from nnlab.nn.module import Module
from nnlab.nn.modules.linear import Linear

_NAME = "AdaptiveLogSoftmaxWithLoss"


class ASMoutput(NamedTuple):
    """The logarithm of each target's probability, and minus their mean."""

    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """Softmax of classes ordered from common to rare: ``p(class) = p(its cluster) * p(class | cluster)``.

    The head tells apart the first classes and the clusters of the others; a cluster's own classes are told apart by two
    thin matrices, which only samples whose target lies in the cluster pass through.

    Args:
        in_features: size D of the input's last dimension.
        n_classes: number of classes.
        cutoffs: rising class numbers at which clusters begin; the head has all classes below the first.
        div_value: cluster i (from 0) works in ``D // div_value**(i + 1)`` features.
        head_bias: whether the head has a bias.
        device, dtype: of the parameters; default CPU and float32.

    Input (N, D) or (D,), target (N,) or () class numbers; returns ``(output, loss)``: the targets' log-probabilities of
    the target's shape, and minus their mean.
    Source: Grave et al., "Efficient softmax approximation for GPUs", ICML 2017.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        check_count(_NAME, "in_features", in_features)
        check_count(_NAME, "n_classes", n_classes)
        ends = [0, *cutoffs, n_classes]
        if len(ends) < 3 or any(not isinstance(end, int) for end in ends) or sorted(set(ends)) != ends:
            must = f"be different rising ints between 1 and n_classes - 1 = {n_classes - 1}"
            raise ArgumentError(complaint(_NAME, "cutoffs", must, cutoffs))
        sizes = [int(in_features // div_value ** (i + 1)) if div_value > 0 else 0 for i in range(len(cutoffs))]
        if min(sizes) < 1:
            raise ArgumentError(
                complaint(_NAME, "div_value", "be positive and leave every cluster a feature", div_value)
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = ends[1:]
        self.div_value = div_value
        self.head_bias = head_bias
        at: dict[str, Any] = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, ends[1] + len(sizes), head_bias, **at)
        self.tail = ModuleList(
            Sequential(Linear(in_features, size, False, **at), Linear(size, high - low, False, **at))
            for size, low, high in zip(sizes, ends[1:-1], ends[2:], strict=True)
        )

    def reset_parameters(self) -> None:
        """Draw all parameters anew."""
        for module in self.modules():
            if isinstance(module, Linear):
                module.reset_parameters()

    def forward(self, input: Tensor, target: Tensor) -> ASMoutput:
        if target.dtype.kind not in "iu":
            raise DtypeError(complaint(_NAME, "target", "be integer class numbers", target.dtype.name))
        x = self._rows(input)
        if target.shape != input.shape[:-1]:
            must = f"have shape {tuple(input.shape[:-1])} for input {tuple(input.shape)}"
            raise ShapeError(complaint(_NAME, "target", must, tuple(target.shape)))
        numbers = target.cpu().numpy().reshape(-1)
        wrong = numbers[(numbers < 0) | (numbers >= self.n_classes)]
        if wrong.size:
            raise ArgumentError(
                complaint(_NAME, "target", f"be class numbers in 0..{self.n_classes - 1}", int(wrong[0]))
            )
        head, first = F.log_softmax(self.head(x), 1), self.cutoffs[0]
        rows = np.flatnonzero(numbers < first)
        parts, order = [self._at(head, rows, numbers[rows])], [rows]
        for i, (low, high) in enumerate(zip(self.cutoffs, self.cutoffs[1:])):
            rows = np.flatnonzero((low <= numbers) & (numbers < high))
            if rows.size:
                inside = F.log_softmax(self.tail[i](x[self._index(rows)]), 1)
                own = self._at(head, rows, np.full(rows.size, first + i))
                parts.append(own + self._at(inside, np.arange(rows.size), numbers[rows] - low))
                order.append(rows)
        output = cat(parts)[self._index(np.argsort(np.concatenate(order)))].reshape(target.shape)
        return ASMoutput(output, -output.mean())

    def log_prob(self, input: Tensor) -> Tensor:
        """The logarithms of all classes' probabilities: (N, n_classes) for input (N, D), (n_classes,) for (D,)."""
        x = self._rows(input)
        head, first = F.log_softmax(self.head(x), 1), self.cutoffs[0]
        clusters = [F.log_softmax(tail(x), 1) + head[:, first + i : first + i + 1] for i, tail in enumerate(self.tail)]
        return cat([head[:, :first], *clusters], 1).reshape((*input.shape[:-1], self.n_classes))

    def predict(self, input: Tensor) -> Tensor:
        """The most probable classes: (N,) for input (N, D), () for (D,)."""
        return self.log_prob(input).argmax(-1)

    def _rows(self, input: Tensor) -> Tensor:
        check_input(_NAME, input, weight=self.head.weight)
        if input.ndim not in (1, 2) or input.shape[-1] != self.in_features:
            must = f"have shape (N, {self.in_features}) or ({self.in_features},)"
            raise ShapeError(complaint(_NAME, "input", must, tuple(input.shape)))
        return input.reshape((-1, self.in_features))

    def _index(self, numbers: np.ndarray) -> Tensor:
        return tensor(numbers, device=self.head.weight.device)

    def _at(self, table: Tensor, rows: np.ndarray, columns: np.ndarray) -> Tensor:
        return table[self._index(rows), self._index(columns)]
