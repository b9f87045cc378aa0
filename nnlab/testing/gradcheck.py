"""Analytic gradients against numerical ones, in float64.

For random directions u, the derivative of ``sum(w * f(x))`` along u is computed twice: as ``<gradient, u>`` and as the
central difference ``(f(x + eps u) - f(x - eps u)) / (2 eps)``. Components of u stay away from zero, so that no
element's gradient can hide. The cost does not depend on the size of the inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nnlab import types
from nnlab.autograd.creation import tensor
from nnlab.autograd.engine import grad
from nnlab.autograd.tape import enable_grad, no_grad
from nnlab.autograd.tensor import Tensor
from nnlab.errors import ArgumentError, NNLabError


class GradcheckError(NNLabError, AssertionError):
    """An analytic gradient differs from the numerical one."""


def _direction(rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
    return rng.uniform(0.5, 1.0, tuple(shape)) * rng.choice([-1.0, 1.0], tuple(shape))


def _leaf(tensor: Tensor) -> Tensor:
    return tensor if tensor.requires_grad else tensor.requires_grad_()


def gradcheck(
    fn: Callable[..., Any],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-6,
    rtol: float = 1e-5,
    directions: int = 3,
    seed: int = 0,
) -> bool:
    """Compare the gradients of ``fn(*inputs)`` with central differences.

    Args:
        fn: function of the inputs returning a Tensor or a tuple of Tensors; floating results are checked. It must give
            the same values every time it is called.
        inputs: Tensors and other arguments; Tensors that require grad are checked, one at a time, and must be float64.
        eps: step of the differences.
        atol, rtol: allowed |numerical - analytic| <= atol + rtol * |numerical|.
        directions: random directions for each input.

    Returns:
        True.

    Raises:
        GradcheckError: naming the input, the direction's number and both derivatives.
    """
    args = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    checked = [i for i, a in enumerate(args) if isinstance(a, Tensor) and a.requires_grad]
    if not checked:
        raise ArgumentError("[gradcheck] no input requires grad")
    for i in checked:
        if args[i].dtype != types.float64:
            raise ArgumentError(f"[gradcheck] input {i} must be float64, got {args[i].dtype.name}")
    rng = np.random.Generator(np.random.Philox(seed))

    def outputs(*values: Any) -> list[Tensor]:
        result = fn(*values)
        result = result if isinstance(result, tuple | list) else (result,)
        return [r for r in result if isinstance(r, Tensor) and types.is_floating(r.dtype)]

    results = outputs(*args)
    weights = [tensor(_direction(rng, r.shape), device=r.device) for r in results]
    analytic = grad(results, [args[i] for i in checked], weights, allow_unused=True)

    def value(at: int, moved: np.ndarray) -> float:
        with no_grad():
            changed = [tensor(moved, device=a.device) if i == at else a for i, a in enumerate(args)]
            return float(sum(float((r * w).sum()) for r, w in zip(outputs(*changed), weights, strict=True)))

    for i, gradient in zip(checked, analytic, strict=True):
        x = args[i].detach().cpu().numpy()
        g = np.zeros(x.shape) if gradient is None else gradient.detach().cpu().numpy()
        if g.shape != x.shape:
            raise GradcheckError(f"[gradcheck] input {i} has shape {x.shape} but its gradient {g.shape}")
        for n in range(directions):
            u = _direction(rng, x.shape)
            numerical = (value(i, x + eps * u) - value(i, x - eps * u)) / (2 * eps)
            exact = float((g * u).sum())
            if not abs(numerical - exact) <= atol + rtol * abs(numerical):
                raise GradcheckError(
                    f"[gradcheck] input {i} of shape {x.shape}, direction {n}: analytic {exact:.12g}, "
                    f"numerical {numerical:.12g}, difference {abs(numerical - exact):.3g}"
                )
    return True


def gradgradcheck(fn: Callable[..., Any], inputs: Tensor | Sequence[Any], *, seed: int = 1, **options: Any) -> bool:
    """:func:`gradcheck` of the gradient of ``fn``: checks that its backward is differentiable and right.

    The incoming gradient is a checked input too. Options are those of :func:`gradcheck`.
    """
    args = (inputs,) if isinstance(inputs, Tensor) else tuple(inputs)
    checked = [i for i, a in enumerate(args) if isinstance(a, Tensor) and a.requires_grad]
    result = fn(*args)
    result = result if isinstance(result, tuple | list) else (result,)
    floating = [k for k, r in enumerate(result) if isinstance(r, Tensor) and r.requires_grad]
    rng = np.random.Generator(np.random.Philox(seed))
    seeds = [tensor(_direction(rng, result[k].shape), device=result[k].device, requires_grad=True) for k in floating]

    def first(*values: Any) -> tuple[Tensor, ...]:
        originals, incoming = values[: len(args)], values[len(args) :]
        # Under no_grad (numerical side) the values are plain; the inner gradient needs them to be leaves.
        with enable_grad():
            leaves = [_leaf(v) if i in checked else v for i, v in enumerate(originals)]
            incoming = tuple(_leaf(v) for v in incoming)
            out = fn(*leaves)
            out = out if isinstance(out, tuple | list) else (out,)
            found = grad(
                [out[k] for k in floating],
                [leaves[i] for i in checked],
                list(incoming),
                create_graph=True,
                allow_unused=True,
            )
        return tuple(g for g in found if g is not None and g.requires_grad)

    return gradcheck(first, (*args, *seeds), seed=seed, **options)
