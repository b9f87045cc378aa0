"""Adam and AdamW."""

from __future__ import annotations

from typing import Any, ClassVar

from nnlab.autograd import Tensor
from nnlab.backend import Backend
from nnlab.ops import adam as ops
from nnlab.ops import has_kernels
from nnlab.optim.optimizer import Optimizer, Parameters


class Adam(Optimizer):
    """Adam; formula and sources in ``nnlab/ops/adam.py``.

    Args:
        params: parameters, (name, parameter) pairs or groups.
        lr: learning rate.
        betas: decay of the first and of the second moment, each in [0, 1).
        eps: added to the root of the second moment.
        weight_decay: this times the parameter is added to the gradient.
        amsgrad: divide by the largest second moment so far.
        maximize: go uphill.
    """

    decoupled: ClassVar[bool] = False

    _capturable = True

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": tuple(betas),
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check(self, group: dict[str, Any]) -> None:
        self._require_not_negative(group, "lr", "eps", "weight_decay")
        self._require_betas(group)

    def _can_skip(self, group: dict[str, Any], be: Backend) -> bool:
        return has_kernels(be, "adam")

    def _update(self, group: dict[str, Any], be: Backend, params: list[Tensor]) -> None:
        for t, some in self._counted(params):
            ops.step(
                be,
                params=[p._data for p in some],
                grads=self._gradients(some),
                exp_avgs=self._arrays(some, "exp_avg"),
                exp_avg_sqs=self._arrays(some, "exp_avg_sq"),
                max_exp_avg_sqs=self._arrays(some, "max_exp_avg_sq") if group["amsgrad"] else None,
                t=t,
                lr=float(group["lr"]),
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                eps=group["eps"],
                weight_decay=group["weight_decay"],
                decoupled=self.decoupled,
                maximize=group["maximize"],
                skip=self._skip,
            )


class AdamW(Adam):
    """Adam with decoupled weight decay: ``lr * weight_decay * p`` is taken off the parameter itself.

    Arguments as for :class:`Adam`; ``weight_decay`` defaults to 0.01.
    """

    decoupled = True

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)
