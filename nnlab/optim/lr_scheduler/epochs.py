"""Schedules that depend on the epoch alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from nnlab.optim.lr_scheduler.base import LRScheduler
from nnlab.optim.optimizer import Optimizer


class LambdaLR(LRScheduler):
    """Initial rate times ``lr_lambda(epoch)``; one function for all groups or one for each. Functions are not saved."""

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        self._take_optimizer(optimizer)
        self._call_lambdas = self._functions("lr_lambda", lr_lambda)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [b * f(self.last_epoch) for b, f in zip(self.base_lrs, self._call_lambdas, strict=True)]


class MultiplicativeLR(LRScheduler):
    """Rate times ``lr_lambda(epoch)`` at every epoch after the first; one function for all groups or one for each.

    Functions are not saved.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        self._take_optimizer(optimizer)
        self._call_lambdas = self._functions("lr_lambda", lr_lambda)
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return self._rates()
        return [lr * f(self.last_epoch) for lr, f in zip(self._rates(), self._call_lambdas, strict=True)]


class StepLR(LRScheduler):
    """Rate times ``gamma`` every ``step_size`` epochs."""

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self._require("step_size", step_size >= 1, "be positive", step_size)
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        due = self.last_epoch > 0 and self.last_epoch % self.step_size == 0
        return [lr * self.gamma if due else lr for lr in self._rates()]


class MultiStepLR(LRScheduler):
    """Rate times ``gamma`` at each epoch named in ``milestones``."""

    def __init__(
        self, optimizer: Optimizer, milestones: Sequence[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones = sorted(milestones)
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [lr * self.gamma ** self.milestones.count(self.last_epoch) for lr in self._rates()]


class ExponentialLR(LRScheduler):
    """Rate times ``gamma`` every epoch."""

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        return [lr * self.gamma if self.last_epoch > 0 else lr for lr in self._rates()]


class ConstantLR(LRScheduler):
    """Rate times ``factor`` until epoch ``total_iters``, then as it was."""

    def __init__(
        self, optimizer: Optimizer, factor: float = 1.0 / 3, total_iters: int = 5, last_epoch: int = -1
    ) -> None:
        self._require("factor", 0 < factor <= 1, "be in (0, 1]", factor)
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return [lr * self.factor for lr in self._rates()]
        return [lr / self.factor if self.last_epoch == self.total_iters else lr for lr in self._rates()]


class LinearLR(LRScheduler):
    """Rate times a factor that goes linearly from ``start_factor`` to ``end_factor`` over ``total_iters`` epochs."""

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        self._require("start_factor", 0 < start_factor <= 1, "be in (0, 1]", start_factor)
        self._require("end_factor", 0 <= end_factor <= 1, "be in [0, 1]", end_factor)
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if self.last_epoch == 0:
            return [lr * self.start_factor for lr in self._rates()]
        if self.last_epoch > self.total_iters:
            return self._rates()
        rise = self.end_factor - self.start_factor
        before = self.total_iters * self.start_factor + (self.last_epoch - 1) * rise
        return [lr * (1 + rise / before) for lr in self._rates()]


class PolynomialLR(LRScheduler):
    """Initial rate times ``(1 - epoch / total_iters) ** power``, 0 from ``total_iters`` on."""

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0, last_epoch: int = -1) -> None:
        self._require("total_iters", total_iters >= 1, "be positive", total_iters)
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        if not 0 < self.last_epoch <= self.total_iters:
            return self._rates()
        left = self.total_iters - self.last_epoch
        return [lr * (left / (left + 1)) ** self.power for lr in self._rates()]


class CosineAnnealingLR(LRScheduler):
    """``eta_min + (base - eta_min) * (1 + cos(pi * epoch / T_max)) / 2``, up again after T_max.

    Source: Loshchilov and Hutter, "SGDR", ICLR 2017 (without the restarts).
    """

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self._require("T_max", T_max > 0, "be positive", T_max)
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        epoch, period = self.last_epoch, self.T_max
        if epoch == 0:
            return self._rates()
        if (epoch - 1 - period) % (2 * period) == 0:
            # The rate was eta_min, and a factor on zero distance leads nowhere.
            rise = (1 - math.cos(math.pi / period)) / 2
            return [lr + (b - self.eta_min) * rise for lr, b in zip(self._rates(), self.base_lrs, strict=True)]
        factor = (1 + math.cos(math.pi * epoch / period)) / (1 + math.cos(math.pi * (epoch - 1) / period))
        return [self.eta_min + (lr - self.eta_min) * factor for lr in self._rates()]


class CosineAnnealingWarmRestarts(LRScheduler):
    """A half cosine from the initial rate to ``eta_min`` in ``T_0`` epochs, and again, each ``T_mult`` times longer.

    Source: Loshchilov and Hutter, "SGDR", ICLR 2017.
    """

    def __init__(
        self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self._require("T_0", T_0 > 0, "be positive", T_0)
        self._require("T_mult", T_mult >= 1, "be at least 1", T_mult)
        self.T_0 = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        length, done = self.T_0, self.last_epoch
        if self.T_mult == 1:
            done %= length
        while done >= length:
            done -= length
            length *= self.T_mult
        height = (1 + math.cos(math.pi * done / length)) / 2
        return [self.eta_min + (b - self.eta_min) * height for b in self.base_lrs]
