"""Bodies that launch the kernels of ``kernels/<op>.cu``."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from nnlab.cuda.launch import Kernel


def kernels(*ops: str) -> list[Kernel]:
    """The kernels that bodies launch, as they describe them to the gate, each once.

    A description is a module's variable, or lies in a dict, list or tuple that is one.

    Args:
        ops: names of bodies; default all.
    """
    names = ops or [module.name for module in pkgutil.iter_modules(__path__)]
    modules = [import_module(f"{__name__}.{name}") for name in names]
    found = {id(kernel): kernel for module in modules for kernel in _within(vars(module))}
    return sorted(found.values(), key=lambda kernel: (kernel.unit, kernel.name))


def _within(value: Any) -> Iterator[Kernel]:
    if isinstance(value, Kernel):
        yield value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            if name != "__builtins__":
                yield from _within(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _within(inner)
