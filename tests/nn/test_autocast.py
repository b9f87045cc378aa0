"""``autocast`` over functions and layers: the lists, against PyTorch's; networks against PyTorch's and float32."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import Tensor, autocast, nn
from nnlab.backend import emulated
from nnlab.data.readers.digits import read_digits
from nnlab.errors import DtypeError
from nnlab.nn import functional
from nnlab.testing import tolerance
from tests.nn.peer import arrays, close

EXPONENTIALS = ("exp", "expm1", "log", "log1p", "log2", "log10", "tan", "rsqrt", "reciprocal", "square")
METHODS = ("mean", "var", "std", "sqrt", "sin", "cos", "atan", "tanh", "sigmoid", "abs", "amax", "exp_", "relu")
ACTIVATIONS = (
    "gelu",
    "silu",
    "mish",
    "elu",
    "selu",
    "hardswish",
    "leaky_relu",
    "logsigmoid",
    "glu",
    "softsign",
    "dropout",
)

# Calls in both libraries: lib is the library, F its functional, f(*shape) a float32 tensor, h(*shape) a float16 one,
# n(*shape) a tensor of class numbers.
LOW: dict[str, Callable[..., Any]] = {
    "matmul": lambda lib, F, f, h, n: lib.matmul(f(2, 2), h(2, 2)),
    "@": lambda lib, F, f, h, n: f(2, 2) @ h(2),
    "linear": lambda lib, F, f, h, n: F.linear(h(2, 3), f(4, 3), f(4)),
    "conv1d": lambda lib, F, f, h, n: F.conv1d(f(1, 2, 5), f(3, 2, 3), f(3)),
    "conv2d": lambda lib, F, f, h, n: F.conv2d(h(1, 2, 5, 5), f(3, 2, 3, 3), f(3)),
    "conv3d": lambda lib, F, f, h, n: F.conv3d(f(1, 2, 5, 5, 5), f(3, 2, 3, 3, 3)),
    "conv_transpose1d": lambda lib, F, f, h, n: F.conv_transpose1d(f(1, 2, 5), f(2, 3, 3), f(3)),
    "conv_transpose2d": lambda lib, F, f, h, n: F.conv_transpose2d(h(1, 2, 5, 5), f(2, 3, 3, 3), f(3)),
    "conv_transpose3d": lambda lib, F, f, h, n: F.conv_transpose3d(f(1, 2, 5, 5, 5), f(2, 3, 3, 3, 3)),
    "attention": lambda lib, F, f, h, n: F.scaled_dot_product_attention(h(1, 2, 3, 4), f(1, 2, 3, 4), f(1, 2, 3, 4)),
    "prelu": lambda lib, F, f, h, n: F.prelu(h(2, 3), f(3)),
}
FLOAT32: dict[str, Callable[..., Any]] = {
    **{name: lambda lib, F, f, h, n, name=name: getattr(h(3), name)() for name in EXPONENTIALS},
    "**": lambda lib, F, f, h, n: h(3) ** 2.5,
    "** tensor": lambda lib, F, f, h, n: h(3) ** h(3),
    "2 **": lambda lib, F, f, h, n: 2.0 ** h(3),
    "sum": lambda lib, F, f, h, n: h(3).sum(),
    "prod": lambda lib, F, f, h, n: h(3).prod(),
    "norm": lambda lib, F, f, h, n: h(3).norm(),
    "cumsum": lambda lib, F, f, h, n: h(3).cumsum(0),
    "logsumexp": lambda lib, F, f, h, n: h(2, 3).logsumexp(1),
    "softmax": lambda lib, F, f, h, n: F.softmax(h(2, 3), 1),
    "Tensor.softmax": lambda lib, F, f, h, n: h(2, 3).softmax(1),
    "softmin": lambda lib, F, f, h, n: F.softmin(h(2, 3), 1),
    "log_softmax": lambda lib, F, f, h, n: F.log_softmax(h(2, 3), 1),
    "softplus": lambda lib, F, f, h, n: F.softplus(h(3)),
    "layer_norm": lambda lib, F, f, h, n: F.layer_norm(h(2, 3), (3,), f(3), f(3)),
    "rms_norm": lambda lib, F, f, h, n: F.rms_norm(h(2, 3), (3,), f(3)),
    "group_norm": lambda lib, F, f, h, n: F.group_norm(h(2, 4, 3), 2, f(4), f(4)),
    "local_response_norm": lambda lib, F, f, h, n: F.local_response_norm(h(2, 4, 3), 3),
    "bilinear": lambda lib, F, f, h, n: F.bilinear(h(2, 3), h(2, 4), f(5, 3, 4), f(5)),
    "interpolate": lambda lib, F, f, h, n: F.interpolate(h(1, 2, 3, 3), scale_factor=2, mode="bilinear"),
    "lp_pool": lambda lib, F, f, h, n: F.lp_pool2d(h(1, 2, 4, 4), 2.0, 2),
    "embedding": lambda lib, F, f, h, n: F.embedding(n(2), f(3, 4)),
    "cross_entropy": lambda lib, F, f, h, n: F.cross_entropy(h(2, 3), n(2), f(3)),
    "cross_entropy soft": lambda lib, F, f, h, n: F.cross_entropy(h(2, 3), h(2, 3)),
    "nll_loss": lambda lib, F, f, h, n: F.nll_loss(h(2, 3), n(2)),
    "mse_loss": lambda lib, F, f, h, n: F.mse_loss(h(3), f(3)),
    "l1_loss": lambda lib, F, f, h, n: F.l1_loss(h(3), h(3)),
    "smooth_l1_loss": lambda lib, F, f, h, n: F.smooth_l1_loss(h(3), h(3)),
    "huber_loss": lambda lib, F, f, h, n: F.huber_loss(h(3), h(3)),
    "kl_div": lambda lib, F, f, h, n: F.kl_div(h(3), h(3), reduction="sum"),
    "poisson_nll_loss": lambda lib, F, f, h, n: F.poisson_nll_loss(h(3), h(3)),
    "binary_cross_entropy_with_logits": lambda lib, F, f, h, n: F.binary_cross_entropy_with_logits(h(3), f(3)),
    "soft_margin_loss": lambda lib, F, f, h, n: F.soft_margin_loss(h(3), h(3)),
    "multilabel_soft_margin_loss": lambda lib, F, f, h, n: F.multilabel_soft_margin_loss(h(2, 3), h(2, 3)),
    "multilabel_margin_loss": lambda lib, F, f, h, n: F.multilabel_margin_loss(h(2, 3), n(2, 3)),
    "multi_margin_loss": lambda lib, F, f, h, n: F.multi_margin_loss(h(2, 3), n(2)),
    "hinge_embedding_loss": lambda lib, F, f, h, n: F.hinge_embedding_loss(h(3), h(3)),
    "margin_ranking_loss": lambda lib, F, f, h, n: F.margin_ranking_loss(h(3), h(3), h(3)),
    "cosine_similarity": lambda lib, F, f, h, n: F.cosine_similarity(h(2, 3), h(2, 3)),
    "cosine_embedding_loss": lambda lib, F, f, h, n: F.cosine_embedding_loss(h(2, 3), h(2, 3), h(2)),
    "pairwise_distance": lambda lib, F, f, h, n: F.pairwise_distance(h(2, 3), h(2, 3)),
    "triplet_margin_loss": lambda lib, F, f, h, n: F.triplet_margin_loss(h(2, 3), h(2, 3), h(2, 3)),
    "triplet_margin_with_distance_loss": lambda lib, F, f, h, n: F.triplet_margin_with_distance_loss(
        h(2, 3), h(2, 3), h(2, 3)
    ),
    "cat": lambda lib, F, f, h, n: lib.cat([h(2), f(2)]),
    "stack": lambda lib, F, f, h, n: lib.stack([h(2), f(2)]),
    "+": lambda lib, F, f, h, n: h(2) + f(2),
}
SAME: dict[str, Callable[..., Any]] = {
    **{name: lambda lib, F, f, h, n, name=name: getattr(h(3), name)() for name in METHODS},
    **{name: lambda lib, F, f, h, n, name=name: getattr(F, name)(h(2, 4)) for name in ACTIVATIONS},
    "max_pool2d": lambda lib, F, f, h, n: F.max_pool2d(h(1, 1, 4, 4), 2),
    "avg_pool2d": lambda lib, F, f, h, n: F.avg_pool2d(h(1, 1, 4, 4), 2),
    "adaptive_avg_pool2d": lambda lib, F, f, h, n: F.adaptive_avg_pool2d(h(1, 1, 4, 4), 2),
    "area": lambda lib, F, f, h, n: F.interpolate(h(1, 2, 4, 4), 2, mode="area"),
}
# What PyTorch's stand-ins for tensors on a card do not run, or what it refuses under autocast.
OURS: dict[str, tuple[str, Callable[..., Any]]] = {
    "binary_cross_entropy": ("float32", lambda lib, F, f, h, n: F.binary_cross_entropy(h(3), f(3))),
    "ctc_loss": ("float32", lambda lib, F, f, h, n: F.ctc_loss(h(4, 1, 3), n(1, 2) + 1, (4,), (2,))),
    "gaussian_nll_loss": ("float32", lambda lib, F, f, h, n: F.gaussian_nll_loss(h(3), h(3), h(3))),
    "conv_relu": ("float16", lambda lib, F, f, h, n: F.conv_relu(f(1, 2, 4), f(3, 2, 2), f(3))),
    "bias_relu": ("float16", lambda lib, F, f, h, n: F.bias_relu(f(2, 3), f(3))),
    "batch_norm": ("float16", lambda lib, F, f, h, n: F.batch_norm(h(2, 3, 4), f(3), f(3), f(3), f(3), True)),
    "batch_norm eval": ("float16", lambda lib, F, f, h, n: F.batch_norm(h(2, 3, 4), f(3), f(3), f(3), f(3))),
    "instance_norm": ("float16", lambda lib, F, f, h, n: F.instance_norm(h(2, 3, 4), f(3), f(3), f(3), f(3))),
}
LISTS: dict[str, tuple[str, Callable[..., Any]]] = {
    **{name: ("float16", call) for name, call in (LOW | SAME).items()},
    **{name: ("float32", call) for name, call in FLOAT32.items()},
}


def half(*shape: int, dtype: Any = nnlab.float16) -> Tensor:
    """Positive numbers, so that every function is defined."""
    return nnlab.full(shape, 0.5, dtype=dtype)


def single(*shape: int) -> Tensor:
    return half(*shape, dtype=nnlab.float32)


def numbers(*shape: int) -> Tensor:
    return nnlab.zeros(*shape, dtype=nnlab.int64)


@pytest.mark.parametrize("name", [*LISTS, *OURS])
def test_dtypes(name: str) -> None:
    expected, call = (LISTS | OURS)[name]
    with autocast("cpu", nnlab.float16):
        y = call(nnlab, functional, single, half, numbers)
    assert y.dtype.name == expected


@pytest.mark.torch
@pytest.mark.parametrize("name", LISTS)
def test_dtypes_are_those_of_pytorch_on_a_card(name: str) -> None:
    """PyTorch's rules for "cuda" need no card: its fake tensors have shapes and dtypes alone."""
    torch = pytest.importorskip("torch")
    fake = pytest.importorskip("torch._subclasses.fake_tensor")
    expected, call = LISTS[name]

    def new(dtype: Any) -> Callable[..., Any]:
        return lambda *shape: torch.empty(*shape, device="cuda", dtype=dtype)

    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", torch.float16)
    try:
        with fake.FakeTensorMode():
            y = call(torch, torch.nn.functional, new(torch.float32), new(torch.float16), new(torch.int64))
    finally:
        torch.set_autocast_enabled("cuda", before[0])
        torch.set_autocast_dtype("cuda", before[1])
    assert str(y.dtype) == f"torch.{expected}"


