"""Layer, group, instance and RMS normalisation, local response normalisation within maps, against PyTorch or loops."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import nn
from nnlab.errors import ArgumentError, DtypeError, NNLabError
from nnlab.nn import functional as F
from nnlab.testing import gradcheck, gradgradcheck
from tests.nn.case import Case
from tests.nn.layer_cases import NORMS
from tests.nn.peer import arrays, close, compare, normals, pair

TRACKED = [case for case in NORMS if case.name.startswith("Instance") and "track_running_stats" in case.kwargs]


@pytest.mark.torch
@pytest.mark.parametrize("case", TRACKED, ids=[case.id for case in TRACKED])
def test_running_statistics_over_several_steps_and_in_evaluation(case: Case) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = pair(case.name, *case.args, **case.kwargs)
    shape = case.inputs[0].shape
    for step in range(3):
        x = normals(*shape, seed=step) * (step + 1) + step
        close(ours(nnlab.tensor(x)), theirs(torch.tensor(x)))
    for key, value in arrays(theirs.state_dict()).items():
        close(ours.state_dict()[key], value, key)
    compare(ours.eval(), theirs.eval(), normals(*shape, seed=9))


def test_instance_norm_worked_numbers() -> None:
    layer = nn.InstanceNorm1d(1, eps=0.0, track_running_stats=True)
    y = layer(nnlab.tensor([[[1.0, 3.0]], [[10.0, 30.0]]]))
    assert y.tolist() == [[[-1.0, 1.0]], [[-1.0, 1.0]]]
    assert layer.running_mean.tolist() == [pytest.approx(0.1 * 11)]  # of 2 and 20
    assert layer.running_var.tolist() == [pytest.approx(0.9 + 0.1 * 101)]  # of 2 and 200
    layer.eval()
    assert layer(nnlab.tensor([[1.1, 1.1]])).tolist() == [[pytest.approx(0, abs=1e-6)] * 2]
    layer.reset_parameters()
    assert (layer.running_mean.item(), layer.running_var.item()) == (0.0, 1.0)


def test_no_images_leave_the_running_statistics_alone() -> None:
    layer = nn.InstanceNorm1d(2, track_running_stats=True)
    assert layer(nnlab.zeros(0, 2, 3)).shape == (0, 2, 3)
    assert (layer.running_mean.tolist(), layer.running_var.tolist()) == ([0, 0], [1, 1])


def test_parameters_start_as_ones_and_zeros() -> None:
    for layer in (nn.LayerNorm(3), nn.GroupNorm(1, 3), nn.InstanceNorm1d(3, affine=True)):
        for _ in range(2):
            assert layer.weight.tolist() == [1, 1, 1]
            assert layer.bias.tolist() == [0, 0, 0]
            layer.weight.data.fill_(5)
            layer.bias.data.fill_(5)
            layer.reset_parameters()


@pytest.mark.torch
def test_functions_without_a_layer() -> None:
    torch = pytest.importorskip("torch")
    x, w, b = normals(3, 4, 5), normals(4, seed=1), normals(4, seed=2)
    ours, theirs = [nnlab.tensor(a) for a in (x, w, b)], [torch.tensor(a) for a in (x, w, b)]
    for one, other in ((F, torch.nn.functional),):
        close(one.group_norm(ours[0], 2), other.group_norm(theirs[0], 2))
        close(one.instance_norm(*ours[:1], weight=ours[1]), other.instance_norm(*theirs[:1], weight=theirs[1]))
        close(one.layer_norm(ours[0], (4, 5)), other.layer_norm(theirs[0], (4, 5)))
        close(one.rms_norm(ours[0], (4, 5)), other.rms_norm(theirs[0], (4, 5)))


def test_half_precision_takes_the_eps_of_float32() -> None:
    x = (normals(2, 8) * 1e-3).astype(np.float16)
    wide = x.astype(np.float64)
    want = wide / np.sqrt((wide**2).mean(1, keepdims=True) + 2.0**-23)
    found = F.rms_norm(nnlab.tensor(x), (8,)).numpy()
    assert found.dtype == np.float16
    np.testing.assert_allclose(found, want, rtol=2**-10)


def within_maps(x: np.ndarray, size: int, alpha: float, beta: float, k: float) -> np.ndarray:
    """Local response normalisation within maps, one number at a time."""
    y = np.zeros(x.shape)
    spatial = x.shape[2:]
    for place in np.ndindex(x.shape):
        total = 0.0
        for shift in product(range(-(size // 2), (size - 1) // 2 + 1), repeat=len(spatial)):
            at = [p + s for p, s in zip(place[2:], shift)]
            if all(0 <= p < n for p, n in zip(at, spatial)):
                total += float(x[(*place[:2], *at)]) ** 2
        y[place] = x[place] / (k + alpha * total / size ** len(spatial)) ** beta
    return y


@pytest.mark.parametrize("size", [1, 2, 3, 5])
@pytest.mark.parametrize("shape", [(2, 3, 7), (2, 2, 4, 6), (1, 2, 3, 5, 4), (0, 2, 5)])
def test_local_response_norm_within_maps(shape: tuple[int, ...], size: int) -> None:
    x = normals(*shape)
    layer = nn.LocalResponseNorm(size, alpha=0.7, beta=0.6, k=1.5, within=True)
    leaf = nnlab.tensor(x, requires_grad=True)
    close(layer(leaf), within_maps(x, size, 0.7, 0.6, 1.5))
    if x.size:
        assert gradcheck(layer, leaf)
        assert gradgradcheck(layer, leaf)
    assert repr(layer) == f"LocalResponseNorm({size}, alpha=0.7, beta=0.6, k=1.5, within=True)"


def test_local_response_norm_with_the_numbers_of_the_notes() -> None:
    """k = 2, n = 5, alpha = 1e-4, beta = 0.75; the notes' alpha is not divided by the number of neighbours."""
    x = nnlab.full((1, 7, 5, 5), 10.0, dtype=nnlab.float64)
    across = F.local_response_norm(x, 5, 5 * 1e-4, 0.75, 2.0)
    assert across[0, 3, 0, 0].item() == pytest.approx(10 / (2 + 1e-4 * 5 * 100) ** 0.75)
    assert across[0, 0, 0, 0].item() == pytest.approx(10 / (2 + 1e-4 * 3 * 100) ** 0.75)
    inside = F.local_response_norm(x, 5, 25 * 1e-4, 0.75, 2.0, within=True)
    assert inside[0, 0, 2, 2].item() == pytest.approx(10 / (2 + 1e-4 * 25 * 100) ** 0.75)
    assert inside[0, 0, 0, 0].item() == pytest.approx(10 / (2 + 1e-4 * 9 * 100) ** 0.75)


