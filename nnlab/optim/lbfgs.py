"""L-BFGS."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nnlab.autograd import Tensor, enable_grad, no_grad
from nnlab.autograd.creation import from_numpy
from nnlab.autograd.shape import cat
from nnlab.errors import ArgumentError, CheckpointError, complaint
from nnlab.nn.utils import parameters_to_vector, vector_to_parameters
from nnlab.optim import wolfe
from nnlab.optim.optimizer import Optimizer, Parameters


class LBFGS(Optimizer):
    """L-BFGS: Newton's method with an inverse Hessian H made of the last steps; for losses without noise.

    All parameters are one vector p with gradient g. Of the last ``history_size`` iterations the steps s = p' - p and
    y = g' - g are kept (where y s > 1e-10), and each iteration does::

        d = -H g     H applied by the two-loop recursion, from s y / (y y) times the identity; at first H = 1
        p = p + t * d

    with t = ``lr`` (at the very first iteration min(1, 1 / sum|g|) * lr), or a t that meets the strong Wolfe conditions
    (``nnlab/optim/wolfe.py``), of which lr is the first that is tried. All parameters are on one device, in one group.

    Sources: Nocedal and Wright, "Numerical optimization", 2nd edition, algorithms 7.4 and 7.5; Schmidt, minFunc.

    Args:
        params: parameters or (name, parameter) pairs.
        lr: step length.
        max_iter: iterations of one call of ``step``.
        max_eval: calls of the closure after which no iteration begins; default: 5/4 of ``max_iter``.
        tolerance_grad: end when no element of the gradient is larger.
        tolerance_change: end when neither the parameters nor the loss change by more.
        history_size: number of pairs (s, y) kept.
        line_search_fn: None or 'strong_wolfe'.
    """

    def __init__(
        self,
        params: Parameters,
        lr: float = 1,
        max_iter: int = 20,
        max_eval: int | None = None,
        tolerance_grad: float = 1e-7,
        tolerance_change: float = 1e-9,
        history_size: int = 100,
        line_search_fn: str | None = None,
    ) -> None:
        defaults = {
            "lr": lr,
            "max_iter": max_iter,
            "max_eval": max_iter * 5 // 4 if max_eval is None else max_eval,
            "tolerance_grad": tolerance_grad,
            "tolerance_change": tolerance_change,
            "history_size": history_size,
            "line_search_fn": line_search_fn,
        }
        super().__init__(params, defaults)

    def _check(self, group: dict[str, Any]) -> None:
        self._require_one_group(group)
        self._require_not_negative(group, "lr", "tolerance_grad", "tolerance_change")
        for name in ("max_iter", "max_eval", "history_size"):
            self._require(group, name, group[name] >= 1, "be positive")
        known = group["line_search_fn"] in (None, "strong_wolfe")
        self._require(group, "line_search_fn", known, "be None or 'strong_wolfe'")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Up to ``max_iter`` iterations.

        Args:
            closure: clears the gradients, computes the loss and its gradients, and returns the loss.

        Returns:
            The loss before the first iteration.
        """
        if closure is None:
            raise ArgumentError(complaint("LBFGS", "closure", "be a function that computes the loss", None))
        with no_grad():
            return self._iterate(closure)

    def _iterate(self, closure: Callable[[], Any]) -> Any:
        group = self.param_groups[0]
        params: list[Tensor] = group["params"]
        state = self.state.setdefault(params[0], {"func_evals": 0, "n_iter": 0})

        def evaluate() -> tuple[Any, Tensor]:
            with enable_grad():
                loss = closure()
            return loss, self._gradient(params)

        first_loss, g = evaluate()
        loss, calls = float(first_loss), 1
        state["func_evals"] += 1
        if _largest(g) <= group["tolerance_grad"]:
            return first_loss

        for iteration in range(1, group["max_iter"] + 1):
            state["n_iter"] += 1
            d = self._direction(g, state, group["history_size"])
            state.update(d=d, prev_flat_grad=g, prev_loss=loss)
            first = state["n_iter"] == 1
            state["t"] = t = min(1.0, 1.0 / g.abs().sum().item()) * group["lr"] if first else float(group["lr"])
            slope = (g @ d).item()
            if slope > -group["tolerance_change"]:
                break
            p = parameters_to_vector(params)
            more = 0
            if group["line_search_fn"] is not None:

                def at(t: float, p: Tensor = p, d: Tensor = d) -> wolfe.Point:
                    vector_to_parameters(p + t * d, params)
                    value, gradient = evaluate()
                    return wolfe.Point(t, float(value), (gradient @ d).item(), gradient)

                point, more = wolfe.search(
                    at,
                    wolfe.Point(0.0, loss, slope, g),
                    t,
                    size=_largest(d),
                    tolerance=group["tolerance_change"],
                    most=group["max_eval"] - calls,
                )
                state["t"], loss, g = point.t, point.value, point.gradient
            vector_to_parameters(p + state["t"] * d, params)
            if group["line_search_fn"] is None and iteration < group["max_iter"]:
                value, g = evaluate()
                loss, more = float(value), 1
            calls += more
            state["func_evals"] += more
            if (
                calls >= group["max_eval"]
                or _largest(g) <= group["tolerance_grad"]
                or abs(state["t"]) * _largest(d) <= group["tolerance_change"]
                or abs(loss - state["prev_loss"]) < group["tolerance_change"]
            ):
                break
        return first_loss

    def _gradient(self, params: list[Tensor]) -> Tensor:
        """All gradients as one vector of its own memory; zeros for a parameter without one."""
        for param in params:
            if param.grad is not None:
                self._check_gradient(param)
        return cat([(p.new_zeros(p.shape) if p.grad is None else p.grad).reshape(-1) for p in params]).detach()

    @staticmethod
    def _direction(g: Tensor, state: dict[str, Any], history_size: int) -> Tensor:
        """-H g, after the last step has been taken into the history."""
        if "prev_flat_grad" not in state:
            state.update(old_dirs=[], old_stps=[], ro=[], H_diag=1.0)
            return -g
        ys, steps, ro = state["old_dirs"], state["old_stps"], state["ro"]
        y, s = g - state["prev_flat_grad"], state["d"] * state["t"]
        product = (y @ s).item()
        if product > 1e-10:
            ys.append(y)
            steps.append(s)
            ro.append(1.0 / product)
            for kept in (ys, steps, ro):
                del kept[:-history_size]
            state["H_diag"] = product / (y @ y).item()
        q, shares = -g, []
        for y, s, r in zip(reversed(ys), reversed(steps), reversed(ro)):
            shares.append((s @ q) * r)
            q = q - shares[-1] * y
        d = q * state["H_diag"]
        for y, s, r, share in zip(ys, steps, ro, reversed(shares)):
            d = d + (share - (y @ d) * r) * s
        return d

    def _restored(self, key: str, name: str, value: Any, param: Tensor) -> Any:
        """The state belongs to all parameters together: vectors, lists of vectors, numbers."""
        if isinstance(value, list):
            return [self._restored(key, name, each, param) for each in value]
        if isinstance(value, np.ndarray):
            value = from_numpy(value)
        if not isinstance(value, Tensor):
            return value
        if value.ndim == 0:
            return value.item()
        count = sum(p.numel() for p in self.param_groups[0]["params"])
        if value.shape != (count,):
            raise CheckpointError(f"[LBFGS] {name!r} has shape {tuple(value.shape)}, the parameters ({count},)")
        return value.detach().to(device=param.device, dtype=param.dtype, copy=True)


def _largest(x: Tensor) -> float:
    return float(x.abs().max().item())
