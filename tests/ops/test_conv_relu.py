"""Convolution and relu as one operation: the bits of one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab.errors import GraphError, ShapeError
from nnlab.geometry import conv_geometry
from nnlab.nn.functional import conv1d, conv2d, conv3d, conv_relu
from nnlab.ops._numpy import conv_relu as arrays
from nnlab.testing import gradcheck, gradgradcheck, tolerance
from tests import emulator
from tests.ops.common import CPU, pytorch, rng, scattered
from tests.oracles import activation
from tests.oracles import conv as conv_oracle
from tests.oracles import conv_relu as oracle
from tests.strict_device import StrictBackend

# (input, weight, stride, padding, dilation, groups); on tensor cores where those are on, but for the first.
PROBLEMS: dict[str, tuple[Any, ...]] = {
    "few channels": ((2, 3, 8, 9), (5, 3, 3, 3), 1, 1, 1, 1),
    "many": ((2, 16, 8, 9), (24, 16, 3, 3), 1, 1, 1, 1),
    "odd": ((2, 5, 9, 8), (17, 5, 3, 4), 2, 1, 1, 1),
    "groups": ((2, 16, 7, 7), (32, 8, 3, 3), 1, 2, 2, 2),
    "line": ((3, 16, 11), (16, 16, 3), 1, "same", 1, 1),
    "volume": ((1, 16, 3, 4, 5), (16, 16, 2, 2, 2), 1, 1, 1, 1),
    "first layer": ((2, 3, 6, 6), (16, 3, 3, 3), 1, 1, 1, 1),
    "small images": ((40, 4, 6, 6), (8, 4, 3, 3), 1, 1, 1, 1),
}


def device_of(name: str, monkeypatch: pytest.MonkeyPatch) -> str:
    if name != "cpu":
        monkeypatch.setattr(emulator.backend(), "tensor_cores", name == "tensor cores")
    return "cpu" if name == "cpu" else "emulated"


def drawn(shape: Any, number: int, dtype: Any = np.float32) -> np.ndarray:
    return scattered(rng(131, number).standard_normal(shape).astype(dtype))


def after_one_another(x: Any, w: Any, b: Any, *window: Any) -> Any:
    return (conv1d, conv2d, conv3d)[w.ndim - 3](x, w, b, *window).relu()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("where", ["cpu", "kernels", "tensor cores"])
def test_bits_are_those_of_the_pair(where: str, name: str, dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Values and gradients."""
    device = device_of(where, monkeypatch)
    x_shape, w_shape, *window = PROBLEMS[name]
    values = [drawn(shape, k, dtype) for k, shape in enumerate((x_shape, w_shape, w_shape[:1]))]
    values[0][0, 0, 0] = np.nan
    results = []
    for function in (conv_relu, after_one_another):
        x, w, b = (nnlab.tensor(value, device=device, requires_grad=True) for value in values)
        y = function(x, w, b, *window)
        y.backward(nnlab.tensor(drawn(y.shape, 9, dtype), device=device))
        results.append([t.detach().cpu().numpy() for t in (y, x.grad, w.grad, b.grad)])
    for ours, theirs in zip(*results, strict=True):
        assert (ours.dtype, ours.shape, ours.tobytes()) == (theirs.dtype, theirs.shape, theirs.tobytes())