def test_values_of_the_low_list_are_those_of_rounded_arguments() -> None:
    nnlab.manual_seed(2)
    x, w, b = nnlab.randn(2, 3, 6, 6), nnlab.randn(4, 3, 3, 3), nnlab.randn(4)
    with autocast("cpu"):
        y = functional.conv2d(x, w, b)
    np.testing.assert_array_equal(
        y.float().numpy(), functional.conv2d(x.bfloat16(), w.bfloat16(), b.bfloat16()).float().numpy()
    )


def test_values_of_the_float32_list_are_not_rounded_between() -> None:
    """264 and 1 + 2**-7 are bfloat16 numbers; their difference is none (262 is next to it), nor is its square."""
    a, b = nnlab.tensor([264.0]).bfloat16(), nnlab.tensor([1 + 2.0**-7]).bfloat16()
    with autocast("cpu"):
        loss = functional.mse_loss(a, b)
    assert loss.item() == np.float32(263 - 2.0**-7) ** 2
    assert functional.mse_loss(a, b).item() == 68608.0  # of 262**2 = 68644, in steps of 512


LAYERS: list[tuple[str, nn.Module, tuple[int, ...], str]] = [
    ("LSTM", nn.LSTM(3, 4, 2, bidirectional=True), (5, 2, 3), "bfloat16"),
    ("LSTM with projections", nn.LSTM(3, 4, proj_size=2), (5, 2, 3), "bfloat16"),
    ("GRU", nn.GRU(3, 4, batch_first=True), (2, 5, 3), "bfloat16"),
    ("RNN", nn.RNN(3, 4), (5, 3), "bfloat16"),
    ("LSTMCell", nn.LSTMCell(3, 4), (2, 3), "bfloat16"),
    ("TransformerEncoderLayer", nn.TransformerEncoderLayer(4, 2, 8, 0.0), (5, 2, 4), "float32"),
    ("ConvTranspose2d", nn.ConvTranspose2d(2, 3, 3), (2, 2, 4, 4), "bfloat16"),
    ("Linear, BatchNorm1d, PReLU", nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.PReLU()), (5, 3), "bfloat16"),
]


