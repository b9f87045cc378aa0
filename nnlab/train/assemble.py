"""From a configuration, a network and batches to a Trainer."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nnlab import optim
from nnlab.backend import Device, resolve
from nnlab.errors import MissingExtraError
from nnlab.nn import Module
from nnlab.optim import lr_scheduler
from nnlab.train.callbacks import Callback, EarlyStopping, Logging, TensorBoard
from nnlab.train.config import RunConfig
from nnlab.train.trainer import Trainer

_OPTIMIZERS: dict[str, Any] = {
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "adagrad": optim.Adagrad,
    "adadelta": optim.Adadelta,
    "rmsprop": optim.RMSprop,
    "adamax": optim.Adamax,
    "nadam": optim.NAdam,
    "radam": optim.RAdam,
}


def build_optimizer(config: RunConfig, model: Module) -> Any:
    """The optimizer; weight decay applies to weights, not to biases and normalisation."""
    decayed = [(name, p) for name, p in model.named_parameters() if p.ndim > 1]
    others = [(name, p) for name, p in model.named_parameters() if p.ndim <= 1]
    groups = [
        {"params": params, "weight_decay": decay}
        for params, decay in ((decayed, config.weight_decay), (others, 0.0))
        if params
    ]
    assert config.lr is not None
    if config.optimizer == "sgd":
        return optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0)
    return _OPTIMIZERS[config.optimizer](groups, lr=config.lr)


def rate_factor(config: RunConfig, steps: int, step: int) -> float:
    """The learning rate of an optimizer step as a share of ``config.lr``.

    A linear rise over the warm-up, then: cosine ``(1 + cos(pi * t)) / 2`` for t from 0 to 1 over the rest of the run;
    step: ``gamma ** (epoch // lr_step)``; none: 1. A pure function of the step, so that a run whose ``epochs`` are
    extended goes on along the longer curve.

    Args:
        steps: optimizer steps an epoch.
        step: steps done so far.
    """
    total = steps * config.epochs
    warm = min(round(steps * config.warmup_epochs), total - 1)
    if step < warm:
        return (step + 1) / (warm + 1)
    if config.schedule == "cosine":
        return (1 + math.cos(math.pi * min((step - warm) / (total - warm), 1.0))) / 2
    return config.lr_gamma ** (step // (steps * config.lr_step)) if config.schedule == "step" else 1.0


def build_scheduler(config: RunConfig, optimizer: Any, steps: int) -> Any:
    """The schedule: in optimizer steps, ``plateau`` in epochs and without warm-up."""
    if config.schedule == "plateau":
        return lr_scheduler.ReduceLROnPlateau(optimizer, factor=config.lr_gamma, patience=config.lr_step)
    return lr_scheduler.LambdaLR(optimizer, lambda step: rate_factor(config, steps, step))


def find_device(config: RunConfig) -> tuple[Device, str]:
    """The device, and a note for the user: which one and why."""
    device, reason = resolve(config.device)
    return device, f"device {device} ({reason})" if config.device == "auto" else f"device {device}"


def assemble(
    config: RunConfig,
    folder: Path,
    model: Module,
    *loaders: Any,
    device: Device,
    loss: Module,
    callbacks: list[Callback],
    plots: Callable[[], Callback],
    unit: str = "images",
) -> tuple[Trainer, list[str]]:
    """A Trainer with the optimizer, schedule and callbacks of any configuration.

    Args:
        config: the resolved configuration.
        folder: the run folder, which exists.
        model: the network.
        loaders: for training and validation.
        device, loss, unit: the Trainer's.
        callbacks: called before the log, the plots and so on.
        plots: makes the callback that draws; it may miss its package.

    Returns:
        The Trainer, and notes for the user: extras that are missing.
    """
    optimizer = build_optimizer(config, model)
    batches = config.overfit_batches or len(loaders[0])
    scheduler = build_scheduler(config, optimizer, max(1, -(-batches // config.accumulate)))
    notes: list[str] = []
    after: list[Callback] = [Logging()]
    if config.early_stopping is not None:
        after.append(EarlyStopping(config.early_stopping))
    for make in (plots, TensorBoard):
        try:
            after.append(make())
        except MissingExtraError as error:
            notes.append(str(error))
    trainer = Trainer(
        model,
        optimizer,
        *loaders,
        epochs=config.epochs,
        loss=loss,
        scheduler=scheduler,
        device=device,
        out=folder,
        accumulate=config.accumulate,
        clip_norm=config.clip_norm,
        precision=config.precision,
        checkpoint_every=config.checkpoint_every,
        poll_every=config.poll_every,
        graph="auto" if config.graph is None else config.graph,
        fast_dev_run=config.fast_dev_run,
        overfit_batches=config.overfit_batches,
        unit=unit,
        callbacks=[*callbacks, *after],
    )
    return trainer, notes
