"""Steepest descent with a line search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nnlab.autograd import enable_grad, no_grad
from nnlab.errors import ArgumentError, complaint
from nnlab.nn.utils import parameters_to_vector, vector_to_parameters
from nnlab.optim.optimizer import Optimizer, Parameters

RATES = (*(2.0**-k for k in range(12)),)


class LineSearch(Optimizer):
    """Gradient descent that tries several rates and takes the one with the smallest loss; for losses without noise.

    With all parameters p and gradients g, ``p = p - lr * g`` for that lr of ``rates`` whose loss is smallest; p stays
    as it is if no loss is smaller than the present one. All parameters are on one device, in one group.

    Args:
        params: parameters or (name, parameter) pairs.
        rates: positive rates, one more call of the closure each; default: 1, 1/2, 1/4, ... 1/2048.
    """

    def __init__(self, params: Parameters, rates: Sequence[float] = RATES) -> None:
        super().__init__(params, {"rates": tuple(rates)})

    def _check(self, group: dict[str, Any]) -> None:
        self._require_one_group(group)
        good = bool(group["rates"]) and all(rate > 0 for rate in group["rates"])
        self._require(group, "rates", good, "be positive numbers")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step.

        Args:
            closure: clears the gradients, computes the loss and its gradients, and returns the loss.

        Returns:
            The loss before the step.
        """
        if closure is None:
            raise ArgumentError(complaint("LineSearch", "closure", "be a function that computes the loss", None))
        params = self.param_groups[0]["params"]
        with enable_grad():
            loss = closure()
        with no_grad():
            moving = [p for p in params if p.grad is not None]
            for param in moving:
                self._check_gradient(param)
            if not moving:
                return loss
            p = parameters_to_vector(moving)
            g = parameters_to_vector([param.grad for param in moving])
            best, least = p, float(loss)
            for rate in self.param_groups[0]["rates"]:
                there = p - rate * g
                vector_to_parameters(there, moving)
                with enable_grad():
                    value = float(closure())
                if value < least:
                    best, least = there, value
            vector_to_parameters(best, moving)
        return loss
