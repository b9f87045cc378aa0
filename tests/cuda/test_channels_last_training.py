"""A training step on tensor cores keeps channels last in memory from the first convolution to the flatten."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import nn
from nnlab.models.vgg import convolutions
from nnlab.nn import functional
from nnlab.ops import CUDA_KERNELS
from nnlab.ops._numpy import layout
from tests.cuda.common import EMULATED
from tests.ops.common import close, rng

IMAGES = 3  # no layer has so few channels, and no weight so many outputs


def alexnet() -> nn.Sequential:
    """AlexNet's layers with fewer and smaller channels, normalised as in 2012, with dropout before the flatten."""
    return nn.Sequential(
        nn.Conv2d(3, 16, kernel_size=7, stride=2, padding=2), nn.ReLU(), nn.LocalResponseNorm(5), nn.MaxPool2d(3, 2),
        nn.Conv2d(16, 32, kernel_size=5, padding=2, groups=2), nn.ReLU(), nn.LocalResponseNorm(5), nn.MaxPool2d(3, 2),
        nn.Conv2d(32, 24, kernel_size=3, padding=1), nn.ReLU(), nn.Conv2d(24, 16, kernel_size=3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2, 1), nn.AdaptiveAvgPool2d((2, 2)), nn.Dropout(0.5), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


def vgg() -> nn.Sequential:
    """The first convolution has too few terms for tensor cores."""
    features = convolutions((16, "M", 16, 32, "M"), 3, batch_norm=True)
    return nn.Sequential(features, nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten(), nn.Linear(128, 10))


def pooled() -> nn.Sequential:
    """Convolution, relu and pooling as one operation, of an odd size first."""
    features = convolutions((16, "M", 24, 16, "M"), 3, batch_norm=False)
    return nn.Sequential(features, nn.AdaptiveAvgPool2d((2, 2)), nn.Flatten(), nn.Linear(64, 10))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 16, 5, padding=2), nn.Conv2d(16, 16, 3, padding=1)
        self.both = nn.Conv2d(32, 16, 1)

    def forward(self, x: Any) -> Any:
        x = functional.relu(self.first(x))
        x = functional.relu(x + 0.5 * self.second(x))
        return self.both(nnlab.cat([x, self.second(x)], 1)).flatten(1)


NETWORKS = {"alexnet": (alexnet, 35), "vgg": (vgg, 16), "pooled": (pooled, 17), "residual": (Residual, 6)}


class Copies:
    """The device's array module; notes arrays that are copied to have another order, but for weights and images."""

    def __init__(self, xp: Any) -> None:
        self._xp, self.shapes = xp, []

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._xp, name)
        if name not in ("array", "asarray", "ascontiguousarray"):
            return function

        def noted(array: Any, *args: Any, **kwargs: Any) -> Any:
            result = function(array, *args, **kwargs)
            if result.ndim > 2 and len(result) == IMAGES and layout.order(result) != layout.order(array):
                self.shapes.append(array.shape)
            return result

        return noted


def _arrays(value: Any) -> Iterator[np.ndarray]:
    if isinstance(value, np.ndarray) and value.ndim == 4:
        yield value
    elif isinstance(value, tuple):
        for one in value:
            yield from _arrays(one)


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_is_turned_between_the_first_convolution_and_the_flatten(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    network, size = NETWORKS[name]
    seen: list[tuple[str, tuple[int, ...], bool]] = []  # what bodies are given and give

    def noted(label: str, function: Any) -> Any:
        def body(be: Any, **arguments: Any) -> Any:
            result = function(be, **arguments)
            images = {key: value for key, value in arguments.items() if key not in ("w", "geometry")}
            if not label.endswith(("weight_grad", "parameter_grads")):
                images["result"] = result
            for key, value in images.items():
                seen.extend((f"{label} {key}", a.shape, layout.is_channels_last(a)) for a in _arrays(value))
            return result

        return body

    for op in (*(f"_cuda.{op}" for op in CUDA_KERNELS), "_numpy.batch_norm"):
        module = import_module(f"nnlab.ops.{op}")
        for entry, function in inspect.getmembers(module, inspect.isfunction):
            parameters = inspect.signature(function).parameters
            if not entry.startswith("_") and "be" in parameters and {"x", "dy"} & set(parameters):
                monkeypatch.setattr(module, entry, noted(f"{op}.{entry}", function))
    monkeypatch.setattr(EMULATED, "tensor_cores", True)
    copies = Copies(EMULATED.xp)
    nnlab.manual_seed(5)
    net = network().to("emulated")
    x = nnlab.tensor(rng(311).standard_normal((IMAGES, 3, size, size)).astype(np.float32), device="emulated")
    monkeypatch.setattr(EMULATED, "xp", copies)
    (net(x) ** 2).sum().backward()

    turned = [(label, shape) for label, shape, last in seen if not last and shape != tuple(x.shape)]
    assert not turned
    assert not [shape for shape in copies.shapes if np.prod(shape) != x.numel()]
    labels = {label for label, *_ in seen}
    assert "_cuda.conv.input_grad result" in labels
    # The sums of dy's channels come out of the weights' gradients.
    assert name == "vgg" or "_cuda.conv.bias_grad dy" not in labels
    assert (name == "pooled") == ("_cuda.conv_relu_max_pool.backward result" in labels)
    nnlab.manual_seed(5)
    twin = network()
    (twin(x.cpu()) ** 2).sum().backward()
    # All gradients as one array: those of biases before a normalisation are 0.
    found, wanted = (np.concatenate([p.grad.cpu().numpy().ravel() for p in n.parameters()]) for n in (net, twin))
    close(found, wanted, rtol=1e-5)
