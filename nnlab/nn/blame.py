"""Errors raised inside ``forward`` say which layer raised them.

``[conv2d] 'input' must ...`` raised within a ``Conv2d`` becomes ``[Conv2d] 'input' must ... (layer features.0)``, where
the path is seen from the outermost module that was called.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from nnlab.errors import NNLabError

if TYPE_CHECKING:
    from nnlab.nn.module import Module

_PREFIX = re.compile(r"\[(\w+)\] (.*)", re.DOTALL)


class _Blame:
    """What is known so far: the worded message, the path from the module ``seen`` down to the layer."""

    def __init__(self, message: str, innermost: Module) -> None:
        self.message = message
        self.path = ""
        self.seen = innermost


def _reword(message: str, layer: str) -> str:
    match = _PREFIX.match(message)
    if match is None:
        return f"[{layer}] {message}"
    who, text = match.groups()
    same = layer.lower().startswith(who.lower().replace("_", ""))
    return f"[{layer}] {text}" if same else f"[{layer}] {who}: {text}"


def blame(error: NNLabError, module: Module) -> None:
    """Note in the error's message that it passed through a module; called from the innermost module outwards."""
    note: _Blame | None = error.__dict__.get("_blame")
    if note is None:
        error.__dict__["_blame"] = _Blame(_reword(str(error), type(module).__name__), module)
        error.args = (error.__dict__["_blame"].message,)
        return
    for name, child in module._modules.items():
        if child is note.seen:
            note.path = f"{name}.{note.path}" if note.path else name
    note.seen = module
    error.args = (f"{note.message} (layer {note.path})" if note.path else note.message,)
