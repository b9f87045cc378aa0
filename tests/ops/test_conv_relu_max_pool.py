"""Convolution, relu and 2 x 2 max pooling as one operation on tensor cores: the bits of one after another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab.autograd.conv import conv_relu_max_pool
from nnlab.cuda import CUDAGraph, graph
from nnlab.geometry import ConvGeometry, conv_geometry
from nnlab.nn.functional import conv2d, max_pool2d
from nnlab.ops import conv_relu_max_pool as ops
from nnlab.testing import tolerance
from tests import emulator
from tests.ops.common import CPU, pytorch, rng, scattered
from tests.oracles import conv as conv_oracle
from tests.oracles import conv_relu_max_pool as oracle

# (input, weight, stride, padding, dilation, groups)
PROBLEMS: dict[str, tuple[Any, ...]] = {
    "even": ((2, 16, 8, 6), (24, 16, 3, 3), 1, 1, 1, 1),
    "odd": ((2, 5, 9, 8), (17, 5, 3, 4), 2, 1, 1, 1),
    "groups": ((2, 16, 7, 7), (32, 8, 3, 3), 1, 2, 2, 2),
    "first layer": ((2, 3, 27, 23), (16, 3, 11, 11), 4, 2, 1, 1),
    "one window": ((2, 16, 3, 2), (16, 16, 2, 2), 1, (0, 1), 1, 1),
    "no images": ((0, 16, 4, 4), (16, 16, 3, 3), 1, 1, 1, 1),
}
SMALL = (2, 16, 5, 4), (16, 16, 3, 3), 1, 1


@pytest.fixture(autouse=True)
def tensor_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(emulator.backend(), "tensor_cores", True)


def drawn(shape: Any, number: int, dtype: Any = np.float32) -> np.ndarray:
    return scattered(rng(137, number).standard_normal(shape).astype(dtype))


def leaves(g: ConvGeometry, dtype: Any = np.float32, needs: tuple[bool, ...] = (True,) * 3) -> list[nnlab.Tensor]:
    """x, w and b."""
    values = [drawn(s, k, dtype) for k, s in enumerate((g.x_shape, g.w_shape, g.w_shape[:1]))]
    return [nnlab.tensor(v, device="emulated", requires_grad=n) for v, n in zip(values, needs, strict=True)]


def one_by_one(x: Any, w: Any, b: Any, g: ConvGeometry) -> Any:
    """Of symmetric paddings."""
    return max_pool2d(conv2d(x, w, b, g.stride, g.pad_low, g.dilation, g.groups), 2).relu()


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("name", PROBLEMS)
def test_bits_are_those_of_one_after_another(name: str, dtype: str) -> None:
    """Values and gradients."""
    g = conv_geometry(*PROBLEMS[name])
    results = []
    for function in (conv_relu_max_pool, one_by_one):
        given = leaves(g, dtype)
        y = function(*given, g)
        y.backward(nnlab.tensor(drawn(y.shape, 9, dtype), device="emulated"))
        results.append([t.detach().cpu().numpy() for t in (y, *(t.grad for t in given))])
    for ours, theirs in zip(*results, strict=True):
        assert (ours.dtype, ours.shape, ours.tobytes()) == (theirs.dtype, theirs.shape, theirs.tobytes())


def test_against_loops() -> None:
    g = conv_geometry(*SMALL)
    given, dy = leaves(g), drawn((2, 16, 2, 2), 9)
    y = conv_relu_max_pool(*given, g)
    y.backward(nnlab.tensor(dy, device="emulated"))
    x, w, b = (t.detach().cpu().numpy().astype(np.float64) for t in given)
    wanted, places = oracle.forward(conv_oracle.forward(x, w, b, (1, 1), (1, 1), (1, 1), (1, 1), 1))
    near(y, wanted, 145)
    dz = oracle.backward(dy.astype(np.float64), places, (5, 4))
    gradients = conv_oracle.gradients(x, w, dz, (1, 1), (1, 1), (1, 1), 1)
    for tensor, want, terms in zip(given, gradients, (144, 40, 40), strict=True):
        near(tensor.grad, want, terms)


def near(found: Any, wanted: np.ndarray, terms: int) -> None:
    rtol = tolerance(np.float32, terms)
    np.testing.assert_allclose(found.detach().cpu().numpy(), wanted, rtol=rtol, atol=rtol * abs(wanted).max())


@pytest.mark.parametrize(
    "needs", [(True, True, True), (True, False, False), (False, True, False), (False, False, True)]
)
def test_both_forms_of_the_backward_pass_agree(needs: tuple[bool, ...]) -> None:
    """Raw and differentiable, each gradient alone too."""
    g = conv_geometry(*SMALL)
    found = []
    for create_graph in (False, True):
        given = leaves(g, needs=needs)
        y = conv_relu_max_pool(*given, g)
        (y * y).sum().backward(create_graph=create_graph)
        found.append([t.grad for t in given])
    for raw, differentiable, need in zip(*found, needs, strict=True):
        assert (raw is not None) == (differentiable is not None) == need
        if need:
            near(raw, differentiable.detach().cpu().numpy(), 144)


def test_second_and_third_derivatives_are_those_of_one_after_another() -> None:
    """By what the result is multiplied with too, where relu made it 0 as well."""
    g = conv_geometry(*SMALL)
    found = []
    for function in (conv_relu_max_pool, one_by_one):
        factor = nnlab.tensor(drawn((2, 16, 2, 2), 9), device="emulated", requires_grad=True)
        given = leaves(g)
        y = function(*given, g)
        assert (y == 0).any().item()
        loss = (y**4).sum() + (y * factor).sum()
        given.append(factor)
        for order in range(3):
            loss.backward(create_graph=True)
            gradients = [t.grad for t in given]
            for t in given:
                t.grad = None
            found.append([t.detach().cpu().numpy() for t in gradients])
            loss = sum((t * t).mean() for t in gradients) if order < 2 else loss
    for ours, theirs in zip(found[:3], found[3:], strict=True):
        for mine, other in zip(ours, theirs, strict=True):
            size = float(np.abs(other).max())
            assert size > 0
            # Sums of gradients in another order: a few roundings of the largest number.
            np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-5 * size)


def test_a_byte_a_maximum_is_all_that_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The result may be overwritten afterwards; without a gradient nothing is kept."""
    g = conv_geometry(*SMALL)
    given = leaves(g)
    y = conv_relu_max_pool(*given, g)
    assert y is not None
    saved = y._node.saved
    assert saved.dtype == np.uint8 and saved.shape == y.shape == (2, 16, 2, 2)
    y.detach().zero_()
    y.sum().backward()
    assert all(t.grad.abs().max().item() > 0 for t in given)
    kept = []

    def noted(*args: Any, forward: Any = ops.forward, **kwargs: Any) -> Any:
        kept.append(forward(*args, **kwargs)[1])
        return forward(*args, **kwargs)

    monkeypatch.setattr(ops, "forward", noted)
    with nnlab.no_grad():
        conv_relu_max_pool(*given, g)
    assert kept == [None]