@pytest.mark.parametrize(("module", "shape", "dtype"), [case[1:] for case in LAYERS], ids=[case[0] for case in LAYERS])
def test_layers_of_float32_weights(module: nn.Module, shape: tuple[int, ...], dtype: str) -> None:
    """Results are near those in float32 (sums of up to 8 terms, rounded up to ten times); gradients are float32."""
    nnlab.manual_seed(5)
    x = nnlab.randn(*shape)
    results = []
    for enabled in (False, True):
        module.zero_grad()
        with autocast("cpu", enabled=enabled):
            y = module(x)
            y = y[0] if isinstance(y, tuple) else y
            y.sum().backward()
        gradients = {name: param.grad for name, param in module.named_parameters()}
        assert {g.dtype.name for g in gradients.values()} == {"float32"}
        results.append((y, gradients))
    (exact, exact_gradients), (y, gradients) = results
    assert exact.dtype.name == "float32" and y.dtype.name == dtype
    close(y.float(), exact.numpy() if exact.is_leaf else exact.detach().numpy(), "output", 10 * 2.0**-8)
    for name, gradient in gradients.items():
        close(gradient, exact_gradients[name].numpy(), name, 10 * 2.0**-8)


def test_states_may_be_float32() -> None:
    lstm = nn.LSTM(3, 4)
    state = nnlab.randn(1, 2, 4), nnlab.randn(1, 2, 4)
    with autocast("cpu"):
        _, (h, c) = lstm(nnlab.randn(5, 2, 3), state)
    assert h.dtype == c.dtype == nnlab.bfloat16
    with pytest.raises(DtypeError, match="'input' is bfloat16 but 'weight_ih_l0' is float32"):
        lstm(nnlab.randn(5, 2, 3).bfloat16(), state)


