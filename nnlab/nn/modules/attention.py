"""Attention with several heads."""

from __future__ import annotations

import math
from typing import Any

from nnlab.autograd import Tensor
from nnlab.autograd import activation as ops
from nnlab.autograd.creation import empty
from nnlab.autograd.elementwise import where
from nnlab.autograd.shape import cat
from nnlab.errors import ArgumentError, DtypeError, ShapeError, complaint
from nnlab.nn import functional as F
from nnlab.nn import init
from nnlab.nn.functional._checks import check_count, check_input, check_probability
from nnlab.nn.functional.attention import attention_weights
from nnlab.nn.module import Module
from nnlab.nn.modules.linear import Linear
from nnlab.nn.parameter import Parameter
from nnlab.types import bool_, is_floating

_NAME = "MultiheadAttention"


def _added(name: str, mask: Tensor, like: Tensor) -> Tensor:
    """A mask as numbers that are added to the scores: -inf where a bool mask is True."""
    if mask.dtype == bool_:
        return where(mask, float("-inf"), like.new_zeros(1))
    if not is_floating(mask.dtype):
        raise DtypeError(complaint(_NAME, name, "be bool or floating", mask.dtype.name))
    return mask.to(dtype=like.dtype)


def _one_more(mask: Tensor | None) -> Tensor | None:
    """The mask with another key that may be looked at."""
    return None if mask is None else cat([mask, mask.new_zeros(*mask.shape[:-1], 1)], -1)


