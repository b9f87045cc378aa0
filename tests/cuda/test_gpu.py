"""On a real GPU: transfers, kernels loaded from cubins, out of memory. Skipped elsewhere (see --require-gpu)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nnlab import random
from nnlab.backend import get_backend
from nnlab.errors import DeviceError, OutOfMemoryError, ShapeError
from nnlab.ops import dropout
from tests.cuda.case import DTYPES

pytestmark = pytest.mark.gpu


@pytest.fixture
def be() -> Any:
    return get_backend("cuda")


@pytest.mark.parametrize("dtype", [*DTYPES, "int64", "bool"])
def test_there_and_back(be: Any, dtype: str) -> None:
    host = np.arange(12).reshape(3, 4).astype(dtype)
    there = be.asarray(host)
    assert be.is_array(there)
    assert not be.is_array(host)
    np.testing.assert_array_equal(be.to_numpy(there), host, strict=True)


def test_philox_words(be: Any) -> None:
    expected = random.philox(get_backend("cpu"), 2**63 + 5, 2**40, 1001)
    np.testing.assert_array_equal(be.to_numpy(random.philox(be, 2**63 + 5, 2**40, 1001)), expected, strict=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("shape", [(), (5,), (33, 1027), (0, 3)])
def test_dropout_equals_the_cpu(be: Any, shape: tuple[int, ...], p: float, dtype: str) -> None:
    cpu = get_backend("cpu")
    x = np.asarray(np.random.default_rng(0).normal(size=shape), dtype)
    expected, expected_saved = dropout.forward(cpu, x=x, p=p, seed=7, offset=2**35)
    y, saved = dropout.forward(be, x=be.asarray(x), p=p, seed=7, offset=2**35)
    np.testing.assert_array_equal(be.to_numpy(saved.mask), expected_saved.mask, strict=True)
    np.testing.assert_array_equal(be.to_numpy(y), expected, strict=True)
    dx = dropout.backward(be, dy=be.asarray(x), saved=saved)
    expected_dx = dropout.backward(cpu, dy=x, saved=expected_saved)
    np.testing.assert_array_equal(be.to_numpy(dx), expected_dx, strict=True)


def test_a_view_is_refused_by_the_gate_not_misread(be: Any) -> None:
    from nnlab.cuda.launch import launch
    from nnlab.ops._cuda.dropout import _BACKWARD

    x = be.xp.ones((4, 3), "float32")
    mask = be.xp.ones((3, 4), bool)
    with pytest.raises(ShapeError, match="contiguous"):
        launch(be, _BACKWARD, threads=12, dy=x.T, mask=mask, dx=be.xp.empty((3, 4), "float32"), n=12, scale=1.0)


def test_out_of_memory_is_ours_and_names_the_bytes(be: Any) -> None:
    size = 4 * be.memory_info()["total"]
    with pytest.raises(OutOfMemoryError, match=rf"\[cuda:0\] out of GPU memory asking for {size:,} bytes"):
        be.xp.empty(size, "uint8")


def test_memory_limit(be: Any) -> None:
    be.empty_cache()
    be.set_memory_limit(be.memory_info()["reserved"] + 2**20)
    try:
        with pytest.raises(OutOfMemoryError):
            be.xp.empty(2**26, "uint8")
    finally:
        be.set_memory_limit(0)
    assert be.xp.empty(2**26, "uint8").nbytes == 2**26


def test_a_card_that_does_not_exist() -> None:
    with pytest.raises(DeviceError, match="'cuda:99' does not exist"):
        get_backend("cuda:99")
