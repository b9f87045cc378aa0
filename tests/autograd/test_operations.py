"""Tensor operations: values and gradients against PyTorch (where installed) and against finite differences (always)."""

from __future__ import annotations

import numpy as np
import pytest

import nnlab
from nnlab.testing import gradcheck, gradgradcheck, spaced

# Each entry: name, function of (library, a (3, 4), b (4,) positive), whether it is differentiable.
CASES = [
    ("add", lambda L, a, b: a + b),
    ("radd_number", lambda L, a, b: 2 + a),
    ("sub", lambda L, a, b: a - b),
    ("rsub_number", lambda L, a, b: 2.5 - a),
    ("mul", lambda L, a, b: a * b * 3),
    ("div", lambda L, a, b: a / b),
    ("rdiv_number", lambda L, a, b: 1.5 / b),
    ("pow_number", lambda L, a, b: b**2.5),
    ("pow_zero", lambda L, a, b: a**0),
    ("pow_tensor", lambda L, a, b: b**a),
    ("rpow_number", lambda L, a, b: 2.0**a),
    ("neg", lambda L, a, b: -a),
    ("maximum", lambda L, a, b: L.maximum(a, b - 3)),
    ("minimum", lambda L, a, b: L.minimum(a, b - 3)),
    ("clamp", lambda L, a, b: a.clamp(-0.03, 0.04)),
    ("clamp_min", lambda L, a, b: a.clamp(min=-0.03)),
    ("where", lambda L, a, b: L.where(a > 0, a, b)),
    ("exp", lambda L, a, b: a.exp()),
    ("expm1", lambda L, a, b: a.expm1()),
    ("log", lambda L, a, b: b.log()),
    ("log1p", lambda L, a, b: b.log1p()),
    ("log2", lambda L, a, b: b.log2()),
    ("log10", lambda L, a, b: b.log10()),
    ("sqrt", lambda L, a, b: b.sqrt()),
    ("rsqrt", lambda L, a, b: b.rsqrt()),
    ("reciprocal", lambda L, a, b: b.reciprocal()),
    ("square", lambda L, a, b: a.square()),
    ("abs", lambda L, a, b: a.abs()),
    ("sin_cos_tan", lambda L, a, b: a.sin() * b.cos() + a.tan()),
    ("atan", lambda L, a, b: a.atan()),
    ("tanh", lambda L, a, b: a.tanh()),
    ("sigmoid", lambda L, a, b: a.sigmoid()),
    ("sum", lambda L, a, b: a.sum()),
    ("sum_dim", lambda L, a, b: a.sum(1, keepdim=True)),
    ("sum_dims", lambda L, a, b: a.sum((0, 1))),
    ("mean", lambda L, a, b: a.mean(0)),
    ("var", lambda L, a, b: a.var(1)),
    ("var_biased", lambda L, a, b: a.var(0, unbiased=False)),
    ("std", lambda L, a, b: a.std()),
    ("prod", lambda L, a, b: b.prod()),
    ("prod_dim", lambda L, a, b: a.prod(1, keepdim=True)),
    ("cumsum", lambda L, a, b: a.cumsum(1)),
    ("amax", lambda L, a, b: a.amax(1)),
    ("amin_all", lambda L, a, b: a.amin()),
    ("max_all", lambda L, a, b: a.max()),
    ("max_dim", lambda L, a, b: a.max(1)[0]),
    ("min_dim", lambda L, a, b: a.min(0, keepdim=True)[0]),
    ("logsumexp", lambda L, a, b: a.logsumexp(1)),
    ("norm", lambda L, a, b: a.norm()),
    ("norm_1", lambda L, a, b: a.norm(1)),
    ("norm_3", lambda L, a, b: b.norm(3)),
    ("norm_inf", lambda L, a, b: a.norm(float("inf"))),
    ("sort", lambda L, a, b: a.sort(1, descending=True)[0] * b),
    ("topk", lambda L, a, b: a.topk(2, 1)[0]),
    ("matmul_mv", lambda L, a, b: a @ b),
    ("matmul_vv", lambda L, a, b: b @ b),
    ("matmul_mm", lambda L, a, b: a @ a.T),
    ("matmul_batch", lambda L, a, b: a.reshape(3, 2, 2) @ b.reshape(2, 2)),
    ("matmul_vm", lambda L, a, b: b @ a.T),
    ("reshape", lambda L, a, b: a.reshape(2, -1) * 2),
    ("permute", lambda L, a, b: a.reshape(3, 2, 2).permute(2, 0, 1) * 2),
    ("transpose", lambda L, a, b: a.transpose(0, 1) * 2),
    ("movedim", lambda L, a, b: a.reshape(3, 2, 2).movedim(0, 2) * 2),
    ("expand", lambda L, a, b: b.expand(3, 4) * a),
    ("squeeze", lambda L, a, b: a.reshape(3, 1, 4).squeeze(1) * b),
    ("unsqueeze", lambda L, a, b: a.unsqueeze(-1) * 2),
    ("flatten", lambda L, a, b: a.flatten() * 2),
    ("unflatten", lambda L, a, b: a.unflatten(1, (2, -1)) * 2),
    ("cat", lambda L, a, b: L.cat([a, a * b], 1)),
    ("stack", lambda L, a, b: L.stack([a, a * b], -1)),
    ("split", lambda L, a, b: a.split(3, 1)[1] * 2),
    ("split_sections", lambda L, a, b: a.split([1, 3], 1)[1] * 2),
    ("chunk", lambda L, a, b: a.chunk(2, 1)[0] * 2),
    ("unbind", lambda L, a, b: a.unbind(1)[2] * 2),
    ("flip", lambda L, a, b: a.flip(0, 1) * b),
    ("roll", lambda L, a, b: L.roll(a, (1, -2), (0, 1)) * b),
    ("repeat", lambda L, a, b: a.repeat(2, 1, 3) * 2),
    ("index_int", lambda L, a, b: a[1] * 2),
    ("index_slice", lambda L, a, b: a[:, 1:3] * 2),
    ("index_step", lambda L, a, b: a[::2, ::3] * 2),
    ("index_none_ellipsis", lambda L, a, b: a[None, ..., 0] * 2),
    ("index_list_repeats", lambda L, a, b: a[[0, 2, 0]] * b),
    ("index_pair", lambda L, a, b: a[[0, 2, 0], [1, 1, 1]] * 2),
    ("index_mask", lambda L, a, b: a[a > 0] * 2),
    ("masked_fill", lambda L, a, b: a.masked_fill(a > 0, 2.0) * b),
    ("masked_select", lambda L, a, b: a.masked_select(a > 0) * 2),
    ("narrow", lambda L, a, b: a.narrow(1, 1, 2) * 2),
    ("clone_contiguous", lambda L, a, b: a.T.contiguous() * a.clone().T),
]
IDS = [name for name, _ in CASES]
FUNCTIONS = [function for _, function in CASES]


