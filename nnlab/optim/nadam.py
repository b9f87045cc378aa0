"""NAdam."""

from __future__ import annotations

import math
from typing import Any

from nnlab.autograd import Tensor
from nnlab.backend import Backend
from nnlab.optim.optimizer import Optimizer, Parameters


class NAdam(Optimizer):
    """NAdam: Adam with Nesterov's momentum.

    For each element, at step t = 1, 2, ... (g with weight decay unless that is decoupled)::

        mu(t) = beta1 * (1 - 0.96 ** (t * momentum_decay) / 2)
        M(t) = mu(1) * ... * mu(t)                                                  ("mu_product" of the state)
        exp_avg = beta1 * exp_avg + (1 - beta1) * g
        exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * g**2
        d = (1 - mu(t)) / (1 - M(t)) * g + mu(t + 1) / (1 - M(t + 1)) * exp_avg
        p = p - lr * d / (sqrt(exp_avg_sq / (1 - beta2**t)) + eps)

    Source: Dozat, "Incorporating Nesterov momentum into Adam", ICLR 2016 workshop.

    Args:
        params: parameters, (name, parameter) pairs or groups.
        lr: learning rate.
        betas: decay of the first and of the second moment, each in [0, 1).
        eps: added to the root of the second moment.
        weight_decay: this times the parameter is added to the gradient.
        momentum_decay: how fast mu rises from about beta1 / 2 to beta1.
        decoupled_weight_decay: take ``lr * weight_decay * p`` off the parameter itself instead, as AdamW does.
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
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": tuple(betas),
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check(self, group: dict[str, Any]) -> None:
        self._require_not_negative(group, "lr", "eps", "weight_decay", "momentum_decay")
        self._require_betas(group)

    def _update(self, group: dict[str, Any], be: Backend, params: list[Tensor]) -> None:
        lr, (beta1, beta2) = group["lr"], group["betas"]

        def mu(t: int) -> float:
            return beta1 * (1 - 0.96 ** (t * group["momentum_decay"]) / 2)

        for t, counted in self._counted(params):
            by_product: dict[float, list[Tensor]] = {}  # one number, unless options were changed on the way
            for param in counted:
                entry = self.state[param]
                entry["mu_product"] = entry.get("mu_product", 1.0) * mu(t)
                by_product.setdefault(entry["mu_product"], []).append(param)
            for product, some in by_product.items():
                self._adapt(
                    "nadam",
                    group,
                    be,
                    some,
                    {"exp_avg": 0.0, "exp_avg_sq": 0.0},
                    grad_rate=lr * (1 - mu(t)) / (1 - product),
                    avg_rate=lr * mu(t + 1) / (1 - product * mu(t + 1)),
                    beta1=beta1,
                    beta2=beta2,
                    root=math.sqrt(1 - beta2**t),
                    eps=group["eps"],
                )
