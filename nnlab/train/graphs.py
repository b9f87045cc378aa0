"""Whole steps of a Trainer as graphs: forward, backward and update recorded once for each shape, and run again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from nnlab.autograd import Tensor
from nnlab.autograd.shape import clone
from nnlab.backend import get_backend
from nnlab.backend.graphs import Changed
from nnlab.cuda import CUDAGraph
from nnlab.nn import Module
from nnlab.optim import Optimizer
from nnlab.train import carried
from nnlab.train.batches import Batch
from nnlab.train.facts import Facts
from nnlab.train.sums import examples

if TYPE_CHECKING:
    from nnlab.train.trainer import Trainer

MOST = 8
"""Graphs at most, each of which keeps the memory of a step; steps of further shapes run without."""

_FUTILE = 3  # graphs in a row that were dropped before they had run again


class _Step:
    """A step of one shape: run as always the first time, recorded the second, then run again and again."""

    def __init__(self, trainer: Trainer) -> None:
        self.graph = CUDAGraph(trainer.device)
        self.ready = False
        self.replays = 0

    def record(self, trainer: Trainer, group: list[Batch]) -> None:
        """Record the step and run it.

        Raises:
            Exception: it cannot be recorded; nothing has happened.
        """
        self.inputs = [(clone(images), clone(target)) for images, target in group]
        self.total = sum(examples(target) for _, target in group)
        before = _Host(trainer)
        self.carried = carried.Fixed(trainer.model)
        self.carried.place()
        self.facts = Facts(trainer)
        try:
            with self.graph.record([*_tensors(trainer), *(one for pair in self.inputs for one in pair)]):
                trainer.update(self.inputs)
                self.carried.write()
            self.gradients = [(p, p.grad) for p in _parameters(trainer)]
            self.classified = trainer.sums.classified
        except BaseException:
            before.restore(trainer)
            raise
        before.restore(trainer)
        self.ready = True
        self.replay(trainer, group)

    def replay(self, trainer: Trainer, group: list[Batch]) -> None:
        """Run the recorded step on a batch.

        Raises:
            Changed: the step is another one by now; nothing has happened.
        """
        if not self.facts.same():
            raise Changed("the network, its tensors or the Trainer's settings are not what they were")
        with self.graph.warmup():
            self.carried.bring()
            for mine, given in zip(self.inputs, group, strict=True):
                for static, tensor in zip(mine, given, strict=True):
                    static._data[...] = tensor._data
        for parameter, gradient in self.gradients:
            parameter.grad = gradient
        before = _Counts(trainer.optimizer)
        try:
            self.graph.replay(_host_step(trainer))
        except BaseException:
            before.restore(trainer.optimizer)
            raise
        self.carried.place()
        trainer.sums.counted(self.total, self.classified)


class StepGraphs:
    """Runs a Trainer's steps, as graphs where that is asked for and possible.

    Args:
        trainer: whose steps.
        wanted: ``"auto"``: on a GPU.
    """

    def __init__(self, trainer: Trainer, wanted: bool | str) -> None:
        self.trainer = trainer
        self.wanted = trainer.device.type == "cuda" if wanted == "auto" else bool(wanted)
        self.reason: str | None = None  # why steps run without
        self.steps: dict[Any, _Step] = {}
        self._futile = 0

    def run(self, group: list[Batch]) -> None:
        """One step."""
        key = tuple((one.shape, one.dtype) for pair in group for one in pair)
        step = self.steps.get(key)
        if self.wanted and (step is None or not step.ready or self.trainer.poll_every == 1):
            reason = self._why_not()
            if reason is not None:
                self._give_up(reason)
        begun = step.carried.begun() if step is not None and step.ready else carried.begun(self.trainer.model)
        if not self.wanted or not begun:  # what a beginning is, only the model knows
            self.trainer.update(group)
            return
        scaler = self.trainer.precision.scaler
        if scaler.is_enabled() and step is not None:
            if not self.trainer.optimizer.begun():  # all steps overflowed so far
                self.trainer.update(group)
                return
            scaler.make_room(self.trainer.optimizer)
        if step is None:
            if len(self.steps) == MOST:
                self.trainer.update(group)
            else:
                self._first(key, group)
            return
        try:
            if step.ready:
                step.replay(self.trainer, group)
                step.replays += 1
            else:
                step.record(self.trainer, group)
        except Changed as why:
            self._futile = self._futile + 1 if step.replays == 0 else 0
            del self.steps[key]
            if self._futile == _FUTILE:
                self._give_up(f"{why}, step after step")
                self.trainer.update(group)
            else:
                self._first(key, group)
        except Exception as error:  # whatever it was: without a graph it happens again, or not at all
            if step.ready:
                raise
            self._give_up(str(error).removeprefix("[graph] "))
            self.trainer.update(group)

    def _first(self, key: Any, group: list[Batch]) -> None:
        try:
            step = self.steps[key] = _Step(self.trainer)
        except Exception as error:  # no memory for its workspace, no cuBLAS
            self._give_up(str(error))
            self.trainer.update(group)
            return
        with step.graph.warmup():
            self.trainer.update(group)

    def _give_up(self, reason: str) -> None:
        self.wanted, self.reason = False, reason
        self.steps.clear()
        self.trainer.note(f"no graph: {reason}")

    def _why_not(self) -> str | None:
        trainer = self.trainer
        if not hasattr(get_backend(trainer.device), "recording"):
            return f"the device {trainer.device} has none"
        if trainer.poll_every == 1:
            return "every loss is looked at (poll_every 1)"
        if not trainer.optimizer.capturable():
            return f"{type(trainer.optimizer).__name__} keeps its numbers on the host"
        if trainer.precision.scaler.is_enabled() and not trainer.optimizer.skippable():
            return f"for {type(trainer.optimizer).__name__} the host must know which steps loss scaling skipped"
        if isinstance(trainer.loss, Module) and any(module.carried for module in trainer.loss.modules()):
            return "the loss carries state from batch to batch"
        for module in _modules(trainer):
            if module._pre_hooks or module._hooks:
                return f"{type(module).__name__} has a hook, which a graph would not call"
        if any(p._hooks for p in _parameters(trainer)):
            return "a parameter has a hook, which a graph would not call"
        return None


def _host_step(trainer: Trainer) -> Callable[[], Any]:
    """The host's part of an update that a graph makes."""
    scaler = trainer.precision.scaler
    return partial(scaler.count, trainer.optimizer) if scaler.is_enabled() else trainer.optimizer.step


