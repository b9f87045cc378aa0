"""Models by name, and what each expects."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nnlab.errors import ArgumentError, complaint
from nnlab.nn import Module

Build = Callable[..., Module]


@dataclass(frozen=True)
class _Entry:
    build: Build
    channels: int
    size: Callable[[Sequence[int] | None], int]


_MODELS: dict[str, _Entry] = {}


def register(*, channels: int, size: int | Callable[[Sequence[int] | None], int]) -> Callable[[Build], Build]:
    """Decorator: make a model known under its function's name.

    Args:
        channels: channels of its usual input.
        size: side of its usual square input, or a function that chooses it for pictures of (height, width) or None.
    """

    def decorate(build: Build) -> Build:
        _MODELS[build.__name__] = _Entry(build, channels, size if callable(size) else lambda _: size)
        return build

    return decorate


def _find(name: str) -> _Entry:
    if name not in _MODELS:
        close = difflib.get_close_matches(name, _MODELS, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(names())}"
        raise ArgumentError(f"[models] unknown model {name!r}; {hint}")
    return _MODELS[name]


def names() -> list[str]:
    """The names that :func:`create` takes, sorted."""
    return sorted(_MODELS)


def create(name: str, **kwargs: Any) -> Module:
    """A new network with fresh weights.

    Args:
        name: one of :func:`names`.
        kwargs: the model's own arguments; all take ``num_classes``, ``in_channels`` and ``image_size``.

    Raises:
        ArgumentError: no such model (the message lists close names), an argument that it does not take, or an image
            size that it cannot work on.
    """
    build = _find(name).build
    try:
        return build(**kwargs)
    except TypeError as error:
        if "unexpected keyword argument" not in str(error):
            raise
        unknown = str(error).rpartition(" ")[2]
        raise ArgumentError(f"[{name}] the model takes no argument {unknown}") from error


def default_size(name: str, native: Sequence[int] | None = None) -> int:
    """The side of the square input that suits a model.

    Args:
        name: one of :func:`names`.
        native: height and width of the pictures at hand, None if they differ among themselves.
    """
    return _find(name).size(native)


def default_channels(name: str) -> int:
    """The channels of a model's usual input: 1 for nets made for grey digits, else 3."""
    return _find(name).channels


def check_size(model: str, image_size: int | None, least: int) -> None:
    """Raise ArgumentError for images so small that nothing would be left of them."""
    if image_size is not None and image_size < least:
        raise ArgumentError(complaint(model, "image_size", f"be at least {least}", image_size))
