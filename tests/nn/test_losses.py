"""Losses: the worked numbers of the course notes, ends of their domains, errors, weights that move with the module."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import nn
from nnlab.errors import ArgumentError, DtypeError, ShapeError
from nnlab.nn import functional as F


def test_the_softmax_table_of_the_notes() -> None:
    scores = nnlab.tensor([[5.0, 4.0, 2.0], [4.0, 2.0, 8.0], [4.0, 4.0, 1.0]], dtype=nnlab.float64)
    target = nnlab.tensor([0, 2, 1])  # cat, horse, dog
    table = F.softmax(scores, 1)
    rounded = np.round(table.numpy(), 2)
    assert rounded.tolist() == [[0.71, 0.26, 0.04], [0.02, 0.00, 0.98], [0.49, 0.49, 0.02]]
    # The notes go on with the rounded numbers: 0.34 + 0.02 + 0.71 = 1.07 ...
    notes = F.nll_loss(nnlab.tensor(rounded).log(), target, reduction="none")
    assert np.round(notes.numpy(), 2).tolist() == [0.34, 0.02, 0.71]
    assert np.round(notes.numpy(), 2).sum() == pytest.approx(1.07)
    # ... the scores themselves give 0.349 + 0.021 + 0.718 = 1.087.
    wanted = [
        math.log(sum(math.exp(v - own) for v in row)) for row, own in zip(scores.tolist(), (5, 8, 4), strict=True)
    ]
    assert F.cross_entropy(scores, target, reduction="none").tolist() == [pytest.approx(v) for v in wanted]
    assert F.cross_entropy(scores, target, reduction="sum").item() == pytest.approx(1.0873, abs=5e-5)
    assert F.nll_loss(table.log(), target, reduction="sum").item() == pytest.approx(sum(wanted))


def test_the_gradient_of_softmax_with_cross_entropy_is_y_minus_1_at_the_class() -> None:
    scores = nnlab.tensor([[5.0, 4.0, 2.0]], dtype=nnlab.float64, requires_grad=True)
    F.cross_entropy(scores, nnlab.tensor([0])).backward()
    y = np.exp([5.0, 4.0, 2.0]) / np.exp([5.0, 4.0, 2.0]).sum()
    np.testing.assert_allclose(scores.grad.numpy(), [[y[0] - 1, y[1], y[2]]], atol=1e-15)


def neuron(start: tuple[float, float], loss: str, rate: float, steps: int) -> tuple[float, list[float]]:
    """The notes' neuron sigmoid(w x + b) with x = 1 and target 0: first gradient, and its output before each step."""
    w, b = (nnlab.tensor(v, dtype=nnlab.float64, requires_grad=True) for v in start)
    optimizer = nnlab.optim.SGD([w, b], lr=rate)
    target = nnlab.tensor(0.0, dtype=nnlab.float64)
    outputs, first = [], None
    for _ in range(steps + 1):
        y = (w * 1.0 + b).sigmoid()
        outputs.append(y.item())
        optimizer.zero_grad()
        (F.mse_loss(y, target) / 2 if loss == "squared" else F.binary_cross_entropy(y, target)).backward()
        first = w.grad.item() if first is None else first
        optimizer.step()
    return first, outputs


CASE_A, CASE_B = (0.6, 0.9), (2.0, 2.0)


def test_slow_start_of_sigmoid_and_squared_error() -> None:
    """Case A learns at once, case B, further from the target, hardly moves: its slope is 7 times smaller."""
    first_a, a = neuron(CASE_A, "squared", 0.15, 300)
    first_b, b = neuron(CASE_B, "squared", 0.15, 300)
    # y * sigmoid'(z) at z = 1.5 and z = 4.
    assert first_a == pytest.approx(0.8175744761936437**2 * (1 - 0.8175744761936437))
    assert first_b == pytest.approx(0.9820137900379085**2 * (1 - 0.9820137900379085))
    # Outputs at the start and after 300 epochs at rate 0.15, as the page that the notes refer to shows them.
    assert (round(a[0], 2), round(a[-1], 2)) == (0.82, 0.09)
    assert (round(b[0], 2), round(b[-1], 2)) == (0.98, 0.20)
    assert a[0] - a[50] > 5 * (b[0] - b[50])