class MultiheadAttention(Module):
    """Attention in several subspaces: ``concat(head_1, ..., head_H) @ out_proj.weight.T + out_proj.bias``.

    Head h is :func:`nnlab.nn.functional.scaled_dot_product_attention` of the h-th E / H numbers of the projected query,
    key and value.

    Args:
        embed_dim: size E of query and output.
        num_heads: number of heads H; divides E.
        dropout: probability with which weights are dropped in training.
        bias: whether the projections have biases.
        add_bias_kv: whether one learned key and value (bias_k, bias_v) are put after the others.
        add_zero_attn: whether a key and value of zeros are put after the others.
        kdim, vdim: sizes of key and value; default E.
        batch_first: whether the batch N comes first: (N, L, E) instead of (L, N, E).
        device, dtype: of the parameters; default CPU and float32.

    Parameters: in_proj_weight (3E, E) of query, key, value below each other, drawn by Xavier's rule (with kdim or vdim
    other than E: q_proj_weight (E, E), k_proj_weight (E, kdim), v_proj_weight (E, vdim)); in_proj_bias (3E,), zero;
    out_proj, a Linear with bias zero; bias_k, bias_v (1, 1, E).
    Source: Vaswani et al., "Attention is all you need", NIPS 2017.
    """

    in_proj_weight: Parameter | None
    in_proj_bias: Parameter | None
    q_proj_weight: Parameter | None
    k_proj_weight: Parameter | None
    v_proj_weight: Parameter | None
    bias_k: Parameter | None
    bias_v: Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        check_count(_NAME, "embed_dim", embed_dim)
        check_count(_NAME, "num_heads", num_heads)
        check_probability(_NAME, dropout)
        if embed_dim % num_heads:
            raise ArgumentError(complaint(_NAME, "embed_dim", f"be divisible by num_heads={num_heads}", embed_dim))
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self.num_heads = num_heads
        self.head_dim = embed_dim // num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.add_zero_attn = add_zero_attn
        packed = self.kdim == embed_dim == self.vdim

        def new(there: bool, *shape: int) -> Parameter | None:
            return Parameter(empty(shape, dtype=dtype, device=device)) if there else None

        self.register_parameter("in_proj_weight", new(packed, 3 * embed_dim, embed_dim))
        self.register_parameter("q_proj_weight", new(not packed, embed_dim, embed_dim))
        self.register_parameter("k_proj_weight", new(not packed, embed_dim, self.kdim))
        self.register_parameter("v_proj_weight", new(not packed, embed_dim, self.vdim))
        self.register_parameter("in_proj_bias", new(bias, 3 * embed_dim))
        self.out_proj = Linear(embed_dim, embed_dim, bias, device, dtype)
        self.register_parameter("bias_k", new(add_bias_kv, 1, 1, embed_dim))
        self.register_parameter("bias_v", new(add_bias_kv, 1, 1, embed_dim))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Xavier's rule for the projections, zero for the biases; out_proj's weight as in Linear."""
        self.out_proj.reset_parameters()
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                init.xavier_uniform_(weight)
        for bias in (self.in_proj_bias, self.out_proj.bias):
            if bias is not None:
                init.zeros_(bias)
        for row in (self.bias_k, self.bias_v):
            if row is not None:
                init.xavier_normal_(row)

    def _check(self, query: Tensor, key: Tensor, value: Tensor) -> None:
        check_input(_NAME, query, key=key, value=value, weight=self.out_proj.weight)
        if query.ndim not in (2, 3):
            axes = "(N, L, E)" if self.batch_first else "(L, N, E)"
            raise ShapeError(complaint(_NAME, "query", f"have shape {axes} or (L, E)", tuple(query.shape)))
        sizes = {"query": (query, self.embed_dim), "key": (key, self.kdim), "value": (value, self.vdim)}
        for name, (tensor, size) in sizes.items():
            if tensor.ndim != query.ndim or tensor.shape[-1] != size:
                must = f"have {query.ndim} dimensions, the last of size {size}"
                raise ShapeError(complaint(_NAME, name, must, tuple(tensor.shape)))
        if value.shape[:-1] != key.shape[:-1]:
            must = f"have the leading sizes {tuple(key.shape[:-1])} of 'key'"
            raise ShapeError(complaint(_NAME, "value", must, tuple(value.shape)))
        batch = 0 if self.batch_first else 1
        if query.ndim == 3 and key.shape[batch] != query.shape[batch]:
            must = f"have the batch size {query.shape[batch]} of 'query'"
            raise ShapeError(complaint(_NAME, "key", must, tuple(key.shape)))

    def _project(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, ...]:
        """Projected query, key and value; inputs that are one tensor go through one product."""
        w, b = self.in_proj_weight, self.in_proj_bias
        e = self.embed_dim
        if w is not None and query is key is value:
            return F.linear(query, w, b).chunk(3, -1)
        biases = (None,) * 3 if b is None else b.chunk(3)
        if w is None:
            assert self.q_proj_weight is not None and self.k_proj_weight is not None
            assert self.v_proj_weight is not None
            weights: tuple[Tensor, ...] = (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight)
        elif key is value:
            first, rest = w.split([e, 2 * e])
            other = None if b is None else b[e:]
            return F.linear(query, first, biases[0]), *F.linear(key, rest, other).chunk(2, -1)
        else:
            weights = w.chunk(3)
        return tuple(F.linear(x, u, v) for x, u, v in zip((query, key, value), weights, biases, strict=True))

    def _heads(self, x: Tensor) -> Tensor:
        """(N, L, E) as (N, H, L, E / H)."""
        return x.reshape(*x.shape[:2], self.num_heads, self.head_dim).transpose(1, 2)

    def _mask(self, n: int, target: int, source: int, padding: Tensor | None, mask: Tensor | None) -> Tensor | None:
        """What is added to the scores (N, H, L, S), from masks that have been made numbers."""
        if padding is not None:
            if tuple(padding.shape) != (n, source):
                must = f"have shape ({n}, {source})"
                raise ShapeError(complaint(_NAME, "key_padding_mask", must, tuple(padding.shape)))
            padding = padding.reshape(n, 1, 1, source)
        if mask is not None:
            shapes = (target, source), (n * self.num_heads, target, source)
            if tuple(mask.shape) not in shapes:
                must = f"have shape {shapes[0]} or {shapes[1]}"
                raise ShapeError(complaint(_NAME, "attn_mask", must, tuple(mask.shape)))
            mask = mask.reshape(-1, self.num_heads if mask.ndim == 3 else 1, target, source)
        return mask + padding if mask is not None and padding is not None else padding if mask is None else mask

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """(output, weights).

        Args:
            query: (L, N, E), or (N, L, E) with batch_first, or (L, E).
            key: (S, N, kdim), or (N, S, kdim) with batch_first, or (S, kdim).
            value: (S, N, vdim), or (N, S, vdim) with batch_first, or (S, vdim).
            key_padding_mask: (N, S) or (S,); bool: True where a key is not looked at; floating: added to the scores.
            need_weights: whether the weights are wanted.
            attn_mask: (L, S) or (N * H, L, S); bool: True where a query may *not* look at a key (in
                scaled_dot_product_attention it is the other way round); floating: added to the scores.
            average_attn_weights: whether the weights are the mean over the heads.
            is_causal: says that attn_mask, which must be given, is the causal one; changes nothing.

        Returns:
            Output of the query's shape; weights (N, L, S), or (N, H, L, S) if not averaged, without N if the query has
            none; None if not wanted. A query that may look at no key has weights of zero.
        """
        self._check(query, key, value)
        if is_causal and attn_mask is None:
            raise ArgumentError(complaint(_NAME, "attn_mask", "be given with is_causal", None))
        batched = query.ndim == 3
        q, k, v = self._project(query, key, value)
        if not batched:
            q, k, v = (t.unsqueeze(0) for t in (q, k, v))
            key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
        elif not self.batch_first:
            q, k, v = (t.transpose(0, 1) for t in (q, k, v))
        (n, target), source = q.shape[:2], k.shape[1]
        padding = None if key_padding_mask is None else _added("key_padding_mask", key_padding_mask, q)
        mask = None if attn_mask is None else _added("attn_mask", attn_mask, q)
        mask = self._mask(n, target, source, padding, mask)
        if self.bias_k is not None and self.bias_v is not None:
            k, v = (cat([t, row.expand(n, 1, -1)], 1) for t, row in ((k, self.bias_k), (v, self.bias_v)))
            mask = _one_more(mask)
        if self.add_zero_attn:
            k, v = (cat([t, t.new_zeros(n, 1, self.embed_dim)], 1) for t in (k, v))
            mask = _one_more(mask)
        q, k, v = (self._heads(t) for t in (q, k, v))
        weights = attention_weights(q * (1 / math.sqrt(self.head_dim)) @ k.transpose(-1, -2), mask)
        if self.training and self.dropout > 0:
            weights = ops.dropout(weights, self.dropout)
        y = (weights @ v).transpose(1, 2).reshape(n, target, self.embed_dim)
        y = self.out_proj(y if self.batch_first or not batched else y.transpose(0, 1))
        if not need_weights:
            return (y if batched else y.squeeze(0)), None
        weights = weights.mean(1) if average_attn_weights else weights
        return (y, weights) if batched else (y.squeeze(0), weights.squeeze(0))
