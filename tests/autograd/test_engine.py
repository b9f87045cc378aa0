"""Gradients that another thread computes while the backward pass goes on."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

import nnlab
from nnlab.autograd.tape import Op


class Aside(Op):
    """x * w, whose gradient of w is given as a function, as if another thread computed it."""

    waited: ClassVar[list[str]] = []

    @staticmethod
    def forward(ctx: Any, x: Any, w: Any, name: str) -> Any:
        ctx.save_inputs(0, 1)
        ctx.name = name
        return x * w

    @staticmethod
    def backward_raw(ctx: Any, dy: Any) -> Any:
        x, w, name = ctx.input_raw(0), ctx.input_raw(1), ctx.name

        def later() -> Any:
            Aside.waited.append(name)
            if name == "bad":
                raise ValueError("aside")
            return dy * x

        return dy * w, later


@pytest.fixture
def waited() -> list[str]:
    Aside.waited.clear()
    return Aside.waited


def test_a_leafs_gradient_is_waited_for_at_the_end(waited: list[str]) -> None:
    x, v, w = (nnlab.tensor([value], requires_grad=True) for value in (2.0, 3.0, 5.0))
    seen: list[list[str]] = []
    v.register_hook(lambda gradient: seen.append([*waited, "hook"]))
    middle = Aside.apply(x, v, "v")
    middle.register_hook(lambda gradient: seen.append([*waited]))
    Aside.apply(middle, w, "w").backward()
    assert [t.grad.item() for t in (x, v, w)] == [15, 10, 6]
    assert seen == [[], ["w", "v", "hook"]]
    (found,) = nnlab.autograd.grad(Aside.apply(x * 1, w, "w"), [w])
    assert found.item() == 2


def test_a_gradient_aside_of_what_is_no_leaf_or_is_used_twice(waited: list[str]) -> None:
    x, w = nnlab.tensor([2.0], requires_grad=True), nnlab.tensor([5.0], requires_grad=True, dtype=nnlab.float64)
    Aside.apply(Aside.apply(x, w.float() * 3, "first"), w.float(), "second").backward()
    assert w.grad.item() == 2 * 2 * 3 * 5 and w.grad.dtype == nnlab.float64
    u = nnlab.tensor([5.0], requires_grad=True)
    Aside.apply(Aside.apply(x, u, "first"), u, "second").backward()
    assert u.grad.item() == 2 * 2 * 5


def test_an_error_aside_leaves_all_gradients_as_they_were(waited: list[str]) -> None:
    x, v, w = (nnlab.tensor([value], requires_grad=True) for value in (2.0, 3.0, 5.0))
    x.grad = nnlab.tensor([7.0])
    with pytest.raises(ValueError, match="aside"):
        Aside.apply(Aside.apply(x, w, "bad"), v, "good").backward()
    assert waited == ["good", "bad"]
    assert x.grad.item() == 7 and v.grad is None and w.grad is None
