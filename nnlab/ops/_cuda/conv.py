"""Convolution by ``kernels/conv.cu``.

Tiled kernels multiply the channels of a group with positions. Where the result has fewer than ``DIRECT`` channels a
group (the weight gradient: where the output has), most of a tile would be empty, and kernels without tiles run. An
array with channels last in memory is computed as it lies, and its result is made so.
"""

from __future__ import annotations

from dataclasses import replace
from math import gcd, prod
from typing import Any

from nnlab.backend import Backend
from nnlab.cuda.launch import Grid, Kernel, accumulator, choose, launch
from nnlab.geometry import ConvGeometry, Shape
from nnlab.ops._cuda import windows

DIRECT = 4
THREADS, TILE_BYTES = 64, 25600  # threads and tile_bytes of kernels/include/tile.cuh
SUM_THREADS, SUM_CHANNELS = 128, 32  # sum_threads and the lanes of channels in kernels/conv.cu

# A part of a weight or bias gradient adds up so many terms, fewer if there would not be so many blocks else, but at
# least 64 slices of a tile, or 32 terms a thread.
LARGEST_SHARE, BLOCKS, LEAST_SHARE, LEAST_SUM_SHARE = 8192, 1024, 512, 4096

_CHANNELS = dict.fromkeys(("groups", "inputs", "outputs"), "index")
_PERIODS = dict.fromkeys(("period_d", "period_h", "period_w"), "index")
_FLAGS = {"last": "int32", "biased": "int32"}
_FORWARD_ARRAYS = {"x": "scalar*", "w": "scalar*", "b": "scalar*", "y": "scalar*"}
_INPUT_GRAD_ARRAYS = {"dy": "scalar*", "w": "scalar*", "b": "scalar*", "dx": "scalar*"}
_WEIGHT_GRAD_ARRAYS = {"x": "scalar*", "dy": "scalar*", "parts": "acc*"}
_TILED = {"images": "index", **_CHANNELS, **_FLAGS}
_DIRECT = {"n": "index", **_CHANNELS, **_FLAGS, **windows.PARAMETERS}
_PARTS = {
    "images": "index", **_CHANNELS, "x_last": "int32", "dy_last": "int32", "share": "index", **windows.PARAMETERS,
}  # fmt: skip


def _kernel(name: str, parameters: dict[str, str], tiles: tuple[int, ...] = (64,)) -> Kernel:
    """Kernels without tiles are built with those of the large tile, into one library."""
    return Kernel("conv", f"conv_{name}", parameters, variants={"TILE_ROWS": tiles})


_FORWARD = _kernel("forward", {**_FORWARD_ARRAYS, **_TILED, **windows.PARAMETERS}, (64, 16))
_INPUT_GRAD = _kernel("input_grad", {**_INPUT_GRAD_ARRAYS, **_TILED, **_PERIODS, **windows.PARAMETERS}, (64, 16))
_WEIGHT_GRAD = _kernel("weight_grad", {**_WEIGHT_GRAD_ARRAYS, **_PARTS}, (64, 16))
_FORWARD_DIRECT = _kernel("forward_direct", {**_FORWARD_ARRAYS, **_DIRECT})
_INPUT_GRAD_DIRECT = _kernel("input_grad_direct", {**_INPUT_GRAD_ARRAYS, **_DIRECT})
_WEIGHT_GRAD_DIRECT = _kernel("weight_grad_direct", {**_WEIGHT_GRAD_ARRAYS, **_PARTS})
_SIZES = dict.fromkeys(("images", "channels", "positions"), "index")
_BIAS_GRAD = _kernel("bias_grad", {"dy": "scalar*", "parts": "acc*", **_SIZES, "last": "int32", "share": "index"})
_COUNTS = dict.fromkeys(("n", "count", "inputs", "taps"), "index")
_SUM = _kernel("sum", {"parts": "acc*", "total": "scalar*", **_COUNTS})


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


def _memory(be: Backend, array: Any) -> tuple[Any, bool]:
    """The array as it lies in memory, a copy if it has another order or gaps, and whether channels are last there."""
    moved = be.xp.moveaxis(array, 1, -1)
    if moved.flags.c_contiguous and not array.flags.c_contiguous:
        return moved, True
    return be.xp.asarray(array, order="C"), False


def _empty(be: Backend, shape: Shape, dtype: Any, last: bool) -> tuple[Any, Any]:
    """(memory, array): an array with channels first or last in memory."""
    memory = be.xp.empty((shape[0], *shape[2:], shape[1]) if last else shape, dtype)
    return memory, be.xp.moveaxis(memory, -1, 1) if last else memory


def _factors(be: Backend, w: Any, b: Any, last: bool) -> dict[str, Any]:
    """The weights in the order of the other arrays, and the bias."""
    weights = be.xp.asarray(be.xp.moveaxis(w, 1, -1) if last else w, order="C")
    bias = be.xp.empty(0, w.dtype) if b is None else be.xp.asarray(b, order="C")
    return {"w": weights, "b": bias, "biased": int(b is not None), "last": int(last)}


