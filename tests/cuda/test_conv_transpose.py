"""Transposed convolution through the kernels of kernels/conv.cu, against float64 loops."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest

from nnlab.geometry import conv_transpose_geometry
from nnlab.ops import conv_transpose as ops
from tests.cuda.common import CPU, DTYPES, EMULATED, near
from tests.cuda.convolution import MEMORY, draw
from tests.ops.common import scattered
from tests.ops.test_conv_transpose import SIZES, problems
from tests.oracles import conv_transpose as oracle


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_every_stride_padding_dilation_and_output_padding(dims: int) -> None:
    for number, kernel, stride, pad, extra, groups, dilation in problems(dims):
        dtype = DTYPES[number % 4]
        x, w = draw(number, 2, 4, *SIZES[dims], dtype=dtype), draw(number + 1, 4, 3, *kernel, dtype=dtype)
        b, memory = draw(number + 2, 3 * groups, dtype=dtype), MEMORY[number // 4 % 3]
        g = conv_transpose_geometry(x.shape, w.shape, stride, pad, extra, groups, dilation)
        many, name = [(v,) * dims for v in (stride, pad, extra, dilation)], str((kernel, g))
        y = ops.forward(EMULATED, x=memory(x), w=scattered(w), b=scattered(b), geometry=g)
        wide_x, wide_w = x.astype(np.float64), w.astype(np.float64)
        near(y, oracle.forward(wide_x, wide_w, b, *many, groups), 4 // groups * prod(kernel) + 1, name)
        dy = draw(number + 3, *y.shape, dtype=dtype)
        dx, dw, db = oracle.gradients(wide_x, wide_w, dy.astype(np.float64), many[0], many[1], many[3], groups)
        near(ops.input_grad(EMULATED, dy=memory(dy), w=w, geometry=g), dx, 3 * prod(kernel), name)
        near(ops.weight_grad(EMULATED, x=memory(x), dy=memory(dy), geometry=g), dw, x.size // 4, name)
        near(ops.bias_grad(EMULATED, dy=memory(dy)), db, dy.size // dy.shape[1], name)


@pytest.mark.parametrize(("dtype", "half"), [("float16", 2**-11), ("bfloat16", 2**-8)])
def test_the_bias_is_rounded_with_the_sum(dtype: str, half: float) -> None:
    """1 and two halves of its last place; added one after the other it would stay 1."""
    x, w, b = np.array([[[1], [half]]]).astype(dtype), np.ones((2, 1, 1), dtype), np.array([half]).astype(dtype)
    geometry = conv_transpose_geometry(x.shape, w.shape)
    for be in (CPU, EMULATED):
        assert ops.forward(be, x=x, w=w, b=b, geometry=geometry).astype(float).item() == 1 + 2 * half
