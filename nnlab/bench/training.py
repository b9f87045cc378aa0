"""Whole training steps: forward, loss, backward, update."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import Any, ClassVar

import numpy as np

from nnlab import nn
from nnlab.autograd import Tensor, no_grad
from nnlab.autograd.tape import wrap
from nnlab.backend import Backend
from nnlab.bench.dense import Linear
from nnlab.bench.problem import Arrays, Call, Cost, Problem
from nnlab.bench.recurrent import LSTM
from nnlab.bench.shapes import SETS
from nnlab.bench.step import OptimizerStep
from nnlab.cuda import CUDAGraph, graph
from nnlab.models import create
from nnlab.nn import functional as F
from nnlab.optim import SGD
from nnlab.random import manual_seed


class _Step(Problem):
    """One step of SGD with momentum of a model that has a twin in PyTorch."""

    op: ClassVar[str] = "training"
    parts: ClassVar[tuple[str, ...]] = ("step",)

    @abstractmethod
    def _model(self) -> nn.Module:
        """Ours, with weights that are the same each time."""

    @abstractmethod
    def _twin(self, torch: Any) -> Any:
        """PyTorch's, with the same weights."""

    def ours(self, be: Backend, part: str, arrays: Arrays) -> Call:
        make = _graphed if self.layer == "graph" and hasattr(be, "recording") else _ours  # a CPU is asked for the truth
        return make(be, deepcopy(_drawn(self)), arrays)

    def _theirs(self, torch: Any, x: Any) -> Any:
        layout = torch.channels_last if x.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
        return self._twin(torch).to(x.device, dtype=x.dtype, memory_format=layout)

    def torch(self, part: str, tensors: Arrays) -> Call:
        torch = import_module("torch")
        return _torch(torch, self._theirs(torch, tensors["x"]), tensors)

    def modes(self, part: str, tensors: Arrays) -> dict[str, Callable[[], Call]]:
        torch, x = import_module("torch"), tensors["x"]
        return {
            "compile": lambda: _torch(torch, torch.compile(self._theirs(torch, x)), tensors),
            "bf16": lambda: _torch(torch, self._theirs(torch, x), tensors, bf16=True),
        }


@dataclass(frozen=True)
class TrainingStep(_Step):
    """One step of SGD with momentum of a network from ``nnlab.models``. The result is the loss.

    Dropout is left out: its random numbers would make the losses of two libraries incomparable, and it costs little.
    """

    batch: int
    channels: int
    side: int
    classes: int

    def shape(self) -> str:
        return f"{self.batch}x{self.channels}x{self.side}x{self.side}"

    def cost(self, part: str, itemsize: int) -> Cost:
        """Of the layers that the network's set of problems lists (zero for others): all passes, and the update."""
        listed = SETS[self.network](self.batch) if self.network in SETS else []
        costs = [
            problem.cost(part, itemsize)
            for problem in listed
            for part in problem.parts
            if problem.op not in ("dropout", "local_response_norm") and (problem.layer, part) != ("conv1", "input_grad")
            and part != "adam"
        ]  # fmt: skip
        return Cost(sum(cost.flops for cost in costs), sum(cost.bytes for cost in costs))

    def draw(self, random: np.random.Generator) -> dict[str, np.ndarray]:
        shape = (self.batch, self.channels, self.side, self.side)
        return {"x": random.standard_normal(shape), "target": random.integers(0, self.classes, self.batch)}

    def _model(self) -> nn.Module:
        manual_seed(0)
        model = create(self.network, num_classes=self.classes, in_channels=self.channels, image_size=self.side)
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.0
        return model

    def _twin(self, torch: Any) -> Any:
        return twin(torch, _drawn(self))


class _Characters(nn.Module):
    """The next character's scores from those before: an LSTM and a linear layer over each of its steps."""

    def __init__(self, characters: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(characters, hidden, layers)
        self.head = nn.Linear(hidden, characters)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x)[0].flatten(0, 1))


@dataclass(frozen=True)
class CharacterStep(_Step):
    """One step of SGD with momentum of a character model: an LSTM over one-hot characters. The result is the loss."""

    batch: int
    steps: int = 64
    hidden: int = 256
    layers: int = 2
    characters: int = 65

    def shape(self) -> str:
        return f"{self.batch}x{self.steps} characters of {self.characters}, H{self.hidden} x{self.layers}"

    def cost(self, part: str, itemsize: int) -> Cost:
        """Of the layers, forward and backward, and of the update (the gradient to the input is counted, not needed)."""
        lstm = LSTM(self.network, "lstm", self.steps, self.batch, self.characters, self.hidden, self.layers)
        head = Linear(self.network, "head", self.steps * self.batch, self.hidden, self.characters)
        update = OptimizerStep(self.network, "step", tuple(tuple(p.shape) for p in self._model().parameters()))
        passes = [(lstm, "forward+backward"), *((head, part) for part in head.parts), (update, "sgd")]
        costs = [problem.cost(part, itemsize) for problem, part in passes]
        return Cost(sum(cost.flops for cost in costs), sum(cost.bytes for cost in costs))

    def draw(self, random: np.random.Generator) -> dict[str, np.ndarray]:
        text = random.integers(0, self.characters, (self.steps + 1, self.batch))
        return {"x": np.eye(self.characters)[text[:-1]], "target": text[1:].reshape(-1)}

    def _model(self) -> nn.Module:
        manual_seed(0)
        return _Characters(self.characters, self.hidden, self.layers)

    def _twin(self, torch: Any) -> Any:
        class Twin(torch.nn.Module):
            def __init__(self, characters: int, hidden: int, layers: int) -> None:
                super().__init__()
                self.lstm = torch.nn.LSTM(characters, hidden, layers)
                self.head = torch.nn.Linear(hidden, characters)

            def forward(self, x: Any) -> Any:
                return self.head(self.lstm(x)[0].flatten(0, 1))

        with torch.device("meta"):  # its weights are ours
            made = Twin(self.characters, self.hidden, self.layers)
        return _with_state(torch, made, _drawn(self))


