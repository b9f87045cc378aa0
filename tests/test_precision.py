"""``set_float32_matmul_precision``: the setting, the CPU's indifference, and what cuBLAS is told, on a stand-in."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import nnlab
import nnlab.backend
import nnlab.ops
from nnlab import nn
from nnlab.backend import cuda, get_backend
from nnlab.errors import ArgumentError
from nnlab.ops import matmul
from tests.strict_device import StrictBackend


@pytest.fixture(autouse=True)
def _as_found() -> Iterator[None]:
    yield
    nnlab.set_float32_matmul_precision("highest")


class Card(StrictBackend):
    """Notes the precision of products, and which products are made within ``products()``."""

    def __init__(self) -> None:
        super().__init__()
        self.within = False
        self.seen: list[tuple[bool, str]] = []
        module, plain = self.xp, self.xp.matmul

        class Noting:
            def __getattr__(_, name: str) -> Any:
                return self._noted(plain) if name == "matmul" else getattr(module, name)

        self.xp = Noting()

    def _noted(self, plain: Any) -> Any:
        def call(a: Any, b: Any, **kwargs: Any) -> Any:
            self.seen.append((self.within, a.dtype.name))
            return plain(a, b, **kwargs)

        return call

    @contextmanager
    def products(self) -> Iterator[None]:
        self.within = True
        yield
        self.within = False


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    backend, real = Card(), nnlab.backend._backend
    monkeypatch.setattr(nnlab.backend, "_backend", lambda kind, i: backend if kind == "cuda" else real(kind, i))
    monkeypatch.setattr(nnlab.ops, "CUDA_KERNELS", frozenset())
    return backend


def test_setting() -> None:
    assert nnlab.get_float32_matmul_precision() == "highest"
    nnlab.set_float32_matmul_precision("high")
    assert nnlab.get_float32_matmul_precision() == "high"
    assert nnlab.get_float32_conv_precision() == "high"
    nnlab.set_float32_conv_precision("highest")
    assert nnlab.get_float32_matmul_precision() == "high"
    nnlab.set_float32_conv_precision("high")
    must = r"\[set_float32_matmul_precision\] 'precision' must be 'highest' or 'high', got 'medium'"
    with pytest.raises(ArgumentError, match=must):
        nnlab.set_float32_matmul_precision("medium")
    assert nnlab.get_float32_matmul_precision() == "high"


def test_the_cpu_computes_the_same_bits() -> None:
    nnlab.manual_seed(1)
    a, b = nnlab.randn(3, 40, 50), nnlab.randn(50, 60)
    exact = a @ b
    nnlab.set_float32_matmul_precision("high")
    np.testing.assert_array_equal((a @ b).numpy(), exact.numpy())


def test_products_and_only_they_follow_the_setting(card: Card) -> None:
    x = nnlab.randn(4, 3).to("cuda").requires_grad_()
    for product in (lambda: x @ x.T, lambda: x.unsqueeze(0) @ x.T, lambda: nn.functional.linear(x, x)):
        card.seen.clear()
        product().sum().backward()
        assert len(card.seen) >= 2 and all(within for within, _ in card.seen)
    card.seen.clear()
    out = card.xp.empty((4, 4), np.float32)
    matmul.repeated(card, b=x.T._data, rows=4)(x._data, out)
    assert card.seen == [(True, "float32")]
    card.seen.clear()
    nn.BatchNorm1d(3).to("cuda")(
        nnlab.randn(4, 3, 5).to("cuda")
    )  # adds up by products, which are no matrix products of the user's
    assert card.seen and not any(within for within, _ in card.seen)


def test_half_products_reach_the_card_as_they_are(card: Card) -> None:
    """float16 goes to the tensor cores without a copy in float32; but for single numbers, which CuPy would round."""
    x = nnlab.randn(4, 3).half().to("cuda")
    for product, seen in ((lambda: x @ x.T, "float16"), (lambda: x[0] @ x[1], "float32")):
        card.seen.clear()
        assert product().dtype == nnlab.float16
        assert card.seen == [(True, seen)]


def test_cublas_is_told_for_the_time_of_a_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mode of the current handle is TF32 inside and what it was before outside, also after an error."""
    modes, told = {"handle": 2}, []
    cublas: Any = ModuleType("cublas")

    def set_mode(handle: str, mode: int) -> None:
        modes[handle] = mode
        told.append(mode)

    cublas.getMathMode, cublas.setMathMode = modes.get, set_mode
    cupy: Any = ModuleType("cupy")
    cupy.cuda = SimpleNamespace(get_cublas_handle=lambda: "handle")
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    monkeypatch.setitem(sys.modules, "cupy_backends.cuda.libs.cublas", cublas)
    be = object.__new__(cuda.CudaBackend)
    be._thread = threading.local()
    with be.products():
        assert not told
    nnlab.set_float32_matmul_precision("high")
    with be.products():
        assert modes["handle"] == 3  # CUBLAS_TF32_TENSOR_OP_MATH
    with pytest.raises(ValueError, match="within"), be.products():
        raise ValueError("within")
    assert told == [3, 2, 3, 2]
    with get_backend("cpu").products():
        assert modes["handle"] == 2