def test_running_statistics_stay_float32() -> None:
    """And move by what is computed in float32: the mean of 1 and 1 + 2**-7 is no bfloat16."""
    norm = nn.BatchNorm1d(1, momentum=1.0)
    x = nnlab.tensor([[1.0], [1 + 2.0**-7]]).bfloat16()
    with autocast("cpu"):
        norm(x)
    assert norm.running_mean.dtype == nnlab.float32 and norm.running_mean.item() == 1 + 2.0**-8


def error(y: Tensor, exact: Tensor) -> float:
    """The largest, over the root mean square of the exact result."""
    a, b = y.detach().double().numpy(), exact.detach().numpy()
    return float(np.abs(a - b).max() / np.sqrt((b**2).mean()))


def tf32(x: Tensor) -> Tensor:
    """Rounded to 11 significant bits, ties to even."""
    bits = x.numpy().view(np.uint32)
    return nnlab.tensor((bits + 0xFFF + (bits >> 13 & 1) & np.uint32(0xFFFFE000)).view(np.float32))


def lstm(x: Tensor, *weights: Tensor) -> Tensor:
    layer = nn.LSTM(64, 64, dtype=x.dtype if x.dtype == nnlab.float64 else None)
    layer.load_state_dict(dict(zip(layer.state_dict(), weights, strict=True)))
    return layer(x)[0]


