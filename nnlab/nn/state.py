"""Writing and reading a module's state by dotted path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from nnlab.autograd import Tensor, no_grad
from nnlab.autograd.creation import from_numpy
from nnlab.errors import CheckpointError
from nnlab.nn.parameter import Parameter

if TYPE_CHECKING:
    from nnlab.nn.module import Module


class IncompatibleKeys(NamedTuple):
    """What ``load_state_dict`` did not find, and what it found but could not use."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def _entries(module: Module, prefix: str) -> dict[str, tuple[Module, str, Tensor]]:
    """Owner, name there, and value of everything that is saved; a shared tensor is listed under each of its paths."""
    found = {}
    for path, owner in module.named_modules(remove_duplicate=False):
        start = f"{prefix}{path}." if path else prefix
        for name, value in {**owner._parameters, **owner._buffers}.items():
            if value is not None and name not in owner._not_saved:
                found[start + name] = (owner, name, value)
    return found


def state_dict(module: Module, prefix: str, keep_vars: bool) -> dict[str, Tensor]:
    return {key: value if keep_vars else value.detach() for key, (_, _, value) in _entries(module, prefix).items()}


def _listed(title: str, keys: list[str]) -> str:
    return f"\n  {title}: {', '.join(keys)}" if keys else ""


def load_state_dict(module: Module, given: Mapping[str, Any], strict: bool, assign: bool) -> IncompatibleKeys:
    entries = _entries(module, "")
    missing = [key for key in entries if key not in given]
    unexpected = [key for key in given if key not in entries]
    values = {
        key: given[key] if isinstance(given[key], Tensor) else from_numpy(np.asarray(given[key]))
        for key in entries
        if key in given
    }
    misshaped = [
        f"{key} is {tuple(value.shape)}, the model has {tuple(entries[key][2].shape)}"
        for key, value in values.items()
        if tuple(value.shape) != tuple(entries[key][2].shape)
    ]
    if misshaped or (strict and (missing or unexpected)):
        raise CheckpointError(
            f"[{type(module).__name__}] the state does not fit the model:"
            + _listed("missing", missing if strict else [])
            + _listed("unexpected", unexpected if strict else [])
            + _listed("wrong shape", misshaped)
        )
    with no_grad():
        for key, value in values.items():
            owner, name, current = entries[key]
            if not assign:
                current.copy_(value)
            elif isinstance(current, Parameter):
                owner._parameters[name] = Parameter(value.detach(), current.requires_grad)
            else:
                owner._buffers[name] = value.detach()
    return IncompatibleKeys(missing, unexpected)
