"""Dropout of elements and of whole channels, and dropout that keeps mean and variance.

Each mask is one draw of ``nnlab.random.default_generator``, the same on every device.
"""

from __future__ import annotations

from collections.abc import Mapping

from nnlab.autograd import Tensor, activation
from nnlab.autograd import mask as ops
from nnlab.errors import ShapeError, complaint
from nnlab.nn.functional._checks import check_input, check_probability

# What SELU (its scale and alpha) tends to for large negative values, without the sign.
_LOWEST = 1.0507009873554805 * 1.6732632423543772


def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """In training zero each element with probability p and multiply the others by 1 / (1 - p); else the input.

    The mask is one draw of ``nnlab.random.default_generator``, the same on every device.
    Source: Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 2014.
    """
    check_probability("dropout", p)
    check_input("dropout", input)
    if not training or p == 0:
        return input
    result = activation.dropout(input, p)
    return input.copy_(result) if inplace else result


def _per_channel(input: Tensor, lead: int) -> tuple[int, ...]:
    """The shape of a mask with one element for each of the first ``lead`` dimensions."""
    return (*input.shape[:lead], *[1] * (input.ndim - lead))


def _channels(where: str, input: Tensor, leads: Mapping[int, int], p: float, training: bool, inplace: bool) -> Tensor:
    """Dropout of channels; ``leads``: for each number of dimensions, how many of them come before the positions."""
    check_probability(where, p)
    check_input(where, input)
    if input.ndim not in leads:
        must = f"have {' or '.join(map(str, leads))} dimensions"
        raise ShapeError(complaint(where, "input", must, tuple(input.shape)))
    if not training or p == 0:
        return input
    keep = ops.draw(input, _per_channel(input, leads[input.ndim]), p)
    y = ops.mask(input, keep, 1 / (1 - p) if p < 1 else 0.0)
    return input.copy_(y) if inplace else y


def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """In training zero each channel with probability p and multiply the others by 1 / (1 - p); else the input.

    Input (N, C, L) or (C, L). Source: Tompson et al., "Efficient object localization using convolutional networks",
    CVPR 2015.
    """
    return _channels("dropout1d", input, {2: 1, 3: 2}, p, training, inplace)


def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """As :func:`dropout1d`, input (N, C, H, W). Three dimensions are (N, C, L), as in PyTorch, not (C, H, W)."""
    return _channels("dropout2d", input, {3: 2, 4: 2}, p, training, inplace)


def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """As :func:`dropout1d`, input (N, C, D, H, W) or (C, D, H, W)."""
    return _channels("dropout3d", input, {4: 1, 5: 2}, p, training, inplace)


def _alpha(input: Tensor, shape: tuple[int, ...], p: float, inplace: bool) -> Tensor:
    if p == 1:
        scale = shift = other = 0.0
    else:
        scale = ((1 - p) * (1 + p * _LOWEST**2)) ** -0.5
        shift = scale * _LOWEST * p
        other = shift - scale * _LOWEST
    y = ops.mask(input, ops.draw(input, shape, p), scale, shift, other)
    return input.copy_(y) if inplace else y


def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Dropout for networks of SELUs: mean 0 and variance 1 of the input stay as they are.

    In training each element becomes, with probability p, what SELU tends to, -l = -1.7581; then all are mapped by
    ``a * x + b`` with ``a = ((1 - p) * (1 + p * l**2))**-0.5`` and ``b = a * p * l``. p = 1 gives zeros.
    Source: Klambauer et al., "Self-normalizing neural networks", NeurIPS 2017.
    """
    check_probability("alpha_dropout", p)
    check_input("alpha_dropout", input)
    return _alpha(input, tuple(input.shape), p, inplace) if training and p > 0 else input


def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """:func:`alpha_dropout` of whole channels; input (N, C, ...)."""
    check_probability("feature_alpha_dropout", p)
    check_input("feature_alpha_dropout", input)
    if input.ndim < 2:
        must = "have shape (N, C, ...)"
        raise ShapeError(complaint("feature_alpha_dropout", "input", must, tuple(input.shape)))
    return _alpha(input, _per_channel(input, 2), p, inplace) if training and p > 0 else input