# docs/numerics.md, "Mixed precision": function, shapes, errors in float32, TF32 (0: not told), float16 and bfloat16.
ACCURACY: dict[str, tuple[Callable[..., Tensor], list[tuple[int, ...]], tuple[float, ...]]] = {
    "matmul": (nnlab.matmul, [(128, 1024), (1024, 128)], (4e-6, 2e-3, 4e-3, 3e-2)),
    "linear": (functional.linear, [(128, 1024), (128, 1024), (128,)], (4e-6, 2e-3, 4e-3, 3e-2)),
    "conv2d": (functional.conv2d, [(2, 64, 16, 16), (64, 64, 3, 3)], (4e-6, 2e-3, 4e-3, 3e-2)),
    "conv_transpose2d": (functional.conv_transpose2d, [(2, 64, 8, 8), (64, 64, 3, 3)], (4e-6, 2e-3, 4e-3, 3e-2)),
    "attention": (functional.scaled_dot_product_attention, [(2, 4, 64, 32)] * 3, (4e-6, 0, 1e-2, 6e-2)),
    "lstm": (lstm, [(50, 8, 64), (256, 64), (256, 64), (256,), (256,)], (4e-6, 0, 5e-3, 5e-2)),
    "softmax": (lambda x: functional.softmax(x, 1), [(64, 100)], (2e-6, 0, 2e-6, 2e-6)),
    "layer_norm": (lambda x: functional.layer_norm(x, (100,)), [(64, 100)], (2e-6, 0, 2e-6, 2e-6)),
    "cross_entropy": (lambda x: functional.cross_entropy(x, nnlab.arange(64)), [(64, 100)], (2e-6, 0, 2e-6, 2e-6)),
    "sum": (lambda x: x.sum(1), [(64, 10_000)], (2e-6, 0, 2e-6, 2e-6)),
}


@pytest.mark.parametrize("name", ACCURACY)
def test_accuracy(name: str) -> None:
    """As the documentation says, and no better than a tenth of it."""
    function, shapes, said = ACCURACY[name]
    nnlab.manual_seed(7)
    given = [nnlab.randn(*shape) * (0.1 if name == "lstm" and i else 1.0) for i, shape in enumerate(shapes)]
    exact = function(*[x.double() for x in given])
    found = [error(function(*given), exact), error(function(*map(tf32, given)), exact) if said[1] else 0.0]
    for dtype in ("float16", "bfloat16"):
        with autocast("cpu", dtype):
            found.append(error(function(*given), exact))

    for error_found, most in zip(found, said, strict=True):
        assert error_found <= most and (error_found >= most / 10 or most < 1e-5), found


def cnn() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 10),
    )


@pytest.mark.parametrize("name", ["batch_norm", "instance_norm"])
def test_gradients_of_a_norms_weights_are_summed_in_float32(name: str) -> None:
    """The bias takes the sum of 1 and 2**-10, which is no bfloat16."""
    x, one = nnlab.tensor([[[1.0, 2.0]]]).bfloat16(), nnlab.ones(1)
    weight, bias = (nnlab.ones(1).requires_grad_() for _ in range(2))
    options = {"training": True} if name == "batch_norm" else {}
    with autocast("cpu"):
        y = getattr(functional, name)(x, one * 0, one, weight, bias, **options)
    y.backward(nnlab.tensor([[[1.0, 2.0**-10]]]).bfloat16())
    assert bias.grad is not None and bias.grad.item() == 1 + 2.0**-10
    assert weight.grad is not None and abs(weight.grad.item() + 1 - 2.0**-10) < 1e-4


