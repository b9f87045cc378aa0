"""State that a network carries from batch to batch: a recurrent layer's along a text that is longer than a batch.

A module names the buffers that hold it, ``carried = ("h", "c")``. Each is None, which is the beginning, or a Tensor
that ``forward`` puts there anew, without a gradient; ``forward`` never changes it in place, so that keeping a reference
keeps the state. (Steps that run as a graph do: they read and write the same Tensor, :class:`Fixed`.) Such buffers are
registered with ``persistent=False``: they are no weights. The Trainer begins every epoch and every validation without
them, saves them in its checkpoints and sets them back before it replays a batch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from nnlab.autograd import Tensor
from nnlab.autograd.creation import as_tensor
from nnlab.autograd.shape import clone
from nnlab.backend.graphs import Changed
from nnlab.errors import CaptureError
from nnlab.nn import Module


def _places(model: Module) -> Iterator[tuple[str, Module, str]]:
    for path, module in model.named_modules():
        for name in module.carried:
            yield f"{path}.{name}" if path else name, module, name


def take(model: Module) -> dict[str, Tensor]:
    """The state by dotted path; empty at the beginning, and for a model that carries none."""
    found = ((path, getattr(module, name)) for path, module, name in _places(model))
    return {path: value for path, value in found if value is not None}


def begun(model: Module) -> bool:
    """Whether each module that carries state has some; True for a model that carries none."""
    carrying = [module for module in model.modules() if module.carried]
    return all(any(getattr(module, name) is not None for name in module.carried) for module in carrying)


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


class Fixed:
    """The state in arrays that stay where they are: a recorded step reads them at its start and writes them at its end.

    Args:
        model: whose state there is (:func:`begun`); what is None stays so.
    """

    def __init__(self, model: Module) -> None:
        found = [(module, name, getattr(module, name)) for _, module, name in _places(model)]
        self._places = [(module, name, None if value is None else clone(value)) for module, name, value in found]

    def begun(self) -> bool:
        """Whether all is there that was there."""
        return all(tensor is None or getattr(module, name) is not None for module, name, tensor in self._places)

    def bring(self) -> None:
        """Copy the state into the arrays, where it is not there already.

        Raises:
            Changed: it does not fit them.
        """
        for module, name, tensor in self._places:
            value = getattr(module, name)
            if _form(value) != _form(tensor):
                raise Changed(f"the state {name!r} of {type(module).__name__} has another form")
            if tensor is not None and value is not None and value is not tensor:
                tensor._data[...] = value._data

    def place(self) -> None:
        """Let the model carry the arrays."""
        for module, name, tensor in self._places:
            setattr(module, name, tensor)

    def write(self) -> None:
        """Copy what the model carries now into the arrays; a part of the recorded step."""
        for module, name, tensor in self._places:
            value = getattr(module, name)
            if _form(value) != _form(tensor):
                raise CaptureError(f"[graph] the step gives the state {name!r} of {type(module).__name__} another form")
            if tensor is not None and value is not None:
                tensor._data[...] = value._data


def _form(value: Tensor | None) -> Any:
    return None if value is None else (value.shape, value.dtype, value.device)
