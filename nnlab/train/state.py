"""A Trainer's whole state, written to a checkpoint and read back."""

from __future__ import annotations

import math
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nnlab.autograd import Tensor
from nnlab.errors import CheckpointError
from nnlab.random import default_generator
from nnlab.train import carried
from nnlab.train import checkpoint as files
from nnlab.train.nonfinite import first_bad

if TYPE_CHECKING:
    from nnlab.train.trainer import Trainer


class Spoilt(Exception):
    """Weights or statistics hold NaN or infinity: not worth a checkpoint."""


def save(trainer: Trainer, name: str) -> None:
    """Save ``last`` (and keep the one before as ``previous``), or ``best`` (without the optimizer's arrays).

    Raises:
        Spoilt: nothing was saved.
        CheckpointError: the disk refused.
    """
    assert trainer.out is not None
    weights, state = _gather(trainer)
    last = name == "last"
    files.save_checkpoint(
        trainer.out / name,
        weights=weights,
        optimizer=trainer.optimizer.state_dict() if last else None,
        carried=carried.take(trainer.model) if last else None,
        state=state,
        previous=trainer.out / "previous" if last else None,
    )


def keep(trainer: Trainer) -> files.Checkpoint:
    """A checkpoint in the host's memory.

    Raises:
        Spoilt: nothing was kept.
    """
    weights, state = _gather(trainer)
    return files.Checkpoint(
        Path("memory"),
        weights=_on_host(weights),
        optimizer=_on_host(trainer.optimizer.state_dict()),
        carried=_on_host(carried.take(trainer.model)),
        state=deepcopy(state),
    )


def _on_host(tree: Any) -> Any:
    """A nested state_dict with copies of its tensors as host arrays."""
    if isinstance(tree, dict):
        return {name: _on_host(value) for name, value in tree.items()}
    if isinstance(tree, list):
        return [_on_host(value) for value in tree]
    return np.array(tree.detach().cpu().numpy()) if isinstance(tree, Tensor) else tree


def _gather(trainer: Trainer) -> tuple[dict[str, Any], dict[str, Any]]:
    """Weights, and all of a checkpoint that is JSON."""
    weights = trainer.model.state_dict()
    bad = first_bad(weights.items())
    if bad is not None or not math.isfinite(trainer.sums.loss):
        raise Spoilt(f"{bad} holds NaN or infinity" if bad else "the loss is NaN or infinite")
    state = {
        "epoch": trainer.epoch,
        "batch": trainer.batch,
        "step": trainer.step,
        "lr": trainer.lr,
        "loader": trainer.training.identity(),
        "sums": trainer.sums.state(),
        "random": default_generator.get_state(),
        "precision": trainer.precision.name,
        "scaler": trainer.precision.scaler.state_dict(),
        "scheduler": None if trainer.scheduler is None else trainer.scheduler.state_dict(),
        "history": trainer.history,
        "best": trainer.best,
    }
    return weights, state


def restore(trainer: Trainer, name: str) -> None:
    """Return to a checkpoint of the run folder.

    Raises:
        CheckpointError: it is missing or damaged, or belongs to another model or other data.
    """
    if trainer.out is None:
        raise CheckpointError("[Trainer] there is no run folder ('out') to resume from")
    try:
        found = files.read_checkpoint(trainer.out / name)
    except CheckpointError as error:
        if name == "last" and files.exists(trainer.out / "previous"):
            hint = "the checkpoint before it can be used: fit(resume='previous'), or --resume --previous"
            raise CheckpointError(f"{error}; {hint}") from error
        raise
    put_back(trainer, found)


def put_back(trainer: Trainer, found: files.Checkpoint) -> None:
    """Return to a checkpoint.

    Raises:
        CheckpointError: it belongs to another model or other data.
    """
    state = found.state
    for what, now in trainer.training.identity().items():
        then = state["loader"].get(what)
        if now != then:
            raise CheckpointError(
                f"[checkpoint] {found.folder} was saved with other training data: {what} was {then}, now it is {now}"
            )
    then, now = state.get("precision", "float32"), trainer.precision.name
    if then != now:
        raise CheckpointError(f"[checkpoint] {found.folder} was saved with precision {then!r}, now it is {now!r}")
    files.load_weights(trainer.model, found)
    carried.put(trainer.model, found.carried)
    trainer.optimizer.load_state_dict(found.optimizer or {})
    if trainer.scheduler is not None:
        trainer.scheduler.load_state_dict(state["scheduler"])
    trainer.precision.scaler.load_state_dict(state.get("scaler", {}))
    default_generator.set_state(state["random"])
    trainer.epoch, trainer.batch, trainer.step = state["epoch"], state["batch"], state["step"]
    trainer.lr, trainer.history, trainer.best = state["lr"], list(state["history"]), state["best"]
    trainer.result, trainer.stop = None, None
    trainer.sums.restart(**state["sums"])
