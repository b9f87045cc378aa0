"""The tape: graphs, in-place operations, hooks, errors, dtypes, devices, exchange with other libraries."""

from __future__ import annotations

import copy
import gc
import weakref

import numpy as np
import pytest

import nnlab
from nnlab.errors import ArgumentError, DeviceError, DtypeError, GraphError, ShapeError
from nnlab.testing import GradcheckError, gradcheck, gradgradcheck, spaced


def leaf(*values: float) -> nnlab.Tensor:
    return nnlab.tensor(values, dtype=nnlab.float64, requires_grad=True)


class TestBackward:
    def test_diamond_adds_both_paths(self):
        x = leaf(3.0)
        a = x * 2
        (a * a + a).sum().backward()
        assert x.grad.tolist() == [2 * 2 * 6 + 2.0]

    def test_gradients_accumulate_over_calls(self):
        x = leaf(1.0, 2.0)
        (x * x).sum().backward()
        (x * 3).sum().backward()
        assert x.grad.tolist() == [5.0, 7.0]

    def test_shared_gradient_arrays_are_separated(self):
        x, y = leaf(1.0), leaf(2.0)
        (x + y).sum().backward()
        x.grad.mul_(10)
        assert y.grad.tolist() == [1.0]

    def test_broadcast_gradient_is_a_real_array(self):
        x = leaf(1.0, 2.0)
        x.sum().backward()
        x.grad.add_(1)
        assert x.grad.tolist() == [2.0, 2.0]

    def test_callers_gradient_is_not_taken_over(self):
        x, g = leaf(1.0, 2.0), nnlab.tensor([3.0, 4.0], dtype=nnlab.float64)
        x.clone().backward(g)
        x.grad.mul_(0)
        assert g.tolist() == [3.0, 4.0]

    def test_deep_chain_needs_no_recursion(self):
        x = leaf(1.0)
        y = x
        for _ in range(20000):
            y = y + 0.0
        y.sum().backward()
        assert x.grad.tolist() == [1.0]

    def test_second_backward_needs_retain_graph(self):
        x = leaf(2.0)
        y = (x * x).sum()
        y.backward(retain_graph=True)
        y.backward()
        assert x.grad.tolist() == [8.0]
        with pytest.raises(GraphError, match="retain_graph"):
            y.backward()

    def test_third_derivative(self):
        x = leaf(2.0)
        y = (x**4).sum()
        for expected in (32.0, 48.0, 48.0):
            (y,) = nnlab.grad(y, x, create_graph=True)
            assert y.item() == pytest.approx(expected)
            y = y.sum()

    def test_grad_leaves_grad_fields_alone(self):
        x, w = leaf(2.0), leaf(3.0)
        h = x * w
        gx, gh = nnlab.grad((h * h).sum(), [x, h])
        assert gx.tolist() == [36.0] and gh.tolist() == [12.0]
        assert x.grad is None and w.grad is None

    def test_grad_computes_only_what_was_asked_for(self):
        asked = []

        class Product(nnlab.Function):
            @staticmethod
            def forward(ctx, a, b):
                ctx.save_for_backward(a, b)
                return a * b

            @staticmethod
            def backward(ctx, dy):
                asked.append(ctx.needs_input_grad)
                a, b = ctx.saved_tensors
                return dy * b, dy * a

        x, w, v = leaf(2.0), leaf(3.0), leaf(4.0)
        y = Product.apply(x, w) + Product.apply(v, v)
        assert nnlab.grad(y, x, retain_graph=True)[0].tolist() == [3.0]
        assert asked == [(True, False)]
        y.backward()
        assert asked[1:] == [(True, True)] * 2
        assert w.grad.tolist() == [2.0]

    def test_grad_of_unused_input(self):
        x, unused = leaf(1.0), leaf(1.0)
        with pytest.raises(GraphError, match="input 1"):
            nnlab.grad((x * 2).sum(), [x, unused])
        assert nnlab.grad((x * 2).sum(), [x, unused], allow_unused=True)[1] is None

    def test_needs_a_gradient_for_several_elements(self):
        with pytest.raises(GraphError, match=r"\(2,\)"):
            leaf(1.0, 2.0).clone().backward()
        with pytest.raises(ShapeError, match="gradient"):
            leaf(1.0, 2.0).clone().backward(nnlab.ones(3, dtype=nnlab.float64))

    def test_nothing_to_differentiate(self):
        with pytest.raises(GraphError, match="does not require grad"):
            nnlab.ones(1).backward()

    def test_graph_is_freed_with_its_result(self):
        x = leaf(1.0)
        h = x.exp()
        node = weakref.ref(h.grad_fn)
        gc.disable()
        try:
            y = (h * 2).sum()
            del h, y
            assert node() is None
        finally:
            gc.enable()


