"""State that a network carries from batch to batch: a recurrent layer's along a text that is longer than a batch.

A module names the buffers that hold it, ``carried = ("h", "c")``. Each is None, which is the beginning, or a Tensor
that ``forward`` puts there anew, without a gradient; it is never changed in place, so that keeping a reference keeps
the state. Such buffers are registered with ``persistent=False``: they are no weights. The Trainer begins every epoch
and every validation without them, saves them in its checkpoints and sets them back before it replays a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from nnlab.autograd import Tensor
from nnlab.autograd.creation import as_tensor
from nnlab.nn import Module


def _places(model: Module) -> Iterator[tuple[str, Module, str]]:
    for path, module in model.named_modules():
        for name in module.carried:
            yield f"{path}.{name}" if path else name, module, name


def take(model: Module) -> dict[str, Tensor]:
    """The state by dotted path; empty at the beginning, and for a model that carries none."""
    found = ((path, getattr(module, name)) for path, module, name in _places(model))
    return {path: value for path, value in found if value is not None}


def put(model: Module, values: Mapping[str, Any]) -> None:
    """Set the state to what :func:`take` gave, as Tensors or host arrays; what is not named begins anew."""
    device = next((p.device for p in model.parameters()), None)
    for path, module, name in _places(model):
        value = values.get(path)
        setattr(module, name, None if value is None else as_tensor(value, device=device))


def reset(model: Module) -> None:
    """Go to the beginning."""
    put(model, {})


@contextmanager
def fresh(model: Module) -> Iterator[None]:
    """Begin anew within the block; after it the state is what it was before."""
    before = take(model)
    reset(model)
    try:
        yield
    finally:
        put(model, before)
