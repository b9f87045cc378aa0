"""Matrix products against loops, PyTorch's rules for shapes, and independence of the number of threads."""

from __future__ import annotations

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