class TestModes:
    def test_no_grad_as_context_and_decorator(self):
        x = leaf(1.0)

        @nnlab.no_grad()
        def double(t):
            with nnlab.enable_grad():
                assert (t * 2).requires_grad
            return t * 2

        assert not double(x).requires_grad
        with nnlab.no_grad():
            assert not nnlab.is_grad_enabled()
        assert nnlab.is_grad_enabled()

    def test_set_grad_enabled(self):
        with nnlab.set_grad_enabled(False):
            assert not nnlab.is_grad_enabled()
        assert nnlab.is_grad_enabled()

    def test_only_floating_tensors_require_grad(self):
        with pytest.raises(DtypeError, match="int64"):
            nnlab.tensor([1]).requires_grad_()
        assert not leaf(1.0, 2.0).argmax().requires_grad


class TestInPlace:
    def test_becomes_part_of_the_graph(self):
        x = leaf(1.0, 2.0)
        y = x * 2
        y.mul_(3).add_(1)
        y[0] = x[1] * 5
        y.sum().backward()
        assert y.tolist() == [10.0, 13.0]
        assert x.grad.tolist() == [0.0, 11.0]

    def test_operators_change_the_same_memory(self):
        x = nnlab.ones(3)
        alias = x.detach()
        x += 1
        x *= 3
        x -= 1
        x /= 2
        assert alias.tolist() == [2.5] * 3

    def test_old_values_are_kept_where_the_gradient_needs_them(self):
        x, w = leaf(3.0), leaf(5.0)
        y = x * 2
        y.mul_(w)
        y.sum().backward()
        assert x.grad.tolist() == [10.0] and w.grad.tolist() == [6.0]

    def test_operand_that_backward_does_not_need_may_change(self):
        x, w = leaf(3.0), nnlab.tensor([5.0], dtype=nnlab.float64)
        y = (w * x).sum()
        with nnlab.no_grad():
            x.add_(1)  # d(w x)/dx = w
        y.backward()
        assert x.grad.tolist() == [5.0]

    def test_leaf_is_protected(self):
        x = leaf(1.0)
        with pytest.raises(GraphError, match="leaf"):
            x.add_(1)
        with pytest.raises(GraphError, match="leaf"):
            x[0] = 1.0
        with nnlab.no_grad():
            x.add_(1)
        assert x.tolist() == [2.0]

    def test_changed_saved_tensor_is_noticed(self):
        x = leaf(1.0)
        h = x * 2
        y = h * h
        h.add_(1)
        with pytest.raises(GraphError, match=r"\[Mul\].*in place"):
            y.sum().backward()

    def test_changed_saved_result_is_noticed(self):
        for function in (lambda t: t.exp(), lambda t: t.relu(), lambda t: t.softmax(0)):
            h = function(leaf(-1.0, 2.0))
            h.add_(1)
            with pytest.raises(GraphError, match="in place"):
                h.sum().backward()

    def test_changed_through_a_view_is_noticed(self):
        w = nnlab.ones(2, 2, dtype=nnlab.float64)
        x = leaf(1.0, 2.0)
        y = (w @ x).sum()
        w[0].zero_()
        with pytest.raises(GraphError, match="in place"):
            y.backward()

    def test_unsaved_tensor_may_change(self):
        x = leaf(1.0)
        h = x * 2
        y = h + 1
        h.zero_()
        y.sum().backward()
        assert x.grad.tolist() == [2.0]

    def test_stale_view_is_noticed(self):
        x = leaf(1.0, 2.0)
        h = x * 2
        view = h[0:1]
        h.mul_(3)
        with pytest.raises(GraphError, match="view"):
            view * 2

    def test_view_in_graph_is_protected(self):
        h = leaf(1.0, 2.0) * 2
        with pytest.raises(GraphError, match="view"):
            h[0:1].mul_(2)

    def test_result_must_fit(self):
        x = nnlab.tensor([1, 2])
        with pytest.raises(DtypeError, match="float32"):
            x.mul_(1.5)
        with pytest.raises(ShapeError):
            x.add_(nnlab.ones(2, 2, dtype=nnlab.int64))

    def test_setitem_broadcasts_and_routes(self):
        def function(a, b):
            y = a * 1.0
            y[1:, [0, 2]] = b
            y[0] = 7.0
            return y

        a = spaced((3, 4)).requires_grad_()
        b = spaced((2,), seed=3).requires_grad_()
        gradcheck(function, (a, b))
        gradgradcheck(lambda *t: function(*t) ** 2, (a, b))

    def test_copy_fill_clamp(self):
        x = nnlab.zeros(2, 2)
        x.copy_(nnlab.tensor([1, 2]))
        assert x.tolist() == [[1, 2], [1, 2]] and x.dtype == nnlab.float32
        assert x.clamp_(max=1.5).fill_(3).tolist() == [[3, 3], [3, 3]]