@pytest.mark.parametrize(
    ("problem", "dtype", "wanted"),
    [
        (((1, 16, 4, 4), (16, 16, 3, 3), 1, 1), "float32", True),
        (((1, 16, 4, 4), (16, 16, 3, 3), 1, 1), "float64", False),
        (((1, 16, 4, 4), (8, 16, 3, 3), 1, 1), "float32", False),  # too few channels
        (((1, 16, 3, 4), (16, 16, 3, 3)), "float32", False),  # no window
        (((1, 16, 4, 3), (16, 16, 3, 3)), "float32", False),
        (((1, 16, 4, 4), (16, 16, 3, 3)), "float32", True),
        (((1, 16, 8), (16, 16, 3), 1, 1), "float32", False),
        (((1, 16, 4, 4, 4), (16, 16, 3, 3, 3), 1, 1), "float32", False),
        (((1, 3, 6, 6), (16, 3, 3, 3), 1, 1), "float16", False),  # neighbours are channels
        (((1, 3, 6, 5), (16, 3, 3, 3), 1, 1), "float16", True),
    ],
)
def test_what_it_takes(problem: Any, dtype: str, wanted: bool) -> None:
    g = conv_geometry(*problem)
    assert ops.takes(emulator.backend(), geometry=g, dtype=np.dtype(dtype)) is wanted
    assert not ops.takes(CPU, geometry=g, dtype=np.dtype(dtype))
    if not wanted:
        assert conv_relu_max_pool(*leaves(g, dtype), g) is None


def test_recorded() -> None:
    """A step that is run again gives the bits of one that is not."""
    g = conv_geometry(*SMALL)
    x, w, b = leaves(g, needs=(False, True, True))
    dw = nnlab.zeros(*g.w_shape, device="emulated")
    recording = CUDAGraph("emulated")
    with graph(recording, [x, w, b, dw]):
        y = conv_relu_max_pool(x, w, b, g)
        y.sum().backward()
        dw.copy_(w.grad)
    for number in (20, 21):
        x.copy_(nnlab.tensor(drawn(g.x_shape, number), device="emulated"))
        recording.replay()
        w.grad = b.grad = None
        wanted = conv_relu_max_pool(x, w, b, g)
        wanted.sum().backward()
        np.testing.assert_array_equal(y.detach().cpu().numpy(), wanted.detach().cpu().numpy())
        np.testing.assert_array_equal(dw.cpu().numpy(), w.grad.cpu().numpy())


@pytest.mark.torch
def test_peer() -> None:
    """Of PyTorch in float64."""
    torch = pytorch()
    g = conv_geometry((2, 16, 7, 6), (32, 8, 3, 3), 1, 1, 1, 2)
    given, dy = leaves(g), drawn((2, 32, 3, 3), 9)
    y = conv_relu_max_pool(*given, g)
    y.backward(nnlab.tensor(dy, device="emulated"))
    theirs = [torch.tensor(t.detach().cpu().numpy().astype(np.float64), requires_grad=True) for t in given]
    ty = torch.relu(torch.nn.functional.conv2d(*theirs, padding=1, groups=2))
    ty = torch.nn.functional.max_pool2d(ty, 2)
    ty.backward(torch.tensor(dy.astype(np.float64)))
    near(y, ty.detach().numpy(), 73)
    for mine, other in zip(given, theirs, strict=True):
        near(mine.grad, other.grad.numpy(), 84)
