"""The matrix of a convolution against layers, forward and transposed; against SciPy's Toeplitz matrices and PyTorch."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab.classic.toeplitz import convolution_matrix
from nnlab.errors import ArgumentError, ShapeError
from nnlab.nn import functional as F
from nnlab.testing import gradcheck, tolerance

FORWARD = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}

# Weight (O, C / groups, *kernel), input size, options.
CASES: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((1, 1, 3), (8,), {}),
    ((1, 1, 3), (8,), {"padding": 2}),
    ((2, 3, 4), (9,), {"stride": 2, "padding": 1}),
    ((2, 3, 2), (9,), {"stride": 3}),
    ((2, 1, 3), (11,), {"stride": 2, "padding": 3, "dilation": 2}),
    ((1, 1, 3, 3), (4, 4), {}),
    ((1, 1, 3, 3), (5, 6), {"padding": 1}),
    ((4, 3, 3, 2), (7, 6), {"stride": (2, 1), "padding": (1, 2)}),
    ((4, 2, 2, 3), (6, 8), {"stride": (1, 3), "dilation": (3, 1), "groups": 2, "padding": (0, 1)}),
    ((3, 1, 3, 3), (5, 5), {"groups": 3, "padding": 1}),
    ((2, 2, 2, 1, 2), (3, 4, 3), {"stride": (1, 2, 1), "padding": (1, 0, 1)}),
]


def normals(*shape: int) -> nnlab.Tensor:
    return nnlab.tensor(np.random.default_rng(shape).normal(size=shape))


@pytest.mark.parametrize(("shape", "size", "options"), CASES)
def test_forward_and_transposed(shape, size, options):
    """Two images, flattened, times the matrix are the layer's output; so it is with the transposed matrix."""
    w, dims = normals(*shape), len(size)
    matrix = convolution_matrix(w, size, **options)
    x = normals(2, shape[1] * options.get("groups", 1), *size)
    expected = FORWARD[dims](x, w, None, **options)
    assert matrix.shape == (expected[0].numel(), x[0].numel())
    close = tolerance(nnlab.float64, int(np.prod(shape))) * 5  # elements of normals, some as large as 5
    np.testing.assert_allclose((x.flatten(1) @ matrix.T).numpy(), expected.flatten(1).numpy(), atol=close)
    y = normals(*expected.shape)
    pads, strides, dilations = (
        np.broadcast_to(options.get(k, v), dims) for k, v in (("padding", 0), ("stride", 1), ("dilation", 1))
    )
    smallest = (np.array(expected.shape[2:]) - 1) * strides - 2 * pads + dilations * (np.array(shape[2:]) - 1) + 1
    extra = tuple(int(n) for n in np.array(size) - smallest)
    back = TRANSPOSED[dims](y, w, None, output_padding=extra, **options)
    assert back.shape == x.shape
    np.testing.assert_allclose((y.flatten(1) @ matrix).numpy(), back.flatten(1).numpy(), atol=close)


@pytest.mark.parametrize(("shape", "size", "options"), CASES)
def test_elements_by_loops(shape, size, options):
    """Row by row, which weight meets which input."""
    w = normals(*shape).numpy()
    groups, dims = options.get("groups", 1), len(size)
    stride, pad, dilation = (
        np.broadcast_to(options.get(k, v), dims) for k, v in (("stride", 1), ("padding", 0), ("dilation", 1))
    )
    matrix = convolution_matrix(nnlab.tensor(w), size, **options).numpy()
    out = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, p, d, k, s in zip(size, pad, dilation, shape[2:], stride)]
    expected = np.zeros((shape[0], *out, shape[1] * groups, *size))
    for o, c in itertools.product(range(shape[0]), range(shape[1])):
        channel = o // (shape[0] // groups) * shape[1] + c
        for place, tap in itertools.product(np.ndindex(*out), np.ndindex(*shape[2:])):
            at = tuple(int(i) for i in np.array(place) * stride - pad + np.array(tap) * dilation)
            if all(0 <= i < n for i, n in zip(at, size)):
                expected[(o, *place, channel, *at)] = w[(o, c, *tap)]
    np.testing.assert_array_equal(matrix, expected.reshape(matrix.shape))


def test_one_dimension_is_toeplitz():
    linalg = pytest.importorskip("scipy.linalg")
    w = np.array([1.0, -2.0, 3.0])
    valid = convolution_matrix(nnlab.tensor(w[None, None]), (6,)).numpy()
    np.testing.assert_array_equal(valid, linalg.toeplitz([1, 0, 0, 0], [1, -2, 3, 0, 0, 0]))
    # SciPy convolves: the weights run backwards.
    full = convolution_matrix(nnlab.tensor(w[None, None]), (6,), padding=2).numpy()
    np.testing.assert_array_equal(full, linalg.convolution_matrix(w[::-1], 6, mode="full"))
    same = convolution_matrix(nnlab.tensor(w[None, None]), (6,), padding="same").numpy()
    np.testing.assert_array_equal(same, linalg.convolution_matrix(w[::-1], 6, mode="same"))


def test_three_by_three_over_four_by_four():
    """The matrix written out in Dumoulin and Visin, section 4.1: 4 rows of 16 with 9 weights each."""
    w = np.arange(1.0, 10).reshape(3, 3)
    matrix = convolution_matrix(nnlab.tensor(w[None, None]), (4, 4)).numpy()
    row = [1, 2, 3, 0, 4, 5, 6, 0, 7, 8, 9, 0, 0, 0, 0, 0]
    np.testing.assert_array_equal(matrix, [np.roll(row, n) for n in (0, 1, 4, 5)])


def test_gradients_reach_the_shared_weights():
    w = normals(2, 2, 2, 2).requires_grad_()
    x, y = normals(3, 2, 3, 4), normals(3, 2, 3, 5)
    loss = (F.conv2d(x, w, None, padding=(0, 1), stride=1)[..., :5].flatten() * y[:, :, :2].flatten()).sum()
    direct = nnlab.grad(loss, w)[0]
    product = (x.flatten(1) @ convolution_matrix(w, (3, 4), padding=(0, 1)).T).reshape(3, 2, 2, 5)
    found = nnlab.grad((product * y[:, :, :2]).sum(), w)[0]
    np.testing.assert_allclose(found.numpy(), direct.numpy(), atol=1e-12)
    assert gradcheck(lambda w: convolution_matrix(w, (3, 4), (1, 2), (0, 1)), w)


@pytest.mark.torch
def test_against_pytorch():
    torch = pytest.importorskip("torch")
    w, x = normals(4, 2, 3, 3), normals(1, 4, 6, 7)
    options: dict[str, Any] = {"stride": (2, 1), "padding": (2, 1), "dilation": (1, 2), "groups": 2}
    expected = torch.nn.functional.conv2d(torch.tensor(x.numpy()), torch.tensor(w.numpy()), **options).numpy()
    found = convolution_matrix(w, (6, 7), **options) @ x.flatten()
    np.testing.assert_allclose(found.numpy(), expected.ravel(), atol=1e-13)


def test_errors():
    with pytest.raises(ShapeError, match=r"\[convolution_matrix\] 'input' must be at least as large as the kernel"):
        convolution_matrix(nnlab.zeros(1, 1, 5), (3,))
    with pytest.raises(ArgumentError, match=r"\[convolution_matrix\] 'stride' must be positive"):
        convolution_matrix(nnlab.zeros(1, 1, 2), (3,), 0)
    with pytest.raises(ShapeError, match=r"\[convolution_matrix\] 'weight' must have 4 positive sizes"):
        convolution_matrix(nnlab.zeros(1, 1, 2), (3, 3))
