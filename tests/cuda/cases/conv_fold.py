"""Inputs and kernels sorted by remainders; the convolutions that are made of them: tensor_cores.py."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnlab.geometry import ConvGeometry, conv_geometry, space_to_depth
from nnlab.ops._cuda import conv_fold as kernels
from tests.cuda import drawn
from tests.cuda.case import Case
from tests.cuda.far import FAR, FarCase, end
from tests.oracles import conv_fold as oracle

# (input, weight, stride, padding, outputs together): places beyond the input, strides above the kernel.
PROBLEMS: list[tuple[Any, ...]] = [
    ((2, 3, 13, 11), (4, 3, 5, 7), (4, 3), (2, 1), 1),
    ((2, 3, 5, 6), (4, 3, 3, 3), 1, 1, 2),
    ((3, 2, 17), (3, 2, 4), 3, 2, 2),
    ((1, 1, 4, 5, 7), (2, 1, 2, 3, 3), (1, 2, 3), (0, 1, 2), 1),
    ((2, 5, 9, 9), (2, 5, 1, 2), (2, 3), 0, 1),
    ((2, 1, 6, 9, 5), (2, 1, 3, 4, 3), (2, 3, 2), (1, 0, 1), 1),
    ((1, 3, 7, 4, 6), (2, 3, 3, 1, 2), (3, 1, 1), (2, 0, 0), 1),
]


def inputs_and_kernels(case: Case) -> None:
    for number, (x_shape, w_shape, stride, padding, together) in enumerate(PROBLEMS):
        for last in (False, True):
            _check(case, _fold(conv_geometry(x_shape, w_shape, stride, padding), together), last, number)


def standard(case: Case) -> None:
    _check(case, _fold(conv_geometry((2, 3, 31, 31), (8, 3, 11, 11), 4, 2), 1), False, 0)


def _fold(g: ConvGeometry, together: int) -> kernels.Fold:
    return kernels.Fold(g, space_to_depth(g, together), together)


def _check(case: Case, fold: kernels.Fold, last: bool, number: int) -> None:
    g, chunk = fold.outer, 16 // case.dtype.itemsize
    filled = -(-fold.inner.w_shape[1] // chunk) * chunk
    x, w = case.normal(*g.x_shape), case.normal(*g.w_shape)
    x = drawn.channels_last(x) if last else x
    sorted_x = kernels.fold_input(case.be, case.put(x), fold)
    case.compare(sorted_x, None, oracle.input, x, fold.inner.in_size, fold.steps, g.pad_low, filled)
    sorted_w = kernels.fold_weight(case.be, case.put(w), fold)
    case.compare(sorted_w, None, oracle.kernel, w, fold.inner.kernel, g.stride, fold.steps, fold.together, filled)
    # A gradient that is the kernel itself comes back once for each output that is computed together.
    dw = case.be.xp.moveaxis(sorted_w, -1, 1)[:, : fold.inner.w_shape[1]].astype(np.float32)
    back = kernels.unfold_weight(case.be, dw, fold, case.dtype)
    case.compare(back, None, lambda w: w * fold.together, w)


def far_places(case: FarCase) -> None:
    """The end of a long line, of very many images, and of very many lines."""
    for shape, kernel, stride, filled in (
        ((1, 3, FAR + 8), (4,), 4, 16), ((FAR // 2 + 3, 3, 8), (4,), 4, 16), ((1, 3, FAR + 8, 2), (4, 1), (4, 1), 16),
    ):  # fmt: skip
        size = (8, *shape[3:])
        x, near = case.sparse(*shape), case.normal(1, 3, *size)
        end(x, near.shape)[...] = near
        fold = _fold(conv_geometry(shape, (2, 3, *kernel), stride), 1)
        found = kernels.fold_input(case.be, x, fold)
        places = tuple(n // step for n, step in zip(size, fold.steps, strict=True))
        case.compare(end(found, (1, *places, filled)), None, oracle.input, near, places, fold.steps, (0, 0), filled)
