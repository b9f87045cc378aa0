"""Newton's method for small models."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nnlab.autograd import Tensor, enable_grad, grad, no_grad
from nnlab.autograd.creation import from_numpy
from nnlab.autograd.shape import cat
from nnlab.errors import ArgumentError, complaint
from nnlab.nn.utils import parameters_to_vector, vector_to_parameters
from nnlab.optim.optimizer import Optimizer, Parameters


class Newton(Optimizer):
    """Newton's method with the whole Hessian; for small models and losses without noise.

    All parameters are one vector p with gradient g and Hessian H::

        p = p - lr * (H + damping * I)^-1 g

    A quadratic with positive definite H is at its minimum after one step with lr = 1. Where H has negative eigenvalues,
    undamped steps lead to saddles and maxima as well; ``damping`` above the most negative one's size leads downhill.

    n parameters take n + 1 backward passes and n * n numbers in float64, and the system is solved on the host. Every
    operation of the loss needs a differentiable backward. All parameters are on one device, in one group.

    Source: Nocedal and Wright, "Numerical optimization", 2nd edition, chapter 3.

    Args:
        params: parameters or (name, parameter) pairs.
        lr: step length.
        damping: added to the diagonal of the Hessian.
        max_parameters: more elements than this are refused.

    Raises:
        ArgumentError: the parameters are too many, or (in ``step``) the damped Hessian is singular.
    """

    def __init__(self, params: Parameters, lr: float = 1.0, damping: float = 0.0, max_parameters: int = 2000) -> None:
        super().__init__(params, {"lr": lr, "damping": damping, "max_parameters": max_parameters})

    def _check(self, group: dict[str, Any]) -> None:
        self._require_one_group(group)
        self._require_not_negative(group, "lr", "damping")
        count, most = sum(p.numel() for p in group["params"]), group["max_parameters"]
        if count > most:
            must = f"hold at most max_parameters = {most} elements (the Hessian has their square)"
            raise ArgumentError(complaint("Newton", "params", must, count))

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step.

        Args:
            closure: computes and returns the loss; it need not call ``backward``.

        Returns:
            The loss before the step.
        """
        if closure is None:
            raise ArgumentError(complaint("Newton", "closure", "be a function that computes the loss", None))
        group = self.param_groups[0]
        params: list[Tensor] = group["params"]
        with enable_grad():
            loss = closure()
            g = _flat(grad(loss, params, create_graph=True, allow_unused=True), params)
            rows = (
                [_flat(grad(e, params, retain_graph=True, allow_unused=True), params) for e in g]
                if g.requires_grad
                else []
            )
        gradient = g.detach().cpu().numpy().astype(np.float64)
        n = len(gradient)
        hessian = np.stack([row.cpu().numpy() for row in rows]).astype(np.float64) if rows else np.zeros((n, n))
        hessian = (hessian + hessian.T) / 2 + group["damping"] * np.eye(n)
        try:
            step = np.linalg.solve(hessian, gradient)
        except np.linalg.LinAlgError:
            must = "be larger: the Hessian with it is singular"
            raise ArgumentError(complaint("Newton", "damping", must, group["damping"])) from None
        with no_grad():
            p = parameters_to_vector(params)
            vector_to_parameters(p - group["lr"] * from_numpy(step).to(device=p.device, dtype=p.dtype), params)
        return loss


def _flat(gradients: tuple[Tensor | None, ...], params: list[Tensor]) -> Tensor:
    """Gradients as one vector, with zeros where there is none."""
    pairs = zip(gradients, params, strict=True)
    return cat([(p.new_zeros(p.shape) if g is None else g).reshape(-1) for g, p in pairs])
