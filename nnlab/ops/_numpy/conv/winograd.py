"""Winograd's convolution, stride 1, 2 dimensions: n * n products a tile instead of the taps times the outputs of it.

A tile of m x m outputs reads n x n numbers, n = m + r - 1. With ``_spread`` a plane becomes its tiles' n * n
coefficients and ``_collect`` makes planes of coefficients again; in between, each coefficient has a product of its own
over channels (or, for the weight gradient, over tiles). Both changes are products with the banded matrices of
``transforms``: one over the width, which also turns the channels into the last axis, one over the height. So no plane
is padded or copied.

Coefficients are stored as (b, a, tile row, tile column, image, channel), b along the width. Work is done in blocks of
tiles whose coefficients fit a budget. Where the kernels' coefficients are few each thread takes blocks of its own; else
all threads work on one block, in three passes.

A number that is not finite spreads over its neighbourhood; the caller looks at the result.

Source: Lavin and Gray, arXiv:1509.09308. docs/math/conv.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from math import prod
from typing import Any

import numpy as np

from nnlab.backend import Backend
from nnlab.geometry import Shape
from nnlab.ops._numpy import layout
from nnlab.ops._numpy.conv.transforms import banded, weight_factor
from nnlab.ops._numpy.parallel import cut, run, scratch
from nnlab.ops._numpy.windows import clip

BUDGET = 24 << 20  # bytes of a block's coefficients when all threads work on one block
BUDGET_ALONE = 2 << 20  # when each thread has a block of its own
ALONE = 4 << 20  # bytes of weights up to which that is done: each block reads all of them
SLAB = 7  # tile rows of a round, at most
STRIP = 7  # tile columns of a task, at most
CHANNELS = 256  # channels of a task, at most
TASK = 1 << 17  # numbers of a task's planes, unless one image has more
PARTS = 12  # tasks of the products in between
KERNELS = 1 << 12  # of a task, at least

Range = tuple[int, int]
Run = Callable[[Backend, Callable[[int], None], int, int], None]


@dataclass(frozen=True)
class Block:
    """The tiles of some images, rows and columns of tiles, and how they are made."""

    n: int
    kernel: Shape
    images: Range
    rows: Range
    columns: Range

    @property
    def step(self) -> Shape:
        return tuple(self.n + 1 - taps for taps in self.kernel)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns, images."""
        return self.rows[1] - self.rows[0], self.columns[1] - self.columns[0], self.images[1] - self.images[0]


