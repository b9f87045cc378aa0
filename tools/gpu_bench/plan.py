"""What is measured, the most important first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nnlab.bench.problem import Problem
from nnlab.bench.shapes import BATCHES, SETS
from nnlab.bench.training import BATCHES as STEPS
from nnlab.bench.training import GRAPHS, TRAINING

HALVES = ("bfloat16", "float16")
_LARGE = ("alexnet", "vgg16")


@dataclass(frozen=True)
class Item:
    """A problem with all its passes, in a dtype."""

    dtype: str
    problem: Problem

    @property
    def names(self) -> list[str]:
        """Of its rows."""
        p = self.problem
        return [f"{p.op} {part} {p.network} {p.layer} {self.dtype}" for part in p.parts]


def plan(small: bool, batch: int | None = None, sets: str = "", dtypes: str = "") -> list[Item]:
    """All items in order.

    Args:
        small: batches for a CPU, not for a GPU.
        batch: another size of batch for all.
        sets, dtypes: only these, by name with commas between; all if empty.
    """
    problems = [(name, problem) for name, make in SETS.items() for problem in make(batch or BATCHES[name][not small])]
    problems += [("training", TRAINING[name](batch or STEPS[name][not small])) for name in TRAINING]
    if not small:
        problems += [("training", GRAPHS[name](batch or STEPS[name][1])) for name in GRAPHS]
    found: dict[Item, str] = {}
    for dtype, wanted in _order():
        for name, problem in problems:
            if wanted(name, problem):
                found.setdefault(Item(dtype, problem), name)
    return [
        item
        for item, name in found.items()
        if (not sets or name in sets.split(",")) and (not dtypes or item.dtype in dtypes.split(","))
    ]


def _order() -> list[tuple[str, Callable[[str, Problem], bool]]]:
    """Whole steps, then what they are made of, then other networks; float32 before the half types."""

    def steps(name: str, problem: Problem) -> bool:
        return name == "training" and problem.network in (*_LARGE, "char_lstm")

    def convolutions(name: str, problem: Problem) -> bool:
        return name in _LARGE and problem.op == "conv2d"

    def large(name: str, problem: Problem) -> bool:
        return name in _LARGE

    def recurrent(name: str, problem: Problem) -> bool:
        return name == "lstm"

    def everything(name: str, problem: Problem) -> bool:
        return True

    halves = [(dtype, wanted) for wanted in (convolutions, steps) for dtype in HALVES]
    single = [("float32", wanted) for wanted in (steps, convolutions, large, recurrent)]
    return [*single, *halves, ("float32", everything)]
