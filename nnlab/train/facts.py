"""What decides what a recorded step launches, compared before each of its runs."""

from __future__ import annotations

from itertools import chain
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any

from nnlab.autograd.amp import is_autocast_enabled
from nnlab.nn import Module
from nnlab.precision import get_float32_conv_precision, get_float32_matmul_precision

if TYPE_CHECKING:
    from nnlab.train.trainer import Trainer

_PLAIN = {bool, int, float, str, tuple, type(None)}  # attributes of modules that are compared
_DATA, _WANTED, _HOOKS = attrgetter("_data"), attrgetter("_requires_grad"), attrgetter("_hooks")
_APART = {"_parameters", "_buffers", "_modules", "_hooks", "_pre_hooks"}


class Facts:
    """All that decides what a step launches, as far as Python can tell: a graph does as long as it stays the same.

    It is compared before every step. So where things are is found out once, and most of what is left are loops within
    the interpreter (``map``, ``itemgetter``), over all modules, or all their tensors, at once. What is carried from
    batch to batch is left out: it is copied into the recording's own arrays.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        roots = [trainer.model, *([trainer.loss] if isinstance(trainer.loss, Module) else [])]
        modules = list(dict.fromkeys(module for root in roots for module in root.modules()))
        self._owns = [module.__dict__ for module in modules]
        self._children = [own["_modules"] for own in self._owns]
        self._hooks = [own[name] for own in self._owns for name in ("_hooks", "_pre_hooks")]
        self._tensors = [own["_parameters"] for own in self._owns]
        self._single: list[tuple[dict[str, Any], str]] = []  # buffers beside carried ones
        for module, own in zip(modules, self._owns, strict=True):
            if module.carried:
                self._single += [(own["_buffers"], name) for name in own["_buffers"] if name not in module.carried]
            else:
                self._tensors.append(own["_buffers"])
        self._plain: list[tuple[Any, dict[str, Any]]] = []
        self._other: list[tuple[dict[str, Any], str]] = []
        for own in self._owns:
            names = [name for name, value in own.items() if type(value) in _PLAIN]
            self._plain += [(itemgetter(*names), own)] if names else []
            self._other += [(own, name) for name in own if name not in _APART and name not in names]
        self._before, self._arrays = self._now()  # the arrays are kept: they are known by identity

    def same(self) -> bool:
        """Whether all is as it was."""
        try:
            return bool(self._now()[0] == self._before)
        except KeyError:  # an attribute is gone
            return False

    def _now(self) -> tuple[list[Any], list[Any]]:
        trainer = self._trainer
        tensors = list(chain.from_iterable(map(dict.values, self._tensors)))
        tensors += [buffers[name] for buffers, name in self._single]
        there = [tensor for tensor in tensors if tensor is not None]
        arrays = list(map(_DATA, [*there, *trainer.sums.tensors()]))
        return [
            trainer.clip_norm,
            id(trainer.model),
            id(trainer.loss),
            trainer.precision.scaler.settings(),
            is_autocast_enabled(trainer.device.type),
            get_float32_matmul_precision(),
            get_float32_conv_precision(),
            any(self._hooks),
            any(map(_HOOKS, there)),
            list(map(_WANTED, there)),
            list(map(id, tensors)),
            list(map(id, arrays)),
            list(map(id, chain.from_iterable(map(dict.values, self._children)))),
            list(map(len, self._owns)),
            [values(own) for values, own in self._plain],
            [type(own[name]) in _PLAIN for own, name in self._other],
        ], arrays
