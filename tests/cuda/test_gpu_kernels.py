"""On a real GPU: kernels on arrays of some size against the CPU. Skipped elsewhere (see --require-gpu)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nnlab.backend import get_backend
from nnlab.geometry import pool_geometry
from nnlab.ops import avg_pool, local_response_norm, max_pool, relu
from tests.cuda.case import DTYPES, near
from tests.ops.common import CPU, rng

pytestmark = pytest.mark.gpu


@pytest.fixture
def be() -> Any:
    return get_backend("cuda")


def draw(key: int, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    return rng(101, key).standard_normal(shape).astype(dtype)


def same(be: Any, found: Any, wanted: np.ndarray, terms: int) -> None:
    host = be.to_numpy(found)
    assert host.dtype == wanted.dtype
    near(host, wanted.astype(np.float64), terms)


@pytest.mark.parametrize("dtype", DTYPES)
def test_max_pool(be: Any, dtype: str) -> None:
    x = draw(1, (3, 5, 33, 70), dtype)
    geometry = pool_geometry(x.shape, 3, 2, 1, ceil_mode=True)
    want_y, want_index = max_pool.forward(CPU, x=x, geometry=geometry)
    y, index = max_pool.forward(be, x=be.asarray(x), geometry=geometry)
    np.testing.assert_array_equal(be.to_numpy(y), want_y, strict=True)
    np.testing.assert_array_equal(be.to_numpy(index), want_index, strict=True)
    dy = draw(2, want_y.shape, dtype)
    dx = max_pool.scatter(be, dy=be.asarray(dy), index=index, geometry=geometry)
    same(be, dx, max_pool.scatter(CPU, dy=dy, index=want_index, geometry=geometry), 4)
    again = max_pool.gather(be, x=be.asarray(x), index=index, geometry=geometry)
    np.testing.assert_array_equal(be.to_numpy(again), want_y, strict=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_avg_pool(be: Any, dtype: str) -> None:
    x = draw(3, (2, 5, 9, 33, 20), dtype)
    options: dict[str, Any] = {
        "geometry": pool_geometry(x.shape, 3, 2, 1, ceil_mode=True),
        "count_include_pad": False,
        "divisor_override": None,
    }
    y = avg_pool.forward(CPU, x=x, **options)
    same(be, avg_pool.forward(be, x=be.asarray(x), **options), y, 27)
    same(be, avg_pool.backward(be, dy=be.asarray(y), **options), avg_pool.backward(CPU, dy=y, **options), 8)
    out = (4, 7, 25)
    y = avg_pool.adaptive_forward(CPU, x=x, out=out)
    same(be, avg_pool.adaptive_forward(be, x=be.asarray(x), out=out), y, 60)
    dx = avg_pool.adaptive_backward(CPU, dy=y, size=x.shape[2:])
    same(be, avg_pool.adaptive_backward(be, dy=be.asarray(y), size=x.shape[2:]), dx, 8)


@pytest.mark.parametrize("dtype", DTYPES)
def test_relu_and_local_response_norm(be: Any, dtype: str) -> None:
    x, dy = draw(4, (3, 17, 6, 7), dtype), draw(5, (3, 17, 6, 7), dtype)
    y = relu.forward(be, x=be.asarray(x))
    np.testing.assert_array_equal(be.to_numpy(y), relu.forward(CPU, x=x), strict=True)
    dx = be.to_numpy(relu.backward(be, dy=be.asarray(dy), y=y))
    np.testing.assert_array_equal(dx, np.where(x > 0, dy, 0), strict=True)
    window: dict[str, Any] = {"size": 5, "alpha": 0.5, "beta": 0.75}
    want_y, want_s = local_response_norm.forward(CPU, x=x, k=2.0, **window)
    z, s = local_response_norm.forward(be, x=be.asarray(x), k=2.0, **window)
    same(be, z, want_y, 7)
    same(be, s, want_s, 7)
    dx = local_response_norm.backward(be, dy=be.asarray(dy), x=be.asarray(x), s=s, **window)
    same(be, dx, local_response_norm.backward(CPU, dy=dy, x=x, s=want_s, **window), 14)