@pytest.mark.parametrize("where", ["cpu", "kernels", "tensor cores"])
def test_against_loops(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    device = device_of(where, monkeypatch)
    g = conv_geometry((2, 16, 5, 6), (16, 16, 3, 3), 1, 1)
    x, w, b, dy = (drawn(s, k) for k, s in enumerate((g.x_shape, g.w_shape, g.w_shape[:1], g.y_shape)))
    ours = [nnlab.tensor(a, device=device, requires_grad=True) for a in (x, w, b)]
    y = conv_relu(*ours, 1, 1)
    y.backward(nnlab.tensor(dy, device=device))
    window = ((1, 1), (1, 1), (1, 1), 1)
    wide = [a.astype(np.float64) for a in (x, w, b)]
    near(y, activation.relu(conv_oracle.forward(*wide, (1, 1), (1, 1), *window[1:])), 145)
    dz = oracle.backward(dy.astype(np.float64), y.detach().cpu().numpy())
    dx, dw, db = conv_oracle.gradients(*wide[:2], dz, *window)
    for tensor, wanted, terms in zip(ours, (dx, dw, db), (144, 60, 60), strict=True):
        near(tensor.grad, wanted, terms)


def near(found: Any, wanted: np.ndarray, terms: int) -> None:
    rtol = tolerance(np.float32, terms)
    np.testing.assert_allclose(found.detach().cpu().numpy(), wanted, rtol=rtol, atol=rtol * abs(wanted).max())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("where", ["cpu", "kernels"])
def test_gradients_of_any_order(where: str, bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    device = device_of(where, monkeypatch)
    g = ((1, 2, 4, 3), (2, 2, 2, 2), (2,))
    arguments = [nnlab.tensor(drawn(s, 4 + k, np.float64), device=device, requires_grad=True) for k, s in enumerate(g)]
    x, w, b = arguments if bias else (*arguments[:2], None)
    y = conv_relu(x, w, b, 1, 1).detach().cpu().numpy()
    z = after_one_another(x, w, b, 1, 1).detach().cpu().numpy()
    assert (y == 0).any() and np.abs(z[z != 0]).min() > 1e-3  # no kink is near
    given = tuple(arguments if bias else arguments[:2])
    assert gradcheck(lambda *t: conv_relu(*t, stride=1, padding=1), given)
    assert gradgradcheck(lambda *t: conv_relu(*t, stride=1, padding=1), given)


@pytest.mark.parametrize(
    "wanted", [(True, True, True), (True, False, False), (False, True, False), (False, False, True)]
)
@pytest.mark.parametrize("where", ["cpu", "kernels", "tensor cores"])
def test_both_forms_of_the_backward_pass_agree(
    where: str, wanted: tuple[bool, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Raw and differentiable, each gradient alone too; and a second derivative through the mask."""
    device = device_of(where, monkeypatch)
    shapes = (2, 16, 5, 5), (16, 16, 3, 3), (16,)
    tensors = [
        nnlab.tensor(drawn(s, k), device=device, requires_grad=n) for k, (s, n) in enumerate(zip(shapes, wanted))
    ]
    found = []
    for create_graph in (False, True):
        for tensor in tensors:
            tensor.grad = None
        y = conv_relu(*tensors, 1, 1)
        (y * y).sum().backward(create_graph=create_graph)
        found.append([None if t.grad is None else t.grad for t in tensors])
    for raw, graph, want in zip(*found, wanted, strict=True):
        assert (raw is not None) == (graph is not None) == want
        if want:
            near(raw, graph.detach().cpu().numpy(), 144)
    leaf = next(t for t, want in zip(tensors, wanted, strict=True) if want)
    graph, leaf.grad = leaf.grad, None
    (graph * graph).sum().backward()
    assert leaf.grad is not None and np.isfinite(leaf.grad.cpu().numpy()).all() and leaf.grad.abs().max().item() > 0


def test_the_mask_is_all_that_is_kept_on_tensor_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """y may be overwritten afterwards; where y itself is kept that is noticed."""
    for where in ("tensor cores", "kernels"):
        device = device_of(where, monkeypatch)
        x, w = (nnlab.tensor(drawn(s, 1), device=device, requires_grad=True) for s in ((1, 16, 4, 4), (16, 16, 3, 3)))
        y = conv_relu(x, w)
        kept = y._node.mask
        y.detach().zero_()
        if where == "kernels":
            assert kept is None
            with pytest.raises(GraphError, match="modified in place"):
                y.sum().backward()
        else:
            assert kept.dtype == np.uint8 and kept.shape == (4, 4)
            y.sum().backward()
            assert x.grad.abs().max().item() > 0


def test_array_code_of_a_gpu() -> None:
    """On arrays as strict as CuPy's: the CPU's values."""
    be = StrictBackend()
    g = conv_geometry((2, 3, 5, 5), (4, 3, 3, 3), 1, 1)
    x, w, b, dy = (drawn(s, k) for k, s in enumerate((g.x_shape, g.w_shape, g.w_shape[:1], g.y_shape)))
    y, saved = arrays.forward(be, x=be.asarray(x), w=be.asarray(w), b=be.asarray(b), geometry=g)
    wanted, kept = arrays.forward(CPU, x=x, w=w, b=b, geometry=g)
    np.testing.assert_allclose(be.to_numpy(y), wanted, rtol=1e-5, atol=1e-5)
    found, host = arrays.backward(be, dy=be.asarray(dy), saved=saved), arrays.backward(CPU, dy=dy, saved=kept)
    np.testing.assert_array_equal(be.to_numpy(found), host)


def test_a_result_with_gaps_is_rectified_too(monkeypatch: pytest.MonkeyPatch) -> None:
    g = conv_geometry((1, 2, 3, 3), (2, 2, 1, 1))
    values = drawn(g.y_shape, 3)
    monkeypatch.setattr(arrays.conv, "forward", lambda *_, **__: values)
    y, _ = arrays.forward(CPU, x=values, w=values, geometry=g)
    np.testing.assert_array_equal(y, np.maximum(values, 0))


def test_an_image_without_a_batch() -> None:
    x, w = drawn((3, 6, 6), 1), drawn((4, 3, 3, 3), 2)
    y = conv_relu(nnlab.tensor(x), nnlab.tensor(w))
    assert y.shape == (4, 4, 4)
    np.testing.assert_array_equal(y.numpy(), conv_relu(nnlab.tensor(x[None]), nnlab.tensor(w)).numpy()[0])


def test_bad_weights() -> None:
    with pytest.raises(ShapeError, match=r"\[conv_relu\] 'weight' must have 3 to 5 dimensions, got \(2, 3\)"):
        conv_relu(nnlab.ones(1, 3, 4), nnlab.ones(2, 3))
    with pytest.raises(ShapeError, match=r"\[conv1d\] 'input' must have 2 channels"):
        conv_relu(nnlab.ones(1, 3, 4), nnlab.ones(2, 2, 1))


@pytest.mark.torch
def test_peer() -> None:
    torch = pytorch()
    values = [drawn(s, k, np.float64) for k, s in enumerate(((2, 4, 7, 6), (6, 2, 3, 3), (6,)))]
    ours = [nnlab.tensor(a, requires_grad=True) for a in values]
    theirs = [torch.tensor(a, requires_grad=True) for a in values]
    y = conv_relu(*ours, stride=2, padding=1, groups=2)
    ty = torch.relu(torch.nn.functional.conv2d(*theirs, stride=2, padding=1, groups=2))
    (y * y).sum().backward()
    (ty * ty).sum().backward()
    np.testing.assert_allclose(y.detach().numpy(), ty.detach().numpy(), rtol=1e-12, atol=1e-13)
    for mine, other in zip(ours, theirs):
        np.testing.assert_allclose(mine.grad.numpy(), other.grad.numpy(), rtol=1e-12, atol=1e-12)
