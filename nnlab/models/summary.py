"""What a network is made of: shapes, parameters, multiply-adds and memory, layer by layer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nnlab.autograd import Tensor, no_grad
from nnlab.autograd.creation import zeros
from nnlab.errors import ArgumentError, complaint
from nnlab.nn import Linear, Module
from nnlab.nn.modules.conv import _ConvNd


@dataclass(frozen=True)
class Row:
    """One layer (a module without children), each time that it is called.

    Attributes:
        path: dotted path in the model; '' for the model itself.
        kind: class name.
        output_shape: shape of its (first) output, batch included.
        parameters: elements of its own parameters; 0 at a repeated call.
        multiply_adds: of convolutions and dense layers, bias not counted; 0 for other layers.
        activation_bytes: memory of its output; 0 where the layer works in place.
    """

    path: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    activation_bytes: int


@dataclass(frozen=True)
class Summary:
    """All rows in the order of computation, and their sums.

    Attributes:
        model: class name.
        input_shape: batch included.
        rows: one for each layer.
        parameters: elements of all parameters of the model, each counted once.
        trainable_parameters: those that require a gradient.
        parameter_bytes: memory of parameters and buffers.
        multiply_adds: for the whole batch, one forward pass.
        activation_bytes: outputs of all layers together, as a training step keeps them.
    """

    model: str
    input_shape: tuple[int, ...]
    rows: list[Row]
    parameters: int
    trainable_parameters: int
    parameter_bytes: int
    multiply_adds: int
    activation_bytes: int


def _multiply_adds(layer: Module, given: Tensor, output: Tensor) -> int:
    if isinstance(layer, _ConvNd):
        # Each output of a convolution, each input of a transposed one, meets one kernel of every channel of its group.
        window = math.prod(layer.weight.shape[1:])
        return (given if layer.transposed else output).numel() * window
    if isinstance(layer, Linear):
        return output.numel() * layer.in_features
    return 0


def summary(model: Module, input_shape: Sequence[int], *, dtype: Any = None) -> Summary:
    """Run zeros through a network (in evaluation mode, without gradients) and note every layer.

    Args:
        model: on any device; its mode and state are left as they were.
        input_shape: with the batch, e.g. (1, 3, 224, 224).
        dtype: of the input; default that of the first parameter.

    Raises:
        ArgumentError: the input shape is not positive.
        ShapeError: the network does not take that shape; the message names the layer.
    """
    shape = tuple(input_shape)
    if not shape or not all(n > 0 for n in shape):
        raise ArgumentError(complaint("summary", "input_shape", "be positive ints", shape))
    params = list(model.parameters())
    example = zeros(
        shape,
        dtype=dtype or (params[0].dtype if params else None),
        device=params[0].device if params else None,
    )
    rows: list[Row] = []
    seen: set[int] = set()
    paths = {id(module): path for path, module in model.named_modules()}

    def note(layer: Module, args: tuple[Any, ...], result: Any) -> None:
        output = result[0] if isinstance(result, tuple) else result
        own = [p for p in layer.parameters(recurse=False) if id(p) not in seen]
        seen.update(id(p) for p in own)
        rows.append(
            Row(
                path=paths[id(layer)],
                kind=type(layer).__name__,
                output_shape=tuple(output.shape),
                parameters=sum(p.numel() for p in own),
                multiply_adds=_multiply_adds(layer, args[0], output),
                activation_bytes=0 if output is args[0] else output.numel() * output.element_size(),
            )
        )

    leaves = [module for module in model.modules() if next(module.children(), None) is None]
    handles = [leaf.register_forward_hook(note) for leaf in leaves]
    modes = {id(module): module.training for module in model.modules()}
    try:
        model.eval()
        with no_grad():
            model(example)
    finally:
        for handle in handles:
            handle.remove()
        for module in model.modules():
            module.training = modes[id(module)]
    held = [*params, *model.buffers()]
    return Summary(
        model=type(model).__name__,
        input_shape=shape,
        rows=rows,
        parameters=sum(p.numel() for p in params),
        trainable_parameters=sum(p.numel() for p in params if p.requires_grad),
        parameter_bytes=sum(t.numel() * t.element_size() for t in held),
        multiply_adds=sum(row.multiply_adds for row in rows),
        activation_bytes=sum(row.activation_bytes for row in rows),
    )
