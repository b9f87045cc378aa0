"""RMSprop."""

from __future__ import annotations

from typing import Any

from nnlab.autograd import Tensor
from nnlab.backend import Backend
from nnlab.optim.optimizer import Optimizer, Parameters


class RMSprop(Optimizer):
    """RMSprop: the gradient divided by the root of a moving average of its square.

    For each element (g with weight decay)::

        square_avg = alpha * square_avg + (1 - alpha) * g**2
        grad_avg = alpha * grad_avg + (1 - alpha) * g                               if centered
        d = g / (sqrt(square_avg - grad_avg**2) + eps)                              without grad_avg if not centered
        momentum_buffer = momentum * momentum_buffer + d                            if momentum > 0
        p = p - lr * (momentum_buffer if momentum > 0 else d)

    Sources: Tieleman and Hinton, "Neural networks for machine learning", lecture 6.5, 2012; centered: Graves,
    "Generating sequences with recurrent neural networks", 2013, arXiv:1308.0850. Where rounding makes the centered
    difference negative, it counts as 0.

    Args:
        params: parameters, (name, parameter) pairs or groups.
        lr: learning rate.
        alpha: share of the averages that is kept, in [0, 1].
        eps: added to the root.
        weight_decay: this times the parameter is added to the gradient.
        momentum: share of the last step that is kept.
        centered: divide by the gradient's standard deviation.
        maximize: go uphill.
    """

    _capturable = True

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "alpha": alpha,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum": momentum,
            "centered": centered,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check(self, group: dict[str, Any]) -> None:
        self._require_not_negative(group, "lr", "eps", "weight_decay", "momentum")
        self._require(group, "alpha", 0 <= group["alpha"] <= 1, "be in [0, 1]")

    def _can_skip(self, group: dict[str, Any], be: Backend) -> bool:
        return True

    def _update(self, group: dict[str, Any], be: Backend, params: list[Tensor]) -> None:
        self._counted(params)
        states = {"square_avg": 0.0}
        if group["centered"]:
            states["grad_avg"] = 0.0
        if group["momentum"]:
            states["momentum_buffer"] = 0.0
        numbers = {name: group[name] for name in ("lr", "alpha", "eps", "momentum")}
        self._adapt("rmsprop", group, be, params, states, **numbers)
