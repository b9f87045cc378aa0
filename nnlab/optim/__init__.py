"""Optimizers and learning-rate schedules, with PyTorch's names, argument order and defaults.

All formulas: docs/math/optimizers.md.
"""

from __future__ import annotations

from nnlab.optim import lr_scheduler
from nnlab.optim.adadelta import Adadelta
from nnlab.optim.adagrad import Adagrad
from nnlab.optim.adam import Adam, AdamW
from nnlab.optim.adamax import Adamax
from nnlab.optim.lbfgs import LBFGS
from nnlab.optim.line_search import LineSearch
from nnlab.optim.nadam import NAdam
from nnlab.optim.newton import Newton
from nnlab.optim.optimizer import Optimizer
from nnlab.optim.radam import RAdam
from nnlab.optim.rmsprop import RMSprop
from nnlab.optim.rprop import Rprop
from nnlab.optim.sgd import SGD

__all__ = [
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "LineSearch",
    "NAdam",
    "Newton",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "lr_scheduler",
]
