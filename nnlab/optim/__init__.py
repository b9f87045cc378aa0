"""Optimizers and learning-rate schedules, with PyTorch's names, argument order and defaults."""

from __future__ import annotations

from nnlab.optim import lr_scheduler
from nnlab.optim.adam import Adam, AdamW
from nnlab.optim.optimizer import Optimizer
from nnlab.optim.sgd import SGD

__all__ = ["SGD", "Adam", "AdamW", "Optimizer", "lr_scheduler"]