@lru_cache(maxsize=256)
def cut_blocks(n: int, kernel: Shape, out: Shape, images: int, channels: int, budget: int) -> tuple[Block, ...]:
    """Blocks of at most ``budget`` bytes of coefficients if possible; ``channels``: input and output ones together."""
    down, across = (-(-size // (n + 1 - taps)) for size, taps in zip(out, kernel, strict=True))
    slabs = cut(down, SLAB)
    column = n * n * channels * 4 * max(high - low for low, high in slabs)
    strips = cut(across, max(STRIP, budget // column))
    widest = max(high - low for low, high in strips)
    together = cut(images, budget // (column * widest))
    return tuple(Block(n, kernel, *parts) for parts in product(together, slabs, strips))


def pitch(channels: int) -> int:
    """Distance of rows of that many channels: a power of two would let rows fall onto the same lines of the cache."""
    return -(-channels // 16) * 16 + 16


def _pieces(block: Block, channels: int, plane: int) -> list[tuple[Range, Range, Range]]:
    """The tasks of a pass over planes of so many numbers: (images, tile columns, channels), counted from the block's.

    Small planes are taken together: threads that are done too soon wait for one another.
    """
    _, columns, images = block.shape
    together = TASK // (plane * min(channels, CHANNELS))
    return list(product(cut(images, together), cut(columns, STRIP), cut(channels, CHANNELS)))


def _in_turn(be: Backend, task: Callable[[int], None], count: int, work: int) -> None:
    """``parallel.run`` on the calling thread alone."""
    for index in range(count):
        task(index)


def _spread(be: Backend, each: Run, name: str, which: str, block: Block, planes: Any, start: Shape) -> Any:
    """Coefficients (n * n, tiles, channels) of a block; planes (N, C, H, W), tile 0 begins at ``start``.

    ``which``: "b" for overlapping tiles of n x n numbers of an input, "a" for tiles of a result's gradient.
    """
    n, (step_h, step_w) = block.n, block.step
    channels, height, width = planes.shape[1:]
    tall, columns, count = block.shape
    apart = pitch(channels)
    result = scratch(be, name, (n, n * tall, columns, count, apart), np.float32)
    matrix_h = banded(n, block.kernel[0], which, tall * step_h)
    first_h = start[0] + block.rows[0] * step_h
    top, bottom = clip(first_h, matrix_h.shape[1], height)
    pieces = _pieces(block, channels, height * width)

    def work(index: int) -> None:
        (i, j), (left_tile, right_tile), (c, d) = pieces[index]
        matrix_w = banded(n, block.kernel[1], which, (right_tile - left_tile) * step_w)
        first_w = start[1] + (block.columns[0] + left_tile) * step_w
        left, right = clip(first_w, matrix_w.shape[1], width)
        target = result[:, :, left_tile:right_tile, i:j, c:d].transpose(0, 2, 3, 1, 4)
        if left == right or top == bottom:
            target[...] = 0
            return
        rows, numbers = slice(first_h + top, first_h + bottom), slice(first_w + left, first_w + right)
        part = planes[block.images[0] + i : block.images[0] + j, c:d, rows, numbers]
        across = scratch(be, "conv_across", (n, right_tile - left_tile, j - i, bottom - top, pitch(d - c)), np.float32)
        across = across[..., : d - c]
        flat = across.reshape(len(matrix_w), *across.shape[2:])
        np.matmul(matrix_w[:, left:right], part.transpose(0, 2, 3, 1), out=flat.transpose(1, 2, 0, 3))
        np.matmul(matrix_h[:, top:bottom], across, out=target)

    each(be, work, len(pieces), result.size * matrix_h.shape[1])
    return result.reshape(n * n, -1, apart)[..., :channels]


def _collect(be: Backend, each: Run, block: Block, coefficients: Any, y: Any, b: Any) -> None:
    """Write a block of y (N, O, *out) from coefficients (n * n, tiles, O)."""
    n, (step_h, step_w) = block.n, block.step
    outputs, height, width = y.shape[1:]
    tall, columns, count = block.shape
    source = coefficients.reshape(n, n * tall, columns, count, outputs)
    first_h = block.rows[0] * step_h
    deep = min(tall * step_h, height - first_h)
    matrix_h = banded(n, block.kernel[0], "a", tall * step_h)[:, :deep].T
    pieces = _pieces(block, outputs, height * width)

    def work(index: int) -> None:
        (i, j), (left_tile, right_tile), (c, d) = pieces[index]
        first_w = (block.columns[0] + left_tile) * step_w
        across = min((right_tile - left_tile) * step_w, width - first_w)
        matrix_w = banded(n, block.kernel[1], "a", (right_tile - left_tile) * step_w)[:, :across]
        down = scratch(be, "conv_across", (n, right_tile - left_tile, j - i, deep, pitch(d - c)), np.float32)
        down = down[..., : d - c]
        part = source[:, :, left_tile:right_tile, i:j, c:d].transpose(0, 2, 3, 1, 4)
        np.matmul(matrix_h, part, out=down)
        images = slice(block.images[0] + i, block.images[0] + j)
        target = y[images, c:d, first_h : first_h + deep, first_w : first_w + across]
        flat = down.reshape(len(matrix_w), *down.shape[2:])
        np.matmul(flat.transpose(1, 2, 3, 0), matrix_w, out=target.transpose(0, 2, 1, 3))
        if b is not None:
            target += b[c:d, None, None]

    each(be, work, len(pieces), source.size * matrix_h.shape[0])


def _parts(kernels: int) -> list[Range]:
    """Ranges of kernels (of one input for one output each), whose coefficients are made by one task."""
    return cut(kernels, max(KERNELS, -(-kernels // PARTS)))


def weights(be: Backend, n: int, w: Any, flipped: bool) -> Any:
    """Coefficients (n * n, O, C) of the kernels w (O, C, *kernel)."""
    outputs, inputs = w.shape[:2]
    matrix = weight_factor(n, w.shape[2:], flipped)
    rows = w.reshape(outputs * inputs, -1)
    result = scratch(be, "conv_weights", (len(matrix), pitch(len(rows))), np.float32)[:, : len(rows)]
    parts = _parts(len(rows))

    def work(index: int) -> None:
        part = slice(*parts[index])
        np.matmul(matrix, rows[part].T, out=result[:, part])

    run(be, work, len(parts), result.size * matrix.shape[1])
    return result.reshape(len(matrix), outputs, inputs)


def correlate(
    be: Backend, *, x: Any, w: Any, b: Any, out: Shape, start: Shape, n: int, transposed: bool = False
) -> Any:
    """y (N, O, *out) whose output 0 reads x (N, C, *in) from position ``start`` on.

    Args:
        w: (O, C, *kernel); with ``transposed`` (C, O, *kernel), read from its far end: the input gradient's form.
    """
    factors = weights(be, n, w, transposed)
    inputs, outputs = x.shape[1], w.shape[1 if transposed else 0]
    if not transposed:
        factors = factors.swapaxes(1, 2)
    y = layout.empty(be, (x.shape[0], outputs, *out), np.float32)
    x = np.ascontiguousarray(x)
    alone = factors.size * 4 <= ALONE
    blocks = cut_blocks(n, w.shape[2:], out, x.shape[0], inputs + outputs, BUDGET_ALONE if alone else BUDGET)
    parts = cut(n * n, n * n if alone else -(-n * n // PARTS))

    def work(block: Block, each: Run) -> None:
        left = _spread(be, each, "conv_spread", "b", block, x, start)
        products = scratch(be, "conv_products", (n * n, left.shape[1], pitch(outputs)), np.float32)[..., :outputs]

        def multiply(index: int) -> None:
            part = slice(*parts[index])
            np.matmul(left[part], factors[part], out=products[part])

        each(be, multiply, len(parts), products.size * inputs)
        _collect(be, each, block, products, y, b)

    if alone:
        run(be, lambda index: work(blocks[index], _in_turn), len(blocks), y.size * inputs)
    else:
        for block in blocks:
            work(block, run)
    return y


def weight_grad(be: Backend, *, x: Any, dy: Any, kernel: Shape, start: Shape, n: int) -> Any:
    """dw (O, C, *kernel) of y = correlate(x, w) from dy (N, O, *out)."""
    inputs, outputs = x.shape[1], dy.shape[1]
    blocks = cut_blocks(n, kernel, dy.shape[2:], x.shape[0], inputs + outputs, BUDGET)
    x, dy = np.ascontiguousarray(x), np.ascontiguousarray(dy)
    parts = cut(n * n, -(-n * n // PARTS))
    sums = scratch(be, "conv_weights", (n * n, pitch(outputs * inputs)), np.float32)[:, : outputs * inputs]
    shaped = sums.reshape(n * n, outputs, inputs)
    for number, block in enumerate(blocks):
        left = _spread(be, run, "conv_products", "a", block, dy, (0, 0))
        right = _spread(be, run, "conv_spread", "b", block, x, start)

        def work(index: int, left: Any = left, right: Any = right, first: bool = number == 0) -> None:
            for k in range(*parts[index]):
                if first:
                    np.matmul(left[k].T, right[k], out=shaped[k])
                else:
                    share = scratch(be, "conv_partial", (outputs, inputs), np.float32)
                    np.matmul(left[k].T, right[k], out=share)
                    shaped[k] += share

        run(be, work, len(parts), left.size * inputs)
    return kernel_sums(be, n, sums[None], (outputs, inputs, *kernel))


def kernel_sums(be: Backend, n: int, shares: Any, shape: Shape) -> Any:
    """dw (O, C, *kernel) from shares (any number, n * n, O * C) of the sums of its coefficients, added up in order."""
    matrix = weight_factor(n, shape[2:], False)
    dw = layout.empty(be, shape, np.float32)
    rows = dw.reshape(-1, prod(shape[2:]))
    parts = _parts(len(rows))

    def work(index: int) -> None:
        part = slice(*parts[index])
        total = shares[0, :, part]
        for share in shares[1:]:
            total += share[:, part]
        np.matmul(total.T, matrix, out=rows[part])

    run(be, work, len(parts), dw.size * len(matrix))
    return dw
