"""Rows of embedding, recurrent, attention and transformer layers."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np

from tests.nn.case import Case, given, normal

INDEX = np.array([[3, 1, 0, 3], [5, 3, 1, 1]])


def _rows(index: Any, **kwargs: Any) -> Case:
    index = np.asarray(index)
    return Case("Embedding", (given(index),), (6, 3), kwargs, batch=0 if index.ndim > 1 else None)


def _bags(index: np.ndarray, offsets: Any = None, **kwargs: Any) -> Case:
    """Bags of two shapes; a weight for each element where they are summed."""
    inputs = (given(index),) if offsets is None else (given(index), given(np.array(offsets)))
    return Case("EmbeddingBag", inputs, (6, 3), kwargs, batch=0 if offsets is None else None)


EMBEDDINGS = [
    _rows(INDEX),
    _rows(INDEX[0].astype(np.int32)),
    _rows(4),
    _rows(INDEX, _weight=np.ones((6, 3))),
    _rows(INDEX, padding_idx=3),
    _rows(INDEX[1], padding_idx=-3),
    _rows(INDEX, scale_grad_by_freq=True),
    _rows(INDEX, scale_grad_by_freq=True, padding_idx=1),
    _rows(INDEX, max_norm=1.5),
    _rows(INDEX.reshape(2, 2, 2), max_norm=0.8, norm_type=1.0),
    *[_bags(INDEX, mode=mode) for mode in ("sum", "mean", "max")],
    *[_bags(INDEX, mode=mode, padding_idx=1) for mode in ("sum", "mean", "max")],
    *[_bags(INDEX.reshape(-1), [0, 3, 3, 4], mode=mode) for mode in ("sum", "mean", "max")],
    *[_bags(INDEX.reshape(-1), [0, 1, 2], mode=mode, padding_idx=-5) for mode in ("sum", "mean", "max")],
    _bags(INDEX.reshape(-1), [0, 3, 8], include_last_offset=True),
    _bags(INDEX, _weight=np.ones((6, 3))),
    _bags(INDEX, max_norm=0.8),
    _bags(INDEX, max_norm=0.8, norm_type=1.0),
    _bags(INDEX[:0].reshape(-1), [0, 0]),
    Case("EmbeddingBag", (given(INDEX.reshape(-1)), given([0, 5]), normal(8)), (6, 3), {"mode": "sum"}, batch=None),
]


def _hx(name: str) -> Any:
    """An LSTM takes its two states as a pair."""
    return (lambda x, *states: (x, states)) if name.startswith("LSTM") else None


def _recurrent(name: str, shape: tuple[int, ...] = (3, 2, 3), *, states: bool = True, **options: Any) -> Case:
    """The states' samples are counted by their second axis, as are those of the input without batch_first."""
    rows = options.get("num_layers", 1) * (2 if options.get("bidirectional") else 1)
    widths = (options.get("proj_size", 4), 4)[: 2 if name == "LSTM" else 1] if states else ()
    given_states = [normal(rows, *shape[1:-1], width) for width in widths]
    batch = None if len(shape) == 2 else 0 if options.get("batch_first") else 1
    return Case(
        name, (normal(*shape), *given_states), (3, 4), options, prepare=_hx(name) if states else None, batch=batch
    )


def _cell(name: str, lead: tuple[int, ...], **options: Any) -> list[Case]:
    states = [normal(*lead, 4)] * (2 if name == "LSTMCell" else 1)
    return [
        Case(name, (normal(*lead, 3),), (3, 4), options),
        Case(name, (normal(*lead, 3), *states), (3, 4), options, prepare=_hx(name)),
    ]


# More of them, packed sequences and loops: test_recurrent.py.
RECURRENT = [
    *[
        case
        for name in ("RNN", "LSTM", "GRU")
        for case in (
            _recurrent(name),
            _recurrent(name, states=False, bias=False),
            _recurrent(name, states=False, batch_first=True),
            _recurrent(name, (3, 3)),
            _recurrent(name, num_layers=2, bidirectional=True),
        )
    ],
    _recurrent("LSTM", num_layers=2, proj_size=3),
    _recurrent("RNN", nonlinearity="relu"),
    *[
        case
        for name, bias in product(("RNNCell", "LSTMCell", "GRUCell"), (True, False))
        for case in _cell(name, (5,), bias=bias)
    ],
    *[case for name in ("RNNCell", "LSTMCell", "GRUCell") for case in _cell(name, ())],
    *_cell("RNNCell", (5,), nonlinearity="relu"),
]

