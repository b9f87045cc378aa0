"""Channels into pixels, pixels into channels, channels among groups."""

from __future__ import annotations

from nnlab.autograd import Tensor
from nnlab.errors import ShapeError, complaint
from nnlab.nn.functional._checks import check_count


def _images(where: str, input: Tensor) -> tuple[int, ...]:
    """The dimensions before (C, H, W)."""
    if input.ndim < 3:
        raise ShapeError(complaint(where, "input", "have shape (..., C, H, W)", tuple(input.shape)))
    return tuple(input.shape[:-3])


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(..., C * r * r, H, W) to (..., C, H * r, W * r): ``y[c, h r + i, w r + j] = x[c r r + i r + j, h, w]``.

    Raises:
        ShapeError: the number of channels is not divisible by r * r.

    Source: Shi et al., "Real-time single image and video super-resolution using an efficient sub-pixel convolutional
    neural network", CVPR 2016.
    """
    check_count("pixel_shuffle", "upscale_factor", upscale_factor)
    lead, r = _images("pixel_shuffle", input), upscale_factor
    channels, height, width = input.shape[-3:]
    if channels % (r * r):
        must = f"have a number of channels divisible by upscale_factor squared, {r * r}"
        raise ShapeError(complaint("pixel_shuffle", "input", must, tuple(input.shape)))
    k, c = len(lead), channels // (r * r)
    parts = input.reshape(*lead, c, r, r, height, width)
    return parts.permute(*range(k), k, k + 3, k + 1, k + 4, k + 2).reshape(*lead, c, height * r, width * r)


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(..., C, H * r, W * r) to (..., C * r * r, H, W): the inverse of :func:`pixel_shuffle`.

    Raises:
        ShapeError: height or width is not divisible by r.
    """
    check_count("pixel_unshuffle", "downscale_factor", downscale_factor)
    lead, r = _images("pixel_unshuffle", input), downscale_factor
    channels, height, width = input.shape[-3:]
    if height % r or width % r:
        must = f"have a height and a width divisible by downscale_factor {r}"
        raise ShapeError(complaint("pixel_unshuffle", "input", must, tuple(input.shape)))
    k, h, w = len(lead), height // r, width // r
    parts = input.reshape(*lead, channels, h, r, w, r)
    return parts.permute(*range(k), k, k + 2, k + 4, k + 1, k + 3).reshape(*lead, channels * r * r, h, w)


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """(N, C, ...): channel ``g * C / groups + k`` becomes channel ``k * groups + g``.

    Raises:
        ShapeError: there are fewer than three dimensions, or the channels are not divisible by groups.

    Source: Zhang et al., "ShuffleNet: an extremely efficient convolutional neural network for mobile devices", 2017.
    """
    check_count("channel_shuffle", "groups", groups)
    if input.ndim < 3 or input.shape[1] % groups:
        must = f"have shape (N, C, L, ...) with C divisible by groups={groups}"
        raise ShapeError(complaint("channel_shuffle", "input", must, tuple(input.shape)))
    n, c, *rest = input.shape
    return input.reshape(n, groups, c // groups, *rest).transpose(1, 2).reshape(n, c, *rest)
