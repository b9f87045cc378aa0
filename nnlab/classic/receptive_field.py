"""How much of the input an output pixel sees."""

from __future__ import annotations

from collections.abc import Iterable

from nnlab.errors import ArgumentError, complaint


def receptive_field(layers: Iterable[tuple[int, int, int]]) -> tuple[int, int]:
    """Size of the input's part that one output of a stack of convolutions and poolings depends on, along a dimension.

    A kernel of k elements with dilation (rate) d spans k + (k - 1) (d - 1) of them; each layer adds its span less 1,
    times the product of the strides before it.

    Args:
        layers: (kernel, stride, dilation) of each, from the input on.

    Returns:
        The size, and the step in the input between neighbouring outputs.
    """
    size, step = 1, 1
    for layer in layers:
        for name, value in zip(("kernel", "stride", "dilation"), layer, strict=True):
            if value < 1:
                raise ArgumentError(complaint("receptive_field", name, "be positive", value))
        kernel, stride, dilation = layer
        size += (kernel - 1) * dilation * step
        step *= stride
    return size, step