def _shape(g: ConvGeometry) -> dict[str, int]:
    channels = {"groups": g.groups, "inputs": g.w_shape[1], "outputs": g.w_shape[0] // g.groups}
    return {**channels, **windows.arguments(g), "reach": _reach(g)}


def _reach(g: ConvGeometry) -> int:
    """No position, and no offset in x or y of a position inside or outside, goes beyond this."""
    lines = list(zip(g.in_size, g.out_size, g.kernel, g.stride, g.pad_low, g.dilation, strict=True))
    extents = [n + o * s + p + k * d for n, o, k, s, p, d in lines]
    reach = 0
    for shape in (g.x_shape, g.y_shape):
        rows = [shape[1] * prod(shape[3 + axis :]) for axis in range(len(extents))]
        reach = max(reach, prod(shape) + sum(extent * row for extent, row in zip(extents, rows, strict=True)))
    return max(reach, *extents)


def forward(be: Backend, *, x: Any, w: Any, b: Any = None, geometry: ConvGeometry) -> Any:
    g = geometry
    x, last = _memory(be, x)
    memory, y = _empty(be, g.y_shape, x.dtype, last)
    given = {"x": x, "y": memory, **_factors(be, w, b, last), **_shape(g)}
    rows, columns = g.w_shape[0] // g.groups, g.x_shape[0] * prod(g.out_size)
    if rows < DIRECT:
        launch(be, _FORWARD_DIRECT, threads=y.size, n=y.size, **given)
    else:
        grid = _tiles(be, _FORWARD, x.dtype, rows, columns, prod(g.w_shape[1:]), g.groups)
        launch(be, _FORWARD, threads=grid, images=g.x_shape[0], **given)
    return y


def input_grad(be: Backend, *, dy: Any, w: Any, b: Any = None, geometry: ConvGeometry) -> Any:
    g = geometry
    dy, last = _memory(be, dy)
    memory, dx = _empty(be, g.x_shape, dy.dtype, last)
    given = {"dy": dy, "dx": memory, **_factors(be, w, b, last), **_shape(g)}
    rows, strides = g.w_shape[1], list(zip(g.in_size, g.stride, strict=True))
    if rows < DIRECT:
        launch(be, _INPUT_GRAD_DIRECT, threads=dx.size, n=dx.size, **given)
    else:
        # As many tiles for every phase as the largest one needs.
        columns, phases = g.x_shape[0] * prod(-(-n // s) for n, s in strides), prod(min(n, s) for n, s in strides)
        depth = g.w_shape[0] // g.groups * prod(g.kernel)
        grid = _tiles(be, _INPUT_GRAD, dy.dtype, rows, columns, -(-depth // phases), g.groups * phases)
        periods = [s // gcd(s, d) for s, d in zip(g.stride, g.dilation, strict=True)]
        named = dict(zip(_PERIODS, [*[1] * (3 - len(periods)), *periods], strict=True))
        launch(be, _INPUT_GRAD, threads=grid, images=g.x_shape[0], **named, **given)
    return dx


def weight_grad(be: Backend, *, x: Any, dy: Any, geometry: ConvGeometry) -> Any:
    g = geometry
    x, x_last = _memory(be, x)
    dy, dy_last = _memory(be, dy)
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
        **_shape(g),
    )  # fmt: skip
    return _sum(be, parts, x.dtype, inputs=g.w_shape[1], taps=prod(g.kernel) if x_last and not direct else 1)


def bias_grad(be: Backend, *, dy: Any) -> Any:
    images, channels, positions = dy.shape[0], dy.shape[1], prod(dy.shape[2:])
    dy, last = _memory(be, dy)
    blocks = _channel_blocks(channels, last)
    share, count = shares(images * positions, blocks, LEAST_SUM_SHARE)
    parts = be.xp.empty((count, channels), accumulator(dy.dtype))
    launch(
        be, _BIAS_GRAD, threads=Grid((blocks * count,), (SUM_THREADS,)), dy=dy, parts=parts, images=images,
        channels=channels, positions=positions, last=int(last), share=share,
    )  # fmt: skip
    return _sum(be, parts, dy.dtype, inputs=1, taps=1)


def _channel_blocks(channels: int, last: bool) -> int:
    return -(-channels // SUM_CHANNELS) if last else channels


def _sum(be: Backend, parts: Any, dtype: Any, *, inputs: int, taps: int) -> Any:
    """The sum of the parts; with ``taps`` above 1 they are (..., taps, inputs), the sum (..., inputs, taps)."""
    total = be.xp.empty(parts.shape[1:], dtype)
    counts = {"n": total.size, "count": len(parts), "inputs": inputs, "taps": taps}
    launch(be, _SUM, threads=total.size, parts=parts, total=total, **counts)
    return total
