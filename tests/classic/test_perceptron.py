"""Perceptron learning: the worked example, all update modes against loops, the convergence bound; the Hebbian rule."""

from __future__ import annotations

import math

import numpy as np
import pytest

import nnlab
from nnlab.classic import perceptron
from nnlab.classic.neuron import with_bias
from nnlab.classic.perceptron import error_correction, hebbian, learn
from nnlab.errors import ArgumentError, ShapeError

X = np.array([[1.0, 2.0], [-1.0, 2.0], [0.0, -1.0]])
D = np.array([1, 0, 0])
START = np.array([1.0, -0.8])


def separable_data(seed: int, samples: int = 60, inputs: int = 3, margin: float = 0.1) -> tuple[np.ndarray, ...]:
    """Points in a cube at least ``margin`` away from a random plane through 0, their classes, and the plane."""
    rng = np.random.default_rng(seed)
    w = rng.normal(size=inputs)
    w /= np.linalg.norm(w)
    x = rng.uniform(-1, 1, (20 * samples, inputs))
    x = x[np.abs(x @ w) >= margin][:samples]
    assert len(x) == samples
    return x, (x @ w > 0).astype(np.float64), w


def reference(x: np.ndarray, d: np.ndarray, w: np.ndarray, lr: float, batch: int) -> list[np.ndarray]:
    """The weights after each update, in loops."""
    path = [w]
    while True:
        clean = True
        for start in range(0, len(x), batch):
            change, errors = np.zeros_like(w), 0
            for sample, wanted in zip(x[start : start + batch], d[start : start + batch], strict=True):
                y = 1 if sum(a * b for a, b in zip(path[-1], sample, strict=True)) >= 0 else 0
                change = change + lr * (wanted - y) * sample
                errors += wanted != y
            if errors:
                path.append(path[-1] + change)
                clean = False
        if clean:
            return path


def test_worked_example():
    run = learn(nnlab.tensor(X), nnlab.tensor(D), nnlab.tensor(START))
    np.testing.assert_allclose(run.path.numpy(), [[1, -0.8], [2, 1.2], [3, -0.8], [3, 0.2]], atol=1e-15)
    assert (run.corrections, run.passes, run.converged) == (3, 2, True)
    np.testing.assert_array_equal(run.w.numpy(), run.path.numpy()[-1])
    again = learn(nnlab.tensor(X), nnlab.tensor(D), run.w)
    assert again.corrections == 0 and len(again.path) == 1 and again.passes == 1


def test_worked_example_in_one_batch():
    """From (1, -0.8) the first sample is answered 0 instead of 1, the second 0, the third 1 instead of 0: (1, 2) is
    added, (0, -1) subtracted. Then (2, 2.2) answers the second wrong, and (3, 0.2) none."""
    run = learn(nnlab.tensor(X), nnlab.tensor(D), nnlab.tensor(START), batch_size=3)
    np.testing.assert_allclose(run.path.numpy(), [[1, -0.8], [2, 2.2], [3, 0.2]], atol=1e-15)
    assert (run.corrections, run.passes) == (3, 3)


@pytest.mark.parametrize("batch", [1, 7, 60])
@pytest.mark.parametrize("lr", [1.0, 0.3])
def test_every_mode_against_loops(batch, lr):
    x, d, _ = separable_data(1)
    start = np.array([0.5, -1.0, 0.25])
    run = learn(nnlab.tensor(x), nnlab.tensor(d), nnlab.tensor(start), lr=lr, batch_size=batch)
    expected = reference(x, d, start, lr, batch)
    assert run.converged and len(expected) > 3
    np.testing.assert_allclose(run.path.numpy(), expected, atol=1e-12)
    answers = (x @ run.w.numpy() >= 0).astype(np.float64)
    np.testing.assert_array_equal(answers, d)


@pytest.mark.parametrize("batch", [1, 7, 60])
@pytest.mark.parametrize("seed", range(4))
def test_corrections_within_the_bound(batch, seed):
    """(R / margin)^2, times the batch. The lower limit of the proof too: w points at least so far along the plane's
    normal as there were corrections, times the margin."""
    x, d, plane = separable_data(seed, margin=0.05 * (seed + 1))
    sides = (2 * d - 1) * (x @ plane)
    limit = max(math.hypot(*p) for p in x) ** 2 / sides.min() ** 2
    assert perceptron.bound(nnlab.tensor(x), nnlab.tensor(d), nnlab.tensor(3 * plane)) == pytest.approx(limit)
    run = learn(nnlab.tensor(x), nnlab.tensor(d), batch_size=batch, seed=seed)
    assert run.converged and 0 < run.corrections <= batch * limit
    assert run.w.numpy() @ plane >= run.corrections * sides.min() - 1e-9
    lengths = np.linalg.norm(run.path.numpy(), axis=1)
    assert (lengths**2 <= batch * run.corrections * np.max((x * x).sum(1)) + 1e-9).all()


