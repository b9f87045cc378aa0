"""A line search for the strong Wolfe conditions.

Along p + t * d with f(t) and its slope f'(t), a step t is good if::

    f(t) <= f(0) + c1 * t * f'(0)        (it goes down far enough)
    |f'(t)| <= c2 * |f'(0)|              (it has come near the bottom)

First t grows until an interval must hold such a step, then the interval shrinks; each next t is the minimum of the
cubic through the values and slopes at two points. The safeguards of that cubic are those of minFunc and PyTorch, so
steps are too. Otherwise than there, the lower end of the interval always goes down far enough, as in the book, and
a loss that is not finite counts as too high.

Source: Nocedal and Wright, "Numerical optimization", 2nd edition, algorithms 3.5 and 3.6.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from nnlab.autograd import Tensor


@dataclass(frozen=True)
class Point:
    """What is known at step ``t``: the value, the slope along the line, and the whole gradient."""

    t: float
    value: float
    slope: float
    gradient: Tensor


def cubic_minimum(a: Point, b: Point, low: float, high: float) -> float:
    """Where the cubic through a and b has its minimum, kept within [low, high]; their middle if it has none."""
    middle = (low + high) / 2
    if a.t == b.t:
        return middle
    if a.t > b.t:
        a, b = b, a
    d1 = a.slope + b.slope - 3 * (a.value - b.value) / (a.t - b.t)
    square = d1 * d1 - a.slope * b.slope
    if not 0 <= square < math.inf:
        return middle
    d2 = math.sqrt(square)
    below = b.slope - a.slope + 2 * d2
    if below == 0:
        return middle
    return min(max(b.t - (b.t - a.t) * ((b.slope + d2 - d1) / below), low), high)


def search(
    evaluate: Callable[[float], Point],
    start: Point,
    t: float,
    *,
    size: float,
    tolerance: float,
    most: int,
    c1: float = 1e-4,
    c2: float = 0.9,
) -> tuple[Point, int]:
    """A point that meets the conditions, or the lowest one found.

    Args:
        evaluate: the point at t.
        start: the point at 0; its slope is negative.
        t: the step to try first.
        size: largest absolute element of d; the search ends when d times the interval is below ``tolerance``.
        most: steps to try after the first.

    Returns:
        The point, and how many times ``evaluate`` was called.
    """

    def far_enough(point: Point) -> bool:
        return point.value <= start.value + c1 * point.t * start.slope

    def level(point: Point) -> bool:
        return abs(point.slope) <= -c2 * start.slope

    before, new, tried = start, evaluate(t), 0
    while tried < most:
        if not far_enough(new) or new.value >= before.value:
            break
        if level(new):
            return new, tried + 1
        if new.slope >= 0:
            break
        t = cubic_minimum(before, new, new.t + 0.01 * (new.t - before.t), new.t * 10)
        before, new = new, evaluate(t)
        tried += 1
    else:
        before = start

    low, high = (new, before) if far_enough(new) and new.value < before.value else (before, new)
    stalled = False
    while tried < most and abs(high.t - low.t) * size >= tolerance:
        left, right = sorted((low.t, high.t))
        t = cubic_minimum(low, high, left, right)
        margin = 0.1 * (right - left)
        near = min(right - t, t - left) < margin
        if near and (stalled or t >= right or t <= left):
            t = right - margin if abs(t - right) < abs(t - left) else left + margin
            near = False
        stalled = near
        new = evaluate(t)
        tried += 1
        if not far_enough(new) or not new.value < low.value:
            high = new
            continue
        if level(new):
            return new, tried + 1
        if new.slope * (high.t - low.t) >= 0:
            high = low
        low = new
    return low, tried + 1
