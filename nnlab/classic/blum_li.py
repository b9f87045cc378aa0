"""The construction of Blum and Li: a network of step neurons for a given function, written down instead of trained.

Source: Blum and Li, "Approximation theory and feedforward networks", Neural Networks 4(4), 1991.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

import nnlab
from nnlab import Tensor, nn
from nnlab.classic.neuron import step
from nnlab.errors import ArgumentError, ShapeError, complaint


class Step(nn.Module):
    """1 where x >= 0, else 0."""

    def forward(self, input: Tensor) -> Tensor:
        return step(input)


def tiles(edges: Sequence[ArrayLike], values: ArrayLike, *, dtype: object = None, device: object = None) -> nn.Module:
    """The network that has one value on each tile of a grid.

    The first layer has a step neuron for each inner edge, ``x_i >= edge``. The second has one for each tile, an AND of
    the edges around it: 1 for those below, -1 for those above, and 1/2 minus the number of those below as the bias. One
    neuron is on at any x, and the last layer gives its tile's value. The outermost tiles reach to infinity.

    Args:
        edges: for each of d inputs its n_i - 1 inner edges, growing, in any distances; may be empty.
        values: (n_1, ..., n_d).
        dtype, device: of the weights; default float32 on the CPU.

    Returns:
        Sequential(Linear, Step, Linear, Step, Linear) from (..., d) to (..., 1).

    Raises:
        ArgumentError: edges do not grow, or there are none at all.
        ShapeError: the values do not fit them.
    """
    lines = [np.asarray(e, np.float64) for e in edges]
    heights = np.asarray(values, np.float64)
    if any(line.ndim != 1 or (np.diff(line) <= 0).any() for line in lines) or not sum(map(len, lines)):
        raise ArgumentError(complaint("blum_li.tiles", "edges", "be growing numbers for each input", edges))
    shape = tuple(len(line) + 1 for line in lines)
    if heights.shape != shape:
        raise ShapeError(complaint("blum_li.tiles", "values", f"have shape {shape}", heights.shape))
    places = [np.eye(len(lines))[i] for i, line in enumerate(lines) for _ in line]
    first = _linear(np.stack(places), -np.concatenate(lines), dtype, device)
    # Which edges a tile's interval along one input looks at: (n_i, n_i - 1).
    sides = [np.eye(n, n - 1, -1) - np.eye(n, n - 1) for n in shape]
    rows = [np.concatenate(row) for row in itertools.product(*sides)]
    ands = np.stack(rows)
    second = _linear(ands, 0.5 - (ands > 0).sum(1), dtype, device)
    return nn.Sequential(first, Step(), second, Step(), _linear(heights.reshape(1, -1), np.zeros(1), dtype, device))


def build(
    function: Callable[[NDArray[np.float64]], ArrayLike],
    low: Sequence[float],
    high: Sequence[float],
    *,
    error: float,
    lipschitz: float,
    dtype: object = None,
    device: object = None,
) -> nn.Module:
    """The network that is nowhere in a box further than ``error`` from a function, up to the rounding of its dtype.

    The box is cut into equal tiles, whose values are those at their centres. A tile's corner is half its diagonal away
    from the centre, so tiles with ``lipschitz * diagonal / 2 <= error`` suffice. n tiles take n step neurons and
    ``sum(n_i - 1)`` for their edges: what is exact is also large.

    Args:
        function: from points (N, d) to values (N,).
        low, high: corners of the box, d numbers each.
        error: positive.
        lipschitz: L with ``|f(x) - f(y)| <= L |x - y|`` in the box, Euclidean.
        dtype, device: of the weights; default float32 on the CPU.

    Returns:
        As :func:`tiles`.

    Raises:
        ArgumentError: error or lipschitz is not positive, or the box is empty.
    """
    below, above = np.asarray(low, np.float64), np.asarray(high, np.float64)
    for name, value in (("error", error), ("lipschitz", lipschitz)):
        if not value > 0:
            raise ArgumentError(complaint("blum_li.build", name, "be positive", value))
    if below.ndim != 1 or below.shape != above.shape or not (below < above).all():
        raise ArgumentError(complaint("blum_li.build", "low, high", "be corners, low < high", (low, high)))
    side = 2 * error / lipschitz / math.sqrt(len(below))
    counts = [max(2, math.ceil(n)) for n in (above - below) / side]
    borders = [np.linspace(a, b, n + 1) for a, b, n in zip(below, above, counts, strict=True)]
    centres = np.stack(np.meshgrid(*[(e[1:] + e[:-1]) / 2 for e in borders], indexing="ij"), -1)
    values = np.asarray(function(centres.reshape(-1, len(below))), np.float64).reshape(counts)
    return tiles([e[1:-1] for e in borders], values, dtype=dtype, device=device)


def _linear(weight: NDArray[np.float64], bias: NDArray[np.float64], dtype: object, device: object) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=dtype, device=device)
    dtype = layer.weight.dtype
    layer.load_state_dict({"weight": nnlab.tensor(weight, dtype=dtype), "bias": nnlab.tensor(bias, dtype=dtype)})
    return layer
