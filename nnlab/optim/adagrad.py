"""Adagrad."""

from __future__ import annotations

from typing import Any

from nnlab.autograd import Tensor
from nnlab.backend import Backend
from nnlab.optim.optimizer import Optimizer, Parameters


class Adagrad(Optimizer):
    """Adagrad: rates that fall with the sum of all squared gradients so far.

    For each element, at step t = 1, 2, ... (g with weight decay)::

        sum = sum + g**2
        p = p - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(sum) + eps)

    Source: Duchi, Hazan, Singer, "Adaptive subgradient methods for online learning and stochastic optimization", JMLR
    2011.

    Args:
        params: parameters, (name, parameter) pairs or groups.
        lr: learning rate.
        lr_decay: how fast it falls with the steps.
        weight_decay: this times the parameter is added to the gradient.
        initial_accumulator_value: what ``sum`` begins with.
        eps: added to the root.
        maximize: go uphill.
    """

    _capturable = True

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "eps": eps,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check(self, group: dict[str, Any]) -> None:
        self._require_not_negative(group, "lr", "lr_decay", "weight_decay", "initial_accumulator_value", "eps")

    def _can_skip(self, group: dict[str, Any], be: Backend) -> bool:
        return not group["lr_decay"]  # else the rate depends on the number of steps

    def _update(self, group: dict[str, Any], be: Backend, params: list[Tensor]) -> None:
        for t, some in self._counted(params):
            lr = group["lr"] / (1 + (t - 1) * group["lr_decay"])
            states = {"sum": group["initial_accumulator_value"]}
            self._adapt("adagrad", group, be, some, states, lr=lr, eps=group["eps"])
