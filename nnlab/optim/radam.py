"""RAdam."""

from __future__ import annotations

import math
from typing import Any

from nnlab.autograd import Tensor
from nnlab.backend import Backend
from nnlab.optim.optimizer import Optimizer, Parameters


class RAdam(Optimizer):
    """RAdam: Adam whose rates wait until enough gradients were seen to know the second moment's variance.

    For each element, at step t = 1, 2, ... (g with weight decay unless that is decoupled)::

        exp_avg = beta1 * exp_avg + (1 - beta1) * g
        exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * g**2
        R = 2 / (1 - beta2) - 1
        r = R - 2 * t * beta2**t / (1 - beta2**t)
        d = exp_avg / (1 - beta1**t)
        d = d * sqrt((r - 4) * (r - 2) * R / ((R - 4) * (R - 2) * r)) * sqrt(1 - beta2**t) / (sqrt(exp_avg_sq) + eps)
                                                                                    only if r > 5
        p = p - lr * d

    Source: Liu et al., "On the variance of the adaptive learning rate and beyond", ICLR 2020.

    Args:
        params: parameters, (name, parameter) pairs or groups.
        lr: learning rate.
        betas: decay of the first and of the second moment, each in [0, 1).
        eps: added to the root of the second moment.
        weight_decay: this times the parameter is added to the gradient.
        decoupled_weight_decay: take ``lr * weight_decay * p`` off the parameter itself instead, as AdamW does.
        maximize: go uphill.
    """

    _capturable = True

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": tuple(betas),
            "eps": eps,
            "weight_decay": weight_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check(self, group: dict[str, Any]) -> None:
        self._require_not_negative(group, "lr", "eps", "weight_decay")
        self._require_betas(group)

    def _update(self, group: dict[str, Any], be: Backend, params: list[Tensor]) -> None:
        beta1, beta2 = group["betas"]
        longest = 2 / (1 - beta2) - 1
        for t, some in self._counted(params):
            length, rate = longest - 2 * t * beta2**t / (1 - beta2**t), group["lr"] / (1 - beta1**t)
            if length > 5:
                above = (length - 4) * (length - 2) * longest * (1 - beta2**t)
                rate *= math.sqrt(above / ((longest - 4) * (longest - 2) * length))
            self._adapt(
                "radam",
                group,
                be,
                some,
                {"exp_avg": 0.0, "exp_avg_sq": 0.0},
                lr=rate,
                rectified=length > 5,
                beta1=beta1,
                beta2=beta2,
                eps=group["eps"],
            )