def test_cross_entropy_starts_fastest_where_it_is_most_wrong() -> None:
    first_a, a = neuron(CASE_A, "cross-entropy", 0.15, 50)
    first_b, b = neuron(CASE_B, "cross-entropy", 0.15, 50)
    assert first_a == pytest.approx(0.8175744761936437)  # y - d
    assert first_b == pytest.approx(0.9820137900379085)
    assert b[-1] < 0.2 < neuron(CASE_B, "squared", 0.15, 50)[1][-1]
    assert a[-1] < b[-1]


def test_worked_numbers() -> None:
    scores = nnlab.tensor([[0.0, 0.0], [math.log(3.0), 0.0]], dtype=nnlab.float64)
    each = F.cross_entropy(scores, nnlab.tensor([0, 1]), reduction="none").tolist()
    assert each == [pytest.approx(math.log(2)), pytest.approx(math.log(4))]
    x, t = nnlab.tensor([1.0, 2.0, -3.0]), nnlab.tensor([3.0, 2.0, -2.5])
    numbers: dict[str, tuple[dict[str, Any], float]] = {
        "mse_loss": ({}, (4 + 0 + 0.25) / 3),
        "l1_loss": ({"reduction": "sum"}, 2.5),
        "smooth_l1_loss": ({"reduction": "sum", "beta": 1.0}, 1.5 + 0.125),
        "huber_loss": ({"reduction": "sum", "delta": 0.4}, 0.4 * 1.8 + 0.4 * 0.3),
    }
    for name, (options, wanted) in numbers.items():
        assert getattr(F, name)(x, t, **options).item() == pytest.approx(wanted), name
    a, b = nnlab.tensor([[3.0, 4.0]]), nnlab.tensor([[4.0, 3.0]])
    assert F.cosine_similarity(a, b).item() == pytest.approx(24 / 25)
    assert F.pairwise_distance(a, b, eps=0.0).item() == pytest.approx(2**0.5)
    same, other = nnlab.tensor([1.0]), nnlab.tensor([-1.0])
    assert F.cosine_embedding_loss(a, b, same).item() == pytest.approx(1 / 25)
    assert F.cosine_embedding_loss(a, b, other, 0.5).item() == pytest.approx(24 / 25 - 0.5)
    assert F.triplet_margin_loss(a, a, b, 2.0, eps=0.0).item() == pytest.approx(2 - 2**0.5)
    assert F.margin_ranking_loss(a, b, nnlab.tensor([[1.0, -1.0]]), 0.5, reduction="none").tolist() == [[1.5, 1.5]]
    assert F.hinge_embedding_loss(nnlab.tensor([0.3, 0.4]), nnlab.tensor([1, -1])).item() == pytest.approx(
        (0.3 + 0.6) / 2
    )
    three = nnlab.tensor([[0.1, 0.2, 0.4, 0.8]])
    # The two examples of PyTorch's documentation.
    assert F.multi_margin_loss(three, nnlab.tensor([3])).item() == pytest.approx(0.25 * (0.3 + 0.4 + 0.6))
    lists = nnlab.tensor([[3, 0, -1, 1]])
    assert F.multilabel_margin_loss(three, lists).item() == pytest.approx(0.25 * (0.4 + 0.6 + 1.1 + 1.3))
    even = nnlab.tensor([[0.5, 0.5]])
    assert F.kl_div(even.log(), nnlab.tensor([[1.0, 0.0]]), reduction="batchmean").item() == pytest.approx(math.log(2))
    assert F.gaussian_nll_loss(x, t, 1.0, full=True, reduction="none")[1].item() == pytest.approx(
        math.log(2 * math.pi) / 2
    )
    assert F.poisson_nll_loss(nnlab.tensor([0.0]), nnlab.tensor([3.0])).item() == 1.0


