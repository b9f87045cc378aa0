"""Neighbours in a ``Sequential`` that cost less when they are computed in another way, with the same bits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from nnlab.nn.module import Module
from nnlab.nn.modules.conv import Conv1d, Conv2d, Conv3d
from nnlab.nn.modules.pooling import MaxPool1d, MaxPool2d, MaxPool3d
from nnlab.nn.modules.rectifier import ReLU


def _conv_relu(conv: Module, relu: Module, input: Any) -> Any:
    return conv(input, relu=True)


# Neighbours that one operation computes: a function of (first, second, input) that gives second(first(input)).
PAIRS: dict[tuple[type, type], Callable[[Module, Module, Any], Any]] = {
    (Conv1d, ReLU): _conv_relu,
    (Conv2d, ReLU): _conv_relu,
    (Conv3d, ReLU): _conv_relu,
}


def run(modules: Iterable[Module], input: Any) -> Any:
    """The modules called one after another, pairs of the table together."""
    left = in_order(modules)
    while left:
        first, second = left[0], left[min(1, len(left) - 1)]
        fused = PAIRS.get((type(first), type(second)))
        if fused is not None and _unseen(first, second):
            input = fused(first, second, input)
            del left[:2]
        else:
            input = left.pop(0)(input)
    return input


def in_order(modules: Iterable[Module]) -> list[Module]:
    """The modules in the order in which they are to be called.

    relu follows max pooling instead of preceding it: the largest of rectified numbers is the largest number rectified,
    and there are fewer of those. Where a window holds no positive number the gradient is 0 either way.
    """
    order = list(modules)
    for i in range(1, len(order)):
        relu, pool = order[i - 1 : i + 1]
        if type(relu) is ReLU and type(pool) in (MaxPool1d, MaxPool2d, MaxPool3d) and _unseen(relu, pool):
            of_caller = i == 1 and relu.inplace  # written over what the caller gave
            if not (pool.return_indices or of_caller):
                order[i - 1 : i + 1] = pool, relu
    return order


def _unseen(*modules: Module) -> bool:
    """Whether no hook looks at what the modules are called with and return."""
    return not any(module._pre_hooks or module._hooks for module in modules)
