from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import nnlab
from nnlab.autograd.activation import log_softmax, softmax
from nnlab.autograd.loss import cross_entropy, mse_loss, nll_loss
from nnlab.errors import ArgumentError, DtypeError, ShapeError
from nnlab.ops import softmax as softmax_ops
from nnlab.testing import gradcheck, gradgradcheck
from tests.ops.common import CPU, close, pytorch, rng, scattered
from tests.oracles import loss as oracle

SHAPES = [(5,), (4, 5), (3, 5, 4), (2, 5, 3, 2)]
OPTIONS = list(product((False, True), (-100, 2), ("mean", "sum", "none"), (0.0, 0.1, 1.0)))


def problem(shape, number, ignore_index=-100):
    """Scores, class numbers (some ignored) and weights."""
    random = rng(61, number)
    classes = shape[min(1, len(shape) - 1)]
    x = random.standard_normal(shape) * 3
    target = random.integers(0, classes, (shape[0], *shape[2:]) if len(shape) > 1 else ())
    if ignore_index < 0 and len(shape) > 1:
        target[0] = ignore_index
    return x, np.asarray(target), random.uniform(0.2, 2, classes)


def as_rows(x):
    """(R, C), with the class axis last."""
    return x.reshape(1, -1) if x.ndim == 1 else np.moveaxis(x, 1, -1).reshape(-1, x.shape[1])


def from_rows(rows, shape):
    """Inverse of as_rows."""
    if len(shape) == 1:
        return rows.reshape(shape)
    return np.moveaxis(rows.reshape(shape[0], *shape[2:], shape[1]), -1, 1)


def reduced(losses, total, reduction, shape):
    if reduction == "none":
        return losses.reshape(shape)
    return losses.sum() if reduction == "sum" else losses.sum() / total


@pytest.mark.parametrize("shape", SHAPES)
def test_cross_entropy_against_loops(shape):
    for number, (weighted, ignore_index, reduction, smoothing) in enumerate(OPTIONS):
        x, target, weight = problem(shape, number, ignore_index)
        used = weight if weighted else np.ones(5)
        name = str((weighted, ignore_index, reduction, smoothing))
        losses, total = oracle.cross_entropy(as_rows(x), target.reshape(-1), used, ignore_index, smoothing)
        if total == 0 and reduction == "mean":
            continue
        score = nnlab.tensor(scattered(x), requires_grad=True)
        loss = cross_entropy(
            score,
            nnlab.tensor(target),
            nnlab.tensor(weight) if weighted else None,
            ignore_index,
            reduction,
            smoothing,
        )
        close(loss.detach().numpy(), reduced(losses, total, reduction, target.shape), name)
        dy = rng(62, number).standard_normal(loss.shape)
        loss.backward(nnlab.tensor(dy))
        g = np.broadcast_to(dy.reshape(-1) / (total if reduction == "mean" else 1), (target.size,))
        dx = oracle.cross_entropy_grad(as_rows(x), target.reshape(-1), used, ignore_index, smoothing, g)
        close(score.grad.numpy(), from_rows(dx, shape), name)


@pytest.mark.parametrize("shape", SHAPES)
def test_probabilities_against_loops(shape):
    for number, (weighted, reduction, smoothing) in enumerate(
        product((False, True), ("mean", "sum", "none"), (0.0, 0.1))
    ):
        x, numbers, weight = problem(shape, number)
        target = from_rows(np.random.Generator(np.random.Philox(1)).dirichlet(np.ones(5), numbers.size), shape)
        used = weight if weighted else np.ones(5)
        losses = oracle.soft_cross_entropy(as_rows(x), as_rows(target), used, smoothing)
        tensors = [nnlab.tensor(a, requires_grad=True) for a in (x, target)]
        weights = nnlab.tensor(weight) if weighted else None
        loss = cross_entropy(*tensors, weights, reduction=reduction, label_smoothing=smoothing)
        close(loss.detach().numpy(), reduced(losses, losses.size, reduction, numbers.shape))
        options = {"reduction": reduction, "label_smoothing": smoothing}
        assert gradcheck(lambda x, t, o=options, w=weights: cross_entropy(x, t, w, **o), tensors)


