"""How a row of the tables of layers is run, in either library; needs NumPy alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import nnlab
from tests.nn.case import Case

Make = Callable[[np.ndarray], Any]  # array -> tensor


def build(case: Case, library: Any, tensor: Make, dtype: str = "float64") -> Any:
    """The layer, its parameters drawn anew; arrays among its arguments become tensors, rows layers."""

    def made(value: Any) -> Any:
        if isinstance(value, Case):
            return build(value, library, tensor, dtype)
        return tensor(value) if isinstance(value, np.ndarray) else value

    kwargs = {name: made(value) for name, value in case.kwargs.items()}
    layer = getattr(library, case.name)(*map(made, case.args), **kwargs)
    layer = layer.double() if dtype == "float64" else layer.to(dtype=dtype)
    random = np.random.default_rng(3)
    for parameter in layer.parameters():
        parameter.data = tensor(random.uniform(0.1, 0.6, tuple(parameter.shape)))
    return layer


def call(case: Case, layer: Any, inputs: list[Any], tensor: Make, device: str = "cpu") -> list[Any]:
    """All tensors that the layer returns, in order."""
    arguments = case.prepare(*inputs) if case.prepare else inputs
    options = {k: tensor(v).to(device) if isinstance(v, np.ndarray) else v for k, v in case.call.items()}
    nnlab.manual_seed(5)  # of dropouts
    return list(_flat(layer(*arguments, **options)))


def run(
    case: Case, library: Any, tensor: Make, arrays: list[np.ndarray], device: str = "cpu", dtype: str = "float64"
) -> dict[str, np.ndarray]:
    """The outputs, the gradients of inputs and parameters by name, and what the call changed in the layer's state."""
    layer = build(case, library, tensor, dtype).to(device)
    before = state(layer)
    inputs = [tensor(a).to(device) for a in arrays]
    for spec, value in zip(case.inputs, inputs, strict=True):
        if spec.takes_gradient:
            value.requires_grad_()
    results = call(case, layer, inputs, tensor, device)
    losses = [(r * tensor(weights(r.shape)).to(device)).sum() for r in results if r.requires_grad]
    sum(losses[1:], losses[0]).backward()
    found = {f"output {i}": value for i, value in enumerate(results)}
    found |= {f"gradient of input {i}": v.grad for i, v in enumerate(inputs) if v.requires_grad}
    found |= {f"gradient of {name}": v.grad for name, v in layer.named_parameters() if v.grad is not None}
    after = state(layer)
    changed = {f"{name} afterwards": after[name] for name in after if not np.array_equal(after[name], before[name])}
    return {name: value.detach().cpu().numpy() for name, value in found.items()} | changed


def state(layer: Any) -> dict[str, np.ndarray]:
    """A copy of the layer's state on the host."""
    return {name: np.array(value.detach().cpu().numpy()) for name, value in layer.state_dict().items()}


def weights(shape: Any) -> np.ndarray:
    return np.random.default_rng(11).uniform(0.5, 1.5, tuple(shape))


def summary(found: dict[str, np.ndarray]) -> dict[str, float]:
    """Each array as one number, a sum with random weights."""
    return {name: float((value * weights(value.shape)).sum()) for name, value in found.items()}


def _flat(result: Any) -> Any:
    if isinstance(result, tuple | list):
        for part in result:
            yield from _flat(part)
    elif result is not None:
        yield result