def test_logistic_losses_far_from_zero() -> None:
    """No overflow on the wrong side, and all digits of the small loss on the right one."""
    x = nnlab.tensor([-1000.0, 1000.0, -40.0, 40.0, 0.0], dtype=nnlab.float64)
    tiny = math.exp(-40.0)
    one, none = nnlab.ones(5, dtype=nnlab.float64), nnlab.zeros(5, dtype=nnlab.float64)
    wanted = [1000.0, 0.0, 40.0, tiny, math.log(2)]
    for name, target, sign in (
        ("binary_cross_entropy_with_logits", one, 1),
        ("binary_cross_entropy_with_logits", none, -1),
        ("soft_margin_loss", one, 1),
        ("soft_margin_loss", -one, -1),
    ):
        found = getattr(F, name)(x * sign, target, reduction="none").tolist()
        assert found == [pytest.approx(v, rel=1e-14, abs=0) for v in wanted], (name, sign)


@pytest.mark.torch
def test_binary_cross_entropy_at_its_ends() -> None:
    torch = pytest.importorskip("torch")
    x, t = [0.0, 1.0, 0.0, 1.0, 1e-30], [0.0, 1.0, 1.0, 0.0, 1.0]
    a, b = nnlab.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    y = F.binary_cross_entropy(a, nnlab.tensor(t), reduction="none")
    z = torch.nn.functional.binary_cross_entropy(b, torch.tensor(t), reduction="none")
    assert y.tolist() == pytest.approx(z.tolist())
    assert y.tolist()[:4] == [0, 0, 100, 100]
    y.sum().backward()
    z.sum().backward()
    assert a.grad.tolist() == pytest.approx(b.grad.tolist())
    assert np.isfinite(a.grad.numpy()).all()
    assert math.isnan(F.binary_cross_entropy(nnlab.tensor([math.nan]), nnlab.tensor([1.0])).item())


def test_the_mean_of_nothing_is_nan() -> None:
    """For every loss alike; PyTorch gives 0 for the two of margins between classes."""
    none = nnlab.zeros(0, 3)
    assert math.isnan(F.multi_margin_loss(none, nnlab.zeros(0, dtype=nnlab.int64)).item())
    assert math.isnan(F.multilabel_margin_loss(none, nnlab.zeros(0, 3, dtype=nnlab.int64)).item())
    assert math.isnan(F.cross_entropy(none, nnlab.zeros(0, dtype=nnlab.int64)).item())
    assert math.isnan(F.mse_loss(none, none).item())


def test_divergence_of_a_target_with_zeros() -> None:
    x = nnlab.tensor([[0.25, 0.75]]).log().requires_grad_()
    F.kl_div(x, nnlab.tensor([[0.0, 1.0]]), reduction="sum").backward()
    assert x.grad.tolist() == [[0.0, -1.0]]


def test_another_distance_for_triplets() -> None:
    def largest(a: nnlab.Tensor, b: nnlab.Tensor) -> nnlab.Tensor:
        return (a - b).abs().amax(-1)

    loss = nn.TripletMarginWithDistanceLoss(distance_function=largest, margin=0.5, reduction="none")
    a, p, n = nnlab.tensor([[0.0, 0.0]]), nnlab.tensor([[1.0, 3.0]]), nnlab.tensor([[2.0, 0.0]])
    assert loss(a, p, n).tolist() == [1.5]


