"""Matrix products against loops, PyTorch's rules for shapes, and independence of the number of threads."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

from nnlab.backend import get_backend
from nnlab.ops import matmul

CPU = get_backend("cpu")
SHAPES = [
    ((1, 1), (1, 1)),
    ((3, 4), (4, 5)),
    ((2, 3, 4), (4, 5)),
    ((2, 1, 3, 4), (5, 4, 2)),
    ((70, 3), (3, 40)),
    ((3, 3), (3, 300)),
    ((0, 3), (3, 2)),
    ((3, 0), (0, 2)),
    ((2, 0, 3), (3, 2)),
]


def loops(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """sum_k a[..., m, k] b[..., k, n] in float64, one term after another."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = np.broadcast_to(a, lead + a.shape[-2:]), np.broadcast_to(b, lead + b.shape[-2:])
    y = np.zeros(lead + (a.shape[-2], b.shape[-1]))
    for at in np.ndindex(*y.shape):
        for k in range(a.shape[-1]):
            y[at] += a[(*at[:-1], k)] * b[(*at[:-2], k, at[-1])]
    return y


@pytest.mark.parametrize(("first", "second"), SHAPES)
def test_against_loops(first, second):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal(first), rng.standard_normal(second[::-1] if len(second) == 2 else second)
    b = b.T if len(second) == 2 else b  # not contiguous
    y = matmul.forward(CPU, a=a, b=b)
    np.testing.assert_allclose(y, loops(a, b), rtol=1e-12, atol=1e-12, strict=True)


def test_half_precision_adds_up_in_float32():
    ones = np.ones((1, 5000), np.float16)
    y = matmul.forward(CPU, a=ones, b=ones.T)
    assert y.dtype == np.float16
    assert y[0, 0] == 5000  # a float16 running sum would stop at 2048


def test_bits_do_not_depend_on_the_number_of_threads(monkeypatch):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((130, 777)).astype(np.float32), rng.standard_normal((777, 210)).astype(np.float32)
    results = []
    for threads in (1, 2, 5):
        monkeypatch.setattr("nnlab.backend.threads._chosen", threads)
        results.append(matmul.forward(CPU, a=a, b=b))
    assert (results[0] == results[1]).all()
    assert (results[0] == results[2]).all()


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float16])
def test_into_an_array(alone, dtype):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((70, 3)).astype(dtype), rng.standard_normal((3, 40)).astype(dtype)
    out = np.empty((70, 40), dtype)
    assert matmul.forward(CPU, a=a, b=b, out=out, alone=alone) is out
    np.testing.assert_array_equal(out, matmul.forward(CPU, a=a, b=b))


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float16])
@pytest.mark.parametrize(
    ("rows", "depth", "columns"), [(5, 7, 96), (0, 3, 64), (3, 5, 7), (2, 8, 0), (64, 700, 64), (65, 3, 64), (1, 1, 1)]
)
def test_one_matrix_with_many(rows, depth, columns, dtype, small, monkeypatch):
    """In blocks, with parts of the depth where the limit asks for them, or whole."""
    monkeypatch.setattr("nnlab.ops._numpy.matmul.small_products", lambda: small)
    rng = np.random.default_rng(0)
    b = rng.standard_normal((columns, depth)).astype(dtype).T
    product = matmul.repeated(CPU, b=b, rows=rows)
    for _ in range(2):
        a = rng.standard_normal((rows, 2 * depth)).astype(dtype)[:, ::2]
        out = np.full((rows, columns), np.nan, dtype)
        product(a, out)
        want = a.astype(np.float64) @ b.astype(np.float64)
        np.testing.assert_allclose(
            out, want, rtol=1e-12 if dtype == np.float64 else 2e-3, atol=1e-2 * (dtype == np.float16) + 1e-12
        )


def test_blocks_of_small_products(monkeypatch):
    monkeypatch.setattr("nnlab.ops._numpy.matmul.small_products", lambda: True)
    blocks = importlib.import_module("nnlab.ops._numpy.matmul").small_blocks
    assert blocks(32, 256, 1024) == (1, 64)
    assert blocks(32, 1024, 256) == (4, 64)
    assert blocks(16, 256, 96) == (1, 48)
    assert blocks(64, 701, 64) is None  # no part of 701 is small
    assert blocks(65, 8, 64) is None
    assert blocks(4, 8, 50) is None