LEFT_OUT = np.array([[False, False, True], [False, False, False]])
SOME = np.array([[1, 1, 0, 1, 0], [0, 1, 1, 1, 1], [1, 0, 0, 0, 0], [1, 1, 1, 1, 1]], bool)
CAUSAL = np.triu(np.ones((3, 3), bool), 1)


def _itself(x: Any) -> tuple[Any, Any, Any]:
    return x, x, x


# More masks, and one object as query, key and value or not: test_attention.py.
HEADS = [
    Case("MultiheadAttention", (normal(4, 2, 6),), (6, 2), prepare=_itself, batch=1),
    Case("MultiheadAttention", (normal(4, 6), normal(5, 6), normal(5, 6)), (6, 2), batch=None),
    Case(
        "MultiheadAttention",
        (normal(2, 4, 6), normal(2, 5, 3), normal(2, 5, 7)),
        (6, 2),
        {"kdim": 3, "vdim": 7, "batch_first": True},
        {"attn_mask": ~SOME},
    ),
    Case(
        "MultiheadAttention",
        (normal(4, 2, 6), normal(5, 2, 6), normal(5, 2, 6)),
        (6, 2),
        {"bias": False, "add_bias_kv": True, "add_zero_attn": True},
        {"average_attn_weights": False},
        batch=1,
    ),
    Case(
        "MultiheadAttention",
        (normal(3, 2, 6),),
        (6, 2),
        call={"key_padding_mask": LEFT_OUT, "need_weights": False},
        prepare=_itself,
        batch=None,
    ),
]

_SIZES = {"dim_feedforward": 5, "dropout": 0.0}
_CUSTOM = ("custom_encoder", "custom_decoder")
_VARIANTS: list[dict[str, Any]] = [
    {},
    {"norm_first": True, "batch_first": True},
    {"bias": False, "layer_norm_eps": 0.1},
    {"activation": "gelu", "norm_first": True, "bias": False},
]


def _transformers(options: dict[str, Any]) -> list[Case]:
    """The layers, stacks of two and the whole, with masks that do not depend on the batch."""
    batch = 0 if options.get("batch_first") else 1
    x, kwargs = normal(*((2, 3, 4) if batch == 0 else (3, 2, 4))), {**_SIZES, **options}
    encoder, decoder = (Case(f"Transformer{kind}coderLayer", (), (4, 2), kwargs) for kind in ("En", "De"))
    sizes = {"num_encoder_layers": 1, "num_decoder_layers": 2}
    norm = Case("LayerNorm", (), (4,))
    return [
        Case("TransformerEncoderLayer", (x,), (4, 2), kwargs, {"src_mask": CAUSAL}, batch=batch),
        Case("TransformerDecoderLayer", (x, x), (4, 2), kwargs, {"tgt_mask": CAUSAL}, batch=batch),
        Case("TransformerEncoder", (x,), (encoder, 2, norm), {"enable_nested_tensor": False}, batch=batch),
        Case("TransformerDecoder", (x, x), (decoder, 2, norm), {}, {"tgt_mask": CAUSAL}, batch=batch),
        Case("Transformer", (x, x), (4, 2), {**sizes, **kwargs}, {"tgt_mask": CAUSAL}, batch=batch),
    ]


_LAYERS = [Case(f"Transformer{kind}coderLayer", (), (4, 2), _SIZES) for kind in ("En", "De")]
_STACKS = [Case(f"Transformer{kind}coder", (), (layer, 1)) for kind, layer in zip(("En", "De"), _LAYERS, strict=True)]

TRANSFORMERS = [
    *[case for options in _VARIANTS for case in _transformers(options)],
    *[
        case._replace(batch=None)
        for case in (
            Case("TransformerEncoderLayer", (normal(3, 4),), (4, 2), _SIZES),
            Case("TransformerDecoderLayer", (normal(3, 4), normal(2, 4)), (4, 2), _SIZES),
            Case("TransformerEncoder", (normal(3, 4),), (_LAYERS[0], 2)),
            Case("TransformerDecoder", (normal(3, 4), normal(2, 4)), (_LAYERS[1], 2)),
            Case("Transformer", (normal(3, 4), normal(2, 4)), (4, 2, 1, 1), _SIZES),
            Case("Transformer", (normal(3, 4), normal(2, 4)), (4, 2), dict(zip(_CUSTOM, _STACKS, strict=True))),
            Case("TransformerEncoderLayer", (normal(3, 2, 4),), (4, 2), _SIZES, {"src_key_padding_mask": LEFT_OUT}),
        )
    ],
]

SEQUENCES = EMBEDDINGS + RECURRENT + HEADS + TRANSFORMERS
