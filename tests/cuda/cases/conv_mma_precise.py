"""Convolution on tensor cores, float32 in full precision."""

from __future__ import annotations

from tests.cuda import tensor_cores
from tests.cuda.case import Case
from tests.cuda.far import FarCase


def drawn_convolutions(case: Case) -> None:
    tensor_cores.drawn_convolutions(case, "high")


def several_tiles_and_parts(case: Case) -> None:
    """More rows, columns and slices than tiles and stages hold, and sums of several parts."""
    tensor_cores.several_tiles_and_parts(case, "high")


def few_channels(case: Case) -> None:
    """Sorted by remainders."""
    tensor_cores.few_channels(case, "high")


def rectified(case: Case) -> None:
    tensor_cores.rectified(case, "high")


def pooled(case: Case) -> None:
    tensor_cores.pooled(case, "high")


def standard(case: Case) -> None:
    tensor_cores.standard(case, "high")


def far_positions(case: FarCase) -> None:
    """More positions than 32 bits count, of one image and of many."""
    tensor_cores.far_positions(case, "high")


def far_results(case: FarCase) -> None:
    """More results than 32 bits count, and more in all parts of a weight gradient."""
    tensor_cores.far_results(case, "high")


def far_maxima(case: FarCase) -> None:
    """More windows than 32 bits count."""
    tensor_cores.far_maxima(case, "high")


def far_channels(case: FarCase) -> None:
    """More weights than 32 bits count: of many outputs, and of many inputs."""
    tensor_cores.far_channels(case, "high")
