"""Neighbours in a ``Sequential`` that are computed as one operation, to the bits of one after the other.

A pair is fused where both modules are exactly of the classes in ``PAIRS`` and nobody looks at what passes between them:
neither has hooks or a ``forward`` of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from nnlab.nn.module import Module
from nnlab.nn.modules.conv import Conv1d, Conv2d, Conv3d
from nnlab.nn.modules.rectifier import ReLU


def _conv_relu(conv: Module, relu: Module, input: Any) -> Any:
    return conv(input, relu=True)


# (first, second): a function of (first, second, input) that gives second(first(input)).
PAIRS: dict[tuple[type, type], Callable[[Any, Any, Any], Any]] = {
    (Conv1d, ReLU): _conv_relu,
    (Conv2d, ReLU): _conv_relu,
    (Conv3d, ReLU): _conv_relu,
}


def run(modules: Iterable[Module], input: Any) -> Any:
    """Modules called one after another, pairs of them together."""
    left = list(modules)
    while left:
        first, second = left[0], left[1] if len(left) > 1 else None
        fused = PAIRS.get((type(first), type(second)))
        if fused is not None and _plain(first) and _plain(second):
            input = fused(first, second, input)
            del left[:2]
        else:
            input = first(input)
            del left[0]
    return input


def _plain(module: Any) -> bool:
    return not (module._pre_hooks or module._hooks or "forward" in vars(module))