class TestViews:
    def test_views_share_memory(self):
        x = nnlab.zeros(2, 3)
        for view in (x.view(6), x.T, x[0], x[:, ::2], x.expand(4, 2, 3), x.unsqueeze(0), x.detach(), x.flatten()):
            assert np.shares_memory(view.numpy(), x.numpy())
        assert not np.shares_memory(x.clone().numpy(), x.numpy())
        assert not np.shares_memory(x[[0]].numpy(), x.numpy())

    def test_view_refuses_a_copy(self):
        with pytest.raises(ShapeError, match="view"):
            nnlab.zeros(2, 3).T.view(6)

    def test_expanded_memory_is_read_only(self):
        with pytest.raises(ValueError, match="read-only"):
            nnlab.zeros(1).expand(3).add_(1)


class TestHooks:
    def test_hook_sees_and_replaces(self):
        x = leaf(1.0)
        h = x * 2
        seen = []
        h.register_hook(lambda g: seen.append(g.item()))
        remove = x.register_hook(lambda g: g * 10)
        (h * 3).sum().backward(retain_graph=True)
        assert seen == [3.0] and x.grad.tolist() == [60.0]
        remove()
        x.grad = None
        (x * 1).sum().backward()
        assert x.grad.tolist() == [1.0]

    def test_retain_grad(self):
        h = leaf(1.0) * 2
        h.retain_grad()
        (h * 3).sum().backward()
        assert h.grad.tolist() == [3.0]


class Cube(nnlab.Function):
    @staticmethod
    def forward(ctx, x, scale):
        y = x * x
        ctx.save_for_backward(x, y)
        ctx.scale = scale
        return y * x * scale

    @staticmethod
    def backward(ctx, dy):
        x, y = ctx.saved_tensors
        assert ctx.needs_input_grad == (True, False)
        return dy * (x * x + 2 * y.detach()) * ctx.scale, None


class SquareAndSign(nnlab.Function):
    @staticmethod
    def forward(ctx, x):
        y, s = x * x, x.sign()
        ctx.save_for_backward(x)
        ctx.mark_non_differentiable(s)
        return y, s

    @staticmethod
    def backward(ctx, dy, ds):
        (x,) = ctx.saved_tensors
        return dy * 2 * x


class TestFunction:
    def test_own_function(self):
        x = spaced((3,)).requires_grad_()
        gradcheck(Cube.apply, (x, 2.0))

    def test_several_results(self):
        x = spaced((3,)).requires_grad_()
        y, s = SquareAndSign.apply(x)
        assert y.requires_grad and not s.requires_grad
        gradcheck(lambda t: SquareAndSign.apply(t)[0], x)
        gradgradcheck(lambda t: SquareAndSign.apply(t)[0], x)

    def test_gradcheck_finds_a_wrong_gradient(self):
        class Wrong(Cube):
            @staticmethod
            def backward(ctx, dy):
                return dy * 2, None

        with pytest.raises(GradcheckError, match="input 0"):
            gradcheck(Wrong.apply, (spaced((3,)).requires_grad_(), 2.0))