@lru_cache(maxsize=1)
def _drawn(problem: _Step) -> nn.Module:
    """A problem's model, to be copied: drawing millions of weights takes longer than a step."""
    return problem._model()


def _ours(be: Backend, model: nn.Module, arrays: Arrays) -> Call:
    """A training step over the whole of a batch."""
    return _step(be, model, arrays)[0]


def _graphed(be: Backend, model: nn.Module, arrays: Arrays) -> Call:
    """The same step as a CUDA graph, beginning with the same weights."""
    step, optimizer, inputs = _step(be, model, arrays)
    tensors = [*model.parameters(), *model.buffers()]
    before = [tensor.detach().clone() for tensor in tensors]
    recorded = CUDAGraph(be.device)
    with recorded.warmup():
        step()
    velocities = [entry["momentum_buffer"] for entry in optimizer.state.values()]
    with graph(recorded, [*inputs, *tensors, *velocities]):
        loss = step()
    with no_grad():
        for tensor, value in zip(tensors, before, strict=True):
            tensor.copy_(value)
        for velocity in velocities:
            velocity.zero_()

    def again() -> Any:
        recorded.replay(optimizer.step)
        return loss

    return again


def _step(be: Backend, model: nn.Module, arrays: Arrays) -> tuple[Call, SGD, list[Tensor]]:
    model.to(be.device, dtype=arrays["x"].dtype)
    optimizer = SGD(model.parameters(), lr=1e-3, momentum=0.9)
    x, target = wrap(be, arrays["x"]), wrap(be, arrays["target"])

    def step() -> Any:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
        return loss.detach()._data

    return step, optimizer, [x, target]


def _torch(torch: Any, model: Any, tensors: Arrays, bf16: bool = False) -> Call:
    """The same step in PyTorch; with ``bf16`` autocast chooses bfloat16 for products."""
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)
    x, target = tensors["x"], tensors["target"]
    precision = torch.autocast(x.device.type, torch.bfloat16) if bf16 else nullcontext()

    def step() -> Any:
        optimizer.zero_grad()
        with precision:
            loss = torch.nn.functional.cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


# For a CPU and a GPU.
BATCHES = {"alexnet": (32, 128), "vgg16": (4, 64), "lenet5": (64, 64), "vgg_small": (64, 64), "char_lstm": (32, 64)}
TRAINING: dict[str, Callable[[int], Problem]] = {
    "alexnet": lambda batch: TrainingStep("alexnet", "training", batch, 3, 224, 1000),
    "vgg16": lambda batch: TrainingStep("vgg16", "training", batch, 3, 224, 1000),
    "lenet5": lambda batch: TrainingStep("lenet5", "training", batch, 1, 28, 10),
    "vgg_small": lambda batch: TrainingStep("vgg_small", "training", batch, 1, 28, 10),
    "char_lstm": lambda batch: CharacterStep("char_lstm", "training", batch),
}
# On a GPU: the same steps as CUDA graphs, which shorten the host's part of small ones.
GRAPHS: dict[str, Callable[[int], Problem]] = {
    "lenet5": lambda batch: TrainingStep("lenet5", "graph", batch, 1, 28, 10),
    "alexnet": lambda batch: TrainingStep("alexnet", "graph", batch, 3, 224, 1000),
}


def twin(torch: Any, model: nn.Module) -> Any:
    """The same layers with the same weights in PyTorch, for networks that are chains of their children."""

    class Twin(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for name, child in model.named_children():
                setattr(self, name, _layer(torch, child))

        def forward(self, x: Any) -> Any:
            for name, child in self.named_children():
                x = child(torch.flatten(x, 1) if name == "classifier" else x)
            return x

    with torch.device("meta"):  # its weights are ours
        made = Twin()
    return _with_state(torch, made, model)


def _with_state(torch: Any, made: Any, model: nn.Module) -> Any:
    """PyTorch's network with the weights of ours."""
    state = model.state_dict()
    weights = {name: torch.from_numpy(value.detach().cpu().numpy().copy()) for name, value in state.items()}
    made.load_state_dict(weights, assign=True)
    return made


_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "Conv2d": ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups"),
    "Linear": ("in_features", "out_features"),
    "BatchNorm2d": ("num_features",),
    "Dropout": ("p",),
    "MaxPool2d": ("kernel_size", "stride", "padding"),
    "AvgPool2d": ("kernel_size", "stride", "padding"),
    "AdaptiveAvgPool2d": ("output_size",),
    "LocalResponseNorm": ("size", "alpha", "beta", "k"),
}


def _layer(torch: Any, layer: nn.Module) -> Any:
    kind = type(layer).__name__
    if isinstance(layer, nn.Sequential):
        return torch.nn.Sequential(*[_layer(torch, each) for each in layer])
    return getattr(torch.nn, kind)(*[getattr(layer, name) for name in _ARGUMENTS.get(kind, ())])
