"""On a real GPU: tensor operations, layers and the training of networks, against the CPU. Skipped elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import nn
from nnlab.models import alexnet
from nnlab.nn.functional.conv import conv2d_pooled
from nnlab.testing import tolerance
from tests.autograd.test_operations import FUNCTIONS, IDS, operands
from tests.ops.common import rng
from tests.test_device_code import train

pytestmark = pytest.mark.gpu

F = nn.functional
# Name, function of (x, w), shapes of x and w. Sizes are odd, so that tiles and vectors have a rest.
LAYERS: list[tuple[str, Callable[..., Any], tuple[int, ...], tuple[int, ...]]] = [
    ("conv1d", lambda x, w: F.conv1d(x, w, stride=2, padding=1, dilation=2), (3, 4, 23), (6, 4, 3)),
    ("conv2d", lambda x, w: F.conv2d(x, w), (2, 3, 9, 11), (5, 3, 3, 3)),
    ("conv2d strided", lambda x, w: F.conv2d(x, w, stride=(2, 3), padding=2), (2, 3, 13, 17), (7, 3, 5, 4)),
    ("conv2d dilated groups", lambda x, w: F.conv2d(x, w, dilation=2, groups=2), (2, 4, 13, 9), (6, 2, 3, 3)),
    ("conv2d depthwise", lambda x, w: F.conv2d(x, w, padding=1, groups=5), (2, 5, 7, 9), (10, 1, 3, 3)),
    ("conv_relu", lambda x, w: F.conv_relu(x, w, padding=1), (2, 16, 9, 7), (24, 16, 3, 3)),
    ("conv, relu and pooling", lambda x, w: _pooled(x, w), (2, 16, 9, 7), (24, 16, 3, 3)),
    ("conv3d", lambda x, w: F.conv3d(x, w, stride=2, padding=1), (1, 2, 5, 7, 6), (3, 2, 3, 3, 2)),
    ("conv_transpose1d", lambda x, w: F.conv_transpose1d(x, w, stride=3), (2, 4, 7), (4, 3, 4)),
    (
        "conv_transpose2d",
        lambda x, w: F.conv_transpose2d(x, w, stride=2, padding=1, output_padding=1, groups=2),
        (2, 4, 7, 5),
        (4, 3, 3, 3),
    ),
    ("adaptive_max_pool2d", lambda x, w: F.adaptive_max_pool2d(x, (4, 3)) * w, (2, 3, 9, 7), (4, 3)),
    ("linear", lambda x, w: F.linear(x, w), (7, 33), (65, 33)),
    ("batch_norm", lambda x, w: F.batch_norm(x, None, None, weight=w, training=True), (5, 3, 7, 9), (3,)),
    ("bias_relu", lambda x, w: F.bias_relu(x, w), (3, 5, 9, 7), (5,)),
    ("softmax", lambda x, w: F.softmax(x, dim=1) * w, (7, 33), (33,)),
    ("log_softmax", lambda x, w: F.log_softmax(x, dim=1) * w, (7, 33), (33,)),
    ("cross_entropy", lambda x, w: F.cross_entropy(x * w, x.argmax(1), label_smoothing=0.1), (9, 33), (33,)),
]


def _pooled(x: Any, w: Any) -> Any:
    """relu of the maxima of a convolution, in one operation where there is one."""
    y, pooled = conv2d_pooled(x, w, None, 1, 1, 1, 1)
    return y if pooled else F.max_pool2d(y, 2).relu()


def _gradients(device: str, function: Callable[..., Any], arrays: list[np.ndarray]) -> list[np.ndarray]:
    """The result and the gradients of its sum of squares."""
    tensors = [nnlab.from_numpy(a).to(device).requires_grad_() for a in arrays]
    y = function(*tensors)
    if y.requires_grad:
        (y * y).sum().backward()
    return [y.detach().cpu().numpy(), *(t.grad.cpu().numpy() for t in tensors if t.grad is not None)]


def _close(found: list[np.ndarray], wanted: list[np.ndarray], terms: int) -> None:
    for a, b in zip(found, wanted, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        rtol = tolerance(a.dtype, terms)
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * float(np.abs(b).max(initial=1)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer[0])
def test_layers(layer: tuple[Any, ...], dtype: str) -> None:
    _, function, *shapes = layer
    arrays = [rng(121, i).standard_normal(shape).astype(dtype) for i, shape in enumerate(shapes)]
    found, wanted = (_gradients(device, function, arrays) for device in ("cuda", "cpu"))
    _close(found, wanted, 1000)


@pytest.mark.parametrize("lengths", [None, [7, 2, 5]])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_recurrent_layers(name: str, dtype: str, lengths: list[int] | None) -> None:
    layer = getattr(nn, name)(5, 33, num_layers=2, bidirectional=True).to(dtype=dtype)
    x = nnlab.randn(7, 3, 5, dtype=dtype)
    results = []
    for device in ("cpu", "cuda"):
        layer.to(device).zero_grad()
        given: Any = x.detach().to(device).requires_grad_()
        packed = given if lengths is None else nn.utils.rnn.pack_padded_sequence(given, lengths, enforce_sorted=False)
        y, last = layer(packed)
        y = y if lengths is None else y.data
        (y * y).sum().backward()
        states = last if isinstance(last, tuple) else (last,)
        grads = [given.grad, *(p.grad for p in layer.parameters())]
        results.append([t.detach().cpu().numpy() for t in (y, *states, *grads)])
    # A difference of one step passes through the steps and layers after it.
    _close(results[1], results[0], 1000)


@pytest.mark.parametrize("function", FUNCTIONS, ids=IDS)
def test_tensor_operations(function: Any) -> None:
    def of_library(*tensors: Any) -> Any:
        return function(nnlab, *tensors)

    arrays = [t.detach().numpy() for t in operands()]
    found, wanted = (_gradients(device, of_library, arrays) for device in ("cuda", "cpu"))
    _close(found, wanted, 100)


def test_training_follows_the_cpu() -> None:
    """Losses and weights of a network with everything in it; sums are added up in another order."""
    (losses, weights), (host_losses, host_weights) = train("cuda"), train("cpu")
    np.testing.assert_allclose(losses, host_losses, rtol=1e-4)
    for name, value in weights.items():
        np.testing.assert_allclose(value, host_weights[name], rtol=1e-3, atol=1e-4, err_msg=name)


def _alexnet(steps: int, images: int = 16) -> list[float]:
    """Losses of AlexNet on some images of noise, with momentum and dropout."""
    nnlab.manual_seed(0)
    model = alexnet(num_classes=10, dropout=0.2).to("cuda")
    x = nnlab.from_numpy(rng(122).standard_normal((images, 3, 95, 95)).astype(np.float32)).to("cuda")
    target = nnlab.from_numpy(np.arange(images) % 10).to("cuda")
    optimizer = nnlab.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def test_alexnet_learns_and_twice_the_same(record_property: Callable[[str, object], None]) -> None:
    losses = _alexnet(60)
    record_property("alexnet losses", losses)
    assert abs(losses[0] - np.log(10)) < 0.05
    assert np.mean(losses[-5:]) < 0.5 * losses[0]
    assert _alexnet(10) == losses[:10]
