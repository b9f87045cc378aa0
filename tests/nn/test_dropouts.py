"""Dropouts of channels, alpha dropout: values given the mask, statistics, gradients."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import nn
from nnlab.autograd import mask as ops
from nnlab.errors import ArgumentError, DtypeError, ShapeError
from nnlab.nn import functional as F
from nnlab.testing import gradcheck, gradgradcheck
from tests.nn.peer import close, normals
from tests.oracles.activation import dropout as drawn

LOWEST = -1.0507009873554804934193349852946 * 1.6732632423543772848170429916717

# Layer, shape of the input, shape of its mask.
CHANNELS: list[tuple[type[nn.Module], tuple[int, ...], tuple[int, ...]]] = [
    (nn.Dropout1d, (4, 6, 5), (4, 6, 1)),
    (nn.Dropout1d, (6, 5), (6, 1)),
    (nn.Dropout2d, (4, 6, 5, 3), (4, 6, 1, 1)),
    (nn.Dropout2d, (4, 6, 5), (4, 6, 1)),
    (nn.Dropout3d, (4, 6, 2, 3, 2), (4, 6, 1, 1, 1)),
    (nn.Dropout3d, (6, 2, 3, 2), (6, 1, 1, 1)),
]
ALPHA: list[tuple[type[nn.Module], tuple[int, ...], tuple[int, ...]]] = [
    (nn.AlphaDropout, (4, 6), (4, 6)),
    (nn.AlphaDropout, (4, 6, 3), (4, 6, 3)),
    (nn.FeatureAlphaDropout, (4, 6), (4, 6)),
    (nn.FeatureAlphaDropout, (4, 6, 3, 2), (4, 6, 1, 1)),
]


def kept(shape: tuple[int, ...], p: float, seed: int) -> np.ndarray:
    """Which elements draw 0 under a seed keeps, word by word."""
    return drawn(np.ones(shape), p, seed, 0) != 0


@pytest.mark.parametrize("p", [0.2, 0.7])
@pytest.mark.parametrize(("layer", "shape", "mask"), CHANNELS)
def test_channels_given_the_mask(layer: Any, shape: tuple[int, ...], mask: tuple[int, ...], p: float) -> None:
    x = normals(*shape)
    leaf = nnlab.tensor(x, requires_grad=True)
    nnlab.manual_seed(5)
    y = layer(p)(leaf)
    keep = kept(mask, p, 5)
    assert keep.any() and not keep.all()
    close(y, x * keep / (1 - p))
    assert nnlab.default_generator.offset == 1
    y.backward(nnlab.tensor(x))
    close(leaf.grad, x * keep / (1 - p))


@pytest.mark.parametrize("p", [0.2, 0.7])
@pytest.mark.parametrize(("layer", "shape", "mask"), ALPHA)
def test_alpha_given_the_mask(layer: Any, shape: tuple[int, ...], mask: tuple[int, ...], p: float) -> None:
    x = normals(*shape)
    leaf = nnlab.tensor(x, requires_grad=True)
    nnlab.manual_seed(5)
    y = layer(p)(leaf)
    keep = kept(mask, p, 5)
    assert keep.any() and not keep.all()
    a = (1 - p + p * (1 - p) * LOWEST**2) ** -0.5  # 1 over the deviation of the mixture of x and LOWEST
    b = -a * p * LOWEST  # minus its mean
    close(y, a * np.where(keep, x, LOWEST) + b)
    y.sum().backward()
    close(leaf.grad, np.broadcast_to(a * keep, shape))


def test_alpha_dropout_keeps_mean_and_variance() -> None:
    x = nnlab.tensor(normals(200_000))
    for p in (0.1, 0.5, 0.9):
        y = F.alpha_dropout(x, p, training=True).numpy()
        # Five standard deviations; those of a variance need the fourth moment.
        assert abs(y.mean() - x.numpy().mean()) < 5 * (2 / y.size) ** 0.5
        fourth = ((y - y.mean()) ** 4).mean() + 3
        assert abs(y.var() - 1) < 5 * (fourth / y.size) ** 0.5


def test_the_share_of_dropped_channels() -> None:
    y = F.dropout2d(nnlab.ones(200, 100, 2, 2), 0.3)
    dropped = (y.numpy() == 0).reshape(200, 100, 4)
    assert (dropped.all(axis=2) == dropped.any(axis=2)).all()
    assert abs(dropped.mean() - 0.3) < 5 * (0.3 * 0.7 / 20_000) ** 0.5


@pytest.mark.torch
@pytest.mark.parametrize("layer", [nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout])
def test_ends_text_and_in_place(layer: Any) -> None:
    torch = pytest.importorskip("torch")
    shape = (2, 3, 2, 2, 2) if layer is nn.Dropout3d else (2, 3, 2)
    x = nnlab.tensor(normals(*shape))
    assert layer(0.5).eval()(x) is x
    assert layer(0.0)(x) is x
    assert nnlab.default_generator.offset == 0
    x[0, 0] = float("nan")
    x[0, 1] = float("inf")
    assert not layer(1.0)(x).any().item()
    assert layer(0.5, inplace=True)(x) is x
    assert repr(layer(0.2, inplace=True)) == repr(getattr(torch.nn, layer.__name__)(0.2, inplace=True))
    assert layer().p == 0.5
    empty = nnlab.zeros(0, *shape[1:])
    assert layer()(empty).shape == empty.shape


def test_gradients_of_any_order_given_the_mask() -> None:
    x = nnlab.tensor(normals(3, 4, 2), requires_grad=True)
    keep = nnlab.tensor(normals(3, 4, 1) > 0)
    assert gradcheck(lambda x: ops.mask(x, keep, 1.7, 0.3, -0.4), x)
    assert gradgradcheck(lambda x: ops.mask(x * x, keep, 1.7, 0.3, -0.4), x)


def test_half_precision_is_rounded_once() -> None:
    x = nnlab.tensor(normals(50, 3).astype(np.float16))
    keep = nnlab.ones(50, 1, dtype=bool)
    y = ops.mask(x, keep, 1.1, 0.3)
    assert y.dtype == nnlab.float16
    want = (x.numpy().astype(np.float32) * np.float32(1.1) + np.float32(0.3)).astype(np.float16)
    np.testing.assert_array_equal(y.numpy(), want)


def test_errors() -> None:
    for layer in (nn.Dropout1d, nn.AlphaDropout):
        message = f"[{layer.__name__}] 'p' must be a probability between 0 and 1, got -0.1"
        with pytest.raises(ArgumentError, match=re.escape(message)):
            layer(-0.1)
    with pytest.raises(ShapeError, match=r"\[Dropout1d\] 'input' must have 2 or 3 dimensions, got \(2,\)"):
        nn.Dropout1d()(nnlab.zeros(2))
    with pytest.raises(ShapeError, match=r"\[Dropout2d\] 'input' must have 3 or 4 dimensions, got \(2, 3\)"):
        nn.Dropout2d()(nnlab.zeros(2, 3))
    with pytest.raises(ShapeError, match=r"\[FeatureAlphaDropout\] .input. must have shape \(N, C"):
        nn.FeatureAlphaDropout()(nnlab.zeros(2))
    with pytest.raises(DtypeError, match=r"\[alpha_dropout\] 'input' must be floating point"):
        F.alpha_dropout(nnlab.zeros(2, dtype=nnlab.int64), training=True)
