"""Training runs of a second; also a script that can be killed.

``images``: augmentation, batch normalisation and dropout. ``text``: state carried from batch to batch, and dropout.

python tests/train/tiny.py OUT [--kind text] [--workers W] [--resume] [--die-at-step N] [--die-at-rename N]
"""

from __future__ import annotations

import argparse
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np

import nnlab
from nnlab import nn, optim
from nnlab.data import ArrayImages, DataLoader, transforms
from nnlab.optim import lr_scheduler
from nnlab.text import BitsPerCharacter, CharModel, TextStreams, for_evaluation
from nnlab.train import Callback, Logging, Trainer

EPOCHS, BATCHES = 3, 7


def environment() -> dict[str, str]:
    """The environment in which another Python finds this nnlab."""
    paths = [str(Path(nnlab.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def pictures(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy grey 8x8 pictures of three classes: bright left, bright right, bright top."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    images = rng.integers(0, 120, (n, 8, 8))
    for image, label in zip(images, labels, strict=True):
        {0: image[:, :4], 1: image[:, 4:], 2: image[:4]}[int(label)][...] += 100
    return images.astype(np.uint8), labels


def _images(workers: int) -> tuple[Any, DataLoader, DataLoader]:
    """Network and batches: 54 pictures in batches of 8, the last one of 6."""
    normalise = transforms.Normalize([0.4], [0.25])
    augment = transforms.Compose([transforms.RandomCrop(8, padding=1), transforms.RandomErasing(0.5), normalise])
    train_set = ArrayImages(*pictures(54, 1), ["left", "right", "top"], transform=augment)
    val_set = ArrayImages(*pictures(20, 2), ["left", "right", "top"], transform=normalise)
    loader = DataLoader(train_set, 8, shuffle=True, num_workers=workers, seed=5, persistent_workers=workers > 0)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.3), nn.Flatten(),
        nn.Linear(64, 3),
    )  # fmt: skip
    return model, loader, DataLoader(val_set, 8)


def _text() -> tuple[Any, TextStreams, TextStreams]:
    """Network and batches: 4 streams of 33 characters, 5 in a batch, the last one of 3."""
    ids = np.cumsum(np.random.default_rng(4).integers(1, 3, 175)) % 5
    model = CharModel(5, embedding_dim=3, hidden_size=6, num_layers=2, dropout=0.3)
    return model, TextStreams(ids[:135], 4, 5), for_evaluation(ids[135:])


def make_trainer(
    out: Path | None, *, kind: str = "images", workers: int = 0, model: nn.Module | None = None, **options: Any
) -> Trainer:
    """A Trainer with seven batches an epoch."""
    nnlab.manual_seed(3)
    usual, *loaders = _text() if kind == "text" else _images(workers)
    model = usual if model is None else model
    optimizer = optim.SGD(model.named_parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    scheduler = lr_scheduler.CosineAnnealingLR(optimizer, T_max=EPOCHS * BATCHES)
    settings: dict[str, Any] = {"epochs": EPOCHS, "scheduler": scheduler, "checkpoint_every": 3, "clip_norm": 5.0}
    settings.update(options)
    if kind == "text":
        settings.update(loss=BitsPerCharacter(), unit="characters")
    callbacks = [*settings.pop("callbacks", []), *([Logging()] if out is not None else [])]
    return Trainer(model, optimizer, *loaders, out=out, callbacks=callbacks, **settings)


class At(Callback):
    """Calls a function once, at the end of a training batch with this step number."""

    def __init__(self, step: int, action: Any) -> None:
        self.step, self.action = step, action

    def on_batch_end(self, trainer: Trainer) -> None:
        if trainer.phase == "train" and trainer.step == self.step:
            self.action()


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--kind", default="images")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--die-at-step", type=int)
    parser.add_argument("--die-at-rename", type=int)
    args = parser.parse_args()
    callbacks = [] if args.die_at_step is None else [At(args.die_at_step, die)]
    if args.die_at_rename is not None:
        rename, count = os.rename, 0

        def dying(source: Any, target: Any) -> None:
            nonlocal count
            rename(source, target)
            count += 1
            if count == args.die_at_rename:
                die()

        os.rename = dying  # type: ignore[assignment]
    make_trainer(args.out, kind=args.kind, workers=args.workers, callbacks=callbacks).fit(resume=args.resume)


if __name__ == "__main__":
    main()
