"""Gradient clipping, and parameters as a vector."""

from __future__ import annotations

import math

import numpy as np
import pytest

import nnlab
from nnlab import nn
from nnlab.errors import ArgumentError, NonFiniteError, ShapeError
from nnlab.nn import utils
from tests.nn.peer import close, normals

GRADIENTS = [normals(3, 4), normals(5, seed=1), None]


def params() -> list[nnlab.Tensor]:
    made = []
    for gradient in GRADIENTS:
        param = nn.Parameter(nnlab.zeros(*(gradient.shape if gradient is not None else (2,)), dtype=nnlab.float64))
        param.grad = None if gradient is None else nnlab.tensor(gradient)
        made.append(param)
    return made


@pytest.mark.parametrize("norm_type", [2.0, 1.0, 3.0, math.inf])
@pytest.mark.parametrize("max_norm", [0.5, 1000.0])
def test_clip_grad_norm(max_norm: float, norm_type: float) -> None:
    vector = np.concatenate([g.ravel() for g in GRADIENTS if g is not None])
    norm = np.abs(vector).max() if norm_type == math.inf else (np.abs(vector) ** norm_type).sum() ** (1 / norm_type)
    ours = params()
    returned = utils.clip_grad_norm_(ours, max_norm, norm_type)
    assert returned.item() == pytest.approx(norm)
    factor = min(1.0, max_norm / (norm + 1e-6))
    for param, gradient in zip(ours, GRADIENTS, strict=True):
        if gradient is None:
            assert param.grad is None
        else:
            close(param.grad, gradient * factor)


def test_clip_grad_norm_of_one_tensor_and_of_none() -> None:
    assert utils.clip_grad_norm_(params()[0], 1.0).item() == pytest.approx(np.linalg.norm(GRADIENTS[0]))
    assert utils.clip_grad_norm_([], 1.0).item() == 0.0
    assert utils.clip_grad_norm_([params()[2]], 1.0).item() == 0.0


def test_clip_grad_norm_errors() -> None:
    bad = params()
    bad[0].grad[0, 0] = math.nan
    with pytest.raises(NonFiniteError, match="norm of the gradients is nan"):
        utils.clip_grad_norm_(bad, 1.0, error_if_nonfinite=True)
    close(bad[1].grad, GRADIENTS[1])
    with pytest.raises(ArgumentError, match="'max_norm' must not be negative"):
        utils.clip_grad_norm_(bad, -1.0)
    with pytest.raises(ArgumentError, match="'norm_type' must be positive"):
        utils.clip_grad_norm_(bad, 1.0, 0.0)


def test_clip_grad_value() -> None:
    ours = params()
    utils.clip_grad_value_(ours, 0.3)
    close(ours[0].grad, np.clip(GRADIENTS[0], -0.3, 0.3))
    close(ours[1].grad, np.clip(GRADIENTS[1], -0.3, 0.3))
    with pytest.raises(ArgumentError, match="'clip_value'"):
        utils.clip_grad_value_(ours, -0.3)


def test_vector_and_back() -> None:
    net = nn.Linear(2, 3)
    vector = utils.parameters_to_vector(net.parameters())
    assert vector.shape == (9,)
    assert vector.tolist() == [*net.weight.reshape(-1).tolist(), *net.bias.tolist()]
    utils.vector_to_parameters(nnlab.arange(9).float(), net.parameters())
    assert net.weight.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert net.bias.tolist() == [6, 7, 8]
    with pytest.raises(ShapeError, match=r"have shape \(9,\), got \(8,\)"):
        utils.vector_to_parameters(nnlab.zeros(8), net.parameters())
