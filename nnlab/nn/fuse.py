"""Neighbours in a ``Sequential`` that cost less when they are computed in another way, with the same bits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from nnlab.nn.module import Module
from nnlab.nn.modules.conv import Conv1d, Conv2d, Conv3d
from nnlab.nn.modules.normalization import BatchNorm1d, BatchNorm2d, BatchNorm3d
from nnlab.nn.modules.pooling import MaxPool1d, MaxPool2d, MaxPool3d
from nnlab.nn.modules.rectifier import ReLU


def _conv_relu(input: Any, conv: Module, relu: Module) -> tuple[Any, int]:
    return conv(input, relu=True), 2


def _batch_norm_relu(input: Any, norm: Any, relu: Module) -> tuple[Any, int]:
    if input.device.type == "cpu":  # where blocks of channels stay in the cache in between
        return norm(input, relu=True), 2
    return norm(input), 1


def _conv_max_pool_relu(input: Any, conv: Module, pool: Any, relu: Module) -> tuple[Any, int]:
    arguments = (pool.kernel_size, 2), (pool.stride, 2), (pool.padding, 0), (pool.dilation, 1)
    plain = all(isinstance(value, int | tuple) and value in (n, (n, n)) for value, n in arguments)
    if not plain or pool.return_indices or pool.ceil_mode:
        return conv(input), 1
    y, pooled = conv(input, pool=True)
    return y, 3 if pooled else 1


# Neighbours that one operation may compute: a function of (input, *neighbours) that gives the result of the first ones,
# and how many those are.
TOGETHER: dict[tuple[type, ...], Callable[..., tuple[Any, int]]] = {
    (Conv2d, MaxPool2d, ReLU): _conv_max_pool_relu,
    (Conv1d, ReLU): _conv_relu,
    (Conv2d, ReLU): _conv_relu,
    (Conv3d, ReLU): _conv_relu,
    (BatchNorm1d, ReLU): _batch_norm_relu,
    (BatchNorm2d, ReLU): _batch_norm_relu,
    (BatchNorm3d, ReLU): _batch_norm_relu,
}


def run(modules: Iterable[Module], input: Any) -> Any:
    """The modules called one after another, those of the table together."""
    left = in_order(modules)
    while left:
        fused, some = _fused(left)
        if fused is None:
            input = left.pop(0)(input)
        else:
            input, done = fused(input, *some)
            del left[:done]
    return input


def _fused(modules: list[Module]) -> tuple[Callable[..., tuple[Any, int]] | None, list[Module]]:
    """The table's function for the first of the modules, and its neighbours."""
    for count in (3, 2):
        some = modules[:count]
        fused = TOGETHER.get(tuple(map(type, some)))
        if fused is not None and _unseen(*some):
            return fused, some
    return None, []


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
