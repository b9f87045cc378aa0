"""Validated window arithmetic of convolutions and pooling, computed once.

- ``conv_geometry(x_shape, w_shape, stride=1, padding=0, dilation=1, groups=1, *, layer="conv")`` -> ConvGeometry
- ``conv_transpose_geometry(x_shape, w_shape, stride=1, padding=0, output_padding=0, groups=1, dilation=1, *,
  output_size=None, layer="conv_transpose")`` -> ConvGeometry of the convolution whose input gradient it is
- ``space_to_depth(geometry, together=1)`` -> ConvGeometry of stride 1 that computes the same from a sorted input
- ``pool_geometry(x_shape, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, *, layer="pool")``
  -> PoolGeometry
- ``adaptive_size(x_shape, output_size, *, layer)`` -> tuple of ints (None keeps the input's size)
- ``max_unpool_size(x_shape, kernel_size, stride=None, padding=0, output_size=None, *, layer)`` -> tuple of ints

x_shape always has batch and channels: (N, C, *spatial) with 1 to 3 spatial dimensions. Sizes are an int or a sequence
of one int a spatial dimension; ``padding`` of a convolution also 'same' or 'valid'. All raise ``ArgumentError`` or
``ShapeError`` naming ``layer`` and the values.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from nnlab.errors import ArgumentError, ShapeError, complaint

Ints = int | Sequence[int]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class ConvGeometry:
    """One convolution y = conv(x, w), all sizes known.

    Output position o along a dimension reads input positions ``o * stride - pad_low + t * dilation`` for the taps
    t = 0 .. kernel-1; positions outside the input read zero.

    Attributes:
        x_shape: (N, C, *in).
        w_shape: (O, C / groups, *kernel).
        y_shape: (N, O, *out).
        stride, dilation, pad_low: one int a spatial dimension. Padding at the far end is whatever ``y_shape`` needs.
        groups: input and output channels are cut into this many groups that do not see each other.
    """

    x_shape: Shape
    w_shape: Shape
    y_shape: Shape
    stride: Shape
    pad_low: Shape
    dilation: Shape
    groups: int

    @property
    def kernel(self) -> Shape:
        return self.w_shape[2:]

    @property
    def in_size(self) -> Shape:
        return self.x_shape[2:]

    @property
    def out_size(self) -> Shape:
        return self.y_shape[2:]


@dataclass(frozen=True)
class PoolGeometry:
    """One pooling, all sizes known; windows as in :class:`ConvGeometry`.

    Attributes:
        x_shape: (N, C, *in).
        y_shape: (N, C, *out).
        kernel, stride, pad_low, dilation: one int a spatial dimension; both ends are padded alike.
    """

    x_shape: Shape
    y_shape: Shape
    kernel: Shape
    stride: Shape
    pad_low: Shape
    dilation: Shape

    @property
    def in_size(self) -> Shape:
        return self.x_shape[2:]

    @property
    def out_size(self) -> Shape:
        return self.y_shape[2:]

    @property
    def apart(self) -> bool:
        """Whether no two windows share an element."""
        return all(s > d * (k - 1) for k, s, d in zip(self.kernel, self.stride, self.dilation, strict=True))

    @property
    def tiles(self) -> bool:
        """Whether each element lies in exactly one window."""
        sizes = zip(self.in_size, self.out_size, self.kernel, strict=True)
        return self.apart and not any(self.pad_low) and all(n == o * k for n, o, k in sizes)


def tap_range(out: int, size: int, start: int, stride: int) -> tuple[int, int, int]:
    """Where one tap of a window meets the input along one dimension.

    Tap ``start`` (its input position under output 0) reads input ``start + o * stride``. Returns (lo, hi, first): the
    outputs lo <= o < hi that read inside 0 .. size-1, and the input position of output lo; lo == hi when there is none.
    """
    lo = max(0, -(start // stride))
    hi = max(lo, min(out, (size - start + stride - 1) // stride))
    return lo, hi, start + lo * stride


def sizes(value: Ints, dims: int, argument: str, layer: str, *, least: int = 1) -> Shape:
    """An int or a sequence of ``dims`` ints as a tuple, each at least ``least`` (0 or 1)."""
    must = {0: "not be negative", 1: "be positive"}[least]
    given = _as_ints(value)
    if given is None or len(given) not in (1, dims):
        raise ArgumentError(complaint(layer, argument, f"be an int or {dims} ints", value))
    result = given * dims if len(given) == 1 else given
    if min(result) < least:
        raise ArgumentError(complaint(layer, argument, must, value if isinstance(value, int) else result))
    return result


def _as_ints(value: object) -> Shape | None:
    if isinstance(value, bool | str):
        return None
    try:
        if hasattr(value, "__index__"):
            return (operator.index(value),)
        return tuple(operator.index(item) for item in value)  # type: ignore[attr-defined]
    except TypeError:
        return None


def _positive_int(value: object, argument: str, layer: str) -> int:
    given = _as_ints(value)
    if given is None or len(given) != 1 or given[0] < 1:
        raise ArgumentError(complaint(layer, argument, "be a positive int", value))
    return given[0]


def _spatial(x_shape: Sequence[int], layer: str) -> int:
    if not 3 <= len(x_shape) <= 5:
        raise ShapeError(
            complaint(layer, "input", "have shape (N, C, *spatial) with 1 to 3 dimensions", tuple(x_shape))
        )
    return len(x_shape) - 2


def _weight_rank(w_shape: Shape, dims: int, layer: str) -> None:
    if len(w_shape) != dims + 2 or min(w_shape) < 1:
        raise ShapeError(
            complaint(layer, "weight", f"have {dims + 2} positive sizes for {dims} spatial dimensions", w_shape)
        )


def conv_padding(padding: Ints | str, kernel: Shape, stride: Shape, dilation: Shape, layer: str) -> tuple[Shape, Shape]:
    """Padding at the near and the far end. 'same' puts the odd element at the far end, as PyTorch does."""
    dims = len(kernel)
    if isinstance(padding, str):
        if padding == "valid":
            return (0,) * dims, (0,) * dims
        if padding != "same":
            raise ArgumentError(complaint(layer, "padding", "be ints, 'same' or 'valid'", padding))
        if max(stride) > 1:
            raise ArgumentError(complaint(layer, "stride", "be 1 with padding 'same'", stride))
        total = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
        return tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
    low = sizes(padding, dims, "padding", layer, least=0)
    return low, low


def conv_geometry(
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    stride: Ints = 1,
    padding: Ints | str = 0,
    dilation: Ints = 1,
    groups: int = 1,
    *,
    layer: str = "conv",
) -> ConvGeometry:
    """Geometry of a convolution of x (N, C, *in) with w (O, C/groups, *kernel).

    ``out = floor((in + pad_low + pad_high - dilation * (kernel - 1) - 1) / stride) + 1``.

    Raises:
        ArgumentError: a stride, padding, dilation or groups that makes no sense.
        ShapeError: the weight does not fit the input's channels, or the padded input is smaller than the kernel.
    """
    x_shape, w_shape = tuple(x_shape), tuple(w_shape)
    dims = _spatial(x_shape, layer)
    _weight_rank(w_shape, dims, layer)
    strides, dilations = sizes(stride, dims, "stride", layer), sizes(dilation, dims, "dilation", layer)
    groups = _positive_int(groups, "groups", layer)
    kernel, in_size = w_shape[2:], x_shape[2:]
    low, high = conv_padding(padding, kernel, strides, dilations, layer)
    if w_shape[0] % groups:
        raise ShapeError(complaint(layer, "weight", f"have output channels divisible by groups={groups}", w_shape))
    if x_shape[1] != w_shape[1] * groups:
        raise ShapeError(
            f"[{layer}] 'input' must have {w_shape[1] * groups} channels (weight {w_shape}, groups={groups}), "
            f"got {x_shape[1]} in shape {x_shape}"
        )
    span = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True))
    padded = tuple(n + a + b for n, a, b in zip(in_size, low, high, strict=True))
    if any(p < s for p, s in zip(padded, span, strict=True)):
        raise ShapeError(
            f"[{layer}] 'input' must be at least as large as the kernel's extent {span} after padding, "
            f"got {padded} (input {x_shape}, padding {padding!r})"
        )
    out = tuple((p - s) // st + 1 for p, s, st in zip(padded, span, strides, strict=True))
    return ConvGeometry(x_shape, w_shape, (x_shape[0], w_shape[0], *out), strides, low, dilations, groups)


def space_to_depth(geometry: ConvGeometry, together: int = 1) -> ConvGeometry:
    """The convolution of stride 1, without padding, that a convolution is when its input is sorted by remainders.

    Along a dimension with steps of ``step`` positions (the stride), position ``place * step + rest`` of the padded
    input is a channel of its own at ``place``, and tap ``q * step + rest`` becomes tap q of that channel: channel
    ``rest * C + c``, where rest counts row-major over the dimensions. Taps that a kernel does not have are 0.

    With ``together`` = m, m neighbouring outputs of the last dimension are channels of one place too: channel
    ``a * O + o`` at place u is output ``u * m + a``, whose tap t is tap ``(a * stride + t) // step`` of rest
    ``(a * stride + t) % step`` with steps of ``m * stride`` positions.

    Args:
        geometry: without groups and dilation; its last output size is a multiple of ``together``.
    """
    g, ones = geometry, (1,) * len(geometry.kernel)
    many = (*ones[:-1], together)
    steps = tuple(s * m for s, m in zip(g.stride, many, strict=True))
    lines = zip(g.kernel, g.stride, many, steps, strict=True)
    kernel = tuple(((m - 1) * s + k - 1) // step + 1 for k, s, m, step in lines)
    out = tuple(n // m for n, m in zip(g.out_size, many, strict=True))
    places = tuple(o + k - 1 for o, k in zip(out, kernel, strict=True))
    channels, outputs = g.w_shape[1] * prod(steps), g.w_shape[0] * together
    return ConvGeometry(
        x_shape=(g.x_shape[0], channels, *places),
        w_shape=(outputs, channels, *kernel),
        y_shape=(g.y_shape[0], outputs, *out),
        stride=ones,
        pad_low=(0,) * len(ones),
        dilation=ones,
        groups=1,
    )


def conv_transpose_geometry(
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    stride: Ints = 1,
    padding: Ints = 0,
    output_padding: Ints = 0,
    groups: int = 1,
    dilation: Ints = 1,
    *,
    output_size: Sequence[int] | None = None,
    layer: str = "conv_transpose",
) -> ConvGeometry:
    """Geometry of a transposed convolution of x (N, C, *in) with w (C, O/groups, *kernel).

    ``out = (in - 1) * stride - 2 * padding + dilation * (kernel - 1) + output_padding + 1``. Returned is the
    convolution from (N, O, *out) to (N, C, *in) whose input gradient the transposed convolution computes: ``y_shape``
    is x's shape and ``x_shape`` the result's.

    Args:
        output_size: wanted *out (or the full shape with it at the end) instead of ``output_padding``; each size may be
            up to stride - 1 above the smallest possible.

    Raises:
        ArgumentError: a value that makes no sense, e.g. output_padding >= max(stride, dilation).
        ShapeError: the weight does not fit the input's channels, or the result would be empty.
    """
    x_shape, w_shape = tuple(x_shape), tuple(w_shape)
    dims = _spatial(x_shape, layer)
    _weight_rank(w_shape, dims, layer)
    strides, dilations = sizes(stride, dims, "stride", layer), sizes(dilation, dims, "dilation", layer)
    pad = sizes(padding, dims, "padding", layer, least=0)
    extra = sizes(output_padding, dims, "output_padding", layer, least=0)
    groups = _positive_int(groups, "groups", layer)
    if w_shape[0] != x_shape[1]:
        raise ShapeError(
            f"[{layer}] 'input' must have {w_shape[0]} channels (weight {w_shape}), got {x_shape[1]} in shape {x_shape}"
        )
    if w_shape[0] % groups:
        raise ShapeError(complaint(layer, "weight", f"have input channels divisible by groups={groups}", w_shape))
    smallest = tuple(
        (n - 1) * s - 2 * p + d * (k - 1) + 1
        for n, s, p, d, k in zip(x_shape[2:], strides, pad, dilations, w_shape[2:], strict=True)
    )
    if output_size is not None:
        out = _wanted_size(output_size, dims, layer)
        if not all(lo <= o < lo + s for lo, o, s in zip(smallest, out, strides, strict=True)):
            largest = tuple(lo + s - 1 for lo, s in zip(smallest, strides, strict=True))
            raise ArgumentError(complaint(layer, "output_size", f"lie between {smallest} and {largest}", out))
    else:
        if any(e >= max(s, d) for e, s, d in zip(extra, strides, dilations, strict=True)):
            must = f"be smaller than stride {strides} or dilation {dilations}"
            raise ArgumentError(complaint(layer, "output_padding", must, extra))
        out = tuple(lo + e for lo, e in zip(smallest, extra, strict=True))
    if min(out) < 1:
        raise ShapeError(f"[{layer}] output would be empty: size {out} from input {x_shape} and weight {w_shape}")
    y_shape = (x_shape[0], w_shape[1] * groups, *out)
    return ConvGeometry(y_shape, w_shape, x_shape, strides, pad, dilations, groups)


def _wanted_size(output_size: Sequence[int], dims: int, layer: str) -> Shape:
    given = _as_ints(output_size)
    if given is None or len(given) not in (dims, dims + 1, dims + 2):
        raise ArgumentError(complaint(layer, "output_size", f"end in {dims} ints", output_size))
    return given[-dims:]


def pool_geometry(
    x_shape: Sequence[int],
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    dilation: Ints = 1,
    ceil_mode: bool = False,
    *,
    layer: str = "pool",
) -> PoolGeometry:
    """Geometry of a pooling of x (N, C, *in).

    ``out = floor((in + 2 * padding - dilation * (kernel - 1) - 1) / stride) + 1``, rounded up with ``ceil_mode`` unless
    the last window would then start in the far padding. ``stride`` None (or empty) is ``kernel_size``.

    Raises:
        ArgumentError: a value that makes no sense, e.g. padding above half of the kernel.
        ShapeError: the input is smaller than a window, or a window would hold padding only.
    """
    x_shape = tuple(x_shape)
    dims = _spatial(x_shape, layer)
    kernel = sizes(kernel_size, dims, "kernel_size", layer)
    unset = stride is None or (not isinstance(stride, int) and len(stride) == 0)
    strides = kernel if unset else sizes(stride, dims, "stride", layer)  # type: ignore[arg-type]
    pad = sizes(padding, dims, "padding", layer, least=0)
    dilations = sizes(dilation, dims, "dilation", layer)
    span = tuple(d * (k - 1) + 1 for k, d in zip(kernel, dilations, strict=True))
    if any(p > s // 2 for p, s in zip(pad, span, strict=True)):
        raise ArgumentError(complaint(layer, "padding", f"be at most half of the kernel's extent {span}", pad))
    out = []
    for n, s, st, p in zip(x_shape[2:], span, strides, pad, strict=True):
        rest = n + 2 * p - s
        count = (rest + st - 1 if ceil_mode else rest) // st + 1
        if ceil_mode and (count - 1) * st >= n + p:
            count -= 1
        out.append(count if n > 0 else 0)
    if min(out) < 1:
        raise ShapeError(
            f"[{layer}] 'input' must be at least as large as the kernel's extent {span} after padding {pad}, "
            f"got shape {x_shape}"
        )
    for n, o, k, st, p, d in zip(x_shape[2:], out, kernel, strides, pad, dilations, strict=True):
        for start in range(-p, 0, st)[:o]:
            first = start % d if start < 0 else start
            if first >= n or first > start + d * (k - 1):
                raise ShapeError(
                    f"[{layer}] each window must hold an input element; one of kernel {kernel}, dilation {dilations}, "
                    f"padding {pad} on shape {x_shape} does not"
                )
    return PoolGeometry(x_shape, (*x_shape[:2], *out), kernel, strides, pad, dilations)


def adaptive_size(
    x_shape: Sequence[int], output_size: int | Sequence[int | None] | None, *, layer: str = "adaptive_pool"
) -> Shape:
    """Output size of adaptive pooling of x (N, C, *in): an int for all dimensions, or one a dimension; None keeps
    ``in``.

    Raises:
        ArgumentError: ``output_size`` is not that.
        ShapeError: x has no or an empty spatial dimension.
    """
    dims = _spatial(x_shape, layer)
    if min(x_shape[2:]) < 1:
        raise ShapeError(complaint(layer, "input", "have spatial sizes of at least 1", tuple(x_shape)))
    given = [output_size] * dims if output_size is None or isinstance(output_size, int) else list(output_size)
    filled = [n if want is None else want for n, want in zip(x_shape[2:], given, strict=False)]
    if len(given) != dims:
        raise ArgumentError(complaint(layer, "output_size", f"be an int or {dims} entries", output_size))
    return sizes(filled, dims, "output_size", layer)


def max_unpool_size(
    x_shape: Sequence[int],
    kernel_size: Ints,
    stride: Ints | None = None,
    padding: Ints = 0,
    output_size: Sequence[int] | None = None,
    *,
    layer: str = "max_unpool",
) -> Shape:
    """Size of the unpooled plane: ``(in - 1) * stride - 2 * padding + kernel``, or ``output_size`` less than one stride
    away from it.

    Raises:
        ArgumentError: ``output_size`` (or its last entries) is too far from the default size.
    """
    dims = _spatial(x_shape, layer)
    kernel = sizes(kernel_size, dims, "kernel_size", layer)
    strides = kernel if stride is None else sizes(stride, dims, "stride", layer)
    pad = sizes(padding, dims, "padding", layer, least=0)
    default = tuple((n - 1) * s - 2 * p + k for n, s, p, k in zip(x_shape[2:], strides, pad, kernel, strict=True))
    if output_size is None:
        return default
    out = _wanted_size(output_size, dims, layer)
    if not all(d - s < o < d + s for o, d, s in zip(out, default, strides, strict=True)):
        must = f"be less than one stride {strides} away from {default}"
        raise ArgumentError(complaint(layer, "output_size", must, out))
    return out
