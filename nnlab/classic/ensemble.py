"""Ensembles: several networks whose answers are averaged, and bagging, which gives each its own draw of the samples."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from nnlab.autograd import Tensor
from nnlab.autograd.shape import stack
from nnlab.data.key import split_rng
from nnlab.errors import ArgumentError, complaint
from nnlab.nn import functional as F
from nnlab.nn.containers import ModuleList
from nnlab.nn.module import Module


class Ensemble(Module):
    """Mean of the class probabilities of its members, ``mean over m of softmax(member_m(x))``.

    Input as the members take it, who give scores (N, C, ...); output probabilities of that shape. The logarithm of the
    result goes into ``nll_loss``. By the convexity of -log, its loss is never above the mean of the members' losses.

    Args:
        members: at least one module.

    Raises:
        ArgumentError: there are no members.
    """

    def __init__(self, members: Iterable[Module]) -> None:
        super().__init__()
        self.members = ModuleList(members)
        if not len(self.members):
            raise ArgumentError(complaint("Ensemble", "members", "hold at least one module", []))

    def forward(self, input: Tensor) -> Tensor:
        return stack([F.softmax(member(input), 1) for member in self.members]).mean(0)


def bootstrap(n: int, members: int, seed: int = 0) -> list[np.ndarray]:
    """For each member of a bagged ensemble, n samples drawn from n with replacement.

    Each holds about 1 - 1/e = 63 % of the samples, some of them several times; the others are new to that member.

    Args:
        n: number of samples.
        members: how many draws.
        seed: draw k is a function of (seed, k).

    Returns:
        ``members`` arrays of n indices below n.

    Source: Breiman, "Bagging predictors", Machine Learning 24, 1996.
    """
    for name, value in (("n", n), ("members", members)):
        if value < 1:
            raise ArgumentError(complaint("bootstrap", name, "be positive", value))
    return [split_rng(seed, k).integers(n, size=n) for k in range(members)]