def operands() -> tuple[nnlab.Tensor, nnlab.Tensor]:
    """a (3, 4): distinct, non-zero, not contiguous; b (4,): positive."""
    a = nnlab.tensor(np.asfortranarray(spaced((3, 4), seed=1).numpy())).requires_grad_()
    b = (spaced((4,), seed=2, gap=0.5) + 2.0).detach().requires_grad_()
    return a, b


@pytest.mark.parametrize("function", FUNCTIONS, ids=IDS)
def test_gradients_against_differences(function):
    a, b = operands()
    y = function(nnlab, a, b)
    inputs = [
        t if nnlab.grad(y.sum(), t, retain_graph=True, allow_unused=True)[0] is not None else t.detach() for t in (a, b)
    ]
    gradcheck(lambda *x: function(nnlab, *x), inputs)
    gradgradcheck(lambda *x: function(nnlab, *x), inputs, atol=1e-5)


@pytest.mark.torch
@pytest.mark.parametrize("function", FUNCTIONS, ids=IDS)
def test_values_and_gradients_against_torch(function):
    torch = pytest.importorskip("torch")
    a, b = operands()
    ta, tb = (torch.tensor(t.detach().numpy(), requires_grad=True) for t in (a, b))
    y, ty = function(nnlab, a, b), function(torch, ta, tb)
    assert tuple(y.shape) == tuple(ty.shape)
    np.testing.assert_allclose(y.detach().numpy(), ty.detach().numpy(), rtol=1e-12, atol=1e-14)
    w = np.random.default_rng(0).standard_normal(y.shape)
    y.backward(nnlab.tensor(w))
    ty.backward(torch.tensor(w))
    for ours, theirs in ((a, ta), (b, tb)):
        if theirs.grad is None:
            assert ours.grad is None
        else:
            np.testing.assert_allclose(ours.grad.numpy(), theirs.grad.numpy(), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("function", [f for _, f in CASES if _ in ("add", "mul", "matmul_mm", "sum", "exp")])
def test_float32_stays_float32(function):
    a, b = (t.detach().float().requires_grad_() for t in operands())
    y = function(nnlab, a, b)
    y.sum().backward()
    assert y.dtype == nnlab.float32
    assert a.grad.dtype == nnlab.float32


@pytest.mark.torch
@pytest.mark.parametrize(
    "function",
    [
        lambda L, a: a == 2,
        lambda L, a: a != 2,
        lambda L, a: a < 2,
        lambda L, a: a <= 2,
        lambda L, a: a > 1.5,
        lambda L, a: a >= 2,
        lambda L, a: (a > 1) & (a < 3),
        lambda L, a: (a > 1) | (a < -1),
        lambda L, a: (a > 1) ^ (a < 2),
        lambda L, a: ~(a > 1),
        lambda L, a: a // 2,
        lambda L, a: a % 3,
        lambda L, a: a.sign(),
        lambda L, a: a.argmax(),
        lambda L, a: a.argmax(1),
        lambda L, a: a.argmin(0, keepdim=True),
        lambda L, a: a.argsort(1),
        lambda L, a: a.all(),
        lambda L, a: a.any(1),
        lambda L, a: a.sum(),
        lambda L, a: a.cumsum(0),
        lambda L, a: a.max(0)[1],
    ],
)
@pytest.mark.parametrize("kind", ["int64", "float64"])
def test_without_gradient_against_torch(function, kind):
    torch = pytest.importorskip("torch")
    values = np.array([[3, -1, 2, 0], [5, 4, -7, 8], [1, 6, 9, -3]]).astype(kind)
    ours, theirs = function(nnlab, nnlab.tensor(values)), function(torch, torch.tensor(values))
    assert np.dtype(str(theirs.dtype).removeprefix("torch.")) == ours.dtype
    np.testing.assert_array_equal(ours.numpy(), theirs.numpy())


def test_rounding_and_tests_on_special_values():
    x = nnlab.tensor([0.5, 1.5, -2.5, float("nan"), float("inf")])
    np.testing.assert_array_equal(x[:3].round().numpy(), [0, 2, -2])
    np.testing.assert_array_equal(x[:3].floor().numpy(), [0, 1, -3])
    np.testing.assert_array_equal(x[:3].ceil().numpy(), [1, 2, -2])
    assert x.isnan().tolist() == [False, False, False, True, False]
    assert x.isinf().tolist() == [False, False, False, False, True]
    assert x.isfinite().tolist() == [True, True, True, False, False]


def test_ties_share_the_gradient():
    x = nnlab.tensor([1.0, 3.0, 3.0, 3.0], requires_grad=True)
    x.max().backward()
    np.testing.assert_allclose(x.grad.numpy(), [0, 1 / 3, 1 / 3, 1 / 3], rtol=1e-6)
    x.grad = None
    x.max(0).values.backward()
    assert x.grad.tolist() == [0, 1, 0, 0]  # along a dimension: the first


def test_nan_propagates_through_extremes():
    x = nnlab.tensor([1.0, float("nan"), 3.0], requires_grad=True)
    y = x.max()
    y.backward()
    assert np.isnan(y.item()) and x.grad.tolist() == [0, 1, 0]
    assert x.detach().argmax().item() == 1
    assert nnlab.maximum(x, 2.0).isnan().tolist() == [False, True, False]


def test_sigmoid_and_logsumexp_do_not_overflow():
    x = nnlab.tensor([-1000.0, 0.0, 1000.0])
    assert x.sigmoid().tolist() == [0.0, 0.5, 1.0]
    assert x.logsumexp(0).item() == 1000.0
    assert nnlab.tensor([-float("inf")] * 2).logsumexp(0).item() == -float("inf")


def test_half_sums_in_float32():
    x = nnlab.ones(5000, dtype=nnlab.float16)
    assert x.sum().item() == 5000.0  # a float16 running sum would stop at 2048


def test_prod_gradient_with_zeros():
    x = nnlab.tensor([0.0, 2.0, 3.0], requires_grad=True)
    x.prod().backward()
    assert x.grad.tolist() == [6.0, 0.0, 0.0]


@pytest.mark.torch
@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_pad_against_torch(mode):
    torch = pytest.importorskip("torch")
    from nnlab.autograd.pad import pad

    x = spaced((2, 3, 5, 4)).requires_grad_()
    tx = torch.tensor(x.detach().numpy(), requires_grad=True)
    amounts = (1, 2, 3, 0)
    value = 1.5 if mode == "constant" else None
    y, ty = pad(x, amounts, mode, value), torch.nn.functional.pad(tx, amounts, mode, value)
    np.testing.assert_array_equal(y.detach().numpy(), ty.detach().numpy())
    w = np.random.default_rng(0).standard_normal(y.shape)
    y.backward(nnlab.tensor(w))
    ty.backward(torch.tensor(w))
    np.testing.assert_allclose(x.grad.numpy(), tx.grad.numpy(), rtol=1e-12)
    gradgradcheck(lambda t: pad(t, amounts, mode, value) * 2, x)


def test_negative_padding_crops():
    from nnlab.autograd.pad import pad

    x = nnlab.arange(6).reshape(2, 3)
    assert pad(x, (-1, 1)).tolist() == [[1, 2, 0], [4, 5, 0]]


def test_zero_size_tensors():
    x = nnlab.zeros(0, 3, requires_grad=True)
    y = (x * 2 + 1).sum() + nnlab.cat([x, x]).sum() + (x @ nnlab.ones(3, 2)).sum()
    y.backward()
    assert y.item() == 0 and x.grad.shape == (0, 3)
    assert nnlab.zeros(2, 0).sum(1).tolist() == [0, 0]
    with pytest.raises(ValueError, match="empty tensor"):
        x.max()
    values, positions = x.max(1)
    assert values.shape == positions.shape == (0,)
    with pytest.raises(ValueError, match="has no argmin"):
        x.argmin(0)


def test_gather_and_scatter_repeat_positions():
    x = spaced((3, 4)).requires_grad_()
    index = nnlab.tensor([[0, 0, 3], [1, 1, 1]])
    y = x.gather(1, index)
    np.testing.assert_array_equal(y.detach().numpy(), np.take_along_axis(x.detach().numpy()[:2], index.numpy(), 1))
    gradcheck(lambda t: t.gather(1, index), x)
    gradgradcheck(lambda t: t.gather(1, index) ** 2, x)