def test_local_response_norm_within_maps_in_half_precision() -> None:
    """300 squared does not fit float16."""
    x = nnlab.full((1, 1, 3, 3), 300, dtype=nnlab.float16)
    y = F.local_response_norm(x, 3, 1.0, 0.5, 0.0, within=True)
    assert y.dtype == nnlab.float16
    assert y[0, 0, 1, 1].item() == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.LayerNorm(0), "[LayerNorm] 'normalized_shape' must be a positive int or several, got 0"),
        (lambda: nn.LayerNorm(()), "[LayerNorm] 'normalized_shape' must be a positive int or several, got ()"),
        (lambda: nn.LayerNorm(3, eps=-1), "[LayerNorm] 'eps' must not be negative, got -1"),
        (lambda: nn.RMSNorm((2, -1)), "[RMSNorm] 'normalized_shape' must be a positive int or several, got (2, -1)"),
        (lambda: nn.RMSNorm(2, eps=-1.0), "[RMSNorm] 'eps' must not be negative, got -1.0"),
        (lambda: nn.GroupNorm(3, 4), "[GroupNorm] 'num_channels' must be divisible by num_groups=3, got 4"),
        (lambda: nn.GroupNorm(0, 4), "[GroupNorm] 'num_groups' must be a positive int, got 0"),
        (lambda: nn.InstanceNorm2d(0), "[InstanceNorm2d] 'num_features' must be a positive int, got 0"),
        (lambda: nn.InstanceNorm1d(2, momentum=2), "[InstanceNorm1d] 'momentum' must be between 0 and 1, or None, got"),
    ],
)
def test_constructors(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=re.escape(message)):
        make()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nn.LayerNorm((3, 4))(nnlab.zeros(4)), r"[LayerNorm] 'input' must end in the dimensions (3, 4), got"),
        (lambda: F.layer_norm(nnlab.zeros(2, 3), ()), "[layer_norm] 'normalized_shape' must have at least one"),
        (
            lambda: F.layer_norm(nnlab.zeros(2, 3), (3,), bias=nnlab.zeros(2)),
            "[layer_norm] 'bias' must have shape (3,), got (2,)",
        ),
        (lambda: nn.RMSNorm(4)(nnlab.zeros(2, 3)), r"[RMSNorm] 'input' must end in the dimensions (4,), got (2, 3)"),
        (lambda: nn.GroupNorm(2, 4)(nnlab.zeros(2, 3)), "[GroupNorm] 'input' must have shape (N, 4, ...), got (2, 3)"),
        (
            lambda: F.group_norm(nnlab.zeros(2, 3), 2),
            "[group_norm] 'num_groups' must be a positive divisor of the 3 channels, got 2",
        ),
        (lambda: F.group_norm(nnlab.zeros(3), 1), "[group_norm] 'input' must have shape (N, C, ...), got (3,)"),
        (
            lambda: nn.InstanceNorm2d(3)(nnlab.zeros(2, 4, 5, 5)),
            "[InstanceNorm2d] 'input' must have 3 channels, got (2, 4, 5, 5)",
        ),
        (lambda: nn.InstanceNorm2d(3)(nnlab.zeros(2, 4)), "[InstanceNorm2d] 'input' must have shape (N, C, H, W) or"),
        (
            lambda: nn.InstanceNorm1d(3)(nnlab.zeros(2, 3, 1)),
            "[InstanceNorm1d] 'input' must have more than one value per channel, got (2, 3, 1)",
        ),
        (
            lambda: F.instance_norm(nnlab.zeros(2, 3, 4), use_input_stats=False),
            "[instance_norm] 'running_mean' must be given without use_input_stats, got None",
        ),
        (
            lambda: F.instance_norm(nnlab.zeros(2, 3, 4), weight=nnlab.zeros(2)),
            "[instance_norm] 'weight' must have shape (3,), got (2,)",
        ),
        (
            lambda: F.local_response_norm(nnlab.zeros(1, 1, 2, 2, 2, 2), 3, within=True),
            "[local_response_norm] 'input' must have at most three spatial dimensions within maps",
        ),
        (
            lambda: F.local_response_norm(nnlab.zeros(1, 1, 2), 0, within=True),
            "[local_response_norm] 'size' must be a positive int, got 0",
        ),
    ],
)
def test_calls(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(NNLabError, match=f"^{re.escape(message)}"):
        call()


@pytest.mark.parametrize("layer", [nn.LayerNorm(2), nn.RMSNorm(2), nn.GroupNorm(1, 2), nn.InstanceNorm1d(2)])
def test_dtypes(layer: nn.Module) -> None:
    with pytest.raises(DtypeError, match=r"'input' must be floating point, got 'int64'"):
        layer(nnlab.zeros(2, 2, 2, dtype=nnlab.int64))
    if next(layer.parameters(), None) is not None:
        with pytest.raises(DtypeError, match=r"'input' is float64 but 'weight' is float32"):
            layer(nnlab.zeros(2, 2, 2, dtype=nnlab.float64))
