"""``autocast``: where it is on, what is cast, the kept copies of weights, and gradients."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import Tensor, autocast, is_autocast_enabled
from nnlab.autograd import tape
from nnlab.autograd.amp import _mode
from nnlab.autograd.elementwise import Cast
from nnlab.errors import DeviceError, DtypeError, GraphError

bfloat16, float16, float32, float64 = nnlab.bfloat16, nnlab.float16, nnlab.float32, nnlab.float64


def eye(dtype: Any = float32, requires_grad: bool = False) -> Tensor:
    return nnlab.eye(3, dtype=dtype).requires_grad_(requires_grad)


@pytest.fixture
def casts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The dtype of each cast."""
    made: list[str] = []
    forward = Cast.forward

    def note(ctx: Any, x: Any, dtype: Any) -> Any:
        made.append(np.dtype(dtype).name)
        return forward(ctx, x, dtype)

    monkeypatch.setattr(Cast, "forward", staticmethod(note))
    return made


@pytest.fixture(autouse=True)
def _left_as_found() -> Iterator[None]:
    yield
    assert _mode.dtypes == {} and _mode.cache is None


def test_default_dtypes() -> None:
    assert not is_autocast_enabled("cpu")
    assert (eye() @ eye()).dtype == float32
    with autocast("cpu"):
        assert is_autocast_enabled("cpu") and not is_autocast_enabled()  # of "cuda"
        assert (eye() @ eye()).dtype == bfloat16
    with autocast("cuda"):
        assert is_autocast_enabled() and not is_autocast_enabled("cpu")
        assert (eye() @ eye()).dtype == float32
        assert _mode.dtypes == {"cuda": float16}
    with autocast("emulated"):
        assert _mode.dtypes == {"emulated": float16}
    assert not is_autocast_enabled("cpu")


def test_nesting() -> None:
    with autocast("cpu"), autocast("cuda"):
        with autocast("cpu", enabled=False):
            assert is_autocast_enabled() and not is_autocast_enabled("cpu")
            assert (eye() @ eye()).dtype == float32
            with autocast("cpu", float16):
                assert (eye() @ eye()).dtype == float16
            assert (eye() @ eye()).dtype == float32
        assert (eye() @ eye()).dtype == bfloat16
    both = autocast("cpu")
    with both, both:
        pass
    assert not is_autocast_enabled("cpu")


def test_an_error_leaves_the_context() -> None:
    with pytest.raises(ValueError, match="within"), autocast("cpu"):
        raise ValueError("within")
    with autocast("cpu"):
        with pytest.raises(nnlab.errors.ShapeError):
            nnlab.matmul(nnlab.ones(2, 3), nnlab.ones(2, 3))
        assert is_autocast_enabled("cpu")


def test_decorator() -> None:
    @autocast("cpu", dtype="float16")
    def product(depth: int) -> Tensor:
        return product(depth - 1) if depth else eye() @ eye()

    assert product(2).dtype == float16
    assert product.__name__ == "product"
    assert not is_autocast_enabled("cpu")


def test_other_threads_are_not_concerned() -> None:
    found = []
    with autocast("cpu"):
        thread = threading.Thread(target=lambda: found.append(is_autocast_enabled("cpu")))
        thread.start()
        thread.join()
    assert found == [False]


def test_which_tensors_are_cast() -> None:
    """float64 and integers stay; where digits count, half types go up and nothing goes down."""
    with autocast("cpu"):
        assert (eye(float64) @ eye(float64)).dtype == float64
        assert (eye(nnlab.int64) @ eye(nnlab.int64)).dtype == nnlab.int64
        assert (eye(float16) @ eye()).dtype == bfloat16
        assert nnlab.exp(eye(float64)).dtype == float64
        assert nnlab.exp(input=eye(bfloat16)).dtype == float32
        assert nnlab.sum(eye(float16), dtype=bfloat16).dtype == bfloat16
        assert (eye(bfloat16) + eye()).dtype == float32
        assert (eye(bfloat16) * 2.0).dtype == bfloat16
        assert eye(bfloat16).exp_().dtype == bfloat16


def test_errors() -> None:
    with pytest.raises(DtypeError, match=r"\[autocast\] 'dtype' must be float16 or bfloat16, got 'float32'"):
        autocast("cpu", float32)
    with pytest.raises(DeviceError, match="must be 'cpu', 'cuda'"):
        autocast("tpu")
    with pytest.raises(DeviceError, match="must be 'cpu', 'cuda'"):
        is_autocast_enabled("tpu")


