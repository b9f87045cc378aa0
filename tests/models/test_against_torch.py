"""Whole networks at their published size against PyTorch on the CPU, same weights, dropout off."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import numpy as np
import pytest

import nnlab
from nnlab import models
from nnlab.models import create
from tests.models import twins


def agree(name: str, shape: tuple[int, ...]) -> None:
    """Output and all gradients: in float64 within 1e-9, and float32's rounding error at most twice PyTorch's own; by
    default, where convolutions may use tiles with 6 points, at most 12 times, as docs/numerics.md promises.

    In float32 now and then a ReLU or a maximum decides differently from float64, in either library, and one such
    decision outweighs all rounding. Each float32 result is therefore compared with float64's for its own decisions.
    """
    pytest.importorskip("torch")
    model = create(name)
    weights = {key: value.numpy() for key, value in model.state_dict().items()}
    rng = np.random.default_rng(1)
    small = rng.standard_normal(shape).astype(np.float32)
    x, target = small.astype(np.float64), rng.integers(0, 1000, shape[0])
    wide = twins.cast(weights, np.float64)
    exact = twins.theirs(model, wide, x, target)
    found = twins.ours(model, wide, x, target)
    assert list(found) == list(exact)
    for key, value in exact.items():
        assert found[key].dtype == np.float64
        assert twins.largest(found[key], value) < 1e-9, key
    del found, exact
    errors: list[dict[str, float]] = []
    for compute, precision in ((twins.theirs, "high"), (twins.ours, "highest"), (twins.ours, "high")):
        gc.collect()
        nnlab.set_float32_conv_precision(precision)
        switches: list[np.ndarray] = []
        found = compute(model, weights, small, target, switches)
        exact = twins.theirs(model, wide, x, target, imposed=switches)
        assert {value.dtype for value in found.values()} == {np.dtype(np.float32)}
        errors.append({key: twins.distance(value, exact[key]) for key, value in found.items()})
        del found, exact
    for key, allowed in errors[0].items():
        for times, error in ((2, errors[1][key]), (12, errors[2][key])):
            assert error <= times * allowed, f"{key}: float32 error {error:.3g}, PyTorch's {allowed:.3g}"


@pytest.fixture(autouse=True)
def _precision() -> Iterator[None]:
    yield
    nnlab.set_float32_conv_precision("high")


@pytest.mark.torch
@pytest.mark.slow
@pytest.mark.external
@pytest.mark.parametrize(
    ("name", "shape"),
    [("alexnet", (2, 3, 224, 224)), ("alexnet2012", (2, 3, 224, 224)), ("vgg16", (1, 3, 224, 224))],
)
def test_published_size(name: str, shape: tuple[int, ...]) -> None:
    agree(name, shape)


@pytest.mark.torch
@pytest.mark.external
@pytest.mark.parametrize(("size", "channels"), [(28, 1), (41, 3)])
def test_small_images_in_training_mode(size: int, channels: int) -> None:
    """With batch statistics, against PyTorch in float64."""
    torch = pytest.importorskip("torch")
    model = models.vgg_small(dropout=0.0, in_channels=channels).double()
    weights = {key: value.numpy().copy() for key, value in model.state_dict().items()}
    other = twins.twin(model, weights).train()
    rng = np.random.default_rng(2)
    x, target = rng.standard_normal((4, channels, size, size)), rng.integers(0, 10, 4)
    given, given2 = twins.nnlab.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    found = twins.gradients(model.train(), given, twins.nnlab.tensor(target), twins.nn.functional.cross_entropy)
    exact = twins.gradients(other, given2, torch.tensor(target), torch.nn.functional.cross_entropy)
    for key, value in exact.items():
        # A bias before batch normalisation has no effect: its gradient is rounding alone.
        np.testing.assert_allclose(found[key], value, rtol=0, atol=1e-9 * max(np.abs(value).max(), 1.0), err_msg=key)
    state = other.state_dict()
    for key, value in model.state_dict().items():
        np.testing.assert_allclose(value.numpy(), state[key].numpy(), rtol=1e-9, atol=1e-12, err_msg=key)
