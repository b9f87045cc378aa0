"""A convolution with a stride as one without: space to depth.

Taps t = q * s + r of stride s: the input positions of one remainder r become a channel, so that C channels are
C * s * s and a kernel of k taps is one of ceil(k / s), filled up with zeros. AlexNet's first layer, 11 x 11 with stride
4 on 3 channels, is a 3 x 3 convolution of 48.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from nnlab.backend import Backend
from nnlab.geometry import ConvGeometry
from nnlab.ops._numpy.conv.unfold import unfold
from nnlab.ops._numpy.parallel import run, scratch
from nnlab.ops._numpy.windows import taps


def folded_geometry(g: ConvGeometry) -> ConvGeometry:
    """The geometry of the convolution without stride; its input holds the padding."""
    kernel = tuple(-(-k // s) for k, s in zip(g.kernel, g.stride, strict=True))
    size = tuple(o + k - 1 for o, k in zip(g.out_size, kernel, strict=True))
    channels, ones, zeros = g.x_shape[1] * prod(g.stride), (1,) * len(kernel), (0,) * len(kernel)
    return replace(
        g,
        x_shape=(g.x_shape[0], channels, *size),
        w_shape=(g.w_shape[0], channels, *kernel),
        stride=ones,
        pad_low=zeros,
    )


def fold_input(be: Backend, x: Any, g: ConvGeometry) -> Any:
    """x (N, C, *in) -> (N, C * s * s, *in / s); valid until the thread folds again."""
    f = folded_geometry(g)
    result = scratch(be, "conv_folded", (g.x_shape[0], g.x_shape[1], *g.stride, *f.in_size), x.dtype)
    start, ones = tuple(-p for p in g.pad_low), (1,) * len(g.stride)

    def work(image: int) -> None:
        part = slice(image, image + 1)
        unfold(np, result[part], x[part], f.in_size, start, g.stride, ones)

    run(be, work, g.x_shape[0], 8 * result.size)
    return result.reshape(f.x_shape)


def unfold_input(be: Backend, folded: Any, g: ConvGeometry) -> Any:
    """What ``fold_input`` made, back in its places: (N, C, *in); places that no window reads are zero."""
    f = folded_geometry(g)
    x = np.empty(g.x_shape, folded.dtype)
    source = folded.reshape(*g.x_shape[:2], *g.stride, *f.in_size)
    start, ones = tuple(-p for p in g.pad_low), (1,) * len(g.stride)
    covered = all((n + p) <= m * s for n, p, m, s in zip(g.in_size, g.pad_low, f.in_size, g.stride, strict=True))

    def work(image: int) -> None:
        if not covered:
            x[image] = 0
        for tap, where, target in taps(g.stride, f.in_size, g.in_size, start, g.stride, ones):
            ranges = tuple(slice(lo, hi) for lo, hi in where)
            to: Any = (image, slice(None), *target)
            x[to] = source[(image, slice(None), *tap, *ranges)]

    run(be, work, g.x_shape[0], 8 * folded.size)
    return x


def fold_weight(w: Any, g: ConvGeometry) -> Any:
    """w (O, C, *kernel) -> (O, C * s * s, *ceil(kernel / s))."""
    f = folded_geometry(g)
    (high, wide), (s, t) = f.kernel, g.stride
    padded = np.zeros((*w.shape[:2], high * s, wide * t), w.dtype)
    padded[..., : g.kernel[0], : g.kernel[1]] = w
    split = padded.reshape(*w.shape[:2], high, s, wide, t).transpose(0, 1, 3, 5, 2, 4)
    return split.reshape(f.w_shape)


def unfold_weight(folded: Any, g: ConvGeometry) -> Any:
    """The taps of ``fold_weight`` back in their places: (O, C, *kernel)."""
    (high, wide), (s, t) = folded_geometry(g).kernel, g.stride
    split = folded.reshape(*g.w_shape[:2], s, t, high, wide).transpose(0, 1, 4, 2, 5, 3)
    whole = split.reshape(*g.w_shape[:2], high * s, wide * t)
    return np.ascontiguousarray(whole[..., : g.kernel[0], : g.kernel[1]])
