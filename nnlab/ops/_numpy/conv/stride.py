"""A convolution with a stride over planes without one: space to depth.

Tap t = q * s + r of stride s reads place p + q of the input's remainder r, so a block's input is sorted by remainders
once, each a plane of its own with the padding in it: (C, *s, *plane). In such planes the windows of several rows of
outputs under one tap are one run of memory, a few places longer than the outputs: the products compute the places where
rows of outputs end as well, and they are dropped (or, in dy, zero).

AlexNet's first layer, 11 x 11 with stride 4 on 3 channels, so reads its input once and then copies whole runs.
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from nnlab.backend import Backend
from nnlab.geometry import ConvGeometry, Shape, space_to_depth
from nnlab.ops._numpy import layout
from nnlab.ops._numpy.parallel import cut, run, scratch
from nnlab.ops._numpy.windows import clip, taps

BLOCK_BYTES = 5 << 19  # of unfolded windows
LANES = 8  # partial sums of a weight gradient

Block = tuple[int, int, int]


def plane_size(g: ConvGeometry) -> Shape:
    """Places of one remainder that windows read."""
    return space_to_depth(g).in_size


def _sort(be: Backend, x: Any, g: ConvGeometry, block: Block) -> Any:
    """What a block reads of x (N, C, H, W), by remainders: (C, *s, rows, places), zero where x is padded."""
    n, first, end = block
    (s, t), channels, (height, width) = g.stride, g.x_shape[1], g.in_size
    rows, wide = end - first + (g.kernel[0] - 1) // s, plane_size(g)[1]
    top, left = first * s - g.pad_low[0], -g.pad_low[1]
    low, high = clip(top, rows * s, height)
    lo, hi = clip(left, wide * t, width)
    padded = scratch(be, "conv_padded", (channels, rows * s, wide * t), x.dtype)
    padded[:, :low] = padded[:, high:] = 0
    padded[:, :, :lo] = padded[:, :, hi:] = 0
    padded[:, low:high, lo:hi] = x[n, :, top + low : top + high, left + lo : left + hi]
    planes = scratch(be, "conv_planes", (channels, s, t, rows, wide), x.dtype)
    planes[...] = padded.reshape(channels, rows, s, wide, t).transpose(0, 2, 4, 1, 3)
    return planes


def _blocks(g: ConvGeometry, itemsize: int) -> list[Block]:
    """(image, first row, end) of outputs, each of some rows of one image."""
    row = prod(g.w_shape[1:]) * plane_size(g)[1] * itemsize
    return [(n, *rows) for n in range(g.x_shape[0]) for rows in cut(g.out_size[0], BLOCK_BYTES // row)]


def _windows(be: Backend, x: Any, g: ConvGeometry, block: Block) -> Any:
    """(C * taps, run): the windows of a block's rows, one after another at the distance of the planes' rows."""
    planes = _sort(be, x, g, block)
    wide, (kernel_h, kernel_w), (s, t) = planes.shape[-1], g.kernel, g.stride
    length = (block[2] - block[1] - 1) * wide + g.out_size[1]
    cols = scratch(be, "conv_cols", (len(planes), kernel_h, kernel_w, length), planes.dtype)
    c, r_h, r_w, q_h, q_w = planes.strides
    for (i, many_h, rest_h), (j, many_w, rest_w) in product(_parts(kernel_h, s), _parts(kernel_w, t)):
        target = cols[:, i * s : i * s + many_h * rest_h, j * t : j * t + many_w * rest_w]
        shape = (len(cols), many_h, rest_h, many_w, rest_w, length)
        source = as_strided(planes[:, 0, 0, i:, j:], shape, (c, q_h, r_h, q_w, r_w, q_w), writeable=False)
        np.copyto(_split(target, shape), source)
    return cols.reshape(-1, length)


def _parts(kernel: int, stride: int) -> list[tuple[int, int, int]]:
    """Taps q * stride + r as (first q, number of them, number of remainders): the whole ones, then the rest."""
    whole, rest = divmod(kernel, stride)
    return [part for part in ((0, whole, stride), (whole, 1, rest)) if part[1] and part[2]]


def _split(target: Any, shape: Shape) -> Any:
    """A view of target (C, q * r, q * r, run) as ``shape`` (C, q, r, q, r, run)."""
    c, h, w, one = target.strides
    return as_strided(target, shape, (c, h * shape[2], h, w * shape[4], w, one))


def _spaced(be: Backend, dy: Any, g: ConvGeometry, block: Block) -> Any:
    """(O, run): a block's rows of dy with zeros between them, at the distance of the planes' rows."""
    n, first, end = block
    wide = plane_size(g)[1]
    rows = scratch(be, "conv_grads", (dy.shape[1], end - first, wide), dy.dtype)
    rows[..., : g.out_size[1]] = dy[n, :, first:end]
    rows[..., g.out_size[1] :] = 0
    return rows.reshape(len(rows), -1)[:, : (end - first - 1) * wide + g.out_size[1]]


def forward(be: Backend, x: Any, w: Any, b: Any, g: ConvGeometry) -> Any:
    blocks, wide = _blocks(g, x.itemsize), plane_size(g)[1]
    weight = w.reshape(len(w), -1)
    y = layout.empty(be, g.y_shape, x.dtype)

    def work(index: int) -> None:
        n, first, end = blocks[index]
        cols = _windows(be, x, g, blocks[index])
        rows = scratch(be, "conv_rows", (len(w), end - first, wide), x.dtype)
        np.matmul(weight, cols, out=rows.reshape(len(w), -1)[:, : cols.shape[1]])
        target, source = y[n, :, first:end], rows[..., : g.out_size[1]]
        if b is None:
            target[...] = source
        else:
            np.add(source, b[:, None, None], out=target)

    run(be, work, len(blocks), y.size * weight.shape[1])
    return y


def input_grad(be: Backend, dy: Any, w: Any, g: ConvGeometry) -> Any:
    size, ones = plane_size(g), (1,) * len(g.kernel)
    weight = np.ascontiguousarray(w.reshape(len(w), -1).T)
    blocks = _blocks(g, dy.itemsize)
    start = tuple(-p for p in g.pad_low)
    dx = layout.empty(be, g.x_shape, dy.dtype)

    def work(image: int) -> None:
        planes = scratch(be, "conv_padded", (g.x_shape[1], *g.stride, *size), dy.dtype)
        planes[...] = 0
        flat = planes.reshape(*planes.shape[:3], -1)
        for block in blocks:
            if block[0] != image:
                continue
            grads = _spaced(be, dy, g, block)
            cols = scratch(be, "conv_cols", (len(weight), grads.shape[1]), dy.dtype)
            np.matmul(weight, grads, out=cols)
            windows = cols.reshape(*g.w_shape[1:], -1)
            for i, j in product(*map(range, g.kernel)):
                (q_h, r_h), (q_w, r_w) = divmod(i, g.stride[0]), divmod(j, g.stride[1])
                first = (block[1] + q_h) * size[1] + q_w
                flat[:, r_h, r_w, first : first + grads.shape[1]] += windows[:, i, j]
        dx[image] = 0  # places that no window reads
        for tap, where, places in taps(g.stride, size, g.in_size, start, g.stride, ones):
            ranges = tuple(slice(lo, hi) for lo, hi in where)
            to: Any = (image, slice(None), *places)
            dx[to] = planes[(slice(None), *tap, *ranges)]

    run(be, work, g.x_shape[0], dy.size * len(weight))
    return dx


def weight_grad(be: Backend, x: Any, dy: Any, g: ConvGeometry) -> Any:
    blocks = _blocks(g, x.itemsize)
    lanes = cut(len(blocks), -(-len(blocks) // LANES))
    sums = np.zeros((len(lanes), prod(g.w_shape[1:]), g.w_shape[0]), x.dtype)

    def work(lane: int) -> None:
        for index in range(*lanes[lane]):
            share = scratch(be, "conv_partial", sums.shape[1:], x.dtype)
            np.matmul(_windows(be, x, g, blocks[index]), _spaced(be, dy, g, blocks[index]).T, out=share)
            sums[lane] += share

    run(be, work, len(lanes), dy.size * sums.shape[1])
    total = sums[0]
    for each in sums[1:]:
        total += each
    return np.ascontiguousarray(total.T).reshape(g.w_shape)
