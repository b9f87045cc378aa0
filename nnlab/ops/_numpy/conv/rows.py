"""Convolution of many small images, stride 1, 2 dimensions: a product for each row of outputs of all images.

Arrays are batch last, (C, H, W, N) in memory (``layout``). Unfolded along the width alone, (H, taps, C, W' * N), the
windows of a row of outputs under all taps are one matrix, that of its kernel's height of neighbouring rows. So a number
is copied once for each tap of the width, in runs of about W' * N, and the product writes its row of outputs in place.
With few outputs the width's taps are rows of the product instead, (taps x O, W * N), which are shifted and added.

Blocks are some rows and columns of outputs. The weight gradient adds up its rows and then its blocks, in their order.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

import numpy as np

from nnlab.backend import Backend
from nnlab.geometry import ConvGeometry, Shape
from nnlab.ops._numpy import layout
from nnlab.ops._numpy.parallel import cut, run, scratch
from nnlab.ops._numpy.windows import clip

BLOCK_BYTES = 4 << 20  # of a block's unfolded rows, at most, unless they are as few as the kernel's
PRODUCTS = 7 << 20  # multiply-adds of a block, at least: threads wait for one another after smaller ones
BLOCKS = 16  # at most for that
COLUMNS = 224  # of a product, at least, if columns are cut

Range = tuple[int, int]
Block = tuple[Range, Range]


def cut_blocks(kernel: Shape, channels: int, outputs: int, images: int, out: Shape, itemsize: int) -> list[Block]:
    """(rows, columns) of outputs of each block."""
    wanted = min(prod(kernel) * channels * outputs * images * prod(out) // PRODUCTS, BLOCKS)
    # A cut between rows unfolds the kernel's height less one of them twice.
    down = max(1, min(wanted, out[0] // (2 * kernel[0])))
    across = max(1, min(-(-wanted // down), out[1] * images // COLUMNS, out[1]))
    columns = cut(out[1], -(-out[1] // across))
    row = kernel[1] * channels * images * max(high - low for low, high in columns) * itemsize
    most = max(BLOCK_BYTES // row - kernel[0] + 1, kernel[0])
    return list(product(cut(out[0], min(most, -(-out[0] // down))), columns))


def _batch_last(be: Backend, name: str, x: Any) -> Any:
    """(C, H, W, N): a view if the memory is like that, else a copy."""
    moved = x.transpose(1, 2, 3, 0)
    if layout.is_batch_last(x):
        return moved
    copied = scratch(be, name, moved.shape, x.dtype)
    copied[...] = moved
    return copied


def _windows(be: Backend, x: Any, kernel: Shape, start: Shape, block: Block) -> Any:
    """(rows, kernel height x kernel width x C, columns x N) of a block; x (N, C, H, W)."""
    images, channels, height, width = x.shape
    (r, s), (left, right) = block
    tall, across = s - r + kernel[0] - 1, right - left
    cols = scratch(be, "conv_cols", (tall, kernel[1], channels, across, images), x.dtype)
    first = start[0] + r
    top, bottom = clip(first, tall, height)
    cols[:top] = 0
    cols[bottom:] = 0
    lines = _batch_last(be, "conv_lines", x[:, :, first + top : first + bottom]).swapaxes(0, 1)
    for tap in range(kernel[1]):
        begin = start[1] + left + tap
        low, high = clip(begin, across, width)
        target = cols[top:bottom, tap]
        if low > 0:
            target[:, :, :low] = 0
        if high < across:
            target[:, :, high:] = 0
        target[:, :, low:high] = lines[:, :, begin + low : begin + high]
    row, line = cols.strides[0], cols.strides[2]
    shape = (s - r, prod(kernel) * channels, across * images)
    return np.ndarray(shape, x.dtype, cols, strides=(row, line, x.dtype.itemsize))


def correlate(be: Backend, *, x: Any, w: Any, b: Any, out: Shape, start: Shape) -> Any:
    """y (N, O, *out), batch last, whose output 0 reads x (N, C, H, W) from position ``start`` on."""
    images, channels = x.shape[:2]
    outputs, kernel = w.shape[0], w.shape[2:]
    y = layout.empty(be, (images, outputs, *out), x.dtype, layout.batch_last_order(4))
    lines = y.transpose(2, 1, 3, 0)
    folded = 2 * outputs <= channels and kernel[1] > 1
    weights = w.transpose(3, 0, 2, 1) if folded else w.transpose(0, 2, 3, 1)
    weights = weights.reshape(kernel[1] * outputs if folded else outputs, -1)
    blocks = cut_blocks(kernel, channels, outputs, images, out, x.dtype.itemsize)

    def fold(index: int) -> None:
        (r, s), (left, right) = blocks[index]
        begin, across = start[1] + left, right - left
        low, high = clip(begin, across + kernel[1] - 1, x.shape[3])
        windows = _windows(be, x, (kernel[0], 1), (start[0], begin + low), ((r, s), (0, high - low)))
        parts = scratch(be, "conv_parts", (s - r, kernel[1], outputs, high - low, images), x.dtype)
        np.matmul(weights, windows, out=parts.reshape(s - r, kernel[1] * outputs, (high - low) * images))
        target = lines[r:s, :, left:right]
        target[...] = 0 if b is None else b[:, None, None]
        for tap in range(kernel[1]):
            shift = tap - low
            first, last = clip(shift, across, high - low)
            target[:, :, first:last] += parts[:, tap, :, shift + first : shift + last]

    def work(index: int) -> None:
        (r, s), (left, right) = blocks[index]
        target = lines[r:s, :, left:right].reshape(s - r, outputs, -1)
        np.matmul(weights, _windows(be, x, kernel, start, blocks[index]), out=target)
        if b is not None:
            target += b[:, None]

    run(be, fold if folded else work, len(blocks), y.size * prod(kernel) * channels)
    return y


def forward(be: Backend, x: Any, w: Any, b: Any, g: ConvGeometry) -> Any:
    start = tuple(-p for p in g.pad_low)
    return correlate(be, x=x, w=w, b=b, out=g.out_size, start=start)


def input_grad(be: Backend, dy: Any, w: Any, g: ConvGeometry) -> Any:
    start = tuple(p - (k - 1) for p, k in zip(g.pad_low, g.kernel, strict=True))
    flipped = w[:, :, ::-1, ::-1].swapaxes(0, 1)
    return correlate(be, x=dy, w=flipped, b=None, out=g.in_size, start=start)


def weight_grad(be: Backend, x: Any, dy: Any, g: ConvGeometry) -> Any:
    images, channels = x.shape[:2]
    outputs, kernel = g.w_shape[0], g.kernel
    start = tuple(-p for p in g.pad_low)
    blocks = cut_blocks(kernel, channels, outputs, images, g.out_size, x.dtype.itemsize)
    sums = scratch(be, "conv_sums", (len(blocks), outputs, prod(kernel) * channels), x.dtype)

    def work(index: int) -> None:
        (r, s), (left, right) = blocks[index]
        windows = _windows(be, x, kernel, start, blocks[index])
        grads = _batch_last(be, "conv_grads", dy[:, :, r:s]).swapaxes(0, 1)[:, :, left:right]
        grads = grads.reshape(s - r, outputs, -1)
        shares = scratch(be, "conv_partial", (s - r, *sums.shape[1:]), x.dtype)
        np.matmul(grads, windows.swapaxes(1, 2), out=shares)
        shares.sum(axis=0, out=sums[index])

    run(be, work, len(blocks), dy.size * sums.shape[2])
    dw = sums.sum(axis=0).reshape(outputs, *kernel, channels)
    return np.ascontiguousarray(dw.transpose(0, 3, 1, 2))