@pytest.mark.torch
def test_a_network_as_in_pytorch() -> None:
    """Loss and gradients of one step in bfloat16. Both round at the same places, to 8 bits, but add up in other orders,
    so that single roundings differ: by at most four of the largest element."""
    torch = pytest.importorskip("torch")
    t = torch.nn
    torch.manual_seed(0)
    theirs = t.Sequential(
        t.Conv2d(1, 8, 3, padding=1, bias=False), t.BatchNorm2d(8), t.ReLU(), t.MaxPool2d(2),
        t.Conv2d(8, 16, 3, padding=1), t.ReLU(), t.Flatten(), t.Linear(256, 10),
    )  # fmt: skip
    ours = cnn()
    ours.load_state_dict(arrays(theirs.state_dict()))
    x = np.random.default_rng(1).standard_normal((16, 1, 8, 8), np.float32)
    target = np.arange(16) % 10
    with autocast("cpu"):
        y = ours(nnlab.tensor(x))
        loss = functional.cross_entropy(y, nnlab.tensor(target))
    with torch.autocast("cpu"):
        z = theirs(torch.tensor(x))
        other = torch.nn.functional.cross_entropy(z, torch.tensor(target))
    loss.backward()
    other.backward()
    assert y.dtype.name == "bfloat16" and z.dtype == torch.bfloat16
    assert loss.dtype.name == "float32" and other.dtype == torch.float32
    close(loss, other, "loss", 2.0**-8)
    expected = dict(theirs.named_parameters())
    for name, param in ours.named_parameters():
        gradient = expected[name].grad
        assert param.grad is not None and param.grad.dtype.name == "float32" and gradient.dtype == torch.float32
        largest = float(gradient.abs().max())
        close(param.grad / largest, gradient / largest, name, 4 * 2.0**-8)


def accuracy(dtype: str | None) -> float:
    """Of the quarter of the digits that a small network did not learn from, after 5 epochs."""
    images, labels = read_digits()
    x, target = nnlab.tensor(images[:, None].astype(np.float32) / 255), nnlab.tensor(labels)
    learn, held = np.arange(len(images)) % 4 != 0, np.arange(len(images)) % 4 == 0
    nnlab.manual_seed(3)
    model = cnn()
    optimizer = nnlab.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    scaler = nnlab.amp.GradScaler("cpu", enabled=dtype == "float16")
    places = np.flatnonzero(learn)
    for _ in range(5):
        for start in range(0, len(places), 50):
            batch = nnlab.tensor(places[start : start + 50])
            optimizer.zero_grad()
            with autocast("cpu", dtype, enabled=dtype is not None):
                loss = functional.cross_entropy(model(x[batch]), target[batch])
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
    assert {p.dtype.name for p in model.parameters()} == {"float32"}
    model.eval()
    rest = nnlab.tensor(np.flatnonzero(held))
    with nnlab.no_grad():
        return (model(x[rest]).argmax(1) == target[rest]).to(nnlab.float32).mean().item()


def test_training_reaches_the_accuracy_of_float32() -> None:
    """But for what other roundings do to any training: 9 of 450 digits."""
    exact = accuracy(None)
    assert exact > 0.95
    for dtype in ("bfloat16", "float16"):
        assert abs(accuracy(dtype) - exact) <= 0.02, dtype


@pytest.mark.skipif(emulated.why_unusable() is not None, reason="kernels cannot run on this CPU")
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_kernels(dtype: str) -> None:
    """The steps on ``emulated`` are those of the array code: convolution, pooling, relu, cross-entropy and SGD run
    through kernels, which add up in another order."""
    nnlab.manual_seed(6)
    start, x, target = cnn(), nnlab.randn(4, 1, 8, 8), nnlab.randint(0, 10, (4,))
    states = []
    for device in ("cpu", "emulated"):
        model = copy.deepcopy(start).to(device)
        optimizer = nnlab.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        scaler = nnlab.amp.GradScaler(device, init_scale=1024.0)
        for _ in range(2):
            optimizer.zero_grad()
            with autocast(device, dtype):
                loss = functional.cross_entropy(model(x.to(device)), target.to(device))
            assert loss.dtype.name == "float32"
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
        states.append(model.state_dict())
    for name, value in states[0].items():
        close(states[1][name], value.numpy(), name, tolerance(dtype))