def test_the_bound_can_be_met():
    """Orthogonal samples of equal length with equal margins: n of them take n corrections, and the bound is n."""
    x, d = np.eye(5), np.array([1, 0, 1, 0, 0])
    run = learn(nnlab.tensor(x), nnlab.tensor(d), lr=0.5)
    assert run.corrections == 3  # the sum is 0 at first, which answers 1: only the zeros are corrected
    limit = perceptron.bound(nnlab.tensor(x), nnlab.tensor(d), nnlab.tensor(2.0 * d - 1))
    assert limit == pytest.approx(5)
    assert learn(nnlab.tensor(x), nnlab.tensor(np.zeros(5))).corrections == 5


def test_order_is_drawn_from_the_seed():
    x, d, _ = separable_data(2)
    a, b, c, given = (learn(nnlab.tensor(x), nnlab.tensor(d), seed=s).path.numpy().tolist() for s in (5, 5, 6, None))
    assert a == b
    assert a != c and a != given


def test_hebbian_changes_weights_for_misclassified_samples_alone():
    """w_i = w_i + lr x_i t, sample by sample, only after a wrong answer."""
    x = with_bias(nnlab.tensor(X))
    t = 2.0 * D - 1
    run = learn(x, nnlab.tensor(t), nnlab.tensor([0.5, 1.0, -0.8]).double(), rule=hebbian, lr=0.5)
    w, path, updates = np.array([0.5, 1.0, np.float32(-0.8)]), [], 0
    for _ in range(run.passes):
        for sample, target in zip(x.numpy(), t, strict=True):
            if (1 if w @ sample >= 0 else -1) != target:
                w = w + 0.5 * sample * target
                path.append(w)
                updates += 1
    np.testing.assert_allclose(run.path.numpy()[1:], path, atol=1e-14)
    assert run.converged and updates == run.corrections > 0
    assert hebbian(nnlab.tensor([2.0, -2.0, 0.0, -1.0]), nnlab.tensor([1.0, 1.0, 1.0, -1.0])).tolist() == [0, 1, 0, 0]


def test_hebbian_descends_the_perceptron_criterion():
    """The update of all samples at once is minus the gradient of E(w) = -sum of t (w x) over the misclassified."""
    x, d, _ = separable_data(3)
    t = 2 * d - 1
    start = np.array([1.0, 0.5, -2.0])
    w = nnlab.tensor(start, requires_grad=True)
    u = nnlab.tensor(x) @ w
    wrong = nnlab.tensor(np.where(x @ start >= 0, 1.0, -1.0) != t)
    criterion = -(nnlab.tensor(t) * u).masked_select(wrong).sum()
    criterion.backward()
    run = learn(
        nnlab.tensor(x), nnlab.tensor(t), nnlab.tensor(start), rule=hebbian, lr=0.1, batch_size=len(x), max_passes=1
    )
    assert 0 < run.corrections < len(x) and not run.converged
    np.testing.assert_allclose(run.w.numpy(), start - 0.1 * w.grad.numpy(), atol=1e-14)


def test_hebbian_with_signs_is_error_correction_with_zeros_and_ones():
    x, d, _ = separable_data(4)
    a = learn(nnlab.tensor(x), nnlab.tensor(d), seed=1)
    b = learn(nnlab.tensor(x), nnlab.tensor(2 * d - 1), rule=hebbian, seed=1)
    np.testing.assert_array_equal(a.path.numpy(), b.path.numpy())


def test_exclusive_or_never_ends():
    x = with_bias(nnlab.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]]))
    run = learn(x, nnlab.tensor([0, 1, 1, 0]), max_passes=50)
    assert not run.converged and run.passes == 50
    assert run.w.abs().max().item() <= 3  # but the weights stay small (the perceptron cycling theorem)


def test_error_correction():
    assert error_correction(nnlab.tensor([2.0, -2.0, 0.0, -1.0]), nnlab.tensor([1.0, 1, 0, 0])).tolist() == [
        0,
        1,
        -1,
        0,
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 0}, r"\[perceptron.learn\] 'lr' must be positive, got 0"),
        ({"batch_size": 0}, "'batch_size' must be positive"),
        ({"max_passes": -1}, "'max_passes' must be positive"),
        ({"target": [0, 1, -1]}, r"'target' must hold 0 and 1, got \[-1, 0, 1\]"),
        ({"rule": hebbian}, r"'target' must hold -1 and 1, got \[0, 1\]"),
    ],
)
def test_bad_arguments(options, message):
    options = {"target": D, **options}
    with pytest.raises(ArgumentError, match=message):
        learn(nnlab.tensor(X), nnlab.tensor(options.pop("target")), **options)


def test_bad_shapes():
    with pytest.raises(ShapeError, match=r"'x' must have shape \(N, m\)"):
        learn(nnlab.zeros(0, 2), nnlab.zeros(0))
    with pytest.raises(ShapeError, match=r"'target' must have shape \(3,\), got \(2,\)"):
        learn(nnlab.tensor(X), nnlab.zeros(2))
    with pytest.raises(ShapeError, match=r"'w' must have shape \(2,\), got \(3,\)"):
        learn(nnlab.tensor(X), nnlab.tensor(D), nnlab.zeros(3))
    with pytest.raises(ArgumentError, match=r"\[perceptron.bound\] 'w' must separate the samples"):
        perceptron.bound(nnlab.tensor(X), nnlab.tensor(D), nnlab.tensor(START))