class TestDtypes:
    KINDS = ("bool", "uint8", "int32", "int64", "float16", "bfloat16", "float32", "float64")

    @pytest.mark.torch
    @pytest.mark.parametrize("first", KINDS)
    @pytest.mark.parametrize("second", KINDS)
    def test_promotion_table(self, first, second):
        torch = pytest.importorskip("torch")
        shapes = [((2,), (2,)), ((2,), ()), ((), (2,)), ((), ())]
        for s, t in shapes:
            ours = nnlab.ones(*s, dtype=first) * nnlab.ones(*t, dtype=second)
            theirs = torch.ones(s, dtype=getattr(torch, first)) * torch.ones(t, dtype=getattr(torch, second))
            assert str(theirs.dtype) == f"torch.{ours.dtype.name}", (s, t)

    @pytest.mark.torch
    @pytest.mark.parametrize("kind", KINDS)
    def test_promotion_with_numbers(self, kind):
        torch = pytest.importorskip("torch")
        for number in (True, 2, 1.5):
            ours = nnlab.ones(2, dtype=kind) * number
            theirs = torch.ones(2, dtype=getattr(torch, kind)) * number
            assert str(theirs.dtype) == f"torch.{ours.dtype.name}", number
        assert (nnlab.ones(2, dtype=kind) / 2).is_floating_point()

    def test_data_decides(self):
        assert nnlab.tensor([1.0]).dtype == nnlab.float32
        assert nnlab.tensor([1]).dtype == nnlab.int64
        assert nnlab.tensor([True]).dtype == nnlab.bool_
        assert nnlab.tensor(np.zeros(2)).dtype == nnlab.float64
        assert nnlab.tensor([1, 2], dtype="float16").dtype == nnlab.float16

    def test_casts(self):
        x = nnlab.tensor([1.7, -1.2], requires_grad=True)
        assert x.int().tolist() == [1, -1]
        assert [t.dtype.name for t in (x.half(), x.double(), x.long(), x.bool())] == [
            "float16",
            "float64",
            "int64",
            "bool",
        ]
        x.double().sum().backward()
        assert x.grad.dtype == nnlab.float32

    def test_bad_dtypes(self):
        for bad in ("complex64", "float31", object):
            with pytest.raises(DtypeError, match="dtype"):
                nnlab.zeros(1, dtype=bad)
        with pytest.raises(DtypeError):
            nnlab.tensor(["a"])
        with pytest.raises(DtypeError):
            nnlab.tensor([[1, 2], [3]])
        with pytest.raises(DtypeError, match="does not fit"):
            nnlab.ones(1, dtype=nnlab.uint8) + 300


class TestCreation:
    def test_shapes_and_values(self):
        assert nnlab.zeros(2, 3).shape == (2, 3) == nnlab.zeros((2, 3)).shape
        assert nnlab.full((2,), 7).dtype == nnlab.int64
        assert nnlab.arange(3).tolist() == [0, 1, 2] and nnlab.arange(1, 2, 0.5).tolist() == [1.0, 1.5]
        assert nnlab.linspace(0, 1, 3).tolist() == [0, 0.5, 1]
        assert nnlab.eye(2).tolist() == [[1, 0], [0, 1]]
        assert nnlab.empty(2, 0).numel() == 0
        x = nnlab.ones(2, dtype=nnlab.float64)
        assert nnlab.zeros_like(x).dtype == nnlab.float64 and nnlab.full_like(x, 3).tolist() == [3, 3]
        assert nnlab.ones_like(x, dtype="int64").dtype == nnlab.int64

    def test_tensor_copies_and_from_numpy_shares(self):
        a = np.zeros(2)
        copied, shared = nnlab.tensor(a), nnlab.from_numpy(a)
        a[0] = 5
        assert copied.tolist() == [0, 0] and shared.tolist() == [5, 0]
        assert nnlab.as_tensor(a).tolist() == [5, 0]

    def test_random_numbers_follow_the_seed(self):
        nnlab.manual_seed(3)
        first = [nnlab.randn(4), nnlab.rand(4), nnlab.randperm(9), nnlab.randint(0, 5, (6,))]
        nnlab.manual_seed(3)
        again = [nnlab.randn(4), nnlab.rand(4), nnlab.randperm(9), nnlab.randint(0, 5, (6,))]
        assert all((a == b).all() for a, b in zip(first, again, strict=True))
        assert sorted(first[2].tolist()) == list(range(9))
        assert (nnlab.randn(4) != first[0]).any()
        own = nnlab.Generator(3)
        assert (nnlab.randn(4, generator=own) == first[0]).all()


