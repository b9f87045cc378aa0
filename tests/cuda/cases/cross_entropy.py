"""Negative log-likelihood and cross-entropy."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from nnlab.cuda.launch import accumulator
from nnlab.ops._cuda import cross_entropy as kernels
from nnlab.ops.cross_entropy import Target
from tests.cuda.case import Case
from tests.cuda.far import FAR, FarCase
from tests.oracles import loss as oracle

SHAPES = [(6, 5, 1), (5, 12, 1), (2, 40, 1), (3, 5, 7), (1, 1100, 1), (270, 2, 1), (3, 1, 2)]
IGNORED = 2


def _rows(x: Any) -> np.ndarray:
    """(N, C, P) as (N * P, C)."""
    return np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])


def _loss(x: Any, target: Any, weight: Any, smoothing: float) -> tuple[np.ndarray, np.ndarray]:
    losses, _ = oracle.cross_entropy(_rows(x), target.reshape(-1), weight, IGNORED, smoothing)
    return losses.reshape(target.shape), oracle.along(oracle.log_softmax, 1, x)


def _nll(x: Any, target: Any, weight: Any) -> np.ndarray:
    picked = [0.0 if t == IGNORED else -weight[t] * row[t] for row, t in zip(_rows(x), target.reshape(-1))]
    return np.reshape(picked, target.shape)


def _grad(x: Any, target: Any, weight: Any, smoothing: float, g: Any) -> np.ndarray:
    each = np.broadcast_to(g, target.shape).reshape(-1)
    rows = oracle.cross_entropy_grad(_rows(x), target.reshape(-1), weight, IGNORED, smoothing, each)
    return np.moveaxis(rows.reshape(x.shape[0], x.shape[2], x.shape[1]), -1, 1)


def _reduced(x: Any, target: Any, weight: Any, smoothing: float, mean: bool) -> np.ndarray:
    losses, total = oracle.cross_entropy(_rows(x), target.reshape(-1), weight, IGNORED, smoothing)
    return np.asarray(losses.sum() / (total if mean else 1))


def losses_and_gradients(case: Case) -> None:
    for shape, (weighted, smoothing) in product(SHAPES, [(False, 0.0), (True, 0.0), (False, 1.0), (True, 0.3)]):
        _losses_and_gradients(case, shape, weighted, smoothing)


def standard(case: Case) -> None:
    _losses_and_gradients(case, (64, 10, 1), True, 0.3)


def _losses_and_gradients(case: Case, shape: tuple[int, ...], weighted: bool, smoothing: float) -> None:
    wide = accumulator(case.dtype)
    x = 3 * case.normal(*shape)
    numbers = case.random.integers(0, shape[1], (shape[0], shape[2]))
    numbers[0, 0] = 0  # at least one that is not ignored
    weight = case.random.uniform(0.2, 2, shape[1]).astype(wide) if weighted else np.ones(shape[1], wide)
    there = case.put(x)
    target = kernels.prepare(
        case.be, target=case.put(numbers), shape=shape, weight=case.put(weight) if weighted else None,
        ignore_index=IGNORED, dtype=case.dtype, layer="cross_entropy",
    )  # fmt: skip
    known: tuple[Any, ...] = (x, numbers, weight)
    loss, q = kernels.cross_entropy(case.be, x=there, target=target, smoothing=smoothing)
    case.compare((loss, q), shape[1], _loss, *known, smoothing, scale=1)
    case.compare(kernels.nll(case.be, x=there, target=target), 1, _nll, *known, scale=1)
    for reduction in ("sum", "mean"):
        result = kernels.reduce(case.be, loss=loss, total=target.total, reduction=reduction)
        case.compare(result, loss.size * shape[1], _reduced, *known, smoothing, reduction == "mean", scale=1)
    if shape[1] > 50:  # the loops take the square of that
        return
    for g in (case.random.standard_normal(numbers.shape).astype(wide), np.asarray(1.5, wide)):
        dx = kernels.backward(case.be, g=case.put(g), q=q, target=target, smoothing=smoothing)
        case.compare(dx, shape[1], _grad, *known, smoothing, g, scale=1)


def impossible_classes(case: Case) -> None:
    """Scores of -inf: in classes that are not the target, and in all but one of a row that is ignored."""
    wide = accumulator(case.dtype)
    x, numbers = case.normal(4, 5, 1), np.array([[0], [IGNORED], [4], [1]])
    x[:, 3] = x[1, [0, 2, 4]] = -np.inf
    there = case.put(x)
    target = kernels.prepare(
        case.be, target=case.put(numbers), shape=x.shape, weight=None, ignore_index=IGNORED, dtype=case.dtype,
        layer="cross_entropy",
    )  # fmt: skip
    loss, q = kernels.cross_entropy(case.be, x=there, target=target, smoothing=0.0)
    weight, g = np.ones(5, wide), np.asarray(1.5, wide)
    case.compare((loss, q), 5, _loss, x, numbers, weight, 0.0, scale=1)
    case.compare(kernels.nll(case.be, x=there, target=target), 1, _nll, x, numbers, weight, scale=1)
    dx = kernels.backward(case.be, g=case.put(g), q=q, target=target, smoothing=0.0)
    case.compare(dx, 5, _grad, x, numbers, weight, 0.0, g, scale=1)


def sums(case: Case) -> None:
    total = case.put(np.asarray(1, accumulator(case.dtype)))
    for size in (2, 33, 4096, 4097, 9000):
        loss = case.random.uniform(0, 1, (size, 1)).astype(accumulator(case.dtype))
        result = kernels.reduce(case.be, loss=case.put(loss), total=total, reduction="sum")
        case.compare(result, size, np.sum, loss)


def far_elements(case: FarCase) -> None:
    """The last elements of many; of the reduction, the last part."""
    images, wide = FAR // 4 + 5, accumulator(case.dtype)
    x, q, weight = case.sparse(images, 4, 1), case.be.xp.zeros((images, 4, 1), wide), np.ones(4)
    x[-3:] = case.normal(3, 4, 1)
    flat, chosen, used = (case.be.xp.zeros((images, 1), dtype) for dtype in ("int64", wide, "bool"))
    numbers = np.array([[1], [3], [0]])
    flat[-3:, 0] = (np.arange(images - 3, images)) * 4 + numbers[:, 0]
    chosen[-3:], used[-3:] = 1, True
    target = Target(flat, chosen, used, None, None)
    loss, q = kernels.cross_entropy(case.be, x=x, target=target, smoothing=0.25)
    last = x[-1:].copy(), numbers[-1:], weight
    case.compare((loss[-1:], q[-1:]), 4, _loss, *last, 0.25, scale=1)
    nll = kernels.nll(case.be, x=x, target=target)
    case.compare(nll[-1:], 1, _nll, *last, scale=1)
    dx = kernels.backward(case.be, g=np.asarray(1.5, wide), q=q, target=target, smoothing=0.25)
    case.compare(dx[-1:], 4, _grad, *last, 0.25, 1.5, scale=1)
    losses = case.be.xp.zeros((FAR // 2 + 5, 1), wide)
    losses[-3:, 0] = case.normal(3)
    result = kernels.reduce(case.be, loss=losses, total=case.be.xp.zeros((), wide), reduction="sum")
    case.compare(result, 3, np.sum, losses[-3:].copy())
