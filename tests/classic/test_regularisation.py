"""Penalties, dropout and batch normalisation as the course derives them: exact statistics, not samples."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import nnlab
from nnlab import nn, optim
from nnlab.nn import functional as F


def test_weight_decay_is_the_l2_penalty() -> None:
    """Of lambda / 2 times the sum of squares, with biases left out by a group of their own."""
    random = np.random.default_rng(0)
    x, target = nnlab.tensor(random.standard_normal((20, 3))), nnlab.tensor(random.standard_normal((20, 2)))
    ends = []
    for penalty in (False, True):
        nnlab.manual_seed(1)
        net = nn.Linear(3, 2).double()
        groups = [{"params": [net.weight], "weight_decay": 0.0 if penalty else 0.3}, {"params": [net.bias]}]
        optimizer = optim.SGD(groups, lr=0.1, momentum=0.5)
        for _ in range(20):
            optimizer.zero_grad()
            loss = F.mse_loss(net(x), target)
            if penalty:
                loss = loss + 0.3 / 2 * (net.weight**2).sum()
            loss.backward()
            optimizer.step()
        ends.append(np.concatenate([p.detach().numpy().ravel() for p in net.parameters()]))
    np.testing.assert_allclose(ends[0], ends[1], rtol=1e-12)


def test_l1_sets_small_weights_to_zero_and_l2_shrinks_all() -> None:
    """(w - a)^2 / 2 + l |w| is smallest at a moved by l towards 0, with l w^2 / 2 at a / (1 + l); here l = 1/2."""
    a = nnlab.tensor([2.0, 0.3, -0.1, -1.5, 0.0], dtype=nnlab.float64)
    penalties = {"l1": lambda w: 0.5 * w.abs().sum(), "l2": lambda w: 0.5 * (w**2).sum() / 2}
    wanted = {"l1": [1.5, 0, 0, -1.0, 0], "l2": [2.0 / 1.5, 0.2, -0.1 / 1.5, -1.0, 0]}
    for name, penalty in penalties.items():
        w = nn.Parameter(nnlab.tensor(np.ones(5)))
        optimizer = optim.SGD([w], lr=0.01)
        for _ in range(1000):
            w.grad = None
            (((w - a) ** 2).sum() / 2 + penalty(w)).backward()
            optimizer.step()
        # Around 0 the L1 penalty goes to and fro by at most lr (|a| + l).
        np.testing.assert_allclose(w.detach().numpy(), wanted[name], atol=0.01, err_msg=name)


def thinned(x: np.ndarray, p: float) -> list[tuple[float, np.ndarray]]:
    """Every way of dropping inputs, each with its probability."""
    masks = [np.array(m) for m in product((0, 1), repeat=len(x))]
    return [(float(np.prod(np.where(m, 1 - p, p))), x * m / (1 - p)) for m in masks]


@pytest.mark.parametrize("p", [0.2, 0.5])
def test_dropout_in_testing_is_the_average_of_all_thinned_networks(p: float) -> None:
    """Weighted by how likely each is: the mean for linear units, the geometric mean, normalised, for softmax."""
    random = np.random.default_rng(0)
    x, w = random.standard_normal(6), random.standard_normal((3, 6))
    net = nn.Sequential(nn.Dropout(p), nn.Linear(6, 3, bias=False)).double().eval()
    net[1].load_state_dict({"weight": w})
    whole = net(nnlab.tensor(x[None]))[0]
    networks = [(weight, w @ kept) for weight, kept in thinned(x, p)]
    assert len(networks) == 64 and sum(weight for weight, _ in networks) == pytest.approx(1)
    np.testing.assert_allclose(whole.detach().numpy(), sum(weight * y for weight, y in networks), atol=1e-13)
    logs = sum(weight * (y - np.log(np.exp(y).sum())) for weight, y in networks)
    mean = np.exp(logs) / np.exp(logs).sum()
    np.testing.assert_allclose(F.softmax(whole.detach(), 0).numpy(), mean, atol=1e-13)
    # The notes' form, which does not scale in training, multiplies by the probability to stay in testing.
    unscaled = sum(weight * y * (1 - p) for weight, y in networks)
    np.testing.assert_allclose(unscaled, (1 - p) * (w @ x), atol=1e-13)


def test_batch_normalisation_tests_with_the_statistics_of_all_training_samples() -> None:
    """With momentum None the running values are means over the batches: of equal size, all samples' mean exactly."""
    random = np.random.default_rng(0)
    x = random.standard_normal((60, 4)) * [1, 2, 3, 4] + [0, 5, -5, 1]
    layer = nn.BatchNorm1d(4, momentum=None).double()
    batches = x.reshape(6, 10, 4)
    for batch in batches:
        y = layer(nnlab.tensor(batch)).detach().numpy()
        np.testing.assert_allclose(y, (batch - batch.mean(0)) / np.sqrt(batch.var(0) + 1e-5), atol=1e-12)
    np.testing.assert_allclose(layer.running_mean.numpy(), x.mean(0), atol=1e-13)
    np.testing.assert_allclose(layer.running_var.numpy(), batches.var(1, ddof=1).mean(0), rtol=1e-13)
    # All samples' variance is that within batches and that of their means (analysis of variance).
    within = batches.var(1).mean(0)
    np.testing.assert_allclose(x.var(0), within + batches.mean(1).var(0), rtol=1e-12)
    np.testing.assert_allclose(layer.running_var.numpy() * 9 / 10, within, rtol=1e-13)
    one = layer.eval()(nnlab.tensor(x[:1])).detach().numpy()
    wanted = (x[:1] - x.mean(0)) / np.sqrt(batches.var(1, ddof=1).mean(0) + 1e-5)
    np.testing.assert_allclose(one, wanted, atol=1e-12)
