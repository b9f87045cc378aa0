"""Update rules with a rate for each element, in array code. See ops/adaptive.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nnlab.backend import Backend, graphs
from nnlab.ops._numpy.loss_scale import skipping
from nnlab.ops._numpy.sgd import downhill, pieces

# Of all numbers those that are others from step to step: a recorded step reads them from device memory.
_CHANGING = ("lr", "grad_rate", "avg_rate", "root", "shrink")


def step(
    be: Backend,
    rule: str,
    *,
    params: list[Any],
    grads: list[Any],
    states: dict[str, list[Any]],
    maximize: bool,
    decay: float,
    shrink: float,
    skip: Any = None,
    **numbers: float | None,
) -> None:
    update, shrinks = RULES[rule], shrink != 1
    given: dict[str, Any] = {**numbers, "shrink": shrink}
    recorded = None
    written = [array for arrays in (params, *states.values()) for array in arrays]
    if graphs.recording():
        arrays = [*written, *([] if skip is None else [skip])]
        flags = (rule, maximize, decay, shrinks, *(value for name, value in given.items() if name not in _CHANGING))
        changing = {name: value for name, value in given.items() if name in _CHANGING}
        recorded = graphs.numbers(be, list(changing.values()), arrays=arrays, flags=flags)
        if recorded is None:
            return
    with skipping(be, skip, written):
        for whole in zip(params, grads, *states.values(), strict=True):
            if recorded is not None:
                given |= dict(zip(changing, recorded.astype(whole[0].dtype), strict=True))
            others = {name: value for name, value in given.items() if name != "shrink"}
            for p, g, *state in pieces(be, list(whole)):
                g = downhill(be.xp, p, g, decay, maximize)
                if shrinks:
                    p *= given["shrink"]
                update(be.xp, p=p, g=g, **dict(zip(states, state, strict=True)), **others)


# Each rule reads g, which may be the caller's, and overwrites the others.


def _follow(average: Any, value: Any, keep: float) -> None:
    """average = keep * average + (1 - keep) * value"""
    average *= keep
    average += value * (1 - keep)


def adagrad(xp: Any, *, p: Any, g: Any, sum: Any, lr: float, eps: float) -> None:
    d = g * g
    sum += d
    xp.sqrt(sum, out=d)
    d += eps
    xp.divide(g, d, out=d)
    d *= lr
    p -= d


def adadelta(xp: Any, *, p: Any, g: Any, square_avg: Any, acc_delta: Any, lr: float, rho: float, eps: float) -> None:
    _follow(square_avg, g * g, rho)
    d = acc_delta + eps
    d /= square_avg + eps
    xp.sqrt(d, out=d)
    d *= g
    _follow(acc_delta, d * d, rho)
    d *= lr
    p -= d


def rmsprop(
    xp: Any,
    *,
    p: Any,
    g: Any,
    square_avg: Any,
    grad_avg: Any = None,
    momentum_buffer: Any = None,
    lr: float,
    alpha: float,
    eps: float,
    momentum: float,
) -> None:
    d = g * g
    _follow(square_avg, d, alpha)
    if grad_avg is None:
        xp.sqrt(square_avg, out=d)
    else:
        _follow(grad_avg, g, alpha)
        xp.multiply(grad_avg, grad_avg, out=d)
        xp.subtract(square_avg, d, out=d)
        xp.maximum(d, 0, out=d)  # a variance, negative by rounding alone
        xp.sqrt(d, out=d)
    d += eps
    xp.divide(g, d, out=d)
    if momentum_buffer is not None:
        momentum_buffer *= momentum
        momentum_buffer += d
        xp.multiply(momentum_buffer, lr, out=d)
    else:
        d *= lr
    p -= d


def adamax(
    xp: Any, *, p: Any, g: Any, exp_avg: Any, exp_inf: Any, lr: float, beta1: float, beta2: float, eps: float
) -> None:
    _follow(exp_avg, g, beta1)
    exp_inf *= beta2
    d = xp.abs(g)
    d += eps
    xp.maximum(exp_inf, d, out=exp_inf)
    xp.divide(exp_avg, exp_inf, out=d)
    d *= lr
    p -= d


def nadam(
    xp: Any,
    *,
    p: Any,
    g: Any,
    exp_avg: Any,
    exp_avg_sq: Any,
    grad_rate: float,
    avg_rate: float,
    beta1: float,
    beta2: float,
    root: float,
    eps: float,
) -> None:
    _follow(exp_avg, g, beta1)
    _follow(exp_avg_sq, g * g, beta2)
    d = g * grad_rate
    d += exp_avg * avg_rate
    size = xp.sqrt(exp_avg_sq)
    size /= root
    size += eps
    d /= size
    p -= d


def radam(
    xp: Any,
    *,
    p: Any,
    g: Any,
    exp_avg: Any,
    exp_avg_sq: Any,
    lr: float,
    rectified: bool,
    beta1: float,
    beta2: float,
    eps: float,
) -> None:
    _follow(exp_avg, g, beta1)
    _follow(exp_avg_sq, g * g, beta2)
    if not rectified:
        p -= exp_avg * lr
        return
    d = xp.sqrt(exp_avg_sq)
    d += eps
    xp.divide(exp_avg, d, out=d)
    d *= lr
    p -= d


def rprop(
    xp: Any, *, p: Any, g: Any, prev: Any, step_size: Any, down: float, up: float, least: float, most: float
) -> None:
    sign = xp.sign(g)
    agreement = xp.sign(prev)
    agreement *= sign
    turned = agreement < 0
    factor = xp.ones_like(p)
    factor[agreement > 0] = up
    factor[turned] = down
    step_size *= factor
    xp.maximum(step_size, least, out=step_size)
    xp.minimum(step_size, most, out=step_size)
    sign[turned] = 0
    prev[...] = g
    prev[turned] = 0
    sign *= step_size
    p -= sign


RULES: dict[str, Callable[..., None]] = {
    "adagrad": adagrad,
    "adadelta": adadelta,
    "rmsprop": rmsprop,
    "adamax": adamax,
    "nadam": nadam,
    "radam": radam,
    "rprop": rprop,
}
