"""Winograd's convolution of many small images, batch last: the tiles of ``winograd`` over (C, H, W, N) in memory.

A block is some rows and columns of tiles of some images. Its coefficients are (b, channel, a, tile row, tile column,
image), b along the width: so each of the n * n products over channels has all tiles of all images as columns, and both
transforms are products whose columns are images.

A number that is not finite spreads over its neighbourhood; then there is no result.

Source: Lavin and Gray, arXiv:1509.09308. docs/math/conv.md.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from nnlab.backend import Backend
from nnlab.geometry import Shape
from nnlab.ops._numpy import layout
from nnlab.ops._numpy.conv.transforms import banded
from nnlab.ops._numpy.conv.winograd import Block, kernel_sums, pitch, weights
from nnlab.ops._numpy.parallel import cut, run, scratch
from nnlab.ops._numpy.windows import clip

BUDGET = 7 << 19  # bytes of a block's coefficients, unless it has two tiles
IMAGES = 64  # of a block, at most
STRIP = 4  # tile columns of a block, at most
ACROSS = 1 << 22  # bytes between the two products of a transform


def cut_blocks(n: int, kernel: Shape, out: Shape, images: int, channels: int) -> list[Block]:
    """``channels``: input and output ones together."""
    down, across = (-(-size // (n + 1 - taps)) for size, taps in zip(out, kernel, strict=True))
    parts = cut(images, IMAGES)
    tiles = max(2, BUDGET // (n * n * channels * 4 * max(high - low for low, high in parts)))
    rows, columns = cut(down, 2), cut(across, min(tiles // min(down, 2), STRIP))
    return [Block(n, kernel, *ranges) for ranges in product(parts, rows, columns)]


def _spread(be: Backend, name: str, which: str, block: Block, planes: Any, start: Shape) -> Any:
    """Coefficients (n, n, channels, tiles * N) of a block; planes (C, H, W, N), tile 0 begins at ``start``.

    ``which``: "b" for overlapping tiles of n x n numbers of an input, "a" for tiles of a result's gradient.
    """
    n, (step_h, step_w) = block.n, block.step
    channels, height, width, _ = planes.shape
    tall, columns, images = block.shape
    line = columns * images
    matrix_h = banded(n, block.kernel[0], which, tall)
    matrix_w = banded(n, block.kernel[1], which, columns)
    first_h, first_w = start[0] + block.rows[0] * step_h, start[1] + block.columns[0] * step_w
    top, bottom = clip(first_h, matrix_h.shape[1], height)
    left, right = clip(first_w, matrix_w.shape[1], width)
    rows = scratch(be, name, (n, channels, pitch(n * tall * line)), np.float32)[..., : n * tall * line]
    if top == bottom or left == right:
        rows[...] = 0
    else:
        lines, numbers = slice(first_h + top, first_h + bottom), slice(first_w + left, first_w + right)
        part = planes[:, lines, numbers, slice(*block.images)]
        target = rows.reshape(n, channels, n * tall, line).swapaxes(0, 1)
        for c, d in cut(channels, ACROSS // (n * line * (bottom - top) * 4)):
            across = scratch(be, "conv_across", (d - c, bottom - top, n, line), np.float32)
            np.matmul(matrix_w[:, left:right], part[c:d], out=across.reshape(d - c, bottom - top, n * columns, images))
            np.matmul(matrix_h[:, top:bottom], across.swapaxes(1, 2), out=target[c:d])
    return rows.reshape(n, channels, n, tall * line).swapaxes(1, 2)


def _collect(be: Backend, block: Block, rows: Any, y: Any, b: Any) -> bool:
    """Write a block of y (O, *out, N) from coefficients (n, O, n * tiles * N). Whether all is finite."""
    n, (step_h, step_w) = block.n, block.step
    outputs, height, width, _ = y.shape
    tall, columns, images = block.shape
    line = columns * images
    first_h, first_w = block.rows[0] * step_h, block.columns[0] * step_w
    deep, wide = min(tall * step_h, height - first_h), min(columns * step_w, width - first_w)
    matrix_h = banded(n, block.kernel[0], "a", tall)[:, :deep].T
    matrix_w = banded(n, block.kernel[1], "a", columns)[:, :wide].T
    source = rows.reshape(n, outputs, n * tall, line).swapaxes(0, 1)
    finite = True
    for c, d in cut(outputs, ACROSS // (n * line * deep * 4)):
        down = scratch(be, "conv_across", (d - c, deep, n, line), np.float32)
        np.matmul(matrix_h, source[c:d], out=down.swapaxes(1, 2))
        target = y[c:d, first_h : first_h + deep, first_w : first_w + wide, slice(*block.images)]
        np.matmul(matrix_w, down.reshape(d - c, deep, n * columns, images), out=target)
        if b is not None:
            target += b[c:d, None, None, None]
        finite = finite and bool(np.isfinite(np.einsum("chwn->", target)))
    return finite


def correlate(
    be: Backend, *, x: Any, w: Any, b: Any, out: Shape, start: Shape, n: int, transposed: bool = False
) -> Any:
    """y (N, O, *out) whose output 0 reads x (N, C, *in) from position ``start`` on; None if it is not finite.

    Args:
        w: (O, C, *kernel); with ``transposed`` (C, O, *kernel), read from its far end: the input gradient's form.
    """
    factors = weights(be, n, w, transposed)
    if transposed:
        factors = factors.swapaxes(1, 2)
    outputs, inputs = factors.shape[1:]
    factors = factors.reshape(n, n, outputs, inputs)
    y = layout.empty(be, (len(x), outputs, *out), np.float32, layout.batch_last_order(4))
    planes, result = layout.batch_last(be, x), y.transpose(1, 2, 3, 0)
    blocks = cut_blocks(n, w.shape[2:], out, len(x), inputs + outputs)
    finite = [False] * len(blocks)

    def work(index: int) -> None:
        left = _spread(be, "conv_spread", "b", blocks[index], planes, start)
        size = n * left.shape[3]
        products = scratch(be, "conv_products", (n, outputs, pitch(size)), np.float32)[..., :size]
        np.matmul(factors, left, out=products.reshape(n, outputs, n, -1).swapaxes(1, 2))
        finite[index] = _collect(be, blocks[index], products, result, b)

    run(be, work, len(blocks), y.size * inputs)
    return y if all(finite) else None


def weight_grad(be: Backend, *, x: Any, dy: Any, kernel: Shape, start: Shape, n: int) -> Any:
    """dw (O, C, *kernel) of y = correlate(x, w) from dy (N, O, *out); None if it is not finite."""
    inputs, outputs = x.shape[1], dy.shape[1]
    blocks = cut_blocks(n, kernel, dy.shape[2:], len(x), inputs + outputs)
    planes, grads = layout.batch_last(be, x), layout.batch_last(be, dy)
    sums = scratch(be, "conv_sums", (len(blocks), n, n, outputs, inputs), np.float32)

    def work(index: int) -> None:
        left = _spread(be, "conv_products", "a", blocks[index], grads, (0, 0))
        right = _spread(be, "conv_spread", "b", blocks[index], planes, start)
        np.matmul(left, right.swapaxes(2, 3), out=sums[index])

    run(be, work, len(blocks), dy.size * inputs)
    for share in sums[1:]:
        sums[0] += share
    dw = kernel_sums(be, n, sums[0].reshape(n * n, -1), (outputs, inputs, *kernel))
    return dw if np.isfinite(dw).all() else None
