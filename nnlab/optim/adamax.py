"""Adamax."""

from __future__ import annotations

from typing import Any

from nnlab.autograd import Tensor
from nnlab.backend import Backend
from nnlab.optim.optimizer import Optimizer, Parameters


class Adamax(Optimizer):
    """Adamax: Adam with the largest recent gradient in place of the root of the second moment.

    For each element, at step t = 1, 2, ... (g with weight decay)::

        exp_avg = beta1 * exp_avg + (1 - beta1) * g
        exp_inf = max(beta2 * exp_inf, |g| + eps)
        p = p - lr / (1 - beta1**t) * exp_avg / exp_inf

    Source: Kingma and Ba, "Adam", ICLR 2015, section 7.1.

    Args:
        params: parameters, (name, parameter) pairs or groups.
        lr: learning rate.
        betas: decay of the first moment and of the largest gradient, each in [0, 1).
        eps: added to the gradient's absolute value.
        weight_decay: this times the parameter is added to the gradient.
        maximize: go uphill.
    """

    _capturable = True

    def __init__(
        self,
        params: Parameters,
        lr: float = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {"lr": lr, "betas": tuple(betas), "eps": eps, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults)

    def _check(self, group: dict[str, Any]) -> None:
        self._require_not_negative(group, "lr", "eps", "weight_decay")
        self._require_betas(group)

    def _update(self, group: dict[str, Any], be: Backend, params: list[Tensor]) -> None:
        beta1, beta2 = group["betas"]
        states = {"exp_avg": 0.0, "exp_inf": 0.0}
        for t, some in self._counted(params):
            lr = group["lr"] / (1 - beta1**t)
            self._adapt("adamax", group, be, some, states, lr=lr, beta1=beta1, beta2=beta2, eps=group["eps"])
