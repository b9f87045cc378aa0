"""Windows as columns and back, against loops over single elements."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from nnlab.geometry import conv_geometry
from nnlab.ops import fold as ops
from tests.ops.common import CPU, close, rng, scattered
from tests.oracles import fold as oracle

SIZES = {1: (9,), 2: (6, 7), 3: (4, 5, 4)}
KERNELS = {1: [(1,), (2,), (4,)], 2: [(1, 2), (3, 3)], 3: [(2, 2, 2), (3, 1, 2)]}


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_both_passes_against_loops(dims: int) -> None:
    for kernel, stride, pad, dilation in product(KERNELS[dims], (1, 2, 3), (0, 1, 3), (1, 2)):
        x = scattered(rng(1).standard_normal((2, 3, *SIZES[dims])))
        try:
            geometry = conv_geometry(x.shape, (1, 3, *kernel), stride, pad, dilation)
        except ValueError:  # larger than the input
            continue
        name = str((kernel, stride, pad, dilation))
        steps = ((stride,) * dims, (pad,) * dims, (dilation,) * dims)
        cols = ops.unfold(CPU, x=x, geometry=geometry)
        np.testing.assert_array_equal(cols, oracle.unfold(x, geometry.out_size, kernel, *steps), err_msg=name)
        grads = scattered(rng(2).standard_normal(cols.shape))
        folded = oracle.fold(grads, SIZES[dims], geometry.out_size, kernel, *steps)
        close(ops.fold(CPU, cols=grads, geometry=geometry), folded, name)


def test_several_blocks() -> None:
    x = rng(3).standard_normal((40, 8, 20, 20))
    geometry = conv_geometry(x.shape, (1, 8, 3, 3), 1, 1)
    cols = ops.unfold(CPU, x=x, geometry=geometry)
    close(cols[39], oracle.unfold(x[39:], (20, 20), (3, 3), (1, 1), (1, 1), (1, 1))[0])
    counts = ops.fold(CPU, cols=np.ones_like(cols), geometry=geometry)
    assert (
        (counts[:, :, 1:-1, 1:-1] == 9).all() and (counts[:, :, 0, 1:-1] == 6).all() and (counts[:, 0, 0, 0] == 4).all()
    )


def test_an_input_in_another_order_of_axes() -> None:
    x = np.moveaxis(rng(4).standard_normal((3, 5, 4, 6)), -1, 0)
    geometry = conv_geometry(x.shape, (1, 3, 2, 3), (1, 2), 1)
    cols = ops.unfold(CPU, x=x, geometry=geometry)
    np.testing.assert_array_equal(cols, oracle.unfold(x, geometry.out_size, (2, 3), (1, 2), (1, 1), (1, 1)))


def test_half_precision_adds_up_in_float32() -> None:
    geometry = conv_geometry((1, 1, 4199), (1, 1, 2100))
    x = ops.fold(CPU, cols=np.ones((1, 2100, 2100), np.float16), geometry=geometry)
    assert x.dtype == np.float16 and x[0, 0, 2099] == 2100


def test_without_images() -> None:
    geometry = conv_geometry((0, 3, 4, 4), (1, 3, 2, 2))
    cols = ops.unfold(CPU, x=np.zeros((0, 3, 4, 4)), geometry=geometry)
    assert cols.shape == (0, 12, 9)
    assert ops.fold(CPU, cols=cols, geometry=geometry).shape == (0, 3, 4, 4)
