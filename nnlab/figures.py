"""Figures drawn with matplotlib (extra ``plots``) without a display."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nnlab.errors import optional_import


def subplots(width: float, height: float, rows: int = 1, columns: int = 1, *, purpose: str, **more: Any) -> Any:
    """A figure of ``width`` x ``height`` inches with (rows, columns) axes.

    Args:
        purpose: what it is for, named in the error.
        more: passed to matplotlib's ``Figure.subplots``.

    Returns:
        The figure, and its axes as an array of shape (rows, columns).

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    optional_import("matplotlib", extra="plots", purpose=purpose)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **more)


def save(figure: Any, path: Path) -> Path:
    """Write a PNG file in one step: a temporary file beside it, then a rename. Its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".tmp")
    figure.savefig(aside, dpi=110, format="png")
    aside.replace(path)
    return path
