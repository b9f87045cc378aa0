"""The base of all schedules, and schedules one after another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nnlab.errors import ArgumentError, complaint
from nnlab.optim.optimizer import Optimizer


class LRScheduler:
    """The base of all schedules but ReduceLROnPlateau; subclasses define ``get_lr``.

    Args:
        optimizer: whose rates to change.
        last_epoch: number of the last epoch done; -1 starts anew and records each group's rate as 'initial_lr'.

    Attributes:
        base_lrs: 'initial_lr' of each group.
        last_epoch: how often ``step`` was called.
    """

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self._take_optimizer(optimizer)
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                must = f"be -1 as long as parameter group {i} has no 'initial_lr'"
                raise ArgumentError(complaint(self._name(), "last_epoch", must, last_epoch))
        self.base_lrs = [float(group["initial_lr"]) for group in optimizer.param_groups]
        self.last_epoch = last_epoch
        self._last_lr: list[float] = []
        self.step()

    def _take_optimizer(self, optimizer: Optimizer) -> None:
        self._require("optimizer", isinstance(optimizer, Optimizer), "be an Optimizer", type(optimizer).__name__)
        self.optimizer = optimizer

    def _name(self) -> str:
        return type(self).__name__

    def _require(self, name: str, good: bool, must: str, got: Any) -> None:
        if not good:
            raise ArgumentError(complaint(self._name(), name, must, got))

    def _functions(
        self, name: str, given: Callable[..., Any] | Sequence[Callable[..., Any]]
    ) -> list[Callable[..., Any]]:
        """One function for each group."""
        groups = len(self.optimizer.param_groups)
        listed = [given] * groups if callable(given) else list(given)
        self._require(name, len(listed) == groups, f"hold {groups} functions", given)
        return listed

    def _rates(self) -> list[float]:
        return [group["lr"] for group in self.optimizer.param_groups]

    def get_lr(self) -> list[float]:
        """The rate of each group at ``last_epoch``, given those at the epoch before."""
        raise NotImplementedError(f"[{self._name()}] the schedule defines no 'get_lr'")

    def get_last_lr(self) -> list[float]:
        """The rate of each group, as last set."""
        return list(self._last_lr)

    def step(self) -> None:
        """Go on by one epoch."""
        self.last_epoch += 1
        for group, lr in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = lr
        self._last_lr = self._rates()

    def _restart(self) -> None:
        """Go to epoch 0, given that the groups have their initial rates."""
        self.last_epoch = -1
        self.step()

    def state_dict(self) -> dict[str, Any]:
        """Everything but the optimizer and functions: numbers, strings and lists."""
        return {
            name: list(value) if isinstance(value, (list, tuple)) else value
            for name, value in self.__dict__.items()
            if name != "optimizer" and not name.startswith("_call")
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what ``state_dict`` gave; the rates themselves are in the optimizer's state."""
        self.__dict__.update(state_dict)


class _Schedules(LRScheduler):
    """A schedule made of schedules of one optimizer."""

    def __init__(self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], last_epoch: int) -> None:
        self._call_schedulers = list(schedulers)
        self._require("schedulers", len(self._call_schedulers) > 0, "hold at least one schedule", schedulers)
        for scheduler in self._call_schedulers:
            same = getattr(scheduler, "optimizer", None) is optimizer and isinstance(scheduler, LRScheduler)
            self._require("schedulers", same, "be schedules of the same optimizer", type(scheduler).__name__)
        super().__init__(optimizer, last_epoch)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "schedulers": [s.state_dict() for s in self._call_schedulers]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        own = dict(state_dict)
        for scheduler, state in zip(self._call_schedulers, own.pop("schedulers"), strict=True):
            scheduler.load_state_dict(state)
        super().load_state_dict(own)


class SequentialLR(_Schedules):
    """One schedule after another: the i-th takes over, at its own epoch 0, at epoch ``milestones[i - 1]``."""

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int], last_epoch: int = -1
    ) -> None:
        self.milestones = list(milestones)
        wanted = max(len(schedulers) - 1, 0)
        self._require("milestones", len(self.milestones) == wanted, f"hold {wanted} epochs", milestones)
        self._require("milestones", self.milestones == sorted(set(self.milestones)), "rise", milestones)
        super().__init__(optimizer, schedulers, last_epoch)

    def step(self) -> None:
        self.last_epoch += 1
        starts = [0, *self.milestones]
        if self.last_epoch in starts:
            for group in self.optimizer.param_groups:
                group["lr"] = group["initial_lr"]
            self._call_schedulers[starts.index(self.last_epoch)]._restart()
        else:
            self._call_schedulers[sum(start <= self.last_epoch for start in starts) - 1].step()
        self._last_lr = self._rates()


class ChainedScheduler(_Schedules):
    """Several schedules at once: each ``step`` is one of each, in this order, and what they do to the rate adds up.

    Args:
        schedulers: schedules of one optimizer.
        optimizer: theirs; None: the first one's.
    """

    def __init__(self, schedulers: Sequence[LRScheduler], optimizer: Optimizer | None = None) -> None:
        if optimizer is None and schedulers:
            optimizer = getattr(schedulers[0], "optimizer", None)
        super().__init__(optimizer, schedulers, -1)  # type: ignore[arg-type]  # None is refused there

    def step(self) -> None:
        self.last_epoch += 1
        if self.last_epoch > 0:  # each took its first step when it was made
            for scheduler in self._call_schedulers:
                scheduler.step()
        self._last_lr = self._rates()
