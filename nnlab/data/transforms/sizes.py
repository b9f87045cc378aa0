"""Checked sizes, paddings and ranges of transforms."""

from __future__ import annotations

from collections.abc import Sequence

from nnlab.errors import ArgumentError, complaint


def size_pair(where: str, size: int | Sequence[int]) -> tuple[int, int]:
    """(height, width) of an int or a pair."""
    pair = tuple(size) if isinstance(size, Sequence) else (size, size)
    if len(pair) != 2 or any(int(n) != n or n <= 0 for n in pair):
        raise ArgumentError(complaint(where, "size", "be a positive integer or a pair of them", size))
    return pair[0], pair[1]


def padding_sides(where: str, padding: int | Sequence[int]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of one number, (left and right, top and bottom) or all four."""
    sides = tuple(padding) if isinstance(padding, Sequence) else (padding,)
    if len(sides) not in (1, 2, 4) or any(int(n) != n or n < 0 for n in sides):
        raise ArgumentError(complaint(where, "padding", "be 1, 2 or 4 integers, not negative", padding))
    if len(sides) == 4:
        return sides[0], sides[1], sides[2], sides[3]
    return sides[0], sides[-1], sides[0], sides[-1]


def probability(where: str, p: float) -> float:
    if not 0 <= p <= 1:
        raise ArgumentError(complaint(where, "p", "be in 0..1", p))
    return float(p)


def interval(where: str, name: str, bounds: Sequence[float], lowest: float = 0.0) -> tuple[float, float]:
    """(low, high), both finite, at least ``lowest``, in order."""
    pair = tuple(float(bound) for bound in bounds)
    if len(pair) != 2 or not lowest <= pair[0] <= pair[1] < float("inf"):
        raise ArgumentError(complaint(where, name, f"be two numbers in order, at least {lowest:g}", bounds))
    return pair[0], pair[1]
