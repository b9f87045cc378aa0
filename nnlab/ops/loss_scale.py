"""Dynamic loss scaling on a device: a flag that skips a step, and the scale after it.

``skip`` (2,) int64 belongs to an optimizer: skip[0] is 1 where its gradients are not finite, so that the step changes
nothing; skip[1] counts the steps that were skipped since the host last looked, while the host counts all of them.

``scale`` (1,) float64 and ``tracker`` (1,) int64, steps in a row without an overflow::

    finite          tracker = tracker + 1, and at the interval: tracker = 0, scale = scale * growth_factor
                    (if that is a float32)
    not finite      tracker = 0, scale = scale * backoff_factor

Array code on every device.
"""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend
from nnlab.ops import body


def all_of(be: Backend, *, flags: list[Any]) -> Any:
    """Whether all of some bools () are true: a bool ()."""
    return body(be, "loss_scale").all_of(be, flags=flags)


def mark(be: Backend, *, skip: Any, finite: Any) -> None:
    """skip[0] = not finite"""
    body(be, "loss_scale").mark(be, skip=skip, finite=finite)


def count(be: Backend, *, skip: Any) -> None:
    """skip[1] = skip[1] + skip[0]"""
    body(be, "loss_scale").count(be, skip=skip)


def update(
    be: Backend,
    *,
    scale: Any,
    tracker: Any,
    finite: Any,
    growth_factor: float,
    backoff_factor: float,
    growth_interval: int,
) -> None:
    """Overwrite scale and tracker as a step went."""
    body(be, "loss_scale").update(
        be,
        scale=scale,
        tracker=tracker,
        finite=finite,
        growth_factor=growth_factor,
        backoff_factor=backoff_factor,
        growth_interval=growth_interval,
    )
