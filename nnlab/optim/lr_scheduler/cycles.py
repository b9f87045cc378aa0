"""Schedules in batches that raise the rate and lower it again, and the momentum the other way round."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from nnlab.optim.lr_scheduler.base import LRScheduler
from nnlab.optim.optimizer import Optimizer

Numbers = float | Sequence[float]


class _Cycle(LRScheduler):
    """What both schedules share: a value for each group, and the momentum (``momentum`` or the first of ``betas``)."""

    def _each(self, name: str, values: Numbers) -> list[float]:
        groups = len(self.optimizer.param_groups)
        listed = list(values) if isinstance(values, Sequence) else [values] * groups
        self._require(name, len(listed) == groups, f"be a number or {groups} numbers", values)
        return [float(value) for value in listed]

    def _take_momentum(self, cycle_momentum: bool, base: Numbers, highest: Numbers) -> None:
        known = self.optimizer.defaults
        self.cycle_momentum = cycle_momentum
        must = "be False for an optimizer without momentum and betas"
        self._require("cycle_momentum", not cycle_momentum or "momentum" in known or "betas" in known, must, True)
        self.base_momentums = self._each("base_momentum", base)
        self.max_momentums = self._each("max_momentum", highest)

    def _set_momentum(self, values: list[float]) -> None:
        for group, value in zip(self.optimizer.param_groups, values, strict=True):
            if "betas" in group:
                group["betas"] = (value, *group["betas"][1:])
            else:
                group["momentum"] = value


class CyclicLR(_Cycle):
    """The rate goes up and down between ``base_lr`` and ``max_lr`` along straight lines.

    In cycle c = 1, 2, ... of ``step_size_up`` + ``step_size_down`` batches, x of the way up (or down to the next)::

        lr = base_lr + (max_lr - base_lr) * x * scale
        momentum = max_momentum - (max_momentum - base_momentum) * x * scale

    scale is 1 ('triangular'), 1 / 2**(c - 1) ('triangular2'), gamma**batch ('exp_range') or what ``scale_fn`` says of c
    or of the number of the batch.

    Source: Smith, "Cyclical learning rates for training neural networks", WACV 2017.

    Args:
        optimizer: whose rates to change.
        base_lr, max_lr: limits, one for all groups or one each.
        step_size_up, step_size_down: batches up and down; down: as up if None.
        mode: 'triangular', 'triangular2' or 'exp_range'; of no effect with ``scale_fn``.
        gamma: for 'exp_range'.
        scale_fn: a function of the cycle or of the batch. It is not saved.
        scale_mode: 'cycle' or 'iterations', what ``scale_fn`` is given.
        cycle_momentum: whether the momentum is changed.
        base_momentum, max_momentum: its limits, one for all groups or one each.
        last_epoch: number of the last batch done.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        base_lr: Numbers,
        max_lr: Numbers,
        step_size_up: int = 2000,
        step_size_down: int | None = None,
        mode: str = "triangular",
        gamma: float = 1.0,
        scale_fn: Callable[[float], float] | None = None,
        scale_mode: str = "cycle",
        cycle_momentum: bool = True,
        base_momentum: Numbers = 0.8,
        max_momentum: Numbers = 0.9,
        last_epoch: int = -1,
    ) -> None:
        self._take_optimizer(optimizer)
        modes = ("triangular", "triangular2", "exp_range")
        self._require("mode", mode in modes or scale_fn is not None, f"be one of {', '.join(modes)}", mode)
        self._require("scale_mode", scale_mode in ("cycle", "iterations"), "be 'cycle' or 'iterations'", scale_mode)
        self._require("step_size_up", step_size_up > 0, "be positive", step_size_up)
        self.total_size = step_size_up + (step_size_up if step_size_down is None else step_size_down)
        self._require("step_size_down", self.total_size > step_size_up, "be positive", step_size_down)
        self.step_ratio = step_size_up / self.total_size
        self.mode, self.gamma, self.scale_mode = mode, gamma, scale_mode
        self._call_scale = scale_fn
        self.max_lrs = self._each("max_lr", max_lr)
        lowest = self._each("base_lr", base_lr)
        self._take_momentum(cycle_momentum, base_momentum, max_momentum)
        if last_epoch == -1:
            for group, lr in zip(optimizer.param_groups, lowest, strict=True):
                group["initial_lr"] = lr
        super().__init__(optimizer, last_epoch)

    def _scale(self, cycle: int) -> float:
        if self._call_scale is not None:
            return self._call_scale(cycle if self.scale_mode == "cycle" else self.last_epoch)
        if self.mode == "exp_range":
            return self.gamma**self.last_epoch
        return 1.0 if self.mode == "triangular" else 0.5 ** (cycle - 1)

    def get_lr(self) -> list[float]:
        cycle = math.floor(1 + self.last_epoch / self.total_size)
        x = 1.0 + self.last_epoch / self.total_size - cycle
        share = x / self.step_ratio if x <= self.step_ratio else (x - 1) / (self.step_ratio - 1)
        share *= self._scale(cycle)
        if self.cycle_momentum:
            limits = zip(self.base_momentums, self.max_momentums, strict=True)
            self._set_momentum([highest - (highest - lowest) * share for lowest, highest in limits])
        return [base + (top - base) * share for base, top in zip(self.base_lrs, self.max_lrs, strict=True)]