def test_one_hot_probabilities_are_class_numbers():
    x, target, _ = problem((4, 5), 0, 2)
    one_hot = np.eye(5)[target]
    for smoothing in (0.0, 0.3):
        hard = cross_entropy(nnlab.tensor(x), nnlab.tensor(target), label_smoothing=smoothing)
        soft = cross_entropy(nnlab.tensor(x), nnlab.tensor(one_hot), label_smoothing=smoothing)
        close(hard.numpy(), soft.numpy())


@pytest.mark.parametrize("shape", [(5,), (4, 5), (2, 5, 3)])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_gradients_of_any_order(shape, reduction):
    x, target, weight = (nnlab.tensor(a) for a in problem(shape, 1))
    x.requires_grad_()
    for function in (
        lambda x: cross_entropy(x, target, weight, -100, reduction, 0.2),
        lambda x: nll_loss(x, target, weight, -100, reduction),
    ):
        assert gradcheck(function, x)
        assert gradgradcheck(function, x)


@pytest.mark.parametrize("shape", SHAPES)
def test_nll_picks_the_target(shape):
    x, target, weight = problem(shape, 2)
    q = np.stack([oracle.log_softmax(row) for row in as_rows(x)])
    losses, total = oracle.cross_entropy(as_rows(x), target.reshape(-1), weight, -100, 0.0)
    for reduction in ("mean", "sum", "none"):
        loss = nll_loss(
            nnlab.tensor(from_rows(q, shape)), nnlab.tensor(target), nnlab.tensor(weight), reduction=reduction
        )
        close(loss.numpy(), reduced(losses, total, reduction, target.shape))


def test_nothing_to_average_is_nan():
    x = nnlab.zeros(2, 3, requires_grad=True)
    loss = cross_entropy(x, nnlab.tensor([-100, -100]))
    assert np.isnan(loss.item())
    assert np.isnan(cross_entropy(nnlab.zeros(0, 3), nnlab.zeros(0, dtype=nnlab.int64)).item())
    cross_entropy(x, nnlab.tensor([-100, -100]), reduction="sum").backward()
    assert (x.grad.numpy() == 0).all()


def test_no_overflow_and_infinite_scores():
    x = nnlab.tensor([[1000.0, 0.0, -1000.0], [0.0, -float("inf"), 0.0]], dtype=nnlab.float32, requires_grad=True)
    loss = cross_entropy(x, nnlab.tensor([2, 0]), reduction="none")
    np.testing.assert_allclose(loss.detach().numpy(), [2000, np.log(2)], rtol=1e-6)
    loss.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), [[1, 0, -1], [-0.5, 0, 0.5]], atol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        ((lambda x: cross_entropy(x, nnlab.tensor([0, 5]))), ArgumentError, r"must be class numbers in 0..4, got 5"),
        ((lambda x: cross_entropy(x, nnlab.tensor([0, -1]))), ArgumentError, r"got -1"),
        ((lambda x: cross_entropy(x, nnlab.tensor([[0], [1]]))), ShapeError, r"'target' must have shape \(2,\)"),
        ((lambda x: cross_entropy(x, nnlab.tensor([True, False]))), DtypeError, r"must be integer class numbers"),
        ((lambda x: cross_entropy(x, x[:, :2])), ShapeError, r"must have the input's shape \(2, 5\)"),
        ((lambda x: cross_entropy(x, x, ignore_index=1)), ArgumentError, r"'ignore_index' must not be used"),
        ((lambda x: nll_loss(x, nnlab.tensor([0, 1]), nnlab.ones(4))), ShapeError, r"'weight' must have shape \(5,\)"),
        ((lambda x: nll_loss(x, nnlab.tensor([0, 7]))), ArgumentError, r"\[nll_loss\] 'target' must be class numbers"),
        ((lambda x: cross_entropy(x, x, nnlab.ones(4))), ShapeError, r"'weight' must have shape \(5,\)"),
        ((lambda x: cross_entropy(x, x, reduction="avg")), ArgumentError, r"'reduction' must be one of .*got 'avg'"),
        ((lambda x: cross_entropy(x, x, label_smoothing=2.0)), ArgumentError, r"'label_smoothing' must be between 0"),
        ((lambda x: nll_loss(x[0, 0], nnlab.tensor(0))), ShapeError, r"\[nll_loss\] 'input' must have shape"),
    ],
)  # fmt: skip
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call(nnlab.zeros(2, 5))


