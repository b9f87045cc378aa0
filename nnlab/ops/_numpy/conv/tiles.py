"""Winograd's convolution of many small images, batch last: the tiles of ``winograd`` over (C, H, W, N) in memory.

A block is one row of tiles, some of its columns, of some images. Its numbers become coefficients along the height,
(a, channel, width, image), once. Then, for some a at a time, those along the width, (a, channel, (b, tile), image), are
made, multiplied over channels (a product for each a and b) and used up, while they lie in the core's own cache. All
transforms are products whose columns are images. Tiles that are cut short lack some a or b (``transforms.groups``).

A number that is not finite spreads over its neighbourhood; then there is no result.

Source: Lavin and Gray, arXiv:1509.09308. docs/math/conv.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from nnlab.backend import Backend
from nnlab.geometry import Shape
from nnlab.ops._numpy import layout
from nnlab.ops._numpy.conv.transforms import banded, groups
from nnlab.ops._numpy.conv.winograd import kernel_sums, pitch, weights
from nnlab.ops._numpy.matmul import SMALL
from nnlab.ops._numpy.parallel import cut, run, scratch
from nnlab.ops._numpy.windows import clip

BUDGET = 7 << 17  # bytes of a block's coefficients of one a, of inputs and outputs, unless it is one tile of an image
IMAGES = 256  # of a block, at most
HALF = 32  # of a block, at least, where images are cut for another thread
WIDE = 128  # columns of a product, at least, if a row has so many: each block reads all coefficients of the kernels
LANES, SUMS = 8, 1 << 26  # tasks of a weight gradient, at most, and bytes of their sums, unless they are two
TOGETHER = 3  # coefficients along the height of one round, at most
NARROW = 16  # columns of a product that is made small, at least

Range = tuple[int, int]


@dataclass(frozen=True)
class Block:
    """A row of tiles that makes the outputs of some rows and columns of some images."""

    n: int
    kernel: Shape
    images: Range
    rows: Range
    columns: Range

    @property
    def places(self) -> tuple[slice, slice, slice, slice]:
        """Of its outputs in (O, H, W, N)."""
        return slice(None), slice(*self.rows), slice(*self.columns), slice(*self.images)

    def down(self, which: str) -> np.ndarray:
        """A or B (``which`` is "a" or "b") along the height, (a, numbers)."""
        return banded(self.n, self.kernel[0], which, self.rows[1] - self.rows[0])

    def across(self, which: str) -> np.ndarray:
        """And along the width of all tiles, ((b, tile), numbers)."""
        return banded(self.n, self.kernel[1], which, self.columns[1] - self.columns[0])

    @property
    def bs(self) -> int:
        """How many b there are."""
        return self._groups[-1][0].stop

    @property
    def _groups(self) -> list[tuple[slice, int]]:
        return groups(self.n, self.kernel[1], self.columns[1] - self.columns[0])

    def products(self, coefficients: Any) -> list[tuple[slice, Any]]:
        """Which b the tiles have, and of those the coefficients (a, channels, (b, tile), N) as (b, a, channels,
        tile * N)."""
        found, first = [], 0
        some, channels, _, images = coefficients.shape
        for rows, tiles in self._groups:
            end = first + (rows.stop - rows.start) * tiles
            part = coefficients[:, :, first:end].reshape(some, channels, -1, tiles * images)
            found.append((rows, part.transpose(2, 0, 1, 3)))
            first = end
        return found


def cut_blocks(n: int, kernel: Shape, out: Shape, images: int, channels: int) -> list[Block]:
    """``channels``: input and output ones together."""
    tall, wide = (n + 1 - taps for taps in kernel)
    rows = [(top, min(top + tall, out[0])) for top in range(0, out[0], tall)]
    # One row alone would be one thread's.
    parts = cut(images, IMAGES if len(rows) > 1 else min(IMAGES, max(HALF, -(-images // 2))))
    line = max(high - low for low, high in parts)
    tiles = cut(-(-out[1] // wide), max(BUDGET // (n * channels * 4 * line), WIDE // line))
    columns = [(low * wide, min(high * wide, out[1])) for low, high in tiles]
    return [Block(n, kernel, *ranges) for ranges in product(parts, rows, columns)]


def _down(be: Backend, name: str, which: str, block: Block, planes: Any, start: Shape) -> tuple[Any, Any]:
    """Coefficients (a, channels, width, N) along the height, and the matrix of those along the width of that part.

    ``which``: "b" for overlapping tiles of n x n numbers of an input, "a" for tiles of a result's gradient; planes
    (C, H, W, N), output 0 begins at ``start``.
    """
    channels, height, width, _ = planes.shape
    down, across = block.down(which), block.across(which)
    first_h, first_w = start[0] + block.rows[0], start[1] + block.columns[0]
    top, bottom = clip(first_h, down.shape[1], height)
    left, right = clip(first_w, across.shape[1], width)
    numbers = slice(first_w + left, first_w + right)
    part = planes[:, first_h + top : first_h + bottom, numbers, slice(*block.images)]
    lines = part.reshape(channels, bottom - top, part.shape[2] * part.shape[3])
    result = scratch(be, name, (len(down), channels, lines.shape[2]), np.float32)
    np.matmul(down[:, top:bottom], lines, out=result.swapaxes(0, 1))
    return result.reshape(len(down), channels, *part.shape[2:]), across[:, left:right]


def _coefficients(be: Backend, name: str, *shape: int) -> Any:
    """Memory (a, channels, (b, tile), N) for them."""
    some, channels, size = shape[0], shape[1], shape[2] * shape[3]
    return scratch(be, name, (some, channels, pitch(size)), np.float32)[..., :size].reshape(shape)


def _narrow(coefficients: Any, most: int) -> Any:
    """(..., channels, columns) as (..., parts, channels, columns of a part), if possible at most ``most`` of them.

    Small products are faster.
    """
    columns = coefficients.shape[-1]
    parts = next((n for n in range(1, columns // NARROW + 1) if columns % n == 0 and columns <= n * most), 1)
    return coefficients.reshape(*coefficients.shape[:-1], parts, columns // parts).swapaxes(-2, -3)


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
    most = SMALL // (inputs * outputs)

    def work(index: int) -> None:
        block = blocks[index]
        target = result[block.places]
        down, across = block.down("a"), block.across("a")
        lines, spread = _down(be, "conv_down", "b", block, planes, start)
        images = lines.shape[3]
        sums = scratch(be, "conv_up", (outputs, len(down), across.shape[1], images), np.float32)
        for first, end in cut(len(down), TOGETHER):
            read = _coefficients(be, "conv_spread", end - first, inputs, len(spread), images)
            made = _coefficients(be, "conv_products", end - first, outputs, len(across), images)
            np.matmul(spread, lines[first:end], out=read)
            for (rows, part), (_, result_part) in zip(block.products(read), block.products(made)):
                np.matmul(factors[rows, first:end, None], _narrow(part, most), out=_narrow(result_part, most))
            np.matmul(across.T, made, out=sums[:, first:end].swapaxes(0, 1))
        np.matmul(down.T, sums.swapaxes(1, 2), out=target.swapaxes(1, 2))
        if b is not None:
            target += b[:, None, None, None]
        finite[index] = bool(np.isfinite(np.einsum("chwn->", target)))

    run(be, work, len(blocks), y.size * inputs)
    return y if all(finite) else None


def weight_grad(be: Backend, *, x: Any, dy: Any, kernel: Shape, start: Shape, n: int) -> Any:
    """dw (O, C, *kernel) of y = correlate(x, w) from dy (N, O, *out); None if it is not finite."""
    inputs, outputs = x.shape[1], dy.shape[1]
    blocks = cut_blocks(n, kernel, dy.shape[2:], len(x), inputs + outputs)
    planes, grads = layout.batch_last(be, x), layout.batch_last(be, dy)
    lanes = cut(len(blocks), -(-len(blocks) // max(2, min(LANES, SUMS // (n * n * outputs * inputs * 4)))))
    sums = scratch(be, "conv_sums", (len(lanes), n, n, outputs, inputs), np.float32)

    def add(block: Block, share: Any, first_one: bool) -> None:
        lines_y, spread_y = _down(be, "conv_up", "a", block, grads, (0, 0))
        lines_x, spread_x = _down(be, "conv_down", "b", block, planes, start)
        if first_one:
            share[:, len(lines_y) :] = 0
            share[block.bs :] = 0
        for first, end in cut(len(lines_y), TOGETHER):
            left = _coefficients(be, "conv_products", end - first, outputs, len(spread_y), lines_y.shape[3])
            right = _coefficients(be, "conv_spread", end - first, inputs, len(spread_x), lines_x.shape[3])
            np.matmul(spread_y, lines_y[first:end], out=left)
            np.matmul(spread_x, lines_x[first:end], out=right)
            for (rows, part), (_, other) in zip(block.products(left), block.products(right)):
                made = share[rows, first:end]
                partial = made if first_one else scratch(be, "conv_partial", made.shape, np.float32)
                np.matmul(part, other.swapaxes(2, 3), out=partial)
                if not first_one:
                    made += partial

    def work(index: int) -> None:
        low, high = lanes[index]
        for number in range(low, high):
            add(blocks[number], sums[index], number == low)

    run(be, work, len(lanes), dy.size * inputs)
    dw = kernel_sums(be, n, sums.reshape(len(lanes), n * n, -1), (outputs, inputs, *kernel))
    return dw if np.isfinite(dw).all() else None
