"""Convolution by ``kernels/conv.cu``, or by tensor cores (``conv_mma``) where those take the problem.

Tiled kernels multiply the channels of a group with positions. Where the result has fewer than ``DIRECT`` channels a
group (the weight gradient: where the output has), most of a tile would be empty, and kernels without tiles run. An
array with channels last in memory is computed as it lies, and its result is made so.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

from nnlab.backend import Backend
from nnlab.cuda.launch import Grid, Kernel, accumulator, choose, launch
from nnlab.geometry import ConvGeometry
from nnlab.ops._cuda import conv_mma, windows
from nnlab.ops._cuda.conv_problem import (
    CHANNELS,
    FORWARD_ARRAYS,
    INPUT_GRAD_ARRAYS,
    PERIODS,
    WEIGHT_GRAD_ARRAYS,
    periods,
    phases,
    sizes,
    sum_parts,
)
from nnlab.ops._cuda.memory import empty, in_order, memory_of
from nnlab.ops._numpy import layout

DIRECT = 4
THREADS, TILE_BYTES = 64, 25600  # threads and tile_bytes of kernels/include/tile.cuh
SUM_THREADS, SUMCHANNELS = 128, 32  # sum_threads and the lanes of channels in kernels/conv.cu

# A part of a weight or bias gradient adds up so many terms, fewer if there would not be so many blocks else, but at
# least 64 slices of a tile, or 32 terms a thread, or of a bias gradient with channels last 128.
LARGEST_SHARE, BLOCKS, LEAST_SHARE, LEAST_SUM_SHARE, LEAST_BIAS_SHARE = 8192, 1024, 512, 4096, 512

_FLAGS = {"last": "int32", "biased": "int32"}
_TILED = {"images": "index", **CHANNELS, **_FLAGS}
_DIRECT = {"n": "index", **CHANNELS, **_FLAGS, **windows.PARAMETERS}
_PARTS = {
    "images": "index", **CHANNELS, "x_last": "int32", "dy_last": "int32", "share": "index", **windows.PARAMETERS,
}  # fmt: skip


def _kernel(name: str, parameters: dict[str, str], tiles: tuple[int, ...] = (64,)) -> Kernel:
    """Kernels without tiles are built with those of the large tile, into one library."""
    return Kernel("conv", f"conv_{name}", parameters, variants={"TILE_ROWS": tiles})


_FORWARD = _kernel("forward", {**FORWARD_ARRAYS, **_TILED, **windows.PARAMETERS}, (64, 16))
_INPUT_GRAD = _kernel("input_grad", {**INPUT_GRAD_ARRAYS, **_TILED, **PERIODS, **windows.PARAMETERS}, (64, 16))
_WEIGHT_GRAD = _kernel("weight_grad", {**WEIGHT_GRAD_ARRAYS, **_PARTS}, (64, 16))
_FORWARD_DIRECT = _kernel("forward_direct", {**FORWARD_ARRAYS, **_DIRECT})
_INPUT_GRAD_DIRECT = _kernel("input_grad_direct", {**INPUT_GRAD_ARRAYS, **_DIRECT})
_WEIGHT_GRAD_DIRECT = _kernel("weight_grad_direct", {**WEIGHT_GRAD_ARRAYS, **_PARTS})
_SIZES = dict.fromkeys(("images", "channels", "positions"), "index")
_BIAS_GRAD = _kernel("bias_grad", {"dy": "scalar*", "parts": "acc*", **_SIZES, "last": "int32", "share": "index"})


def tile_rows(rows: int) -> int:
    """Rows of the tile: 64 (by 64 columns), but 16 (by 128) where 64 would be at most half full."""
    return 16 if rows <= 32 else 64


def shares(terms: int, blocks: int, least: int) -> tuple[int, int]:
    """(terms of a part, parts) of sums over so many terms, of which a part is made by so many blocks."""
    share = min(max(-(-terms * blocks // BLOCKS), least), LARGEST_SHARE)
    return share, max(1, -(-terms // share))


def _tiles(be: Backend, kernel: Kernel, dtype: Any, rows: int, columns: int, depth: int, products: int) -> Grid:
    """The grid for so many products of rows x columns each, of sums over ``depth``."""
    macros = choose(kernel, be, dtype, (rows, columns, depth, products), TILE_ROWS=tile_rows(rows))
    height = macros["TILE_ROWS"]
    width = (256 if height == 64 else 512) // accumulator(dtype).itemsize
    return Grid((-(-rows // height) * -(-columns // width) * products,), (THREADS,), TILE_BYTES, macros)


def _factors(be: Backend, w: Any, b: Any, last: bool) -> dict[str, Any]:
    """The weights in the order of the other arrays, and the bias."""
    weights = be.xp.asarray(be.xp.moveaxis(w, 1, -1) if last else w, order="C")
    bias = be.xp.empty(0, w.dtype) if b is None else be.xp.asarray(b, order="C")
    return {"w": weights, "b": bias, "biased": int(b is not None), "last": int(last)}


def _turned(be: Any, x: Any) -> bool:
    """Whether to put channels last: convolutions on tensor cores that follow take y so, and x is often smaller."""
    return be.tensor_cores and x.dtype.itemsize < 8


def forward(be: Backend, *, x: Any, w: Any, b: Any = None, geometry: ConvGeometry) -> Any:
    g = geometry
    if conv_mma.takes(be, g, x.dtype):
        return conv_mma.forward(be, x=x, w=w, b=b, geometry=g)
    last = layout.is_channels_last(x) or _turned(be, x)
    x = in_order(be, x, last)
    memory, y = empty(be, g.y_shape, x.dtype, last)
    given = {"x": x, "y": memory, **_factors(be, w, b, last), **sizes(g)}
    rows, columns = g.w_shape[0] // g.groups, g.x_shape[0] * prod(g.out_size)
    if rows < DIRECT:
        launch(be, _FORWARD_DIRECT, threads=y.size, n=y.size, **given)
    else:
        grid = _tiles(be, _FORWARD, x.dtype, rows, columns, prod(g.w_shape[1:]), g.groups)
        launch(be, _FORWARD, threads=grid, images=g.x_shape[0], **given)
    return y


def input_grad(be: Backend, *, dy: Any, w: Any, b: Any = None, geometry: ConvGeometry) -> Any:
    g = geometry
    if conv_mma.takes(be, g, dy.dtype):
        return conv_mma.input_grad(be, dy=dy, w=w, b=b, geometry=g)
    dy, last = memory_of(be, dy)
    memory, dx = empty(be, g.x_shape, dy.dtype, last)
    given = {"dy": dy, "dx": memory, **_factors(be, w, b, last), **sizes(g)}
    rows = g.w_shape[1]
    if rows < DIRECT:
        launch(be, _INPUT_GRAD_DIRECT, threads=dx.size, n=dx.size, **given)
    else:
        # As many tiles for every phase as the largest one needs.
        count, columns = phases(g)
        depth = g.w_shape[0] // g.groups * prod(g.kernel)
        grid = _tiles(be, _INPUT_GRAD, dy.dtype, rows, columns, -(-depth // count), g.groups * count)
        launch(be, _INPUT_GRAD, threads=grid, images=g.x_shape[0], **periods(g), **given)
    return dx


def weight_grad(be: Backend, *, x: Any, dy: Any, geometry: ConvGeometry) -> Any:
    g = geometry
    if conv_mma.takes(be, g, x.dtype):
        return conv_mma.weight_grad(be, x=x, dy=dy, geometry=g)
    x, x_last = memory_of(be, x)
    dy, dy_last = memory_of(be, dy)
    outputs, rows, columns = g.w_shape[0], g.w_shape[0] // g.groups, prod(g.w_shape[1:])
    terms = g.y_shape[0] * prod(g.out_size)
    direct = rows < DIRECT
    if direct:
        part = Grid((_channel_blocks(outputs, dy_last) * columns,), (SUM_THREADS,))
    else:
        part = _tiles(be, _WEIGHT_GRAD, x.dtype, rows, columns, terms, g.groups)
    least = LEAST_SUM_SHARE if direct else LEAST_SHARE
    share, count = shares(terms, part.blocks[0], least)
    parts = be.xp.empty((count, *g.w_shape), accumulator(x.dtype))
    launch(
        be, _WEIGHT_GRAD_DIRECT if direct else _WEIGHT_GRAD, threads=replace(part, blocks=(part.blocks[0] * count,)),
        x=x, dy=dy, parts=parts, images=g.x_shape[0], x_last=int(x_last), dy_last=int(dy_last), share=share,
        **sizes(g),
    )  # fmt: skip
    return sum_parts(be, parts, x.dtype, inputs=g.w_shape[1], taps=prod(g.kernel) if x_last and not direct else 1)


def bias_grad(be: Backend, *, dy: Any) -> Any:
    images, channels, positions = dy.shape[0], dy.shape[1], prod(dy.shape[2:])
    dy, last = memory_of(be, dy)
    blocks = _channel_blocks(channels, last)
    share, count = shares(images * positions, blocks, LEAST_BIAS_SHARE if last else LEAST_SUM_SHARE)
    parts = be.xp.empty((count, channels), accumulator(dy.dtype))
    launch(
        be, _BIAS_GRAD, threads=Grid((blocks * count,), (SUM_THREADS,)), dy=dy, parts=parts, images=images,
        channels=channels, positions=positions, last=int(last), share=share,
    )  # fmt: skip
    return sum_parts(be, parts, dy.dtype, inputs=1, taps=1)


def parameter_grads(be: Backend, *, x: Any, dy: Any, geometry: ConvGeometry) -> tuple[Any, Any]:
    if conv_mma.takes(be, geometry, x.dtype):
        return conv_mma.parameter_grads(be, x=x, dy=dy, geometry=geometry)
    return weight_grad(be, x=x, dy=dy, geometry=geometry), bias_grad(be, dy=dy)


def _channel_blocks(channels: int, last: bool) -> int:
    return -(-channels // SUMCHANNELS) if last else channels
