"""Attention: each query takes a mean of the values, weighted by how well it fits their keys."""

from __future__ import annotations

import math

from nnlab.autograd import Tensor
from nnlab.autograd import activation as ops
from nnlab.autograd.amp import low_precision
from nnlab.autograd.creation import arange
from nnlab.autograd.elementwise import where
from nnlab.errors import ArgumentError, DtypeError, ShapeError, complaint
from nnlab.nn.functional._checks import check_input, check_probability
from nnlab.types import bool_


def _repeated(where_: str, heads: Tensor, query: Tensor, name: str) -> Tensor:
    """Each head of keys or values as often as it has queries: (..., H, S, E)."""
    have, want = heads.shape[-3], query.shape[-3]
    if have == 0 or want % have:
        must = f"have a number of heads that divides the query's {want}"
        raise ShapeError(complaint(where_, name, must, tuple(heads.shape)))
    lead, rest = heads.shape[:-3], heads.shape[-2:]
    return heads.unsqueeze(-3).expand(*lead, have, want // have, *rest).reshape(*lead, want, *rest)


def causal(length: int, source: int, device: object) -> Tensor:
    """bool (L, S): position i may look at the positions up to i."""
    return arange(length, device=device).unsqueeze(1) >= arange(source, device=device)


def attention_weights(scores: Tensor, attn_mask: Tensor | None) -> Tensor:
    """Softmax of scores (..., L, S) along S; a line in which nothing may be looked at is zero.

    Args:
        attn_mask: bool (True: may be looked at), or floating and added to the scores; broadcast to (..., L, S).
    """
    if attn_mask is None:
        return ops.softmax(scores, -1)
    bias = where(attn_mask, 0.0, float("-inf")).to(dtype=scores.dtype) if attn_mask.dtype == bool_ else attn_mask
    blind = (bias.detach() == float("-inf")).all(-1, keepdim=True)
    if blind.device.type == "cpu" and not blind.any().item():  # a GPU would have to be waited for
        return ops.softmax(scores + bias, -1)
    return where(blind, 0.0, ops.softmax(scores + where(blind, 0.0, bias), -1))


@low_precision
def scaled_dot_product_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """``softmax(query @ key.T * scale + mask) @ value``.

    Args:
        query: (..., L, E).
        key: (..., S, E).
        value: (..., S, V).
        attn_mask: broadcast to (..., L, S); bool: True where a query may look at a key; floating: added to the scores.
        dropout_p: probability with which each weight is dropped, whether training or not.
        is_causal: query i looks at the keys up to i only; not together with attn_mask.
        scale: default 1 / sqrt(E).
        enable_gqa: queries (..., H, L, E) may have a multiple of the heads of key and value (..., H', S, E).

    Returns:
        (..., L, V); zeros for a query that may look at no key.

    Source: Vaswani et al., "Attention is all you need", NIPS 2017, section 3.2.1.
    """
    name = "scaled_dot_product_attention"
    check_input(name, query, key=key, value=value)
    check_probability(name, dropout_p)
    for argument, tensor in (("query", query), ("key", key), ("value", value)):
        if tensor.ndim < (3 if enable_gqa else 2):
            must = "have at least " + (
                "three dimensions (..., H, L, E)" if enable_gqa else "two dimensions (..., L, E)"
            )
            raise ShapeError(complaint(name, argument, must, tuple(tensor.shape)))
    if key.shape[-1] != query.shape[-1]:
        raise ShapeError(complaint(name, "key", f"have shape (..., S, {query.shape[-1]})", tuple(key.shape)))
    if value.shape[-2] != key.shape[-2]:
        raise ShapeError(complaint(name, "value", f"have shape (..., {key.shape[-2]}, V)", tuple(value.shape)))
    if is_causal:
        if attn_mask is not None:
            raise ArgumentError(complaint(name, "attn_mask", "be None with is_causal", tuple(attn_mask.shape)))
        attn_mask = causal(query.shape[-2], key.shape[-2], query.device)
    elif attn_mask is not None and attn_mask.dtype not in (bool_, query.dtype):
        must = f"be bool or {query.dtype.name}"
        raise DtypeError(complaint(name, "attn_mask", must, attn_mask.dtype.name))
    if enable_gqa:
        key, value = _repeated(name, key, query, "key"), _repeated(name, value, query, "value")
    if scale is None:
        scale = 1 / math.sqrt(query.shape[-1]) if query.shape[-1] else 1.0
    weights = attention_weights(query * scale @ key.transpose(-1, -2), attn_mask)
    if dropout_p > 0:
        weights = ops.dropout(weights, dropout_p)
    return weights @ value
