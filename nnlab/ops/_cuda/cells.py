"""What the launches of recurrent cells share; see ``kernels/include/cell.cuh``."""

from __future__ import annotations

from typing import Any

from nnlab.backend import Backend

ARRIVING = dict.fromkeys(("dh_0", "dh_1", "dh_2"), "scalar*")
SIZES = {"n": "index", "hidden": "index", "masked": "int32"}


def arriving(be: Backend, parts: list[Any]) -> dict[str, Any]:
    """Values of ``ARRIVING`` and ``count``; an array stands in for those that are missing, and is not read there."""
    arrays = [be.xp.asarray(part, order="C") for part in parts]
    padded = arrays + arrays[:1] * (3 - len(arrays))
    return {**{f"dh_{k}": array for k, array in enumerate(padded)}, "count": len(arrays)}


def sizes(state: Any, active: Any) -> dict[str, int]:
    """Values of ``SIZES`` for a state (B, H)."""
    return {"n": state.size, "hidden": state.shape[1], "masked": int(active is not None)}


def mask(be: Backend, active: Any) -> Any:
    """The mask, or memory that the kernel does not read."""
    return be.xp.empty(1, bool) if active is None else be.xp.asarray(active, order="C")
