"""Max, average and adaptive pooling over 1, 2 and 3 spatial dimensions, and max unpooling.

In a max pooling window the first maximum in row-major order wins, NaN wins over numbers, padding never wins. Indices
are flat positions in the unpadded input plane, as ``max_unpool`` takes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nnlab.autograd import Tensor
from nnlab.autograd import pool as ops
from nnlab.errors import DeviceError, DtypeError, ShapeError
from nnlab.geometry import adaptive_size, max_unpool_size, pool_geometry
from nnlab.nn.functional._checks import check_input, with_batch

Size = int | Sequence[int]
AdaptiveSize = int | None | Sequence[int | None]


def _result(result: Any, batched: bool) -> Any:
    if batched:
        return result
    return tuple(t.squeeze(0) for t in result) if isinstance(result, tuple) else result.squeeze(0)


def _max_pool(where: str, spatial: int) -> Callable[..., Any]:
    def max_pool(
        input: Tensor,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        dilation: Size = 1,
        ceil_mode: bool = False,
        return_indices: bool = False,
    ) -> Any:
        check_input(where, input)
        x, batched = with_batch(where, input, spatial)
        geometry = pool_geometry(x.shape, kernel_size, stride, padding, dilation, ceil_mode, layer=where)
        return _result((ops.max_pool_with_indices if return_indices else ops.max_pool)(x, geometry), batched)

    return _named(max_pool, where, "Largest value of each window; with ``return_indices`` also where it was found.")


def _max_unpool(where: str, spatial: int) -> Callable[..., Tensor]:
    def max_unpool(
        input: Tensor,
        indices: Tensor,
        kernel_size: Size,
        stride: Size | None = None,
        padding: Size = 0,
        output_size: Sequence[int] | None = None,
    ) -> Tensor:
        check_input(where, input)
        if indices.device != input.device:
            raise DeviceError(f"[{where}] 'input' is on {input.device} but 'indices' is on {indices.device}")
        if indices.dtype.kind not in "iu":
            raise DtypeError(f"[{where}] 'indices' must be integers, got {indices.dtype}")
        if indices.shape != input.shape:
            raise ShapeError(f"[{where}] 'indices' must have the input's shape {input.shape}, got {indices.shape}")
        x, batched = with_batch(where, input, spatial)
        size = max_unpool_size(x.shape, kernel_size, stride, padding, output_size, layer=where)
        return _result(ops.max_unpool(x, indices.reshape(x.shape), size), batched)

    return _named(max_unpool, where, "Put each value where max pooling found it; zeros elsewhere.")


def _avg_pool(
    where: str,
    spatial: int,
    input: Tensor,
    kernel_size: Size,
    stride: Size | None,
    padding: Size,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None = None,
) -> Tensor:
    check_input(where, input)
    x, batched = with_batch(where, input, spatial)
    geometry = pool_geometry(x.shape, kernel_size, stride, padding, 1, ceil_mode, layer=where)
    return _result(ops.avg_pool(x, geometry, count_include_pad, divisor_override), batched)


def avg_pool1d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """Mean of each window: input (N, C, L) or (C, L)."""
    return _avg_pool("avg_pool1d", 1, input, kernel_size, stride, padding, ceil_mode, count_include_pad)


def avg_pool2d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Mean of each window: input (N, C, H, W) or (C, H, W); ``divisor_override`` replaces the window size."""
    return _avg_pool(
        "avg_pool2d", 2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def avg_pool3d(
    input: Tensor,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Mean of each window: input (N, C, D, H, W) or (C, D, H, W); ``divisor_override`` replaces the window size."""
    return _avg_pool(
        "avg_pool3d", 3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def _adaptive_avg_pool(where: str, spatial: int) -> Callable[..., Tensor]:
    def adaptive_avg_pool(input: Tensor, output_size: AdaptiveSize) -> Tensor:
        check_input(where, input)
        x, batched = with_batch(where, input, spatial)
        return _result(ops.adaptive_avg_pool(x, adaptive_size(x.shape, output_size, layer=where)), batched)

    return _named(adaptive_avg_pool, where, "Mean over windows chosen so that the output has the given size.")


def _adaptive_max_pool(where: str, spatial: int) -> Callable[..., Any]:
    def adaptive_max_pool(input: Tensor, output_size: AdaptiveSize, return_indices: bool = False) -> Any:
        check_input(where, input)
        x, batched = with_batch(where, input, spatial)
        size = adaptive_size(x.shape, output_size, layer=where)
        pool = ops.adaptive_max_pool_with_indices if return_indices else ops.adaptive_max_pool
        return _result(pool(x, size), batched)

    return _named(adaptive_max_pool, where, "Maximum over windows chosen so that the output has the given size.")


def _named(function: Callable[..., Any], name: str, text: str) -> Callable[..., Any]:
    axes = {"1": "L", "2": "H, W", "3": "D, H, W"}[name[-2]]
    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"{text} Input (N, C, {axes}) or (C, {axes})."
    return function


max_pool1d, max_pool2d, max_pool3d = (_max_pool(f"max_pool{n}d", n) for n in (1, 2, 3))
max_unpool1d, max_unpool2d, max_unpool3d = (_max_unpool(f"max_unpool{n}d", n) for n in (1, 2, 3))
adaptive_avg_pool1d, adaptive_avg_pool2d, adaptive_avg_pool3d = (
    _adaptive_avg_pool(f"adaptive_avg_pool{n}d", n) for n in (1, 2, 3)
)
adaptive_max_pool1d, adaptive_max_pool2d, adaptive_max_pool3d = (
    _adaptive_max_pool(f"adaptive_max_pool{n}d", n) for n in (1, 2, 3)
)
