"""Training: the Trainer, checkpoints, logs and pictures.

>>> from nnlab.train import Trainer
>>> trainer = Trainer(model, optimizer, train_loader, val_loader, epochs=10, out="runs/mine")  # doctest: +SKIP
>>> trainer.fit()  # doctest: +SKIP
"""

from __future__ import annotations

from nnlab.train.callbacks import Callback, Curves, EarlyStopping, Logging, Plots, TensorBoard
from nnlab.train.checkpoint import Checkpoint, load_weights, read_checkpoint, save_checkpoint
from nnlab.train.config import TrainConfig
from nnlab.train.evaluate import Evaluation, evaluate
from nnlab.train.interrupt import Interrupted
from nnlab.train.logs import read_log
from nnlab.train.metrics import accuracy, confusion_matrix, top_k
from nnlab.train.trainer import Trainer

__all__ = [
    "Callback",
    "Checkpoint",
    "Curves",
    "EarlyStopping",
    "Evaluation",
    "Interrupted",
    "Logging",
    "Plots",
    "TensorBoard",
    "TrainConfig",
    "Trainer",
    "accuracy",
    "confusion_matrix",
    "evaluate",
    "load_weights",
    "read_checkpoint",
    "read_log",
    "save_checkpoint",
    "top_k",
]
