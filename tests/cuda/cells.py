"""What the cases of recurrent cells share."""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.cuda.case import Case
from tests.cuda.far import FAR, FarCase

SHAPES = [(1, 1), (3, 5), (9, 20), (0, 4), (2, 33)]
LARGE = [0.0, -8.0, 8.0, -60.0, 60.0, -3e4, 3e4, -np.inf, np.inf, np.nan]


def sums(case: Case, blocks: int, rows: int, units: int, spoilt: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
    """The two gate sums and their biases on the host and on the device; ``spoilt``: not finite in the first row."""
    width = blocks * units
    shapes = {"x_gates": (rows, width), "h_gates": (rows, width), "x_bias": (width,), "h_bias": (width,)}
    host = {name: case.normal(*shape) for name, shape in shapes.items()}
    if spoilt:
        host["x_gates"][:1] = np.nan
    return host, {name: case.put(array) for name, array in host.items()}


def mask(case: Case, rows: int) -> np.ndarray:
    """Rows that are not frozen: about half, among two or more at least one of each kind."""
    active = case.random.random(rows) < 0.5
    active[:1] = False
    active[1:2] = True
    return active


def spoil(*arrays: np.ndarray) -> None:
    """Infinity and NaN in the first row, which is frozen: they pass by and come into nothing else."""
    for array in arrays:
        array[:1] = np.inf
        array[:1, ::2] = np.nan


def added(wide: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """The two sums that an oracle takes, in float64."""
    x, h, x_bias, h_bias = (wide[name].astype(np.float64) for name in ("x_gates", "h_gates", "x_bias", "h_bias"))
    return x + x_bias, h + h_bias


def where(active: np.ndarray | None, value: Any, otherwise: Any) -> np.ndarray:
    """The value in active rows, else the other."""
    return np.asarray(value if active is None else np.where(active[:, None], value, otherwise))


# Shapes (rows, units) whose last element 32 bits do not count, and of which end the last block of threads makes.
FAR_SHAPES = [((FAR + 3, 2), (3, 2)), ((2, FAR + 1), (1, 2))]


class FarArrays:
    """Arrays (rows, blocks * units) of which only the end is ever touched."""

    def __init__(self, case: FarCase, shape: tuple[int, int], end: tuple[int, int]) -> None:
        self.case, self.shape, self.end = case, shape, end
        rows, kept = shape[0], end[0]
        self.active = case.be.xp.zeros(rows, bool)
        self.active[-kept:] = [True, False, True][-kept:]

    def new(self, blocks: int, rows: int | None = None) -> np.ndarray:
        """Normal numbers at the end; one row alone is a bias."""
        array = self.case.sparse(rows or self.shape[0], blocks * self.shape[1])
        self._view(array, blocks)[...] = self.case.random.standard_normal(self._view(array, blocks).shape)
        return array

    def small(self, array: np.ndarray, blocks: int) -> np.ndarray:
        """The end as an array (rows, blocks * units) of its own."""
        view = self._view(array, blocks)
        return view.reshape(len(view), -1).copy()

    def sums(self, blocks: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """The two gate sums and their biases: the ends, and the whole."""
        whole = {name: self.new(blocks) for name in ("x_gates", "h_gates")}
        small = {name: self.small(array, blocks) for name, array in whole.items()}
        for name in ("x_bias", "h_bias"):
            array = self.new(blocks, rows=1)
            whole[name], small[name] = array[0], self.small(array, blocks)[0]
        return small, whole

    def _view(self, array: np.ndarray, blocks: int) -> np.ndarray:
        rows, units = self.end
        return array.reshape(-1, blocks, self.shape[1])[-rows:, :, -units:]
