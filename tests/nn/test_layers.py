"""Batch normalisation step by step, dropout, activations in place; padding against PyTorch."""

from __future__ import annotations

import numpy as np
import pytest

import nnlab
from nnlab import nn
from nnlab.nn import functional as F
from tests.nn.case import Case
from tests.nn.layer_cases import NORMS
from tests.nn.peer import arrays, close, compare, normals, pair

BATCH_NORMS = [case for case in NORMS if case.name.startswith("BatchNorm")]


@pytest.mark.torch
@pytest.mark.parametrize("case", BATCH_NORMS, ids=[case.id for case in BATCH_NORMS])
def test_batch_norm_over_several_steps_and_in_evaluation(case: Case) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = pair(case.name, *case.args, **case.kwargs)
    shape = case.inputs[0].shape
    for step in range(3):
        x = normals(*shape, seed=step) * (step + 1) + step
        close(ours(nnlab.tensor(x)), theirs(torch.tensor(x)))
    for key, value in arrays(theirs.state_dict()).items():
        close(ours.state_dict()[key], value, key)
    compare(ours.eval(), theirs.eval(), normals(*shape, seed=9))


def test_batch_norm_worked_numbers() -> None:
    layer = nn.BatchNorm1d(1, eps=0.0)
    y = layer(nnlab.tensor([[1.0], [3.0]]))
    assert y.tolist() == [[-1.0], [1.0]]
    assert layer.running_mean.tolist() == [pytest.approx(0.2)]
    assert layer.running_var.tolist() == [pytest.approx(0.9 + 0.1 * 2.0)]
    assert layer.num_batches_tracked.item() == 1
    layer.eval()
    layer(nnlab.tensor([[100.0], [300.0]]))
    assert layer.num_batches_tracked.item() == 1
    layer.reset_running_stats()
    assert (layer.running_mean.item(), layer.running_var.item(), layer.num_batches_tracked.item()) == (0.0, 1.0, 0)


def test_frozen_batch_norm_keeps_its_statistics_in_training_of_others() -> None:
    layer = nn.BatchNorm2d(2).eval()
    before = {key: value.numpy().copy() for key, value in layer.state_dict().items()}
    layer(nnlab.randn(3, 2, 4, 4) + 5)
    for key, value in layer.state_dict().items():
        assert np.array_equal(value.numpy(), before[key])


def test_dropout_scales_what_it_keeps() -> None:
    nnlab.manual_seed(1)
    layer = nn.Dropout(0.25)
    x = nnlab.ones(20000, requires_grad=True)
    y = layer(x)
    kept = y.detach().numpy() != 0
    assert np.unique(y.detach().numpy()).tolist() == [0.0, np.float32(1 / 0.75)]
    # Five standard deviations of a share of 20,000 coins.
    assert abs(kept.mean() - 0.75) < 5 * (0.75 * 0.25 / 20000) ** 0.5
    y.sum().backward()
    assert np.array_equal(x.grad.numpy(), y.detach().numpy())
    assert not np.array_equal(layer(x).detach().numpy(), y.detach().numpy())
    nnlab.manual_seed(1)
    assert np.array_equal(layer(x).detach().numpy(), y.detach().numpy())


def test_dropout_outside_training_and_at_the_ends() -> None:
    x = nnlab.randn(5, 4)
    offset = nnlab.default_generator.offset
    assert nn.Dropout(0.5).eval()(x) is x
    assert nn.Dropout(0.0)(x) is x
    assert nnlab.default_generator.offset == offset
    assert not nn.Dropout(1.0)(x).any().item()
    kept = F.dropout(x, 0.5, training=True, inplace=True)
    assert kept is x


@pytest.mark.torch
@pytest.mark.parametrize("layer", [nn.ReLU(inplace=True), nn.LeakyReLU(0.1, inplace=True)])
def test_in_place_activations(layer: nn.Module) -> None:
    torch = pytest.importorskip("torch")
    theirs = getattr(torch.nn, type(layer).__name__)(*([0.1] if isinstance(layer, nn.LeakyReLU) else []))
    x = normals(3, 4)
    leaf, leaf2 = nnlab.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    a, b = leaf * 2.0, leaf2 * 2.0
    y, z = layer(a), theirs(b)
    assert y is a
    (y * y).sum().backward()
    (z * z).sum().backward()
    close(leaf.grad, leaf2.grad)
    with nnlab.no_grad():
        plain = nnlab.tensor(x)
        assert layer(plain) is plain
        close(plain, theirs(torch.tensor(x)))


def test_in_place_on_a_leaf_that_requires_grad_is_an_error() -> None:
    with pytest.raises(nnlab.errors.GraphError, match="leaf"):
        nn.ReLU(inplace=True)(nnlab.ones(3, requires_grad=True))


@pytest.mark.torch
@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_pad_against_torch(mode: str) -> None:
    torch = pytest.importorskip("torch")
    x = normals(2, 3, 4, 5)
    a, b = nnlab.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y, z = F.pad(a, (2, 1, 0, 3), mode), torch.nn.functional.pad(b, (2, 1, 0, 3), mode)
    close(y, z)
    (y * y).sum().backward()
    (z * z).sum().backward()
    close(a.grad, b.grad)
