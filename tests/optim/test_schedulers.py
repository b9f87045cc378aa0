"""Learning-rate schedules against PyTorch, rate by rate, and their state."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import nn, optim
from nnlab.errors import ArgumentError
from nnlab.optim import lr_scheduler

STEPS = 25
Make = Callable[[Any, Any], Any]

# Each is given the module of schedules (ours or PyTorch's) and an optimizer.
CASES: dict[str, Make] = {
    "lambda": lambda s, o: s.LambdaLR(o, lambda epoch: 0.9**epoch),
    "lambdas": lambda s, o: s.LambdaLR(o, [lambda epoch: 1 / (1 + epoch), lambda epoch: 2.0]),
    "step": lambda s, o: s.StepLR(o, 4),
    "step half": lambda s, o: s.StepLR(o, step_size=3, gamma=0.5),
    "multistep": lambda s, o: s.MultiStepLR(o, [3, 7, 7, 15], gamma=0.3),
    "exponential": lambda s, o: s.ExponentialLR(o, 0.8),
    "constant": lambda s, o: s.ConstantLR(o),
    "constant half": lambda s, o: s.ConstantLR(o, factor=0.5, total_iters=3),
    "linear": lambda s, o: s.LinearLR(o),
    "linear down": lambda s, o: s.LinearLR(o, start_factor=1.0, end_factor=0.1, total_iters=12),
    "cosine": lambda s, o: s.CosineAnnealingLR(o, T_max=25),
    "cosine there and back": lambda s, o: s.CosineAnnealingLR(o, T_max=6, eta_min=0.01),
    "restarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, T_0=4),
    "longer restarts": lambda s, o: s.CosineAnnealingWarmRestarts(o, T_0=3, T_mult=2, eta_min=0.02),
    "multiplicative": lambda s, o: s.MultiplicativeLR(o, lambda epoch: 1 - epoch / 100),
    "multiplicatives": lambda s, o: s.MultiplicativeLR(o, [lambda epoch: 0.9, lambda epoch: 1 / epoch]),
    "polynomial": lambda s, o: s.PolynomialLR(o),
    "polynomial square": lambda s, o: s.PolynomialLR(o, total_iters=17, power=2.0),
    "triangles": lambda s, o: s.CyclicLR(o, 0.1, 1.0, step_size_up=4),
    "halved triangles": lambda s, o: s.CyclicLR(
        o, [0.1, 0.2], [1.0, 0.5], 3, 5, "triangular2", base_momentum=[0.5, 0.6], max_momentum=0.95
    ),
    "falling triangles": lambda s, o: s.CyclicLR(o, 0.1, 1.0, 3, mode="exp_range", gamma=0.9, cycle_momentum=False),
    "own triangles": lambda s, o: s.CyclicLR(o, 0.1, 1.0, 3, scale_fn=lambda cycle: 1 / cycle),
    "own steps": lambda s, o: s.CyclicLR(o, 0.1, 1.0, 3, scale_fn=lambda n: 0.8**n, scale_mode="iterations"),
    "one cycle": lambda s, o: s.OneCycleLR(o, 2.0, total_steps=STEPS),
    "one cycle in lines": lambda s, o: s.OneCycleLR(
        o, [1.0, 2.0], epochs=6, steps_per_epoch=5, pct_start=0.4, anneal_strategy="linear", base_momentum=[0.7, 0.8]
    ),
    "one cycle in three phases": lambda s, o: s.OneCycleLR(
        o, 1.0, 26, three_phase=True, div_factor=10.0, final_div_factor=50.0, cycle_momentum=False
    ),
    "chained": lambda s, o: s.ChainedScheduler([s.LinearLR(o, 0.2), s.ExponentialLR(o, 0.9), s.StepLR(o, 7)]),
    "one cycle after another": lambda s, o: s.SequentialLR(
        o, [s.ConstantLR(o, 0.5, 3), s.PolynomialLR(o, 9)], milestones=[4]
    ),
    "warm-up and cosine": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, 1.0, 5), s.CosineAnnealingLR(o, 20)], milestones=[5]
    ),
    "three in a row": lambda s, o: s.SequentialLR(
        o, [s.ConstantLR(o, 0.1, 3), s.ExponentialLR(o, 0.9), s.StepLR(o, 2)], milestones=[3, 9]
    ),
}


def ours(kind: str = "SGD") -> optim.Optimizer:
    groups = [{"params": [nn.Parameter(nnlab.ones(1))]}, {"params": [nn.Parameter(nnlab.ones(1))], "lr": 0.3}]
    return getattr(optim, kind)(groups, lr=1.0)


def rates(optimizer: Any) -> list[tuple[float, float]]:
    """Rate and momentum of each group."""
    return [(g["lr"], g["betas"][0] if "betas" in g else g["momentum"]) for g in optimizer.param_groups]


@pytest.mark.torch
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
@pytest.mark.parametrize("case", CASES)
def test_against_torch(case: str, kind: str) -> None:
    torch = pytest.importorskip("torch")
    params = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    theirs = getattr(torch.optim, kind)([{"params": params[:1]}, {"params": params[1:], "lr": 0.3}], lr=1.0)
    optimizer = ours(kind)
    a, b = CASES[case](lr_scheduler, optimizer), CASES[case](torch.optim.lr_scheduler, theirs)
    for _ in range(STEPS):
        np.testing.assert_allclose(rates(optimizer), rates(theirs), rtol=1e-12, atol=1e-15)
        assert a.get_last_lr() == pytest.approx(b.get_last_lr(), rel=1e-12, abs=1e-15)
        assert a.last_epoch == getattr(b, "last_epoch", a.last_epoch)  # theirs has none if it is chained
        theirs.step()
        a.step()
        b.step()


@pytest.mark.parametrize("case", CASES)
def test_a_restored_schedule_goes_on_exactly(case: str) -> None:
    optimizer = ours()
    schedule = CASES[case](lr_scheduler, optimizer)
    seen = []
    for step in range(STEPS):
        if step == 7:
            saved = json.loads(json.dumps([schedule.state_dict(), optimizer.state_dict()["param_groups"]]))
        seen.append(rates(optimizer))
        schedule.step()
    optimizer = ours()
    schedule = CASES[case](lr_scheduler, optimizer)
    schedule.load_state_dict(saved[0])
    optimizer.load_state_dict({"state": {}, "param_groups": saved[1]})
    for step in range(7, STEPS):
        assert rates(optimizer) == seen[step]
        assert schedule.get_last_lr() == [lr for lr, _ in seen[step]]
        schedule.step()


def test_two_schedules_multiply() -> None:
    optimizer = ours()
    both = [lr_scheduler.ExponentialLR(optimizer, 0.5), lr_scheduler.StepLR(optimizer, 2, 0.1)]
    for _ in range(2):
        for schedule in both:
            schedule.step()
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([0.025, 0.0075])


PLATEAUS: list[dict[str, Any]] = [
    {"patience": 1},
    {"factor": 0.5, "patience": 0, "cooldown": 2},
    {"patience": 1, "threshold": 0.3, "min_lr": 0.05},
    {"patience": 0, "threshold": 0.2, "threshold_mode": "abs", "min_lr": [0.2, 0.01]},
    {"mode": "max", "patience": 1},
    {"mode": "max", "patience": 0, "threshold": 0.4, "threshold_mode": "abs"},
    {"patience": 0, "factor": 0.9999999, "eps": 1e-3},
]
METRICS = [
    3.0,
    2.5,
    2.4,
    2.4,
    2.6,
    2.0,
    2.0,
    2.1,
    2.2,
    1.9,
    -1.0,
    -1.1,
    -1.1,
    -1.0,
    float("nan"),
    5.0,
    5.1,
    5.3,
    5.2,
    0,
]


@pytest.mark.torch
@pytest.mark.parametrize("options", PLATEAUS)
def test_plateau_against_torch(options: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    params = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    theirs = torch.optim.SGD([{"params": params[:1]}, {"params": params[1:], "lr": 0.3}], lr=1.0)
    optimizer = ours()
    a = lr_scheduler.ReduceLROnPlateau(optimizer, **options)
    b = torch.optim.lr_scheduler.ReduceLROnPlateau(theirs, **options)
    for metric in METRICS:
        a.step(metric)
        b.step(metric)
        assert a.get_last_lr() == pytest.approx(b.get_last_lr())
        assert [g["lr"] for g in optimizer.param_groups] == a.get_last_lr()


def test_plateau_state() -> None:
    optimizer = ours()
    schedule = lr_scheduler.ReduceLROnPlateau(optimizer, patience=2)
    for metric in (1.0, 2.0, 2.0):
        schedule.step(nnlab.tensor(metric))
    saved = json.loads(json.dumps(schedule.state_dict()))
    again = lr_scheduler.ReduceLROnPlateau(optimizer)
    again.load_state_dict(saved)
    again.step(2.0)
    assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([0.1, 0.03])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda o: lr_scheduler.StepLR("sgd", 2), r"\[StepLR\] 'optimizer' must be an Optimizer, got 'str'"),
        (lambda o: lr_scheduler.StepLR(o, 0), r"\[StepLR\] 'step_size' must be positive, got 0"),
        (lambda o: lr_scheduler.LinearLR(o, start_factor=0), r"\[LinearLR\] 'start_factor' must be in \(0, 1\], got 0"),
        (lambda o: lr_scheduler.LinearLR(o, end_factor=2), r"\[LinearLR\] 'end_factor' must be in \[0, 1\], got 2"),
        (lambda o: lr_scheduler.ConstantLR(o, 0), r"\[ConstantLR\] 'factor'"),
        (lambda o: lr_scheduler.CosineAnnealingLR(o, 0), r"\[CosineAnnealingLR\] 'T_max' must be positive"),
        (lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 0), r"'T_0' must be positive"),
        (lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 2, 0), r"'T_mult' must be at least 1"),
        (lambda o: lr_scheduler.LambdaLR(o, [lambda e: 1.0]), r"\[LambdaLR\] 'lr_lambda' must hold 2 functions"),
        (lambda o: lr_scheduler.StepLR(o, 2, last_epoch=3), r"'last_epoch' must be -1 as long as parameter group 0"),
        (lambda o: lr_scheduler.SequentialLR(o, [], []), r"'schedulers' must hold at least one"),
        (
            lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.StepLR(o, 1)], [3]),
            r"\[SequentialLR\] 'milestones' must hold 0 epochs",
        ),
        (
            lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.StepLR(ours(), 1)], []),
            r"\[SequentialLR\] 'schedulers' must be schedules of the same optimizer",
        ),
        (lambda o: lr_scheduler.MultiplicativeLR(o, []), r"\[MultiplicativeLR\] 'lr_lambda' must hold 2 functions"),
        (lambda o: lr_scheduler.PolynomialLR(o, 0), r"\[PolynomialLR\] 'total_iters' must be positive, got 0"),
        (lambda o: lr_scheduler.CyclicLR(o, 0.1, 1.0, mode="square"), r"\[CyclicLR\] 'mode' must be one of triangular"),
        (lambda o: lr_scheduler.CyclicLR(o, 0.1, 1.0, scale_mode="x"), r"'scale_mode' must be 'cycle' or 'iterations'"),
        (lambda o: lr_scheduler.CyclicLR(o, 0.1, 1.0, 0), r"'step_size_up' must be positive, got 0"),
        (lambda o: lr_scheduler.CyclicLR(o, 0.1, 1.0, 2, 0), r"'step_size_down' must be positive, got 0"),
        (lambda o: lr_scheduler.CyclicLR(o, 0.1, [1.0]), r"\[CyclicLR\] 'max_lr' must be a number or 2 numbers"),
        (
            lambda o: lr_scheduler.CyclicLR(optim.Adagrad(o.param_groups[0]["params"]), 0.1, 1.0),
            r"\[CyclicLR\] 'cycle_momentum' must be False for an optimizer without momentum and betas, got True",
        ),
        (lambda o: lr_scheduler.OneCycleLR(o, 1.0), r"\[OneCycleLR\] 'total_steps' must be positive, or epochs and"),
        (lambda o: lr_scheduler.OneCycleLR(o, 1.0, 5, pct_start=2), r"'pct_start' must be in \[0, 1\], got 2"),
        (lambda o: lr_scheduler.OneCycleLR(o, 1.0, 5, anneal_strategy="x"), r"'anneal_strategy' must be 'cos' or"),
        (lambda o: lr_scheduler.OneCycleLR("sgd", 1.0, 5), r"\[OneCycleLR\] 'optimizer' must be an Optimizer"),
        (lambda o: lr_scheduler.ChainedScheduler([]), r"\[ChainedScheduler\] 'schedulers' must hold at least one"),
        (
            lambda o: lr_scheduler.ChainedScheduler([lr_scheduler.ReduceLROnPlateau(o)]),
            r"\[ChainedScheduler\] 'schedulers' must be schedules of the same optimizer, got 'ReduceLROnPlateau'",
        ),
        (lambda o: lr_scheduler.ReduceLROnPlateau(o, mode="least"), r"'mode' must be 'min' or 'max', got 'least'"),
        (lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=1.0), r"'factor' must be below 1, got 1.0"),
        (lambda o: lr_scheduler.ReduceLROnPlateau(o, min_lr=[0.1]), r"'min_lr' must be a number or 2 numbers"),
        (lambda o: lr_scheduler.ReduceLROnPlateau(o, threshold_mode="x"), r"'threshold_mode' must be 'rel' or 'abs'"),
    ],
)
def test_bad_arguments(make: Callable[[Any], Any], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        make(ours())


def test_starting_in_the_middle() -> None:
    optimizer = ours()
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    schedule = lr_scheduler.ExponentialLR(optimizer, 0.5, last_epoch=4)
    assert schedule.last_epoch == 5
    assert schedule.get_last_lr() == pytest.approx([0.5, 0.15])


def test_one_cycle_ends() -> None:
    schedule = lr_scheduler.OneCycleLR(ours(), 1.0, 3)
    for _ in range(3):
        schedule.step()
    with pytest.raises(ArgumentError, match=r"\[OneCycleLR\] 'step' must be called no more than 3 times, got 4"):
        schedule.step()


def test_worked_numbers() -> None:
    """By hand, for machines without PyTorch."""
    up_and_down = lr_scheduler.CyclicLR(optimizer := ours(), 1.0, 3.0, 2, base_momentum=0.5, max_momentum=0.9)
    for lr, momentum in ((1, 0.9), (2, 0.7), (3, 0.5), (2, 0.7), (1, 0.9), (2, 0.7)):
        np.testing.assert_allclose(rates(optimizer), [(lr, momentum)] * 2)
        up_and_down.step()
    once = lr_scheduler.OneCycleLR(
        optimizer := ours(), 4.0, 6, pct_start=0.5, anneal_strategy="linear", div_factor=4.0, final_div_factor=10.0,
        base_momentum=0.5, max_momentum=0.9,
    )  # fmt: skip
    for lr, momentum in ((1, 0.9), (2.5, 0.7), (4, 0.5), (2.7, 0.5 + 0.4 / 3), (1.4, 0.5 + 0.8 / 3), (0.1, 0.9)):
        np.testing.assert_allclose(rates(optimizer), [(lr, momentum)] * 2)
        once.step()
    line = lr_scheduler.PolynomialLR(optimizer := ours(), 4)
    for lr in (1, 0.75, 0.5, 0.25, 0, 0):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(lr)
        line.step()


def test_the_linear_decay_of_the_notes() -> None:
    """e_k = (1 - a) e_0 + a e_tau with a = k / tau, and constant after tau."""
    start, end, tau = 0.3, 0.05, 8
    optimizer = optim.SGD([nn.Parameter(nnlab.ones(1))], lr=start)
    schedule = lr_scheduler.LinearLR(optimizer, 1.0, end / start, tau)
    for k in range(15):
        a = min(k / tau, 1)
        assert optimizer.param_groups[0]["lr"] == pytest.approx((1 - a) * start + a * end, rel=1e-12)
        schedule.step()