def test_gradients_are_of_the_leaf_and_rounded_as_its_copy() -> None:
    """d/dw of sum(x w) is x^T 1: exact in float32, here of x and w rounded to 8 bits."""
    x = nnlab.tensor([[1.0, 1 + 2.0**-9]])
    w = nnlab.tensor([[1 + 2.0**-9], [3.0]], requires_grad=True)
    with autocast("cpu"):
        y = x @ w
        y.sum().backward()
    assert y.item() == 4.0
    assert w.grad is not None and w.grad.dtype == float32
    assert w.grad.tolist() == [[1.0], [1.0]]
    assert w.dtype == float32 and w[0].item() == 1 + 2.0**-9


def loss_of(w: Tensor, x: Tensor) -> Tensor:
    return nnlab.exp(x @ w).sum()


@pytest.mark.parametrize("create_graph", [False, True])
def test_backward_inside_is_backward_outside(create_graph: bool) -> None:
    nnlab.manual_seed(4)
    x, start = nnlab.randn(4, 3), nnlab.randn(3, 2)
    found = []
    for inside in (False, True):
        w = start.clone().requires_grad_()
        with autocast("cpu"):
            loss = loss_of(w, x)
            if inside:
                loss.backward(create_graph=create_graph)
        if not inside:
            loss.backward(create_graph=create_graph)
        assert w.grad is not None and w.grad.dtype == float32
        found.append(w.grad.detach().numpy())
    np.testing.assert_array_equal(*found)


def test_weights_are_copied_once(casts: list[str]) -> None:
    w = eye(requires_grad=True)
    x = eye(bfloat16)
    with autocast("cpu"):
        x @ w
        with autocast("cpu"), nnlab.no_grad():
            x @ w
        with autocast("cpu", enabled=False):
            pass
        x @ w
        assert casts == ["bfloat16"]
        with autocast("cpu", cache_enabled=False):
            x @ w
        assert casts == ["bfloat16"] * 2
        with autocast("cpu", float16):
            eye(float16) @ w
        assert casts == ["bfloat16"] * 2 + ["float16"]
    with autocast("cpu"):
        x @ w
        assert len(casts) == 4
        x @ (w * 1)  # no leaf
        x @ (w * 1)
        assert len(casts) == 6
        x @ eye()  # no gradient wanted
        x @ eye()
        assert len(casts) == 8


def test_a_weight_that_changes_is_copied_anew() -> None:
    w = eye(requires_grad=True)
    with autocast("cpu"):
        assert (eye() @ w).sum().item() == 3
        with nnlab.no_grad():
            w.mul_(2)
        assert (eye() @ w).sum().item() == 6
        w.data = nnlab.eye(3) * 3
        assert (eye() @ w).sum().item() == 9


def test_a_copy_made_without_recording_is_not_used_where_gradients_are_wanted() -> None:
    w = eye(requires_grad=True)
    with autocast("cpu"):
        with nnlab.no_grad():
            eye() @ w
        (eye() @ w).sum().backward()
    assert w.grad is not None and w.grad.tolist() == [[1.0] * 3] * 3


def test_two_graphs_share_a_copy() -> None:
    """The first backward does not free what the second one needs; elsewhere a freed graph is an error."""
    w = eye(requires_grad=True)
    with autocast("cpu"):
        first, second = (eye() @ w).sum(), (eye() @ w * 2).sum()
    first.backward()
    second.backward()
    assert w.grad is not None and w.grad.tolist() == [[3.0] * 3] * 3
    with pytest.raises(GraphError, match="freed"):
        second.backward()


def test_gradients_take_the_dtype_of_their_tensor() -> None:
    """A backward written in float32 for a half tensor."""

    class Widened(tape.Op):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x.astype(np.float32)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            return dy

    leaf = eye(float16, requires_grad=True)
    inner = leaf * 1
    inner.retain_grad()
    Widened.apply(inner).sum().backward()
    assert inner.grad is not None and inner.grad.dtype == float16
    Widened.apply(leaf).sum().backward()
    assert leaf.grad is not None and leaf.grad.dtype == float16


def test_a_mean_of_half_types_is_rounded_once() -> None:
    """The sum of 70,000 ones is no float16, their mean is."""
    x = nnlab.ones(70_000, dtype=float16).requires_grad_()
    y = x.mean()
    assert y.dtype == float16 and y.item() == 1.0
    y.backward()
    assert x.grad is not None and x.grad[0].item() == np.float16(1 / 70_000)
