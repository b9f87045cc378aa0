"""Automatic mixed precision: ``autocast`` (also ``nnlab.autocast``), and ``GradScaler`` for float16."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from nnlab.autograd import Tensor, no_grad
from nnlab.autograd.amp import autocast, is_autocast_enabled
from nnlab.autograd.creation import full, zeros
from nnlab.backend import Device
from nnlab.errors import ArgumentError, CheckpointError, DtypeError, GraphError, complaint
from nnlab.ops import loss_scale
from nnlab.ops.adam import ROWS
from nnlab.optim import Optimizer
from nnlab.types import float16, wide

__all__ = ["GradScaler", "autocast", "is_autocast_enabled"]

# The numbers of a state, by PyTorch's names.
_FIELDS = {
    "scale": "_scale",
    "growth_factor": "_growth_factor",
    "backoff_factor": "_backoff_factor",
    "growth_interval": "_growth_interval",
    "_growth_tracker": "_growth_tracker",
}
_LARGEST = float(np.finfo(np.float32).max)


class _Steps:
    """Steps of an optimizer that the device makes or skips by itself.

    Attributes:
        skip: see ``nnlab/ops/loss_scale.py``.
        pending: steps since the host last looked how many were skipped.
        updated: the parameters that they update.
    """

    def __init__(self, optimizer: Optimizer, device: Device) -> None:
        self.optimizer = optimizer
        self.skip = zeros(2, dtype="int64", device=device)
        self.pending = 0
        self.updated: list[Tensor] = []


class GradScaler:
    """Scales a loss, so that small gradients do not vanish in float16, and skips steps whose gradients overflow.

    >>> scaler.scale(loss).backward()
    >>> scaler.unscale_(optimizer)  # only where something is done with the gradients before the step
    >>> nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    >>> scaler.step(optimizer)
    >>> scaler.update()

    After a step with infinite or NaN gradients, which is skipped, the scale is multiplied by ``backoff_factor``; after
    ``growth_interval`` steps without any, by ``growth_factor``. With powers of two the scaling itself rounds nothing.

    The scale lies on the device, as does the flag that gradients are not finite. The scale is read when it is asked for
    (``get_scale``, ``state_dict``). On a GPU steps of SGD, Adam, AdamW, RMSprop, Adadelta, Rprop and Adagrad (without
    ``lr_decay``) read the flag there, so that nothing waits: a skipped step changes no weight and no state, and does
    not count. The host finds out how many were skipped once in 32 steps, and when the optimizer's or the scaler's state
    is asked for. For other optimizers, and for a step that makes an optimizer's state, it reads the flag once a step.

    A learning-rate schedule does not know of skipped steps: it moves on with each call of its ``step``.

    Args:
        device: type of the devices, for programs written for PyTorch: a scaler works wherever the gradients are.
        init_scale: the scale at the beginning.
        growth_factor: above 1.
        backoff_factor: below 1.
        growth_interval: number of steps in a row.
        enabled: with False all methods pass their arguments on: no scaling, no check.

    Raises:
        ArgumentError, DeviceError: an argument makes no sense.

    Source: Micikevicius et al., "Mixed precision training", ICLR 2018.
    """

    def __init__(
        self,
        device: str = "cuda",
        init_scale: float = 65536.0,
        growth_factor: float = 2.0,
        backoff_factor: float = 0.5,
        growth_interval: int = 2000,
        enabled: bool = True,
    ) -> None:
        Device(device)
        for name, value, good, must in (
            ("init_scale", init_scale, 0 < init_scale <= _LARGEST, "be positive and finite"),
            ("growth_factor", growth_factor, growth_factor > 1, "be above 1"),
            ("backoff_factor", backoff_factor, 0 < backoff_factor < 1, "be between 0 and 1"),
            ("growth_interval", growth_interval, growth_interval >= 1, "be positive"),
        ):
            if not good:
                raise ArgumentError(complaint("GradScaler", name, must, value))
        self._enabled = bool(enabled)
        self._growth_factor = growth_factor
        self._backoff_factor = backoff_factor
        self._growth_interval = growth_interval
        # On the host, unless `_stale`: then the device knows better.
        self._scale = float(init_scale)
        self._growth_tracker = 0  # steps in a row without an overflow
        self._stale = False
        self._home: tuple[Any, Tensor, Tensor] | None = None  # backend, scale and tracker on the device
        self._steps: dict[int, _Steps] = {}
        # Of each optimizer since the last update: whether its gradients are finite, on each device; what was read.
        self._flags: dict[int, list[tuple[Any, Any]]] = {}
        self._read: dict[int, bool] = {}
        self._made: set[int] = set()  # those whose step the device made or skipped

    def is_enabled(self) -> bool:
        """Whether the scaler does anything."""
        return self._enabled

    def get_scale(self) -> float:
        """The scale, 1.0 if the scaler is not enabled."""
        return self._known()._scale if self._enabled else 1.0

    def _known(self) -> GradScaler:
        """Itself, with what the device has."""
        if self._stale and self._home is not None:
            _, scale, tracker = self._home
            self._scale, self._growth_tracker = float(scale.item()), int(tracker.item())
            self._stale = False
        return self

    def _bring(self) -> None:
        """Write what the host knows into the device's memory."""
        if self._home is not None:
            _, scale, tracker = self._home
            scale.fill_(self._scale)
            tracker.fill_(self._growth_tracker)
        self._stale = False

    def _factor(self, be: Any, dtype: Any, inverse: bool = False) -> Tensor | float:
        """The scale or 1 / scale, for tensors of this dtype there."""
        if self._home is None:
            scale = full((1,), self._scale, dtype="float64", device=be.device)
            tracker = full((1,), self._growth_tracker, dtype="int64", device=be.device)
            self._home = be, scale, tracker
        if self._home[0] is not be:
            return 1.0 / self.get_scale() if inverse else self.get_scale()
        scale = self._home[1]
        return (1.0 / scale if inverse else scale).to(dtype=dtype).reshape(())

    def scale(self, outputs: Any) -> Any:
        """A tensor, or the tensors of a list, tuple or other iterable, times the scale; half types give float32."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            dtype = wide(outputs.dtype)
            return outputs.to(dtype=dtype) * self._factor(outputs._be, dtype)
        if not isinstance(outputs, Iterable):
            raise ArgumentError(complaint("GradScaler", "outputs", "hold tensors", type(outputs).__name__))
        scaled = [self.scale(output) for output in outputs]
        return tuple(scaled) if isinstance(outputs, tuple) else scaled

    def unscale_(self, optimizer: Optimizer) -> None:
        """Divide the gradients of the optimizer's parameters by the scale, in place; at most once before each step.

        Raises:
            GraphError: the optimizer's gradients were divided, or its step made, since the last update.
            DtypeError: a gradient is float16 (under autocast parameters are float32).
        """
        if not self._enabled:
            return
        key = id(optimizer)
        if key in self._flags:
            after = "step()" if self._stepped(key) else "unscale_()"
            raise GraphError(f"[GradScaler] unscale_() was called after {after}; call update() in between")
        flags: dict[int, tuple[Any, list[Any]]] = {}
        factors: dict[Any, Any] = {}
        with no_grad():
            for group in optimizer.param_groups:
                for gradient in [p.grad for p in group["params"] if p.grad is not None]:
                    if gradient.dtype == float16:
                        raise DtypeError("[GradScaler] float16 gradients cannot be unscaled: keep parameters float32")
                    be, dtype = gradient._be, gradient.dtype
                    if (be, dtype) not in factors:
                        factors[be, dtype] = self._factor(be, dtype, inverse=True)
                    flags.setdefault(id(be), (be, []))[1].append(gradient.isfinite().all()._data)
                    gradient.mul_(factors[be, dtype])
        self._flags[key] = [(be, loss_scale.all_of(be, flags=each)) for be, each in flags.values()]

    def step(self, optimizer: Optimizer, *args: Any, **kwargs: Any) -> Any:
        """``optimizer.step(*args, **kwargs)`` and its value, or None without a step if a gradient is not finite.

        Gradients that are still scaled are divided first.

        Raises:
            GraphError: a step was made since the last update, or no parameter has a gradient.
            ArgumentError: a closure was given, whose gradients would not be scaled.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if args or "closure" in kwargs:
            raise ArgumentError("[GradScaler] step() takes no closure: its gradients would not be scaled")
        key = id(optimizer)
        if self._stepped(key):
            raise GraphError("[GradScaler] step() was called after step(); call update() in between")
        if key not in self._flags:
            self.unscale_(optimizer)
        if not self._flags[key]:
            raise GraphError("[GradScaler] no parameter of the optimizer has a gradient")
        if not (self._on_home(key) and optimizer.skippable() and optimizer.begun()):
            self.settle()
            return optimizer.step(**kwargs) if self._finite(key) else None
        (be, finite), steps = self._flags[key][0], self._steps_of(optimizer)
        updated = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if list(map(id, steps.updated)) != list(map(id, updated)):
            self.settle()  # what was skipped counts for those that were there
            steps.updated = updated
        self.make_room(optimizer)
        loss_scale.mark(be, skip=steps.skip._data, finite=finite)
        self._made.add(key)
        self.count(optimizer)
        loss_scale.count(be, skip=steps.skip._data)
        return None

    def _stepped(self, key: int) -> bool:
        return key in self._read or key in self._made

    def _on_home(self, key: int) -> bool:
        """Whether an optimizer's gradients are all where the scale is."""
        home = self._home
        return home is not None and all(be is home[0] for be, _ in self._flags[key])

    def _steps_of(self, optimizer: Optimizer) -> _Steps:
        assert self._home is not None
        found = self._steps.get(id(optimizer))
        if found is None:
            found = self._steps[id(optimizer)] = _Steps(optimizer, self._home[0].device)
            optimizer._settle = self.settle
        return found

    def count(self, optimizer: Optimizer) -> None:
        """The optimizer's step with its flag. A graph's run calls this for the host's part of a recorded ``step``."""
        steps = self._steps[id(optimizer)]
        optimizer._skip = steps.skip._data
        try:
            optimizer.step()
        finally:
            optimizer._skip = None
        steps.pending += 1
        self._stale = True

    def make_room(self, optimizer: Optimizer) -> None:
        """Have the flag of an optimizer's step, and look how many were skipped if that may be as many as the device can
        correct."""
        if self._steps_of(optimizer).pending >= ROWS - 1:
            self.settle()

    def settle(self) -> None:
        """Look how many steps were skipped (waits for the device), and let optimizers not count them."""
        for steps in self._steps.values():
            if steps.pending:
                steps.optimizer.unmade(int(steps.skip[1].item()), steps.updated)
                steps.skip[1:] = 0
                steps.pending = 0

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Change the scale as the steps since the last update went, or set it; once, after all steps.

        Raises:
            GraphError: there was no step.
        """
        if not self._enabled:
            return
        if new_scale is not None:
            self._known()._scale = float(new_scale)
            self._bring()
        elif not any(self._flags.values()):
            raise GraphError("[GradScaler] update() was called without a step()")
        else:
            assert self._home is not None  # unscale_() was called
            be, scale, tracker = self._home
            if all(self._on_home(key) for key in self._flags):
                finite = loss_scale.all_of(be, flags=[flag for flags in self._flags.values() for _, flag in flags])
            else:  # gradients are on several devices
                finite = be.asarray(np.asarray(all(self._finite(key) for key in self._flags)))
            loss_scale.update(
                be,
                scale=scale._data,
                tracker=tracker._data,
                finite=finite,
                growth_factor=self._growth_factor,
                backoff_factor=self._backoff_factor,
                growth_interval=self._growth_interval,
            )
            self._stale = True
        self.forget()

    def forget(self) -> None:
        """What belongs to a step that is over, or was given up."""
        self._flags, self._read, self._made = {}, {}, set()

    def _finite(self, key: int) -> bool:
        """Whether an optimizer's gradients are finite; read from their devices once."""
        if key not in self._read:
            self._read[key] = all(bool(be.to_numpy(flag)) for be, flag in self._flags[key])
        return self._read[key]

    def tensors(self) -> list[Tensor]:
        """What of it lies on a device."""
        home = [] if self._home is None else list(self._home[1:])
        return [*home, *(steps.skip for steps in self._steps.values())]

    def settings(self) -> tuple[Any, ...]:
        """What a recorded step is made of, beside what the tensors hold."""
        if not self._enabled:
            return ()
        arrays = (id(one._data) for one in self.tensors())
        return (*arrays, self._growth_factor, self._backoff_factor, self._growth_interval)

    def pending(self) -> list[tuple[_Steps, int]]:
        """The steps of which the host does not know yet whether they were skipped."""
        return [(steps, steps.pending) for steps in self._steps.values()]

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers, as PyTorch names them; empty if the scaler is not enabled."""
        self.settle()
        return {name: getattr(self._known(), _FIELDS[name]) for name in _FIELDS} if self._enabled else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what ``state_dict()`` gave; nothing if the scaler is not enabled.

        Raises:
            CheckpointError: a number is missing (a scaler that was not enabled saves none).
        """
        if not self._enabled:
            return
        missing = [name for name in _FIELDS if name not in state_dict]
        if missing:
            raise CheckpointError(f"[GradScaler] the saved state has no {', '.join(missing)}")
        self.settle()
        for name, field in _FIELDS.items():
            setattr(self, field, state_dict[name])
        self._bring()
