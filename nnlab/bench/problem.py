"""A problem that can be timed: an operation with all sizes known, in nnlab and in PyTorch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nnlab.backend import Backend

Call = Callable[[], Any]  # computes once and returns the result
Arrays = Mapping[str, Any]


@dataclass(frozen=True)
class Cost:
    """The least that a pass needs: floating-point operations (a multiply-add counts two), bytes moved once."""

    flops: int
    bytes: int

    def seconds(self, flops_per_second: float, bytes_per_second: float) -> float:
        """The time that arithmetic or memory takes, whichever is longer."""
        return max(self.flops / flops_per_second, self.bytes / bytes_per_second)


@dataclass(frozen=True)
class Problem(ABC):
    """One layer of one network.

    Attributes:
        op: the operation's name in the table.
        parts: its passes, e.g. forward, input_grad, weight_grad.
        network, layer: where the shape comes from, e.g. "alexnet", "conv1".
    """

    op: ClassVar[str]
    parts: ClassVar[tuple[str, ...]]

    network: str
    layer: str

    @property
    def name(self) -> str:
        return f"{self.network} {self.layer}"

    @abstractmethod
    def shape(self) -> str:
        """The sizes, as a person reads them."""

    @abstractmethod
    def cost(self, part: str, itemsize: int) -> Cost:
        """What a pass needs at least, for numbers of so many bytes."""

    @abstractmethod
    def draw(self, random: np.random.Generator) -> dict[str, np.ndarray]:
        """Inputs of all passes, floating ones in float64."""

    @abstractmethod
    def ours(self, be: Backend, part: str, arrays: Arrays) -> Call:
        """The pass in nnlab, over arrays of a device."""

    @abstractmethod
    def torch(self, part: str, tensors: Arrays) -> Call:
        """The pass in PyTorch."""

    def arrays(self, xp: Any, part: str, arrays: Arrays) -> Call | None:
        """The pass in array code, as somebody with NumPy or CuPy alone would write it; None where nobody would."""
        return None

    def modes(self, part: str, tensors: Arrays) -> dict[str, Callable[[], Call]]:
        """Other ways to run the pass in PyTorch: ``"compile"`` (same precision), ``"bf16"`` (automatic mixed one)."""
        return {}
