"""Rprop."""

from __future__ import annotations

from typing import Any

from nnlab.autograd import Tensor
from nnlab.backend import Backend
from nnlab.optim.optimizer import Optimizer, Parameters


class Rprop(Optimizer):
    """Rprop: steps that depend on the signs of the gradients alone; for gradients of the whole training set.

    For each element with its own step size::

        step_size = step_size * etas[1]   where the gradient kept its sign      (at most step_sizes[1])
        step_size = step_size * etas[0]   where it changed it                   (at least step_sizes[0]); then g = 0
        p = p - sign(g) * step_size

    The gradient that was set to 0 is also what the next one is compared with.

    Source: Riedmiller and Braun, "A direct adaptive method for faster backpropagation learning: the RPROP algorithm",
    ICNN 1993 (here without taking back a step after a change of sign).

    Args:
        params: parameters, (name, parameter) pairs or groups.
        lr: what the step sizes begin with.
        etas: factors, the first in (0, 1), the second above 1.
        step_sizes: least and greatest step.
        maximize: go uphill.
    """

    _capturable = True

    def __init__(
        self,
        params: Parameters,
        lr: float = 1e-2,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50),
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {"lr": lr, "etas": tuple(etas), "step_sizes": tuple(step_sizes), "maximize": maximize}
        super().__init__(params, defaults)

    def _check(self, group: dict[str, Any]) -> None:
        self._require_not_negative(group, "lr")
        etas, sizes = group["etas"], group["step_sizes"]
        self._require(
            group, "etas", len(etas) == 2 and 0 < etas[0] < 1 < etas[1], "be one number in (0, 1), one above 1"
        )
        self._require(
            group, "step_sizes", len(sizes) == 2 and 0 <= sizes[0] <= sizes[1], "be two numbers in order, from 0"
        )

    def _can_skip(self, group: dict[str, Any], be: Backend) -> bool:
        return True

    def _update(self, group: dict[str, Any], be: Backend, params: list[Tensor]) -> None:
        self._counted(params)
        (down, up), (least, most) = group["etas"], group["step_sizes"]
        states = {"prev": 0.0, "step_size": group["lr"]}
        self._adapt("rprop", group, be, params, states, down=down, up=up, least=least, most=most)