def test_mse():
    random = rng(63)
    x, t = (nnlab.tensor(random.standard_normal((3, 4)), requires_grad=True) for _ in range(2))
    want = (x.detach().numpy() - t.detach().numpy()) ** 2
    close(mse_loss(x, t, "none").detach().numpy(), want)
    close(mse_loss(x, t).item(), want.mean())
    close(mse_loss(x, t, "sum").item(), want.sum())
    assert gradcheck(mse_loss, (x, t))
    assert gradgradcheck(mse_loss, (x, t))


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_softmax_against_loops(dim):
    x = scattered(rng(64).standard_normal((4, 3, 5)) * 4)
    for function, row in ((softmax, oracle.softmax), (log_softmax, oracle.log_softmax)):
        close(function(nnlab.tensor(x), dim).numpy(), np.apply_along_axis(row, dim, x))
        score = nnlab.tensor(x, requires_grad=True)
        assert gradcheck(lambda s, f=function: f(s, dim), score)
        assert gradgradcheck(lambda s, f=function: f(s, dim), score)


def test_softmax_edges():
    y = softmax_ops.softmax(CPU, x=np.array([[1e4, 0.0], [-np.inf, 0.0]], np.float32), axis=1)
    np.testing.assert_array_equal(y, [[1, 0], [0, 1]])
    assert softmax(nnlab.zeros(0, 3), 1).shape == (0, 3)
    assert softmax(nnlab.zeros(3, 0), 1).shape == (3, 0)
    half = softmax_ops.softmax(CPU, x=np.zeros(4096, np.float16), axis=0)
    assert half.dtype == np.float16
    assert (half == np.float16(2**-12)).all()


def test_half_precision_loss():
    x, target, weight = problem((64, 5), 3)
    x = x.astype(np.float16)
    score = nnlab.tensor(x, requires_grad=True)
    loss = cross_entropy(score, nnlab.tensor(target), nnlab.tensor(weight.astype(np.float16)))
    losses, total = oracle.cross_entropy(x.astype(float), target, weight.astype(np.float16).astype(float), -100, 0.0)
    assert loss.dtype == nnlab.float16
    np.testing.assert_allclose(loss.item(), losses.sum() / total, rtol=2**-11 + 1e-5)
    loss.backward()
    assert score.grad.dtype == nnlab.float16


@pytest.mark.torch
@pytest.mark.external
@pytest.mark.parametrize("shape", SHAPES)
def test_against_pytorch(shape):
    torch = pytorch()
    for number, (weighted, ignore_index, reduction, smoothing) in enumerate(OPTIONS):
        x, target, weight = problem(shape, number, ignore_index)
        ours, peer = nnlab.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        options = {"ignore_index": ignore_index, "reduction": reduction}
        name = str((weighted, options, smoothing))
        y = cross_entropy(
            ours, nnlab.tensor(target), nnlab.tensor(weight) if weighted else None, label_smoothing=smoothing, **options
        )
        weights = torch.tensor(weight) if weighted else None
        z = torch.nn.functional.cross_entropy(peer, torch.tensor(target), weights, label_smoothing=smoothing, **options)
        close(y.detach().numpy(), z.detach().numpy(), name)
        y.sum().backward()
        z.sum().backward()
        close(ours.grad.numpy(), peer.grad.numpy(), name)
