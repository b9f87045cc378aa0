"""Ensembles average probabilities; bootstrap draws."""

from __future__ import annotations

import math

import numpy as np
import pytest

import nnlab
from nnlab import nn
from nnlab.classic import ensemble
from nnlab.errors import ArgumentError
from nnlab.nn import functional as F
from tests import emulator


class Scores(nn.Module):
    """Gives what it was told, whatever it sees."""

    def __init__(self, scores: list[list[float]]) -> None:
        super().__init__()
        self.weight = nn.Parameter(nnlab.tensor(scores, dtype=nnlab.float64))

    def forward(self, input: nnlab.Tensor) -> nnlab.Tensor:
        return self.weight * 1.0


def test_probabilities_are_averaged_not_scores() -> None:
    # Members that say (0.9, 0.1) and (0.5, 0.5), the scores of the first being far from 0.
    members = [Scores([[1000 + math.log(9), 1000.0]]), Scores([[2.0, 2.0]])]
    assert ensemble.Ensemble(members)(None).tolist() == [[pytest.approx(0.7), pytest.approx(0.3)]]
    planes = nnlab.randn(2, 3, 4, 4)
    pixels = ensemble.Ensemble([nn.Conv2d(3, 5, 1), nn.Conv2d(3, 5, 1)])(planes)
    assert pixels.shape == (2, 5, 4, 4)
    np.testing.assert_allclose(pixels.detach().numpy().sum(1), 1, rtol=1e-6)


def test_members_are_trained_saved_and_moved_with_the_ensemble() -> None:
    emulator.backend()
    nets = ensemble.Ensemble([nn.Linear(3, 2), nn.Linear(3, 2)])
    assert list(nets.state_dict()) == [f"members.{k}.{name}" for k in (0, 1) for name in ("weight", "bias")]
    x = nnlab.randn(4, 3)
    y = nets(x)
    F.nll_loss(y.log(), nnlab.tensor([0, 1, 0, 1])).backward()
    assert all(p.grad is not None for p in nets.parameters())
    there = nets.to("emulated")(x.to("emulated"))
    np.testing.assert_allclose(there.detach().cpu().numpy(), y.detach().numpy(), rtol=1e-5)


def test_its_loss_is_at_most_the_mean_of_its_members() -> None:
    random = np.random.default_rng(0)
    target = nnlab.tensor(random.integers(0, 4, 50))
    members = [Scores((3 * random.standard_normal((50, 4))).tolist()) for _ in range(5)]
    mean = np.mean([F.cross_entropy(m(None), target).item() for m in members])
    assert F.nll_loss(ensemble.Ensemble(members)(None).log(), target).item() < mean
    same = ensemble.Ensemble(members[:1] * 3)
    assert F.nll_loss(same(None).log(), target).item() == pytest.approx(
        F.cross_entropy(members[0](None), target).item()
    )


def test_bootstrap() -> None:
    draws = ensemble.bootstrap(2000, 8)
    assert len(draws) == 8 and all(d.shape == (2000,) and d.min() >= 0 and d.max() < 2000 for d in draws)
    # How often a sample is drawn is Poisson with mean 1: 1/e never, 1/e once, 1/2e twice.
    times = np.stack([np.bincount(d, minlength=2000) for d in draws])
    for k, share in enumerate((math.exp(-1), math.exp(-1), math.exp(-1) / 2)):
        assert abs((times == k).mean() - share) < 5 * math.sqrt(share * (1 - share) / times.size)
    again, other = ensemble.bootstrap(2000, 9), ensemble.bootstrap(2000, 8, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(draws, again, strict=False))
    assert not np.array_equal(draws[0], draws[1]) and not np.array_equal(draws[0], other[0])


def test_errors() -> None:
    with pytest.raises(ArgumentError, match=r"\[Ensemble\] 'members' must hold at least one module, got \[\]"):
        ensemble.Ensemble([])
    with pytest.raises(ArgumentError, match=r"\[bootstrap\] 'n' must be positive, got 0"):
        ensemble.bootstrap(0, 1)
    with pytest.raises(ArgumentError, match=r"\[bootstrap\] 'members' must be positive, got 0"):
        ensemble.bootstrap(1, 0)
