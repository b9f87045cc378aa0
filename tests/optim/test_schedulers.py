"""Learning-rate schedules against PyTorch, rate by rate, and their state."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

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
    "warm-up and cosine": lambda s, o: s.SequentialLR(
        o, [s.LinearLR(o, 0.1, 1.0, 5), s.CosineAnnealingLR(o, 20)], milestones=[5]
    ),
    "three in a row": lambda s, o: s.SequentialLR(
        o, [s.ConstantLR(o, 0.1, 3), s.ExponentialLR(o, 0.9), s.StepLR(o, 2)], milestones=[3, 9]
    ),
}


def ours() -> optim.SGD:
    return optim.SGD(
        [{"params": [nn.Parameter(nnlab.ones(1))]}, {"params": [nn.Parameter(nnlab.ones(1))], "lr": 0.3}], lr=1.0
    )


@pytest.mark.parametrize("case", CASES)
def test_against_torch(case: str) -> None:
    torch = pytest.importorskip("torch")
    params = [torch.nn.Parameter(torch.ones(1)) for _ in range(2)]
    theirs = torch.optim.SGD([{"params": params[:1]}, {"params": params[1:], "lr": 0.3}], lr=1.0)
    optimizer = ours()
    a, b = CASES[case](lr_scheduler, optimizer), CASES[case](torch.optim.lr_scheduler, theirs)
    for _ in range(STEPS):
        assert [g["lr"] for g in optimizer.param_groups] == pytest.approx([g["lr"] for g in theirs.param_groups])
        assert a.get_last_lr() == pytest.approx(b.get_last_lr())
        assert a.last_epoch == b.last_epoch
        theirs.step()
        a.step()
        b.step()


@pytest.mark.parametrize("case", CASES)
def test_a_restored_schedule_goes_on_exactly(case: str) -> None:
    optimizer = ours()
    schedule = CASES[case](lr_scheduler, optimizer)
    rates = []
    for step in range(STEPS):
        if step == 7:
            saved = json.loads(json.dumps([schedule.state_dict(), optimizer.state_dict()["param_groups"]]))
        rates.append(schedule.get_last_lr())
        schedule.step()
    optimizer = ours()
    schedule = CASES[case](lr_scheduler, optimizer)
    schedule.load_state_dict(saved[0])
    optimizer.load_state_dict({"state": {}, "param_groups": saved[1]})
    for step in range(7, STEPS):
        assert schedule.get_last_lr() == rates[step]
        assert [g["lr"] for g in optimizer.param_groups] == rates[step]
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