class _Host:
    """What a step changes on the host, to be put back if it was not run."""

    def __init__(self, trainer: Trainer) -> None:
        self._state = {param: dict(entry) for param, entry in trainer.optimizer.state.items()}
        self._sums = trainer.sums.examples, trainer.sums.classified
        self._carried = carried.take(trainer.model)
        self._pending = trainer.precision.scaler.pending()

    def restore(self, trainer: Trainer) -> None:
        trainer.optimizer.state = self._state
        carried.put(trainer.model, self._carried)
        trainer.precision.scaler.forget()
        for steps, pending in self._pending:
            steps.pending = pending
        trainer.sums.examples, trainer.sums.classified = self._sums


class _Counts:
    """The numbers of an optimizer's state: what its step changes on the host while a graph's numbers are renewed."""

    def __init__(self, optimizer: Optimizer) -> None:
        self._entries = len(optimizer.state)
        self._steps = [entry.get("step") for entry in optimizer.state.values()]
        self._products = [entry.get("mu_product") for entry in optimizer.state.values()]

    def restore(self, optimizer: Optimizer) -> None:
        while len(optimizer.state) > self._entries:
            optimizer.state.popitem()
        for entry, step, product in zip(optimizer.state.values(), self._steps, self._products, strict=True):
            entry |= {} if step is None else {"step": step}
            entry |= {} if product is None else {"mu_product": product}


def _modules(trainer: Trainer) -> Iterator[Module]:
    yield from trainer.model.modules()
    if isinstance(trainer.loss, Module):
        yield from trainer.loss.modules()


def _parameters(trainer: Trainer) -> Iterator[Tensor]:
    for group in trainer.optimizer.param_groups:
        yield from group["params"]


def _tensors(trainer: Trainer) -> Iterator[Tensor]:
    """All tensors that a step uses and that were there before."""
    for module in _modules(trainer):
        yield from (t for t in (*module._parameters.values(), *module._buffers.values()) if t is not None)
    yield from _parameters(trainer)
    for entry in trainer.optimizer.state.values():
        yield from (value for value in entry.values() if isinstance(value, Tensor))
    yield from trainer.sums.tensors()
    yield from trainer.precision.scaler.tensors()