class TestExchange:
    def test_numpy(self):
        x = nnlab.tensor([1.0, 2.0])
        x.numpy()[0] = 9
        assert x.tolist() == [9, 2]
        with pytest.raises(GraphError, match="detach"):
            leaf(1.0).numpy()
        np.testing.assert_array_equal(np.asarray(x), [9, 2])
        assert isinstance(np.float64(2) * x, nnlab.Tensor)

    def test_dlpack_both_ways(self):
        x = nnlab.tensor([1.0, 2.0])
        a = np.from_dlpack(x)
        x[0] = 5.0
        assert a[0] == 5
        assert nnlab.from_dlpack(a).tolist() == [5, 2]

    @pytest.mark.torch
    def test_dlpack_with_torch(self):
        torch = pytest.importorskip("torch")
        x = nnlab.tensor([1.0, 2.0])
        t = torch.from_dlpack(x)
        t[0] = 7
        assert x.tolist() == [7, 2]
        assert nnlab.from_dlpack(torch.ones(3, dtype=torch.float64)).dtype == nnlab.float64

    def test_deepcopy(self):
        x = leaf(1.0)
        y = copy.deepcopy(x)
        y.requires_grad_(False).add_(1)
        assert x.tolist() == [1.0] and y.tolist() == [2.0]


class TestErrors:
    def test_devices(self):
        for bad in ("gpu", "cuda:x", "cpu:1", ""):
            with pytest.raises(DeviceError, match="cuda:N"):
                nnlab.device(bad)
        assert str(nnlab.device("cuda")) == "cuda:0" and nnlab.device("cuda:1") != "cuda:0"

    def test_messages_name_operation_and_values(self):
        a = nnlab.ones(2, 3)
        cases = [
            (lambda: a + nnlab.ones(4), ShapeError, r"\[Add\] shapes \(2, 3\) and \(4,\)"),
            (lambda: a @ nnlab.ones(2), ShapeError, r"\[matmul\].*\(2, 3\) and \(2,\)"),
            (lambda: a.reshape(5), ShapeError, r"\[reshape\].*\(2, 3\).*\(5,\)"),
            (lambda: a.sum(2), ShapeError, r"\[sum\] 'dim' must be in -2..1.*got 2"),
            (lambda: a.permute(0, 0), ShapeError, "twice"),
            (lambda: a.expand(3, 3), ShapeError, r"\[expand\]"),
            (lambda: a[5], IndexError, r"\[index\] shape \(2, 3\)"),
            (lambda: a.item(), ArgumentError, r"\(2, 3\)"),
            (lambda: bool(a), ArgumentError, "neither true nor false"),
            (lambda: nnlab.cat([a, nnlab.ones(2, 2)], 0), ShapeError, r"\(2, 3\), \(2, 2\)"),
            (lambda: nnlab.stack([a, nnlab.ones(2, 2)]), ShapeError, r"\[stack\]"),
            (lambda: a.split(0), ArgumentError, "positive, got 0"),
            (lambda: a.narrow(1, 2, 2), ShapeError, r"size 3.*\(2, 2\)"),
            (lambda: a.gather(1, nnlab.ones(2, 3)), ShapeError, "integer"),
            (lambda: a.topk(9), ArgumentError, "'k' must be in 0..3, got 9"),
            (lambda: a + "x", DtypeError, "str"),
            (lambda: nnlab.arange(3).mean(), ArgumentError, "int64"),
        ]
        for call, kind, message in cases:
            with pytest.raises(kind, match=message):
                call()

    def test_printing(self):
        assert repr(nnlab.tensor([1.0, 2.0])) == "tensor([1., 2.])"
        assert repr(nnlab.tensor([1.0], requires_grad=True)) == "tensor([1.], requires_grad=True)"
        assert "grad_fn=<MulBackward>" in repr(leaf(1.0) * 2) and "dtype=float64" in repr(leaf(1.0))
        assert repr(nnlab.ones(2, 3).shape) == "Size([2, 3])"
