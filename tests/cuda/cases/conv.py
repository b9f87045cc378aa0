"""Convolution, its gradients, and the transposed convolution's bias."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import pytest

from nnlab.geometry import ConvGeometry, conv_geometry, conv_transpose_geometry
from nnlab.ops._cuda import conv as kernels
from tests.cuda import drawn
from tests.cuda.case import Case
from tests.oracles import conv as oracle
from tests.oracles import conv_transpose as transposed


def _all_passes(case: Case, g: ConvGeometry, last: bool) -> None:
    order: Any = drawn.channels_last if last else np.asarray
    x, w, b = order(case.normal(*g.x_shape)), case.normal(*g.w_shape), case.normal(g.w_shape[0])
    dy = order(case.normal(*g.y_shape))
    there, weights, gradient = case.put(x), case.put(w), case.put(dy)
    window, positions = (g.stride, g.pad_low), g.y_shape[0] * prod(g.out_size)
    y = kernels.forward(case.be, x=there, w=weights, b=case.put(b), geometry=g)
    case.compare(y, prod(g.w_shape[1:]) + 1, oracle.forward, x, w, b, *window, g.pad_low, g.dilation, g.groups)
    dx = kernels.input_grad(case.be, dy=gradient, w=weights, geometry=g)
    terms = g.w_shape[0] // g.groups * prod(g.kernel)
    case.compare(dx, terms, _gradient, 0, x, w, dy, *window, g.dilation, g.groups)
    dw = kernels.weight_grad(case.be, x=there, dy=gradient, geometry=g)
    case.compare(dw, positions, _gradient, 1, x, w, dy, *window, g.dilation, g.groups)
    db = kernels.bias_grad(case.be, dy=gradient)
    case.compare(db, positions, _gradient, 2, x, w, dy, *window, g.dilation, g.groups)


def _gradient(which: int, *problem: Any) -> np.ndarray:
    return oracle.gradients(*problem)[which]


def drawn_convolutions(case: Case) -> None:
    for number in range(12):
        _all_passes(case, drawn.convolution(case.random, 1 + number % 3), number % 4 == 3)


def several_tiles_and_parts(case: Case) -> None:
    """More rows, columns and steps than a tile, a slice and a table hold, and more terms than a part adds up."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "LEAST_SHARE", 100)
        patch.setattr(kernels, "LEAST_SUM_SHARE", 100)
        for last in (False, True):
            _all_passes(case, conv_geometry((2, 17, 9, 8), (70, 17, 3, 3), 1, 1), last)
            _all_passes(case, conv_geometry((2, 40, 9, 8), (40, 1, 3, 2), (1, 2), 1, groups=40), last)


def bias_of_a_transposed_convolution(case: Case) -> None:
    for number, groups in enumerate((1, 2, 3)):
        stride, extra = (2, 3), (1, number)
        x, w, b = case.normal(2, 6, 4, 3), case.normal(6, 6 // groups, 3, 2), case.normal(6)
        g = conv_transpose_geometry(x.shape, w.shape, stride, 1, extra, groups)
        y = kernels.input_grad(case.be, dy=case.put(x), w=case.put(w), b=case.put(b), geometry=g)
        terms = 6 // groups * 6 + 1
        case.compare(y, terms, transposed.forward, x, w, b, stride, (1, 1), extra, (1, 1), groups)


def standard(case: Case) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "LEAST_SHARE", 100)
        _all_passes(case, conv_geometry((2, 16, 8, 8), (32, 16, 3, 3), 1, 1), False)
        _all_passes(case, conv_geometry((2, 16, 8, 8), (16, 1, 3, 3), 1, 1, groups=16), False)
