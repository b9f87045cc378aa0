"""The base of all optimizers: parameter groups, their options, and state by parameter."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import numpy as np

from nnlab.autograd import Tensor, enable_grad, no_grad
from nnlab.autograd.creation import from_numpy
from nnlab.backend import Backend
from nnlab.errors import ArgumentError, CheckpointError, DeviceError, ShapeError, complaint
from nnlab.ops import adaptive

# PyTorch keeps these numbers of the state in tensors.
_NUMBERS = {"mu_product": float, "step": int}

Parameters = Iterable[Tensor] | Iterable[tuple[str, Tensor]] | Iterable[dict[str, Any]]


class Optimizer:
    """Holds parameters in groups with options of their own; subclasses define ``_update``.

    Args:
        params: parameters, or (name, parameter) pairs as ``Module.named_parameters()`` gives them, or dicts with a
            'params' entry of either form and options that differ from the defaults.
        defaults: options of a group that says nothing else.

    Attributes:
        param_groups: list of dicts with 'params' (and 'param_names') and the options.
        state: for each parameter that has been updated, a dict of tensors and numbers.

    Raises:
        ArgumentError: no parameters, one that is given twice or is no leaf, or an impossible option.
    """

    def __init__(self, params: Parameters, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self._skip: Any = None  # the flag of the step that is being made (nnlab/ops/loss_scale.py)
        self._settle: Callable[[], None] | None = None  # finds out how many steps were skipped
        self.param_groups: list[dict[str, Any]] = []
        self.state: dict[Tensor, dict[str, Any]] = {}
        if isinstance(params, (Tensor, dict)):
            must = "be an iterable of parameters or of groups"
            raise ArgumentError(complaint(self._name(), "params", must, type(params).__name__))
        listed = list(params)
        if not listed:
            raise ArgumentError(complaint(self._name(), "params", "hold at least one parameter", []))
        groups = listed if isinstance(listed[0], dict) else [{"params": listed}]
        for group in groups:
            self.add_param_group(group)

    def _name(self) -> str:
        return type(self).__name__

    def _check(self, group: dict[str, Any]) -> None:
        """Raise ArgumentError for an impossible option of a group."""

    def capturable(self) -> bool:
        """Whether a graph can hold its step: all its changing numbers reach the device as such (``numbers``)."""
        defining = next(kind for kind in type(self).__mro__ if "_update" in vars(kind))
        return bool(vars(defining).get("_capturable", False)) and type(self).step is Optimizer.step

    def skippable(self) -> bool:
        """Whether a device can skip its step by a flag that the host does not see (``GradScaler``): what the host works
        out does not depend on how many steps were made, or the device can correct it."""
        backends = {id(p._be): p._be for group in self.param_groups for p in group["params"]}
        if len(backends) > 1 or not self.capturable():
            return False
        (be,) = backends.values()
        return be.device.type != "cpu" and all(self._can_skip(group, be) for group in self.param_groups)

    def _can_skip(self, group: dict[str, Any], be: Backend) -> bool:
        return False

    def begun(self) -> bool:
        """Whether there is the state of all parameters that have a gradient."""
        updated = [(group, p) for group in self.param_groups for p in group["params"] if p.grad is not None]
        return all(self._has_state(group, p) for group, p in updated)

    def _has_state(self, group: dict[str, Any], param: Tensor) -> bool:
        return param in self.state

    def unmade(self, count: int, params: list[Tensor]) -> None:
        """So many of the last steps of these parameters were skipped by the device: they do not count."""
        for entry in (self.state[param] for param in params if param in self.state):
            if "step" in entry:
                entry["step"] -= count

    def _update(self, group: dict[str, Any], be: Backend, params: list[Tensor]) -> None:
        """Change these parameters of a group, which all have gradients and are on one device."""
        raise NotImplementedError(f"[{self._name()}] the optimizer defines no '_update'")

    def _require(self, group: dict[str, Any], name: str, good: bool, must: str) -> None:
        if not good:
            raise ArgumentError(complaint(self._name(), name, must, group[name]))

    def _require_not_negative(self, group: dict[str, Any], *names: str) -> None:
        for name in names:
            self._require(group, name, group[name] >= 0, "not be negative")

    def _require_betas(self, group: dict[str, Any]) -> None:
        betas = group["betas"]
        self._require(group, "betas", len(betas) == 2 and all(0 <= b < 1 for b in betas), "be two numbers in [0, 1)")

    def _require_one_group(self, group: dict[str, Any]) -> None:
        """For optimizers that take all parameters as one vector."""
        if self.param_groups:
            raise ArgumentError(complaint(self._name(), "params", "be one group", len(self.param_groups) + 1))
        devices = sorted({str(p.device) for p in group["params"]})
        if len(devices) > 1:
            raise DeviceError(complaint(self._name(), "params", "be on one device", devices))

    def add_param_group(self, param_group: Any) -> None:
        """Add a group: a dict with 'params' (parameters or (name, parameter) pairs) and options."""
        if not isinstance(param_group, dict) or "params" not in param_group:
            raise ArgumentError(complaint(self._name(), "param_group", "be a dict with 'params'", param_group))
        unknown = sorted(set(param_group) - {"params", "param_names", "initial_lr", *self.defaults})
        if unknown:
            must = f"have only options among {sorted(self.defaults)}"
            raise ArgumentError(complaint(self._name(), "param_group", must, unknown))
        group = {**self.defaults, **param_group}
        given = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
        pairs = [isinstance(item, tuple) for item in given]
        if any(pairs) and not all(pairs):
            raise ArgumentError(f"[{self._name()}] 'params' must be all named or all without names")
        if all(pairs) and given:
            group["param_names"] = [name for name, _ in given]
            given = [param for _, param in given]
        if self.param_groups and ("param_names" in group) != ("param_names" in self.param_groups[0]):
            raise ArgumentError(f"[{self._name()}] all groups must have named parameters, or none")
        seen = {id(p) for other in self.param_groups for p in other["params"]}
        for param in given:
            if not isinstance(param, Tensor):
                raise ArgumentError(complaint(self._name(), "params", "hold tensors", type(param).__name__))
            if not param.is_leaf:
                raise ArgumentError(f"[{self._name()}] 'params' must hold leaf tensors, got one with a history")
            if id(param) in seen:
                raise ArgumentError(f"[{self._name()}] a parameter of shape {tuple(param.shape)} is given twice")
            seen.add(id(param))
        group["params"] = given
        self._check(group)
        self.param_groups.append(group)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop all gradients, or fill them with zeros."""
        for group in self.param_groups:
            for param in group["params"]:
                if set_to_none:
                    param.grad = None
                elif param.grad is not None:
                    param.grad = param.grad.detach()
                    param.grad.zero_()

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update all parameters that have a gradient.

        Args:
            closure: computes the loss anew (and its gradients); called first, its value is returned.
        """
        loss = None
        if closure is not None:
            with enable_grad():
                loss = closure()
        with no_grad():
            for group in self.param_groups:
                by_backend: dict[int, list[Tensor]] = {}
                for param in group["params"]:
                    if param.grad is not None:
                        self._check_gradient(param)
                        by_backend.setdefault(id(param._be), []).append(param)
                for params in by_backend.values():
                    self._update(group, params[0]._be, params)
                    for param in params:
                        param._version.count += 1
        return loss

    def _check_gradient(self, param: Tensor) -> None:
        assert param.grad is not None
        if param.grad._be is not param._be:
            raise DeviceError(
                f"[{self._name()}] a parameter is on {param.device} but its gradient on {param.grad.device}"
            )
        if param.grad._data.shape != param._data.shape:
            shapes = f"{tuple(param.shape)} but its gradient {tuple(param.grad.shape)}"
            raise ShapeError(f"[{self._name()}] a parameter has shape {shapes}")

    def _counted(self, params: list[Tensor]) -> list[tuple[int, list[Tensor]]]:
        """Count one more step of each parameter; parameters by the number of their step."""
        by_step: dict[int, list[Tensor]] = {}
        for param in params:
            entry = self.state.setdefault(param, {"step": 0})
            entry["step"] += 1
            by_step.setdefault(entry["step"], []).append(param)
        return list(by_step.items())

    def _gradients(self, params: list[Tensor]) -> list[Any]:
        return [param.grad._data for param in params]  # type: ignore[union-attr]

    def _arrays(self, params: list[Tensor], name: str, fill: float = 0) -> list[Any]:
        """The raw arrays of one entry of the state, shaped like the parameters and filled on first use."""
        arrays = []
        for param in params:
            entry = self.state.setdefault(param, {})
            if name not in entry:
                entry[name] = param.new_full(param.shape, fill)
            if entry[name]._be is not param._be:
                raise DeviceError(
                    f"[{self._name()}] a parameter is on {param.device} but its {name!r} on {entry[name].device}; "
                    "move the model before making the optimizer"
                )
            arrays.append(entry[name]._data)
        return arrays

    def _adapt(
        self,
        rule: str,
        group: dict[str, Any],
        be: Backend,
        params: list[Tensor],
        states: dict[str, float],
        **numbers: float | None,
    ) -> None:
        """One step by a rule of ``nnlab/ops/adaptive.py``; ``states``: its arrays, and what they begin with."""
        decay, decoupled = group.get("weight_decay", 0), group.get("decoupled_weight_decay", False)
        adaptive.step(
            be,
            rule,
            params=[p._data for p in params],
            grads=self._gradients(params),
            states={name: self._arrays(params, name, fill) for name, fill in states.items()},
            maximize=group["maximize"],
            decay=0 if decoupled else decay,
            shrink=1 - group["lr"] * decay if decoupled else 1,
            skip=self._skip,
            **numbers,
        )

    # State.

    def _keys(self) -> dict[int, Any]:
        """What each parameter is called in the state: its name if it has one, else its number over all groups."""
        keys: dict[int, Any] = {}
        for group in self.param_groups:
            names = group.get("param_names") or range(len(keys), len(keys) + len(group["params"]))
            keys.update({id(p): name for p, name in zip(group["params"], names, strict=True)})
        return keys

    def state_dict(self) -> dict[str, Any]:
        """Options and state: tensors (sharing the optimizer's memory) and plain numbers.

        Returns:
            ``{"state": {key: {name: tensor or number}}, "param_groups": [{option: value, "params": [key, ...]}]}``,
            where a key is the parameter's name if the optimizer was given names, else its number.
        """
        if self._settle is not None:
            self._settle()
        keys = self._keys()
        groups = []
        for group in self.param_groups:
            options = {name: value for name, value in group.items() if name not in ("params", "param_names")}
            groups.append({**options, "params": [keys[id(p)] for p in group["params"]]})
        return {"state": {keys[id(p)]: dict(entry) for p, entry in self.state.items()}, "param_groups": groups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over options and state; tensors are copied to each parameter's device, host arrays are welcome.

        A state_dict of PyTorch's optimizer of the same name fits, once its tensors are NumPy arrays; options that only
        that one has (foreach, fused, ...) are passed over.

        Raises:
            CheckpointError: the groups, parameters or shapes do not fit.
        """
        if self._settle is not None:
            self._settle()
        keys = {str(key): param_id for param_id, key in self._keys().items()}
        params = {id(p): p for group in self.param_groups for p in group["params"]}
        saved_groups = state_dict["param_groups"]
        mine = [[str(self._keys()[id(p)]) for p in group["params"]] for group in self.param_groups]
        theirs = [[str(key) for key in group["params"]] for group in saved_groups]
        if mine != theirs:
            raise CheckpointError(
                f"[{self._name()}] the saved groups {_sizes(theirs)} do not fit the optimizer's {_sizes(mine)}"
                + _first_difference(theirs, mine)
            )
        state: dict[Tensor, dict[str, Any]] = {}
        for key, entry in state_dict["state"].items():
            if str(key) not in keys:
                raise CheckpointError(f"[{self._name()}] the saved state has an unknown parameter {key!r}")
            param = params[keys[str(key)]]
            state[param] = {name: self._restored(str(key), name, value, param) for name, value in entry.items()}
        self.state = state
        for group, saved in zip(self.param_groups, saved_groups, strict=True):
            for name, value in saved.items():
                if name in self.defaults or name == "initial_lr":
                    group[name] = tuple(value) if isinstance(value, list) else value

    def _restored(self, key: str, name: str, value: Any, param: Tensor) -> Any:
        if isinstance(value, np.ndarray):
            if name in _NUMBERS:
                return _NUMBERS[name](value)
            value = from_numpy(value)
        if not isinstance(value, Tensor):
            return value
        if value.shape != param.shape:
            raise CheckpointError(
                f"[{self._name()}] {name!r} of {key} has shape {tuple(value.shape)}, the parameter {tuple(param.shape)}"
            )
        return value.detach().to(device=param.device, dtype=param.dtype, copy=True)

    def __repr__(self) -> str:
        lines = [f"{self._name()} ("]
        for i, group in enumerate(self.param_groups):
            lines.append(f"Parameter Group {i}")
            lines += [f"    {name}: {group[name]}" for name in sorted(group) if name not in ("params", "param_names")]
        return "\n".join([*lines, ")"])


def _sizes(groups: list[list[str]]) -> str:
    return f"({', '.join(str(len(g)) for g in groups)} parameters)"


def _first_difference(theirs: list[list[str]], mine: list[list[str]]) -> str:
    for a, b in zip(chain.from_iterable(theirs), chain.from_iterable(mine)):
        if a != b:
            return f": {a!r} was saved where the optimizer has {b!r}"
    return ""
