"""A schedule that follows a metric."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from nnlab.errors import ArgumentError, complaint
from nnlab.optim.optimizer import Optimizer


class ReduceLROnPlateau:
    """Rate times ``factor`` when a metric has not improved for more than ``patience`` calls of ``step(metric)``.

    Args:
        optimizer: whose rates to change.
        mode: 'min' if a smaller metric is better, 'max' if a larger one is.
        factor: below 1.
        patience: how many calls without improvement are borne.
        threshold: how much counts as an improvement: a share of the best value ('rel') or a difference ('abs').
        threshold_mode: 'rel' or 'abs'.
        cooldown: calls after a reduction that are not counted.
        min_lr: lower limit, one for all groups or one each.
        eps: a reduction smaller than this is not made.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float | Sequence[float] = 0,
        eps: float = 1e-8,
    ) -> None:
        groups = len(optimizer.param_groups)
        min_lrs = list(min_lr) if isinstance(min_lr, Sequence) else [min_lr] * groups
        for name, good, must, got in (
            ("factor", factor < 1, "be below 1", factor),
            ("mode", mode in ("min", "max"), "be 'min' or 'max'", mode),
            ("threshold_mode", threshold_mode in ("rel", "abs"), "be 'rel' or 'abs'", threshold_mode),
            ("min_lr", len(min_lrs) == groups, f"be a number or {groups} numbers", min_lr),
        ):
            if not good:
                raise ArgumentError(complaint("ReduceLROnPlateau", name, must, got))
        self.optimizer = optimizer
        self.mode = mode
        self.factor = factor
        self.patience = patience
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.cooldown = cooldown
        self.min_lrs = min_lrs
        self.eps = eps
        self.best: float | None = None
        self.num_bad_epochs = 0
        self.cooldown_counter = 0
        self.last_epoch = 0
        self._last_lr = [group["lr"] for group in optimizer.param_groups]

    def _better(self, value: float) -> bool:
        if self.best is None:
            return math.isfinite(value)
        margin = self.best * self.threshold if self.threshold_mode == "rel" else self.threshold
        return value < self.best - margin if self.mode == "min" else value > self.best + margin

    def step(self, metrics: Any) -> None:
        """Take in the metric of one more epoch."""
        value = float(metrics)
        self.last_epoch += 1
        if self._better(value):
            self.best = value
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            for group, least in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
                lower = max(group["lr"] * self.factor, least)
                if group["lr"] - lower > self.eps:
                    group["lr"] = lower
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def get_last_lr(self) -> list[float]:
        """The rate of each group, as last set."""
        return list(self._last_lr)

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer: numbers, strings and lists."""
        return {
            name: list(value) if isinstance(value, list) else value
            for name, value in self.__dict__.items()
            if name != "optimizer"
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what ``state_dict`` gave; the rates themselves are in the optimizer's state."""
        self.__dict__.update(state_dict)
