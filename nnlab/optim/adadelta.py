"""Adadelta."""

from __future__ import annotations

from typing import Any

from nnlab.autograd import Tensor
from nnlab.backend import Backend
from nnlab.optim.optimizer import Optimizer, Parameters


class Adadelta(Optimizer):
    """Adadelta: steps as large as the recent steps were, divided by the size of the recent gradients.

    For each element (g with weight decay)::

        square_avg = rho * square_avg + (1 - rho) * g**2
        d = sqrt(acc_delta + eps) / sqrt(square_avg + eps) * g
        acc_delta = rho * acc_delta + (1 - rho) * d**2
        p = p - lr * d

    Source: Zeiler, "ADADELTA: an adaptive learning rate method", 2012, arXiv:1212.5701 (there lr = 1).

    Args:
        params: parameters, (name, parameter) pairs or groups.
        lr: factor on the step.
        rho: share of the averages that is kept, in [0, 1].
        eps: added below both roots.
        weight_decay: this times the parameter is added to the gradient.
        maximize: go uphill.
    """

    _capturable = True

    def __init__(
        self,
        params: Parameters,
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {"lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults)

    def _check(self, group: dict[str, Any]) -> None:
        self._require_not_negative(group, "lr", "eps", "weight_decay")
        self._require(group, "rho", 0 <= group["rho"] <= 1, "be in [0, 1]")

    def _can_skip(self, group: dict[str, Any], be: Backend) -> bool:
        return True

    def _update(self, group: dict[str, Any], be: Backend, params: list[Tensor]) -> None:
        self._counted(params)
        states = {"square_avg": 0.0, "acc_delta": 0.0}
        numbers = {name: group[name] for name in ("lr", "rho", "eps")}
        self._adapt("adadelta", group, be, params, states, **numbers)
