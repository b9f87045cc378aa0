"""Convolution as matrix products over blocks of unfolded windows.

A block is a few images, or some rows of one image, whose unfolded windows (channels x taps, positions) stay in the
cache: each tap is copied with one strided slice, then one product a group gives the output in place. Blocks are a
function of shapes alone; see ``parallel`` for the threads that work on them.

The input gradient of a stride-1 convolution is a convolution with flipped weights; otherwise a product gives the
windows' gradients, which are added up tap by tap. The weight gradient sums its blocks in a fixed order in a fixed
number of lanes.
"""

from __future__ import annotations

from math import prod
from typing import Any

from nnlab.backend import Backend
from nnlab.geometry import ConvGeometry, Shape
from nnlab.ops._numpy import layout
from nnlab.ops._numpy.parallel import cut, run, scratch
from nnlab.ops._numpy.windows import taps

CPU_BLOCK_BYTES = 4 << 20
GPU_BLOCK_BYTES = 256 << 20
LANES = 8  # partial sums of a weight gradient, each with its own thread at most
JOINED_POSITIONS = 256  # output planes up to this size are joined for the weight gradient

Block = tuple[int, int, int, int]


def _blocks(be: Backend, images: int, rows: int, row_bytes: int, least: int = 0) -> list[Block]:
    """Cut (images, rows) into (first image, end, first row, end), each of at most one block's bytes (or ``least``).

    There are at least 4 blocks if images or rows allow it; with ``least`` only images are cut for that.
    """
    limit = max(least, CPU_BLOCK_BYTES if be.host_memory else GPU_BLOCK_BYTES)
    quarter = max(images * rows // 4, rows if least else 1)
    wanted = max(1, min(limit // max(row_bytes, 1), quarter))
    if wanted >= rows:
        return [(n, m, 0, rows) for n, m in cut(images, wanted // rows)]
    return [(n, n + 1, r, s) for n in range(images) for r, s in cut(rows, wanted)]


def _rows_merge(x: Any, out: Shape, stride: Shape) -> bool:
    """Whether a tap's rows follow one another in x and in the output alike, so that a plane is one run of memory."""
    width = x.shape[-1]
    return (
        len(out) > 1
        and stride[-2:] == (1, 1)
        and out[-1] == width
        and x.strides[-2:] == (width * x.dtype.itemsize, x.dtype.itemsize)
    )


def unfold(xp: Any, cols: Any, x: Any, out: Shape, start: Shape, stride: Shape, dilation: Shape) -> None:
    """cols (B, C, *kernel, *out) = the input under each tap, zero outside; x (B, C, *in)."""
    dims, step, width = len(out), stride[-1], x.shape[-1]
    kernel = cols.shape[2 : 2 + dims]
    first = max(start[0], 0)
    x = x[:, :, first : max(start[0] + (out[0] - 1) * stride[0] + (kernel[0] - 1) * dilation[0] + 1, first)]
    start = (start[0] - first, *start[1:])
    runs = _rows_merge(x, out, stride)
    planes = x.reshape(*x.shape[:-2], x.shape[-2] * width) if runs else x
    # With a stride many taps read the same columns: each set of them is gathered once.
    phases = [xp.ascontiguousarray(x[..., j::step]) for j in range(step)] if 1 < step < kernel[-1] else None
    for tap, where, source in taps(kernel, out, x.shape[2:], start, stride, dilation):
        whole = cols[(slice(None), slice(None), *tap)]
        ranges = (slice(None), slice(None), *(slice(lo, hi) for lo, hi in where))
        read = (slice(None), slice(None), *source)
        if any(lo == hi for lo, hi in where):
            pass
        elif runs:
            # One run from the first to the last element read; where a row's end wraps, zeros are written below.
            (top, bottom), (left, right) = where[-2:]
            begin, end = top * width + left, (bottom - 1) * width + right
            origin = source[-2].start * width + source[-1].start
            target = whole.reshape(*whole.shape[:-2], whole.shape[-2] * width)
            target[(*ranges[:-2], slice(begin, end))] = planes[(*read[:-2], slice(origin, origin + end - begin))]
        elif phases is not None:
            begin, phase = divmod(source[-1].start, step)
            whole[ranges] = phases[phase][(*read[:-1], slice(begin, begin + where[-1][1] - where[-1][0]))]
        else:
            whole[ranges] = x[read]
        for axis, (lo, hi) in enumerate(where, 2):
            skip = ranges[:axis]
            if lo > 0:
                whole[(*skip, slice(0, lo))] = 0
            if hi < whole.shape[axis]:
                whole[(*skip, slice(hi, None))] = 0


def _fold(x: Any, cols: Any, out: Shape, start: Shape, stride: Shape, dilation: Shape) -> None:
    """x (B, C, *in) += what ``unfold`` read, the taps in row-major order."""
    dims = len(out)
    for tap, where, target in taps(cols.shape[2 : 2 + dims], out, x.shape[2:], start, stride, dilation):
        ranges = tuple(slice(lo, hi) for lo, hi in where)
        x[(slice(None), slice(None), *target)] += cols[(slice(None), slice(None), *tap, *ranges)]


def _is_pointwise(kernel: Shape, start: Shape, stride: Shape, out: Shape, size: Shape) -> bool:
    return max(kernel) == 1 and max(stride) == 1 and not any(start) and out == size


def _correlate(
    be: Backend, x: Any, w: Any, b: Any, out: Shape, start: Shape, stride: Shape, dilation: Shape, groups: int
) -> Any:
    """y (N, O, *out) whose output 0 reads the input from position ``start`` on, which may lie outside."""
    xp = be.xp
    images, channels, kernel = x.shape[0], x.shape[1], w.shape[2:]
    outputs, depth = w.shape[0], prod(w.shape[1:])
    y = layout.empty(be, (images, outputs, *out), x.dtype)
    if y.size == 0:
        return y
    rest = prod(out[1:])
    weight = w.reshape(groups, outputs // groups, depth)
    flat = y.reshape(images, groups, outputs // groups, -1)
    pointwise = _is_pointwise(kernel, start, stride, out, x.shape[2:])
    source = x.reshape(images, groups, depth, -1) if pointwise else x
    blocks = _blocks(be, images, out[0], channels * prod(kernel) * rest * x.dtype.itemsize)

    def work(index: int) -> None:
        n, m, r, s = blocks[index]
        if pointwise:
            windows = source[n:m, :, :, r * rest : s * rest]
        else:
            part = (s - r, *out[1:])
            cols = scratch(be, "conv_cols", (m - n, channels, *kernel, *part), x.dtype)
            unfold(xp, cols, x[n:m], part, (start[0] + r * stride[0], *start[1:]), stride, dilation)
            windows = cols.reshape(m - n, groups, depth, -1)
        target = flat[n:m, :, :, r * rest : s * rest]
        xp.matmul(weight, windows, out=target)
        if b is not None:
            target += b.reshape(groups, -1, 1)

    run(be, work, len(blocks), y.size * depth)
    return y


def forward(be: Backend, x: Any, w: Any, b: Any, g: ConvGeometry) -> Any:
    start = tuple(-p for p in g.pad_low)
    return _correlate(be, x, w, b, g.out_size, start, g.stride, g.dilation, g.groups)


def input_grad(be: Backend, dy: Any, w: Any, g: ConvGeometry) -> Any:
    if max(g.stride) == 1 and w.shape[0] <= 2 * g.x_shape[1]:
        return _input_grad_flipped(be, dy, w, g)
    return _input_grad_folded(be, dy, w, g)


def _input_grad_flipped(be: Backend, dy: Any, w: Any, g: ConvGeometry) -> Any:
    outputs, inputs = w.shape[0] // g.groups, w.shape[1]
    flipped = w[(slice(None), slice(None), *[slice(None, None, -1)] * len(g.kernel))]
    flipped = flipped.reshape(g.groups, outputs, inputs, *g.kernel).swapaxes(1, 2)
    flipped = flipped.reshape(g.groups * inputs, outputs, *g.kernel)
    start = tuple(p - d * (k - 1) for p, d, k in zip(g.pad_low, g.dilation, g.kernel, strict=True))
    return _correlate(be, dy, flipped, None, g.in_size, start, g.stride, g.dilation, g.groups)


def _input_grad_folded(be: Backend, dy: Any, w: Any, g: ConvGeometry) -> Any:
    xp = be.xp
    images, channels = g.x_shape[:2]
    dx = layout.empty(be, g.x_shape, dy.dtype)
    dx[...] = 0
    if dx.size == 0 or dy.size == 0:
        return dx
    outputs, depth = w.shape[0], prod(w.shape[1:])
    rest = prod(g.out_size[1:])
    start = tuple(-p for p in g.pad_low)
    weight = xp.ascontiguousarray(w.reshape(g.groups, outputs // g.groups, depth).swapaxes(1, 2))
    source = dy.reshape(images, g.groups, outputs // g.groups, -1)
    row_bytes = channels * prod(g.kernel) * rest * dy.dtype.itemsize
    blocks = _blocks(be, images, g.out_size[0], row_bytes)
    # Blocks of one image add to the same rows, so one task takes all of an image's blocks, in order.
    tasks: dict[int, list[Block]] = {}
    for block in blocks:
        tasks.setdefault(block[0], []).append(block)
    order = list(tasks.values())

    def work(index: int) -> None:
        for n, m, r, s in order[index]:
            part = (s - r, *g.out_size[1:])
            cols = scratch(be, "conv_cols", (m - n, channels, *g.kernel, *part), dy.dtype)
            grads = cols.reshape(m - n, g.groups, depth, -1)
            xp.matmul(weight, source[n:m, :, :, r * rest : s * rest], out=grads)
            _fold(dx[n:m], cols, part, (start[0] + r * g.stride[0], *start[1:]), g.stride, g.dilation)

    run(be, work, len(order), dy.size * depth)
    return dx


def weight_grad(be: Backend, x: Any, dy: Any, g: ConvGeometry) -> Any:
    xp = be.xp
    images, channels = g.x_shape[:2]
    outputs, depth = g.w_shape[0], prod(g.w_shape[1:])
    if x.size == 0 or dy.size == 0:
        return xp.zeros(g.w_shape, x.dtype)
    rest, itemsize = prod(g.out_size[1:]), x.dtype.itemsize
    start = tuple(-p for p in g.pad_low)
    pointwise = _is_pointwise(g.kernel, start, g.stride, g.out_size, g.in_size)
    # Small planes are joined, so that one product sums over all images of a block; it costs a copy of dy.
    joined = not pointwise and prod(g.out_size) <= JOINED_POSITIONS and depth >= outputs // g.groups
    source = x.reshape(images, g.groups, depth, -1) if pointwise else x
    right_rows = dy.reshape(images, g.groups, outputs // g.groups, -1)
    row_bytes = channels * prod(g.kernel) * rest * itemsize
    blocks = _blocks(be, images, g.out_size[0], row_bytes, least=2 * outputs * depth * itemsize)
    lanes = cut(len(blocks), -(-len(blocks) // LANES))
    sums = xp.zeros((len(lanes), g.groups, depth, outputs // g.groups), x.dtype)

    def factors(n: int, m: int, r: int, s: int) -> tuple[Any, Any]:
        """Windows (B, G, depth, P) and gradients (B, G, P, O/G) of a block, B = 1 if joined."""
        part = (s - r, *g.out_size[1:])
        if not joined:
            right = right_rows[n:m, :, :, r * rest : s * rest].swapaxes(2, 3)
            if pointwise:
                return source[n:m, :, :, r * rest : s * rest], right
        shifted = (start[0] + r * g.stride[0], *start[1:])
        if not joined:
            cols = scratch(be, "conv_cols", (m - n, channels, *g.kernel, *part), x.dtype)
            unfold(xp, cols, x[n:m], part, shifted, g.stride, g.dilation)
            return cols.reshape(m - n, g.groups, depth, -1), right
        cols = scratch(be, "conv_cols", (channels, *g.kernel, m - n, *part), x.dtype)
        unfold(xp, _batch_first(cols, len(part)), x[n:m], part, shifted, g.stride, g.dilation)
        grads = scratch(be, "conv_grads", (outputs, m - n, *part), dy.dtype)
        grads[...] = dy[n:m, :, r:s].swapaxes(0, 1)
        return cols.reshape(1, g.groups, depth, -1), grads.reshape(1, g.groups, outputs // g.groups, -1).swapaxes(2, 3)

    def work(lane: int) -> None:
        for index in range(*lanes[lane]):
            left, right = factors(*blocks[index])
            partial = scratch(be, "conv_partial", (len(left), *sums.shape[1:]), x.dtype)
            xp.matmul(left, right, out=partial)
            for share in partial:
                sums[lane] += share

    run(be, work, len(lanes), dy.size * depth)
    while len(sums) > 1:
        half = len(sums) // 2
        sums[:half] += sums[len(sums) - half :]
        sums = sums[: len(sums) - half]
    return xp.ascontiguousarray(sums[0].swapaxes(1, 2)).reshape(g.w_shape)


def _batch_first(cols: Any, dims: int) -> Any:
    """(C, *kernel, B, *out) seen as (B, C, *kernel, *out)."""
    return cols.transpose(1 + dims, *range(1 + dims), *range(2 + dims, cols.ndim))
