"""Handles by which a registered hook is taken away again."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

_number = itertools.count()


class RemovableHandle:
    """Returned by every ``register_..._hook``; ``remove()`` undoes it, and so does leaving a ``with`` block."""

    def __init__(self, hooks: dict[int, Any], number: int) -> None:
        self._hooks = hooks
        self._number = number

    def remove(self) -> None:
        """Take the hook away; a second call does nothing."""
        self._hooks.pop(self._number, None)

    def __enter__(self) -> RemovableHandle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


Hook = tuple[Callable[..., Any], bool]
"""A hook and whether it wants the keyword arguments too."""


def add_hook(hooks: dict[int, Hook], hook: Callable[..., Any], *, prepend: bool, with_kwargs: bool) -> RemovableHandle:
    """Put a hook last (or first) into an ordered dict of hooks."""
    number = next(_number)
    if prepend:
        later = dict(hooks)
        hooks.clear()
        hooks[number] = (hook, with_kwargs)
        hooks.update(later)
    else:
        hooks[number] = (hook, with_kwargs)
    return RemovableHandle(hooks, number)
