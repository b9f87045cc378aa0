"""Stochastic gradient descent."""

from __future__ import annotations

from typing import Any

from nnlab.autograd import Tensor
from nnlab.backend import Backend
from nnlab.errors import ArgumentError
from nnlab.ops import has_kernels
from nnlab.ops import sgd as ops
from nnlab.optim.optimizer import Optimizer, Parameters


class SGD(Optimizer):
    """Stochastic gradient descent with momentum; formula and source in ``nnlab/ops/sgd.py``.

    Args:
        params: parameters, (name, parameter) pairs or groups.
        lr: learning rate.
        momentum: share of the last step that is kept.
        dampening: the gradient enters the momentum times (1 - dampening), except at the first step.
        weight_decay: this times the parameter is added to the gradient.
        nesterov: look ahead along the momentum; needs momentum > 0 and dampening = 0.
        maximize: go uphill.
    """

    _capturable = True

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check(self, group: dict[str, Any]) -> None:
        self._require_not_negative(group, "lr", "momentum", "weight_decay")
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ArgumentError(
                f"[SGD] 'nesterov' needs momentum > 0 and dampening = 0, got momentum={group['momentum']!r}, "
                f"dampening={group['dampening']!r}"
            )

    def _can_skip(self, group: dict[str, Any], be: Backend) -> bool:
        return has_kernels(be, "sgd")

    def _has_state(self, group: dict[str, Any], param: Tensor) -> bool:
        return not group["momentum"] or "momentum_buffer" in self.state.get(param, {})

    def _update(self, group: dict[str, Any], be: Backend, params: list[Tensor]) -> None:
        momentum = group["momentum"]
        started = [p for p in params if "momentum_buffer" in self.state.get(p, {})] if momentum else []
        known = {id(p) for p in started}
        fresh = [p for p in params if id(p) not in known]
        for some, first in ((fresh, True), (started, False)):
            if some:
                ops.step(
                    be,
                    params=[p._data for p in some],
                    grads=self._gradients(some),
                    buffers=self._arrays(some, "momentum_buffer") if momentum else None,
                    first=first,
                    lr=float(group["lr"]),
                    momentum=momentum,
                    dampening=group["dampening"],
                    weight_decay=group["weight_decay"],
                    nesterov=group["nesterov"],
                    maximize=group["maximize"],
                    skip=self._skip,
                )
