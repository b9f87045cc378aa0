"""``nnlab train``: image classifiers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnlab.cli.training import command, optimization
from nnlab.train.config import TrainConfig

if TYPE_CHECKING:
    from nnlab.train.trainer import Trainer


def _build(settings: Any, folder: Path, **options: Any) -> tuple[Trainer, list[str]]:
    from nnlab.train.runs import build_trainer

    return build_trainer(settings, folder, **options)


def _describe(settings: TrainConfig, trainer: Trainer) -> list[str]:
    parameters = sum(p.numel() for p in trainer.model.parameters())
    training, validation = trainer.train_loader.dataset, trainer.val_loader.dataset
    shape = " × ".join(str(n) for n in training[0][0].shape)
    return [
        f"{settings.model} ({parameters:,} parameters) on {settings.data}: {len(training):,} training and "
        f"{len(validation):,} validation images, {shape}, {len(training.classes)} classes",
        f"{optimization(settings, trainer)} of {settings.batch_size}, "
        f"augmentation {settings.augment}, seed {settings.seed}",
    ]


train = command(
    TrainConfig,
    _build,
    _describe,
    """Train a network; without flags, a small VGG-style network on handwritten digits.

    Ctrl-C saves and stops; --resume continues exactly where it was, also after a kill.
    """,
)
