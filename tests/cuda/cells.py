"""What the cases of recurrent cells share."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.cuda.case import Case

SHAPES = [(1, 1), (3, 5), (9, 20), (0, 4), (2, 33)]
LARGE = [0.0, -8.0, 8.0, -60.0, 60.0, -3e4, 3e4, -np.inf, np.inf, np.nan]


def sums(case: Case, blocks: int, rows: int, units: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """The two gate sums and their biases on the host and on the device."""
    width = blocks * units
    shapes = {"x_gates": (rows, width), "h_gates": (rows, width), "x_bias": (width,), "h_bias": (width,)}
    host = {name: case.normal(*shape) for name, shape in shapes.items()}
    return host, {name: case.put(array) for name, array in host.items()}


def mask(case: Case, rows: int) -> np.ndarray:
    """Rows that are not frozen: about half, among two or more at least one of each kind."""
    active = case.random.random(rows) < 0.5
    active[:1] = False
    active[1:2] = True
    return active


def added(wide: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The two sums that an oracle takes, in float64."""
    x, h, x_bias, h_bias = (wide[name].astype(np.float64) for name in ("x_gates", "h_gates", "x_bias", "h_bias"))
    return x + x_bias, h + h_bias


def where(active: np.ndarray | None, value: Any, otherwise: Any) -> np.ndarray:
    """The value in active rows, else the other."""
    return np.asarray(value if active is None else np.where(active[:, None], value, otherwise))
