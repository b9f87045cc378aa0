"""Learning-rate schedules. Each changes ``group["lr"]`` of its optimizer's groups when ``step()`` is called.

A schedule is made after its optimizer, and its ``step`` is called after the optimizer's (once an epoch, or once a batch
for a warm-up in batches). Most compute the new rate from the present one, so two schedules on one optimizer multiply.
Warm-up is ``SequentialLR(optimizer, [LinearLR(...), ...], milestones=[...])``.
"""

from __future__ import annotations

from nnlab.optim.lr_scheduler.base import LRScheduler, SequentialLR
from nnlab.optim.lr_scheduler.epochs import (
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiStepLR,
    StepLR,
)
from nnlab.optim.lr_scheduler.plateau import ReduceLROnPlateau

__all__ = [
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "ExponentialLR",
    "LRScheduler",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]
