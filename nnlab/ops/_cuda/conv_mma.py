"""Convolution by tensor cores: ``kernels/conv_mma.cu``, and ``kernels/conv_mma_precise.cu`` for float32.

They read arrays with channels last in memory, 16 bytes at a time. An array of another order is copied; one whose number
of channels is no multiple of 16 bytes is copied with zeros at the end, if there are no groups, or sorted so that they
fill them (``conv_fold``). Results have channels last.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from nnlab.backend import Backend
from nnlab.cuda.launch import Grid, Kernel, choose, launch
from nnlab.geometry import ConvGeometry
from nnlab.ops._cuda import conv_fold, conv_mma_precise
from nnlab.ops._cuda.conv_problem import MMA_PARAMETERS, periods, phases, sizes, sum_parts
from nnlab.ops._cuda.memory import empty
from nnlab.precision import get_float32_conv_precision

# kernels/include/mma_tile.cuh has the same numbers.
ROWS, THREADS, STAGES, SLICE = 128, 256, 3, 128  # rows of a tile; bytes of a slice's row
TABLES = 2560  # bytes of shared memory beside the slices

LEAST_RESULTS, LEAST_TERMS = 16, 24  # channels and terms of a group below which most of a tile would be empty

# Blocks that keep a large card busy, and terms that a part of a weight gradient adds up.
BLOCKS, LEAST_SHARE, LARGEST_SHARE = 264, 1024, 32768

_KERNELS = {
    name: Kernel("conv_mma", f"conv_mma_{name}", parameters, ("float16", "bfloat16", "float32"), {"TILE_N": (128, 64)})
    for name, parameters in MMA_PARAMETERS.items()
}


def takes(be: Any, g: ConvGeometry, dtype: Any) -> bool:
    """Whether tensor cores compute a convolution: all of its passes."""
    inputs, outputs = g.w_shape[1], g.w_shape[0] // g.groups
    chunk = _chunk(dtype)
    return (
        be.tensor_cores
        and np.dtype(dtype).name in _KERNELS["forward"].dtypes
        and (g.groups == 1 or inputs % chunk == outputs % chunk == 0)
        and outputs >= LEAST_RESULTS
        and inputs * prod(g.kernel) >= LEAST_TERMS
    )


def pools(be: Any, g: ConvGeometry, dtype: Any) -> bool:
    """Whether they also take the maxima of windows of 2 x 2 of the result; not of neighbours that are channels."""
    if not takes(be, g, dtype) or len(g.kernel) != 2 or min(g.out_size) < 2:
        return False
    fold = conv_fold.choose(g, np.dtype(dtype).itemsize)
    return fold is None or fold.together == 1


def _chunk(dtype: Any) -> int:
    """Numbers of 16 bytes."""
    return 16 // np.dtype(dtype).itemsize


def _kernel(name: str, dtype: Any) -> Kernel:
    precise = np.dtype(dtype) == np.float32 and get_float32_conv_precision() != "medium"
    return (conv_mma_precise.KERNELS if precise else _KERNELS)[name]


def _grid(be: Backend, kernel: Kernel, dtype: Any, rows: int, columns: int, depth: int, products: int) -> Grid:
    """The grid for so many products of rows x columns each, of sums over ``depth``."""
    widths = kernel.variants["TILE_N"]
    macros = choose(kernel, be, dtype, (rows, columns, depth, products), TILE_N=64 if columns <= 64 else widths[0])
    width = macros["TILE_N"]
    blocks = -(-rows // ROWS) * -(-columns // width) * products
    return Grid((blocks,), (THREADS,), STAGES * (ROWS + width) * SLICE + TABLES, macros)


def _last(be: Backend, array: Any, chunk: int) -> Any:
    """The array with its second axis last in memory, filled up with zeros to a multiple of ``chunk``."""
    moved = be.xp.moveaxis(array, 1, -1)
    missing = -moved.shape[-1] % chunk
    if not missing:
        return be.xp.asarray(moved, order="C")
    filled = be.xp.empty((*moved.shape[:-1], moved.shape[-1] + missing), moved.dtype)
    filled[..., : moved.shape[-1]] = moved
    filled[..., moved.shape[-1] :] = 0
    return filled


def _filled(g: ConvGeometry, chunk: int) -> ConvGeometry:
    """The geometry with its channels filled up to a multiple of ``chunk``."""
    if g.groups > 1:
        return g
    inputs, outputs = (-(-n // chunk) * chunk for n in (g.w_shape[1], g.w_shape[0]))
    return replace(
        g,
        x_shape=(g.x_shape[0], inputs, *g.in_size),
        w_shape=(outputs, inputs, *g.kernel),
        y_shape=(g.y_shape[0], outputs, *g.out_size),
    )


def _bias(be: Backend, b: Any, dtype: Any) -> dict[str, Any]:
    return {"b": be.xp.empty(0, dtype) if b is None else be.xp.asarray(b, order="C"), "biased": int(b is not None)}


def forward(be: Backend, *, x: Any, w: Any, b: Any = None, geometry: ConvGeometry) -> Any:
    return _forward(be, x, w, b, geometry, False, False)[0]


def forward_relu(be: Backend, *, x: Any, w: Any, b: Any = None, geometry: ConvGeometry, keep: bool) -> tuple[Any, Any]:
    """(max(y, 0), mask): the mask (positions, chunks of 16 bytes) has a bit for each result that is not 0; None unless
    ``keep``."""
    y, mask = _forward(be, x, w, b, geometry, True, keep)
    return y, mask if keep else None


def forward_relu_max_pool(
    be: Backend, *, x: Any, w: Any, b: Any = None, geometry: ConvGeometry, keep: bool
) -> tuple[Any, Any]:
    """(relu of the maxima of windows of 2 x 2, places): both (N, O, *out // 2) with channels last. A place is that of
    the maximum in its window, in row-major order, or 4 where relu gives 0; None unless ``keep``."""
    shape = (*geometry.y_shape[:2], *(n // 2 for n in geometry.out_size))
    memory, y = empty(be, shape, x.dtype, True)
    winners, places = empty(be, shape if keep else (0, *shape[1:]), np.uint8, True)
    arguments, g = _given(be, x, w, b, geometry)
    # The main loop is that of the kernel without pooling, so the tile is what a tuned table has for that.
    grid = _forward_grid(be, x.dtype, 4 * shape[0] * prod(shape[2:]), g)
    kernel = _kernel("forward_pooled", x.dtype)
    launch(be, kernel, threads=grid, y=memory, places=winners, masked=int(keep), **arguments)
    return y, places if keep else None


def _forward(be: Backend, x: Any, w: Any, b: Any, g: ConvGeometry, rectify: bool, masked: bool) -> tuple[Any, Any]:
    chunk = _chunk(x.dtype)
    memory, y = empty(be, g.y_shape, x.dtype, True)
    arguments, g = _given(be, x, w, b, g)
    rows = g.x_shape[0] * prod(g.out_size)
    mask = be.xp.empty((rows, -(-g.w_shape[0] // chunk)) if masked else 0, np.uint8)
    grid, kernel = _forward_grid(be, x.dtype, rows, g), _kernel("forward", x.dtype)
    launch(be, kernel, threads=grid, y=memory, mask=mask, rectify=int(rectify), masked=int(masked), **arguments)
    # Outputs that are channels of one place lie as they do elsewhere, and so do their bits.
    return y, mask.reshape(-1, -(-y.shape[1] // chunk)) if masked else mask


def _given(be: Backend, x: Any, w: Any, b: Any, g: ConvGeometry) -> tuple[dict[str, Any], ConvGeometry]:
    """What kernels forward take beside their results, and the geometry that they compute."""
    chunk, fold = _chunk(x.dtype), conv_fold.choose(g, x.dtype.itemsize)
    bias = _bias(be, b, x.dtype)
    if fold is None:
        operands = {"x": _last(be, x, chunk), "w": _last(be, w, chunk)}
    else:
        operands = {"x": conv_fold.fold_input(be, x, fold), "w": conv_fold.fold_weight(be, w, fold)}
        g = fold.inner
        bias["b"] = be.xp.concatenate([bias["b"]] * fold.together)
    given = sizes(_filled(g, chunk)) | {"outputs": g.w_shape[0] // g.groups}
    return {"images": g.x_shape[0], **operands, **bias, **given}, g


def _forward_grid(be: Backend, dtype: Any, rows: int, g: ConvGeometry) -> Grid:
    depth = _filled(g, _chunk(dtype)).w_shape[1] * prod(g.kernel)
    return _grid(be, _kernel("forward", dtype), dtype, rows, g.w_shape[0] // g.groups, depth, g.groups)


def input_grad(be: Backend, *, dy: Any, w: Any, b: Any = None, geometry: ConvGeometry) -> Any:
    g, chunk = geometry, _chunk(dy.dtype)
    given = sizes(_filled(g, chunk)) | {"inputs": g.w_shape[1]}
    memory, dx = empty(be, g.x_shape, dy.dtype, True)
    kernel = _kernel("input_grad", dy.dtype)
    count, rows = phases(g)
    depth = -(-given["outputs"] * prod(g.kernel) // count)
    grid = _grid(be, kernel, dy.dtype, rows, g.w_shape[1], depth, g.groups * count)
    by_group = w.reshape(g.groups, -1, *g.w_shape[1:])  # (groups, outputs, inputs, *kernel)
    turned = by_group.swapaxes(1, 2).reshape(g.groups * g.w_shape[1], -1, *g.kernel)
    launch(
        be, kernel, threads=grid, dy=_last(be, dy, chunk), w=_last(be, turned, chunk), dx=memory, images=g.x_shape[0],
        **_bias(be, b, dy.dtype), **periods(g), **given,
    )  # fmt: skip
    return dx


def weight_grad(be: Backend, *, x: Any, dy: Any, geometry: ConvGeometry) -> Any:
    return _weight_grad(be, x, dy, geometry, False)[0]


def parameter_grads(be: Backend, *, x: Any, dy: Any, geometry: ConvGeometry) -> tuple[Any, Any]:
    dw, parts = _weight_grad(be, x, dy, geometry, True)
    outputs, chunk = geometry.w_shape[0], _chunk(x.dtype)
    if outputs % chunk == 0:  # outputs that are channels of one place are further parts
        parts = parts.reshape(-1, outputs)
    return dw, sum_parts(be, parts, x.dtype, inputs=1, taps=1)[:outputs]


def _weight_grad(be: Backend, x: Any, dy: Any, g: ConvGeometry, biased: bool) -> tuple[Any, Any]:
    """dw, and the parts of the bias' gradient if ``biased``."""
    chunk, fold = _chunk(x.dtype), conv_fold.choose(g, x.dtype.itemsize)
    operands = {"x": _last(be, x, chunk) if fold is None else conv_fold.fold_input(be, x, fold)}
    if fold is not None:
        g = fold.inner
    filled = _filled(g, chunk)
    given, terms, taps = sizes(filled), g.y_shape[0] * prod(g.out_size), prod(g.kernel)
    kernel = _kernel("weight_grad", x.dtype)
    grid = _grid(be, kernel, x.dtype, given["outputs"], taps * given["inputs"], terms, g.groups)
    share = _share(terms, grid.blocks[0])
    count = max(1, -(-terms // share))
    parts = be.xp.empty((count, *filled.w_shape), np.float32)
    bias_parts = be.xp.empty((count, filled.w_shape[0]) if biased else 0, np.float32)
    launch(
        be, kernel, threads=replace(grid, blocks=(grid.blocks[0] * count,)), dy=_last(be, dy, chunk), parts=parts,
        bias_parts=bias_parts, images=g.x_shape[0], share=share, biased=int(biased), **operands, **given,
    )  # fmt: skip
    dw = sum_parts(be, parts, x.dtype if fold is None else np.float32, inputs=given["inputs"], taps=taps)
    dw = dw[: g.w_shape[0], : g.w_shape[1]]
    return be.xp.asarray(dw, order="C") if fold is None else conv_fold.unfold_weight(be, dw, fold, x.dtype), bias_parts


def _share(terms: int, blocks: int) -> int:
    """Terms of a part: so many parts that there are ``BLOCKS`` blocks, within limits."""
    return min(max(-(-terms * blocks // BLOCKS), LEAST_SHARE), LARGEST_SHARE)