class OneCycleLR(_Cycle):
    """One rise of the rate and one fall to almost nothing, over all batches of a training.

    The rate goes from max_lr / div_factor to ``max_lr`` in the first ``pct_start`` of the batches, then to max_lr /
    div_factor / final_div_factor; with ``three_phase`` first back to where it began, in as many batches as it rose. The
    momentum goes from max_momentum to base_momentum and back.

    Source: Smith and Topin, "Super-convergence: very fast training of neural networks using large learning rates",
    2018, arXiv:1708.07120.

    Args:
        optimizer: whose rates to change.
        max_lr: highest rate, one for all groups or one each.
        total_steps: number of all batches, or
        epochs, steps_per_epoch: whose product is that number.
        pct_start: share of the batches in which the rate rises, in [0, 1].
        anneal_strategy: 'cos' or 'linear'.
        cycle_momentum: whether the momentum is changed.
        base_momentum, max_momentum: its limits, one for all groups or one each.
        div_factor, final_div_factor: see above.
        three_phase: see above.
        last_epoch: number of the last batch done.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: Numbers,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: Numbers = 0.85,
        max_momentum: Numbers = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        self._take_optimizer(optimizer)
        if total_steps is None and epochs is not None and steps_per_epoch is not None:
            total_steps = epochs * steps_per_epoch
        known = total_steps is not None and total_steps > 0
        self._require("total_steps", known, "be positive, or epochs and steps_per_epoch be given", total_steps)
        assert total_steps is not None
        self._require("pct_start", 0 <= pct_start <= 1, "be in [0, 1]", pct_start)
        self._require("anneal_strategy", anneal_strategy in ("cos", "linear"), "be 'cos' or 'linear'", anneal_strategy)
        self.total_steps = total_steps
        self.pct_start, self.anneal_strategy, self.three_phase = pct_start, anneal_strategy, three_phase
        self.final_div_factor = final_div_factor
        self.max_lrs = self._each("max_lr", max_lr)
        self._take_momentum(cycle_momentum, base_momentum, max_momentum)
        if last_epoch == -1:
            for group, lr in zip(optimizer.param_groups, self.max_lrs, strict=True):
                group["initial_lr"] = lr / div_factor
        super().__init__(optimizer, last_epoch)

    def _phases(self) -> list[tuple[float, str, str]]:
        """Of each phase the step at which it ends, and between which rates and momenta it goes."""
        rise, last = self.pct_start * self.total_steps, self.total_steps - 1
        if self.three_phase:
            return [(rise - 1, "start", "top"), (2 * rise - 2, "top", "start"), (last, "start", "end")]
        return [(rise - 1, "start", "top"), (last, "top", "end")]

    def _between(self, start: float, end: float, share: float) -> float:
        if self.anneal_strategy == "cos":
            return end + (start - end) / 2 * (1 + math.cos(math.pi * share))
        return start + (end - start) * share

    def get_lr(self) -> list[float]:
        step = self.last_epoch
        self._require("step", step <= self.total_steps, f"be called no more than {self.total_steps} times", step)
        began, phases = 0.0, self._phases()
        while len(phases) > 1 and step > phases[0][0]:
            began = phases.pop(0)[0]
        ends, start, end = phases[0]
        share = (step - began) / (ends - began) if ends != began else 1.0
        if self.cycle_momentum:
            limits = zip(self.base_momentums, self.max_momentums, strict=True)
            known = [{"start": high, "top": low, "end": high} for low, high in limits]
            self._set_momentum([self._between(each[start], each[end], share) for each in known])
        limits = zip(self.base_lrs, self.max_lrs, strict=True)
        known = [{"start": base, "top": top, "end": base / self.final_div_factor} for base, top in limits]
        return [self._between(each[start], each[end], share) for each in known]
