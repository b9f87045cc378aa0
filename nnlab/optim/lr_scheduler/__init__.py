"""Learning-rate schedules. Each changes ``group["lr"]`` of its optimizer's groups when ``step()`` is called.

A schedule is made after its optimizer, and its ``step`` is called after the optimizer's (once an epoch, or once a batch
for a warm-up in batches). Most compute the new rate from the present one, so two schedules on one optimizer multiply.
Warm-up is ``SequentialLR(optimizer, [LinearLR(...), ...], milestones=[...])``.
"""

from __future__ import annotations

from nnlab.optim.lr_scheduler.base import ChainedScheduler, LRScheduler, SequentialLR
from nnlab.optim.lr_scheduler.cycles import CyclicLR, OneCycleLR
from nnlab.optim.lr_scheduler.epochs import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from nnlab.optim.lr_scheduler.plateau import ReduceLROnPlateau

__all__ = [
    "ChainedScheduler",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "PolynomialLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]