def integers(*values: int) -> nnlab.Tensor:
    return nnlab.tensor(list(values))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda z: nn.KLDivLoss(reduction="batch"),
            ArgumentError,
            r"\[KLDivLoss\] 'reduction' must be one of .*batchmean",
        ),
        (lambda z: nn.MSELoss(reduction="batchmean"), ArgumentError, r"\[MSELoss\] 'reduction' must be one of"),
        (lambda z: nn.HuberLoss(delta=0)(z, z), ArgumentError, r"\[HuberLoss\] 'delta' must be positive, got 0"),
        (
            lambda z: nn.SmoothL1Loss(beta=-1)(z, z),
            ArgumentError,
            r"\[SmoothL1Loss\] 'beta' must not be negative, got -1",
        ),
        (
            lambda z: nn.BCELoss()(z + 2, z),
            ArgumentError,
            r"\[BCELoss\] binary_cross_entropy: 'input' must be between 0 and 1, got \(2.0, 2.0\)",
        ),
        (
            lambda z: nn.BCEWithLogitsLoss(pos_weight=nnlab.ones(3, 2, 4))(z, z),
            ShapeError,
            r"\[BCEWithLogitsLoss\] .*'pos_weight' must broadcast to the input's shape \(2, 4\), got \(3, 2, 4\)",
        ),
        (
            lambda z: nn.SoftMarginLoss()(z, z[0]),
            ShapeError,
            r"\[SoftMarginLoss\] 'target' must have the input's shape \(2, 4\), got \(4,\)",
        ),
        (lambda z: nn.MultiMarginLoss(3), ArgumentError, r"\[MultiMarginLoss\] 'p' must be 1 or 2, got 3"),
        (
            lambda z: nn.MultiMarginLoss()(z, integers(1)),
            ShapeError,
            r"\[MultiMarginLoss\] 'target' must have shape \(2,\) for input \(2, 4\), got \(1,\)",
        ),
        (
            lambda z: nn.MultiMarginLoss()(z, z[:, 0]),
            DtypeError,
            r"\[MultiMarginLoss\] 'target' must be integer class numbers, got 'float32'",
        ),
        (
            lambda z: nn.MultiLabelMarginLoss()(z.unsqueeze(0), integers(1)),
            ShapeError,
            r"\[MultiLabelMarginLoss\] 'input' must have shape \(N, C\) or \(C,\), got \(1, 2, 4\)",
        ),
        (
            lambda z: nn.GaussianNLLLoss()(z, z, -1.0),
            ArgumentError,
            r"\[GaussianNLLLoss\] 'var' must not be negative, got -1.0",
        ),
        (
            lambda z: nn.GaussianNLLLoss()(z, z, nnlab.ones(3)),
            ShapeError,
            r"\[GaussianNLLLoss\] 'var' must have shape \(2, 4\), with one dimension 1 or without the last, got \(3,\)",
        ),
        (
            lambda z: nn.CosineEmbeddingLoss()(z, z, nnlab.ones(3)),
            ShapeError,
            r"\[CosineEmbeddingLoss\] 'target' must have shape \(2,\) for input1 \(2, 4\), got \(3,\)",
        ),
        (
            lambda z: nn.CosineEmbeddingLoss()(z, z[0], nnlab.ones(2)),
            ShapeError,
            r"\[CosineEmbeddingLoss\] 'input2' must have shape",
        ),
        (
            lambda z: nn.MarginRankingLoss()(z, z, nnlab.ones(4)),
            ShapeError,
            r"\[MarginRankingLoss\] 'target' must have 2 dimensions, as input1 \(2, 4\), got \(4,\)",
        ),
        (lambda z: nn.TripletMarginLoss(0), ArgumentError, r"\[TripletMarginLoss\] 'margin' must be positive, got 0"),
        (
            lambda z: nn.TripletMarginLoss()(z, z[0], z),
            ShapeError,
            r"\[TripletMarginLoss\] 'positive' must have 2 dimensions, as the anchor \(2, 4\), got \(4,\)",
        ),
        (lambda z: nn.PairwiseDistance(0)(z, z), ArgumentError, r"\[PairwiseDistance\] 'p' must be positive, got 0"),
        (
            lambda z: nn.PairwiseDistance()(z, z[:, :3]),
            ShapeError,
            r"\[PairwiseDistance\] Sub: shapes .* do not broadcast",
        ),
        (lambda z: nn.L1Loss()(z, z.double()), DtypeError, r"\[L1Loss\] .*'input' is float32 but 'target' is float64"),
    ],
)
def test_errors(make: Callable[[nnlab.Tensor], Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^{message}"):
        make(nnlab.zeros(2, 4))


def test_a_loss_moves_its_weight_with_it() -> None:
    loss = nn.CrossEntropyLoss(nnlab.tensor([1.0, 2.0])).double()
    assert loss.weight.dtype == nnlab.float64
    assert list(loss.state_dict()) == ["weight"]
