"""The flag by which a step changes nothing, as kernels of optimizers take it; see ``nnlab/ops/loss_scale.py``."""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend

PARAMETERS = {"skip": "int64*", "skippable": "int32"}


def values(be: Backend, skip: Any) -> dict[str, Any]:
    """Values of ``PARAMETERS``."""
    return {"skip": be.xp.empty(2, "int64") if skip is None else skip, "skippable": int(skip is not None)}


def identity(skip: Any) -> tuple[int, ...]:
    """By which a recorded step knows its flag."""
    return () if skip is None else (id(getattr(skip, "original", skip)),)
