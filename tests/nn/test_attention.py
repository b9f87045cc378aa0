"""Scaled dot-product attention, MultiheadAttention and the transformer layers against PyTorch."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import nn
from nnlab.errors import ArgumentError, DtypeError, NNLabError, ShapeError
from nnlab.nn import functional as F
from nnlab.testing import gradcheck, gradgradcheck
from tests.nn.peer import close, compare, normals, pair
from tests.ops.common import pytorch, scattered

CAUSAL = np.tril(np.ones((4, 4), bool))
SOME = np.array([[1, 1, 0, 1, 0], [0, 1, 1, 1, 1], [1, 0, 0, 0, 0], [1, 1, 1, 1, 1]], bool)

# Shapes of query, key, value; other arguments.
PRODUCTS: list[tuple[tuple[tuple[int, ...], ...], dict[str, Any]]] = [
    (((4, 3), (5, 3), (5, 2)), {}),
    (((2, 4, 3), (2, 5, 3), (2, 5, 2)), {"scale": 0.3}),
    (((2, 3, 4, 6), (2, 3, 5, 6), (2, 3, 5, 4)), {"attn_mask": SOME}),
    (((2, 3, 4, 6), (2, 3, 5, 6), (2, 3, 5, 4)), {"attn_mask": normals(4, 5)}),
    (((2, 3, 4, 6), (2, 3, 5, 6), (2, 3, 5, 4)), {"attn_mask": normals(2, 1, 4, 5)}),
    (((2, 3, 4, 6), (2, 3, 5, 6), (2, 3, 5, 4)), {"is_causal": True}),
    (((2, 3, 5, 6), (2, 3, 4, 6), (2, 3, 4, 6)), {"is_causal": True, "scale": 2.0}),
    (((2, 6, 4, 3), (2, 2, 5, 3), (2, 2, 5, 3)), {"enable_gqa": True}),
    (((0, 3, 4, 6), (0, 3, 5, 6), (0, 3, 5, 6)), {}),
]


def tensors(values: dict[str, Any], make: Callable[[Any], Any]) -> dict[str, Any]:
    return {key: make(value) if isinstance(value, np.ndarray) else value for key, value in values.items()}


@pytest.mark.torch
@pytest.mark.parametrize(("shapes", "options"), PRODUCTS)
def test_products_against_torch(shapes: tuple[tuple[int, ...], ...], options: dict[str, Any]) -> None:
    torch = pytorch()
    arrays = [normals(*shape, seed=i) for i, shape in enumerate(shapes)]
    ours = [nnlab.from_numpy(scattered(a)).requires_grad_() for a in arrays]
    theirs = [torch.tensor(a, requires_grad=True) for a in arrays]
    y = F.scaled_dot_product_attention(*ours, **tensors(options, nnlab.tensor))
    z = torch.nn.functional.scaled_dot_product_attention(*theirs, **tensors(options, torch.tensor))
    close(y, z)
    (y * y).sum().backward()
    (z * z).sum().backward()
    for one, other in zip(ours, theirs):
        close(one.grad, other.grad)


@pytest.mark.torch
def test_a_query_that_may_look_at_nothing_gets_zeros() -> None:
    torch = pytorch()
    mask = SOME.copy()
    mask[1] = False
    arrays = [normals(4, 3), normals(5, 3), normals(5, 2)]
    ours = [nnlab.tensor(a, requires_grad=True) for a in arrays]
    y = F.scaled_dot_product_attention(*ours, attn_mask=nnlab.tensor(mask))
    assert y[1].tolist() == [0, 0]
    theirs = [torch.tensor(a) for a in arrays]
    close(y, torch.nn.functional.scaled_dot_product_attention(*theirs, attn_mask=torch.tensor(mask)))
    y.sum().backward()
    for tensor in ours:
        assert np.isfinite(tensor.grad.numpy()).all()
    assert not ours[0].grad.numpy()[1].any()


def test_worked_numbers() -> None:
    """Scores 0 and ln 3 after the scale: weights 1/4 and 3/4."""
    query, key = nnlab.tensor([[2.0 * math.log(3), 0, 0, 0]]), nnlab.tensor([[0.0, 0, 0, 0], [1, 0, 0, 0]])
    y = F.scaled_dot_product_attention(query, key, nnlab.tensor([[4.0, 0], [0, 4]]))
    np.testing.assert_allclose(y.numpy(), [[1, 3]], rtol=1e-6)


def test_dropout_of_the_weights_given_the_mask() -> None:
    q, k, v = (nnlab.tensor(normals(2, 4, 3, seed=i)) for i in range(3))
    weights = F.softmax(q @ k.transpose(1, 2) / math.sqrt(3), -1)
    nnlab.manual_seed(3)
    keep = F.dropout(nnlab.ones(2, 4, 4, dtype=nnlab.float64), 0.4)
    nnlab.manual_seed(3)
    close(F.scaled_dot_product_attention(q, k, v, dropout_p=0.4), (weights * keep @ v).numpy())
    layer = nn.MultiheadAttention(6, 2, dropout=0.4, batch_first=True).double()
    x = nnlab.tensor(normals(2, 4, 6))
    calm, weights = layer.eval()(x, x, x, average_attn_weights=False)
    nnlab.manual_seed(3)
    keep = F.dropout(nnlab.ones(2, 2, 4, 4, dtype=nnlab.float64), 0.4)
    nnlab.manual_seed(3)
    y, dropped = layer.train()(x, x, x, average_attn_weights=False)
    close(dropped, (weights * keep).detach().numpy())
    assert np.abs((y - calm).detach().numpy()).max() > 0.01


def test_gradients_of_any_order() -> None:
    inputs = [
        nnlab.tensor(normals(*shape, seed=i), requires_grad=True) for i, shape in enumerate(((3, 2), (4, 2), (4, 3)))
    ]
    for options in ({}, {"is_causal": True}, {"attn_mask": nnlab.tensor(normals(3, 4))}):
        assert gradcheck(lambda *a, options=options: F.scaled_dot_product_attention(*a, **options), inputs)
        assert gradgradcheck(lambda *a, options=options: F.scaled_dot_product_attention(*a, **options), inputs)
    x = nnlab.tensor(normals(3, 2, 4), requires_grad=True)
    layer = nn.TransformerEncoderLayer(4, 2, 5, 0.0, F.tanh).double()
    assert gradcheck(layer, x)
    assert gradgradcheck(layer, x)


def test_half_precision_is_close_to_float64() -> None:
    q, k, v = (normals(2, 4, 3, seed=i).astype(np.float16) for i in range(3))
    y = F.scaled_dot_product_attention(*map(nnlab.tensor, (q, k, v)), is_causal=True)
    assert y.dtype == nnlab.float16
    want = F.scaled_dot_product_attention(*(nnlab.tensor(a.astype(np.float64)) for a in (q, k, v)), is_causal=True)
    # Query, scores, weights and result are each rounded to 11 bits.
    np.testing.assert_allclose(y.numpy(), want.numpy(), rtol=0, atol=8 * 2**-11)


PADDING = np.array([[False, False, True, False, True], [False, False, False, False, False]])
FOURS = {"embed_dim": 6, "num_heads": 2}
# Constructor's arguments, shapes of query, key, value (None: the one before, the same object), call's arguments.
HEADS: list[tuple[dict[str, Any], tuple[tuple[int, ...] | None, ...], dict[str, Any]]] = [
    ({}, ((4, 2, 6), None, None), {}),
    ({"batch_first": True}, ((2, 4, 6), None, None), {"average_attn_weights": False}),
    ({"bias": False}, ((4, 2, 6), (5, 2, 6), None), {}),
    ({}, ((4, 2, 6), (5, 2, 6), (5, 2, 6)), {"need_weights": False}),
    ({"bias": False, "kdim": 3}, ((4, 2, 6), (5, 2, 3), (5, 2, 6)), {}),
    ({"kdim": 3, "vdim": 7, "batch_first": True}, ((2, 4, 6), (2, 5, 3), (2, 5, 7)), {"attn_mask": ~SOME}),
    ({}, ((4, 6), (5, 6), None), {"key_padding_mask": PADDING[0]}),
    ({}, ((4, 6), None, None), {"attn_mask": ~CAUSAL, "average_attn_weights": False}),
    ({}, ((4, 2, 6), (5, 2, 6), None), {"key_padding_mask": PADDING, "attn_mask": normals(4, 5)}),
    ({}, ((4, 2, 6), (5, 2, 6), None), {"key_padding_mask": PADDING * -2.0}),
    ({"batch_first": True}, ((2, 4, 6), (2, 5, 6), None), {"attn_mask": normals(4, 4, 5), "key_padding_mask": PADDING}),
    ({}, ((4, 2, 6), None, None), {"attn_mask": ~CAUSAL, "is_causal": True, "need_weights": False}),
    ({"add_bias_kv": True}, ((4, 2, 6), (5, 2, 6), None), {"key_padding_mask": PADDING}),
    ({"add_zero_attn": True, "batch_first": True}, ((2, 4, 6), (2, 5, 6), None), {"attn_mask": ~SOME}),
    ({"add_bias_kv": True, "add_zero_attn": True, "bias": False}, ((4, 6), (5, 6), (5, 6)), {"attn_mask": ~SOME}),
    ({}, ((4, 0, 6), None, None), {"need_weights": False}),
]


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:Support for mismatched key_padding_mask:UserWarning")
@pytest.mark.parametrize(("kwargs", "shapes", "call"), HEADS)
def test_heads_against_torch(
    kwargs: dict[str, Any], shapes: tuple[tuple[int, ...] | None, ...], call: dict[str, Any]
) -> None:
    torch = pytorch()
    ours, theirs = pair("MultiheadAttention", **FOURS, **kwargs)
    arrays = [None if shape is None else normals(*shape, seed=i) for i, shape in enumerate(shapes)]

    def spread(make: Callable[[Any], Any]) -> list[Any]:
        made: list[Any] = []
        for array in arrays:
            made.append(made[-1] if array is None else make(array))
        return made

    a = spread(lambda x: nnlab.from_numpy(scattered(x)).requires_grad_())
    b = spread(lambda x: torch.tensor(x, requires_grad=True))
    (y, weights), (z, expected) = ours(*a, **tensors(call, nnlab.tensor)), theirs(*b, **tensors(call, torch.tensor))
    close(y, z)
    if expected is None:
        assert weights is None
    else:
        close(weights, expected)
    (y * y).sum().backward()
    (z * z).sum().backward()
    for one, other in zip(a, b):
        close(one.grad, other.grad)
    others = dict(theirs.named_parameters())
    assert list(others) == [name for name, _ in ours.named_parameters()]
    for name, param in ours.named_parameters():
        close(param.grad, others[name].grad, name)
    assert list(ours.state_dict()) == list(theirs.state_dict())


@pytest.mark.parametrize("need_weights", [True, False])
def test_a_head_that_may_look_at_nothing(need_weights: bool) -> None:
    layer = nn.MultiheadAttention(6, 2)
    x = nnlab.tensor(normals(3, 2, 6).astype(np.float32), requires_grad=True)
    padding = nnlab.tensor([[True] * 3, [False] * 3])
    y, weights = layer(x, x, x, key_padding_mask=padding, need_weights=need_weights)
    close(y[:, 0], np.broadcast_to(layer.out_proj.bias.detach().numpy(), (3, 6)))
    if need_weights:
        assert not weights[0].any().item()
    y.sum().backward()
    assert np.isfinite(x.grad.numpy()).all()


def test_how_heads_start() -> None:
    layer = nn.MultiheadAttention(60, 4, add_bias_kv=True)
    weight = layer.in_proj_weight.detach().numpy()
    bound = math.sqrt(6 / (60 + 180))
    assert 0.95 * bound < np.abs(weight).max() <= bound
    assert not layer.in_proj_bias.any().item() and not layer.out_proj.bias.any().item()
    assert layer.bias_k.any().item()
    assert np.abs(layer.out_proj.weight.detach().numpy()).max() <= 1 / math.sqrt(60)


SMALL = {"d_model": 4, "nhead": 2, "dim_feedforward": 5}
VARIANTS: list[dict[str, Any]] = [
    {},
    {"norm_first": True, "batch_first": True},
    {"bias": False, "layer_norm_eps": 0.1},
    {"norm_first": True, "bias": False},
]
MASK = np.triu(np.full((3, 3), -np.inf), 1)
LEFT_OUT = np.array([[False, False, True], [False, False, False]])


def _shape(kwargs: dict[str, Any], length: int) -> tuple[int, ...]:
    return (2, length, 4) if kwargs.get("batch_first") else (length, 2, 4)


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:enable_nested_tensor:UserWarning", "ignore:Support for mismatched:UserWarning")
@pytest.mark.parametrize("masks", [{}, {"mask": MASK}, {"src_key_padding_mask": LEFT_OUT}])
@pytest.mark.parametrize("kwargs", VARIANTS)
def test_encoders_against_torch(kwargs: dict[str, Any], masks: dict[str, Any]) -> None:
    torch = pytorch()
    ours, theirs = pair("TransformerEncoderLayer", **SMALL, **kwargs, dropout=0.0)
    x = normals(*_shape(kwargs, 3))
    named = {"src_mask" if key == "mask" else key: value for key, value in masks.items()}
    both = [tensors(named, make) for make in (nnlab.tensor, torch.tensor)]
    compare(lambda_module(ours, both[0]), lambda_module(theirs, both[1], torch), x)
    a = nn.TransformerEncoder(ours, 2, nn.LayerNorm(4).double())
    b = torch.nn.TransformerEncoder(theirs, 2, torch.nn.LayerNorm(4).double(), enable_nested_tensor=False)
    assert list(a.state_dict()) == list(b.state_dict())
    y = a(nnlab.tensor(x), **tensors(masks, nnlab.tensor))
    close(y, b(torch.tensor(x), **tensors(masks, torch.tensor)), "stack")
    assert a.layers[0].linear1.weight is not a.layers[1].linear1.weight
    if not kwargs.get("batch_first") and not masks:
        close(ours(nnlab.tensor(x[:, 0])), theirs(torch.tensor(x[:, 0])), "no batch")


def lambda_module(module: Any, options: dict[str, Any], torch: Any = None) -> Any:
    """The module with these arguments in every call."""

    class Bound(torch.nn.Module if torch else nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.inner = module

        def forward(self, *args: Any) -> Any:
            return self.inner(*args, **options)

    return Bound()


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:Support for mismatched:UserWarning")
@pytest.mark.parametrize(
    "masks",
    [
        {},
        {"tgt_mask": MASK, "memory_key_padding_mask": LEFT_OUT},
        {"tgt_key_padding_mask": LEFT_OUT, "memory_mask": normals(3, 3)},
    ],
)
@pytest.mark.parametrize("kwargs", VARIANTS)
def test_decoders_against_torch(kwargs: dict[str, Any], masks: dict[str, Any]) -> None:
    torch = pytorch()
    ours, theirs = pair("TransformerDecoderLayer", **SMALL, **kwargs, dropout=0.0)
    x, memory = normals(*_shape(kwargs, 3)), normals(*_shape(kwargs, 3), seed=6)
    both = [tensors(masks, make) for make in (nnlab.tensor, torch.tensor)]
    compare(lambda_module(ours, both[0]), lambda_module(theirs, both[1], torch), x, memory, needs=(0, 1))
    a, b = nn.TransformerDecoder(ours, 2), torch.nn.TransformerDecoder(theirs, 2)
    assert list(a.state_dict()) == list(b.state_dict())
    close(
        a(nnlab.tensor(x), nnlab.tensor(memory), **both[0]),
        b(torch.tensor(x), torch.tensor(memory), **both[1]),
        "stack",
    )


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:enable_nested_tensor:UserWarning", "ignore:Support for mismatched:UserWarning")
@pytest.mark.parametrize("kwargs", VARIANTS)
def test_transformers_against_torch(kwargs: dict[str, Any]) -> None:
    torch = pytorch()
    sizes = {"num_encoder_layers": 2, "num_decoder_layers": 1, "dropout": 0.0}
    ours, theirs = pair("Transformer", **SMALL, **sizes, **kwargs)
    src, tgt = normals(*_shape(kwargs, 5)), normals(*_shape(kwargs, 3), seed=6)
    masks = {"tgt_mask": MASK, "src_key_padding_mask": PADDING, "memory_key_padding_mask": PADDING}
    both = [tensors(masks, make) for make in (nnlab.tensor, torch.tensor)]
    compare(lambda_module(ours, both[0]), lambda_module(theirs, both[1], torch), src, tgt, needs=(0, 1))
    assert list(ours.state_dict()) == list(theirs.state_dict())
    np.testing.assert_array_equal(ours.generate_square_subsequent_mask(3).numpy(), MASK)
    back = torch.nn.Transformer(**SMALL, **sizes, **kwargs).double()
    back.load_state_dict({key: torch.tensor(value.numpy()) for key, value in ours.state_dict().items()})


@pytest.mark.torch
@pytest.mark.parametrize("activation", ["gelu", "tanh"])
def test_other_activations(activation: str) -> None:
    torch = pytorch()
    chosen = [activation if activation == "gelu" else getattr(place, activation) for place in (F, torch)]
    pair("TransformerEncoderLayer", **SMALL)
    theirs = torch.nn.TransformerEncoderLayer(**SMALL, dropout=0.0, activation=chosen[1]).double()
    ours = nn.TransformerEncoderLayer(**SMALL, dropout=0.0, activation=chosen[0]).double()
    ours.load_state_dict({key: value.numpy() for key, value in theirs.state_dict().items()})
    compare(ours, theirs, normals(3, 2, 4))


def test_dropouts_of_the_layers_act_in_training_alone() -> None:
    x, memory = (nnlab.tensor(normals(3, 2, 4, seed=i).astype(np.float32)) for i in range(2))
    for layer, inputs, count in (
        (nn.TransformerEncoderLayer(**SMALL), (x,), 4),
        (nn.TransformerDecoderLayer(**SMALL), (x, memory), 6),
    ):
        nnlab.manual_seed(1)
        first = layer(*inputs)
        assert nnlab.default_generator.offset == count
        assert not np.array_equal(first.detach().numpy(), layer(*inputs).detach().numpy())
        layer.eval()
        close(layer(*inputs), layer(*inputs).detach().numpy())


def test_a_causal_mask_hides_what_comes_later() -> None:
    layer = nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2, 5, 0.0, batch_first=True), 2)
    mask = nn.Transformer.generate_square_subsequent_mask(5)
    x = normals(2, 5, 4).astype(np.float32)
    other = x.copy()
    other[:, 3:] += 1
    a, b = (layer(nnlab.tensor(v), mask).detach().numpy() for v in (x, other))
    np.testing.assert_allclose(a[:, :3], b[:, :3], atol=1e-6)
    assert np.abs(a[:, 3:] - b[:, 3:]).max() > 0.1


def test_a_transformer_starts_by_xavier() -> None:
    net = nn.Transformer(8, 2, 1, 1, 30)
    weight = np.abs(net.encoder.layers[0].linear1.weight.detach().numpy())
    bound = math.sqrt(6 / 38)
    assert 0.9 * bound < weight.max() <= bound


Z = nnlab.zeros


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.MultiheadAttention(5, 2), ArgumentError, "'embed_dim' must be divisible by num_heads=2, got 5"),
        (lambda: nn.MultiheadAttention(4, 2, 1.5), ArgumentError, "'p' must be a probability"),
        (lambda: nn.MultiheadAttention(4, 2)(*[Z(4)] * 3), ShapeError, "'query' must have shape (L, N, E) or (L, E)"),
        (lambda: nn.MultiheadAttention(4, 2)(Z(3, 4), Z(3, 4), Z(3, 5)), ShapeError, "'value' must have 2 dimensions"),
        (lambda: nn.MultiheadAttention(4, 2)(Z(3, 4), Z(3, 4), Z(2, 4)), ShapeError, "'value' must have the leading"),
        (
            lambda: nn.MultiheadAttention(4, 2)(Z(3, 1, 4), *[Z(3, 2, 4)] * 2),
            ShapeError,
            "'key' must have the batch size 1 of 'query', got (3, 2, 4)",
        ),
        (
            lambda: nn.MultiheadAttention(4, 2)(*[Z(3, 4)] * 3, attn_mask=Z(2, 2)),
            ShapeError,
            "'attn_mask' must have shape (3, 3) or (2, 3, 3), got (2, 2)",
        ),
        (
            lambda: nn.MultiheadAttention(4, 2)(*[Z(3, 4)] * 3, key_padding_mask=Z(2)),
            ShapeError,
            "'key_padding_mask' must have shape (1, 3), got (1, 2)",
        ),
        (
            lambda: nn.MultiheadAttention(4, 2)(*[Z(3, 4)] * 3, attn_mask=Z(3, 3, dtype=nnlab.int64)),
            DtypeError,
            "'attn_mask' must be bool or floating, got 'int64'",
        ),
        (
            lambda: nn.MultiheadAttention(4, 2)(*[Z(3, 4)] * 3, is_causal=True),
            ArgumentError,
            "'attn_mask' must be given with is_causal, got None",
        ),
        (
            lambda: F.scaled_dot_product_attention(Z(3, 4), Z(3, 5), Z(3, 4)),
            ShapeError,
            "'key' must have shape (..., S, 4), got (3, 5)",
        ),
        (
            lambda: F.scaled_dot_product_attention(Z(3, 4), Z(3, 4), Z(2, 4)),
            ShapeError,
            "'value' must have shape (..., 3, V), got (2, 4)",
        ),
        (
            lambda: F.scaled_dot_product_attention(Z(4), Z(3, 4), Z(2, 4)),
            ShapeError,
            "'query' must have at least two dimensions (..., L, E), got (4,)",
        ),
        (
            lambda: F.scaled_dot_product_attention(*[Z(3, 4)] * 3, Z(3, 3), is_causal=True),
            ArgumentError,
            "'attn_mask' must be None with is_causal, got (3, 3)",
        ),
        (
            lambda: F.scaled_dot_product_attention(*[Z(3, 4)] * 3, Z(3, 3, dtype=nnlab.float64)),
            DtypeError,
            "'attn_mask' must be bool or float32, got 'float64'",
        ),
        (
            lambda: F.scaled_dot_product_attention(Z(3, 2, 4), Z(2, 2, 4), Z(2, 2, 4), enable_gqa=True),
            ShapeError,
            "'key' must have a number of heads that divides the query's 3",
        ),
        (
            lambda: nn.TransformerEncoderLayer(4, 2, activation="swish"),
            ArgumentError,
            "'activation' must be 'relu', 'gelu' or a function, got 'swish'",
        ),
        (
            lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(4, 2), 0),
            ArgumentError,
            "'num_layers' must be a positive int, got 0",
        ),
        (
            lambda: nn.Transformer(4, 2, 1, 1, 4)(Z(2, 1, 3), Z(2, 1, 4)),
            ShapeError,
            "'src' must have vectors of size 4, got (2, 1, 3)",
        ),
    ],
)
def test_errors(call: Callable[[], Any], error: type[NNLabError], message: str) -> None:
    with pytest.raises(error, match=rf"^\[\w+\] {re.escape(message)}"):
        call()
