"""Transformer encoders and decoders."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from nnlab.autograd import Tensor
from nnlab.autograd.creation import full
from nnlab.autograd.elementwise import where
from nnlab.errors import ArgumentError, ShapeError, complaint
from nnlab.nn import functional as F
from nnlab.nn import init
from nnlab.nn.containers import ModuleList
from nnlab.nn.functional._checks import check_count
from nnlab.nn.functional.attention import causal
from nnlab.nn.module import Module
from nnlab.nn.modules.attention import MultiheadAttention
from nnlab.nn.modules.dropout import Dropout
from nnlab.nn.modules.group_norm import LayerNorm
from nnlab.nn.modules.linear import Linear

Activation = str | Callable[[Tensor], Tensor]


def _function(where: str, activation: Activation) -> Callable[[Tensor], Tensor]:
    if not isinstance(activation, str):
        return activation
    if activation not in ("relu", "gelu"):
        raise ArgumentError(complaint(where, "activation", "be 'relu', 'gelu' or a function", activation))
    return getattr(F, activation)


class _Layer(Module):
    """What encoder and decoder layers share: attention to the sequence itself, and a network of two dense layers."""

    self_attn: MultiheadAttention
    linear1: Linear
    dropout: Dropout
    linear2: Linear
    activation: Callable[[Tensor], Tensor]

    def _attend(self, x: Tensor, mask: Tensor | None, padding: Tensor | None, is_causal: bool) -> Tensor:
        return self.self_attn(x, x, x, padding, False, mask, is_causal=is_causal)[0]

    def _dense(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))


class TransformerEncoderLayer(_Layer):
    """Self-attention and two dense layers, each with a residual connection and layer normalisation.

        x = norm1(x + dropout1(self_attn(x)));  x = norm2(x + dropout2(linear2(dropout(activation(linear1(x))))))

    With ``norm_first``: ``x = x + dropout1(self_attn(norm1(x)))`` and likewise for the second half.

    Args:
        d_model: size E of the vectors.
        nhead: number of heads.
        dim_feedforward: size between the dense layers.
        dropout: probability of all dropouts, that of the attention weights included.
        activation: 'relu', 'gelu' or a function.
        layer_norm_eps: eps of the layer normalisations.
        batch_first: whether the batch comes first: (N, S, E) instead of (S, N, E).
        norm_first: whether normalisation comes before attention and dense layers instead of after the sum.
        bias: whether dense layers, attention and normalisations have biases.
        device, dtype: of the parameters; default CPU and float32.

    Source: Vaswani et al., "Attention is all you need", NIPS 2017; norm_first: Xiong et al., "On layer normalization in
    the transformer architecture", ICML 2020.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        at: dict[str, Any] = {"bias": bias, "device": device, "dtype": dtype}
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, batch_first=batch_first, **at)
        self.linear1 = Linear(d_model, dim_feedforward, **at)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, **at)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, layer_norm_eps, **at)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, **at)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.activation = _function("TransformerEncoderLayer", activation)

    def forward(
        self,
        src: Tensor,
        src_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool = False,
    ) -> Tensor:
        """The sequence (S, N, E), (N, S, E) with batch_first, or (S, E); masks as in MultiheadAttention."""
        x = src
        if self.norm_first:
            x = x + self.dropout1(self._attend(self.norm1(x), src_mask, src_key_padding_mask, is_causal))
            return x + self.dropout2(self._dense(self.norm2(x)))
        x = self.norm1(x + self.dropout1(self._attend(x, src_mask, src_key_padding_mask, is_causal)))
        return self.norm2(x + self.dropout2(self._dense(x)))


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to an encoder's result, and two dense layers; each as in TransformerEncoderLayer.

    Args: those of :class:`TransformerEncoderLayer`.
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        at: dict[str, Any] = {"bias": bias, "device": device, "dtype": dtype}
        self.self_attn = MultiheadAttention(d_model, nhead, dropout, batch_first=batch_first, **at)
        self.multihead_attn = MultiheadAttention(d_model, nhead, dropout, batch_first=batch_first, **at)
        self.linear1 = Linear(d_model, dim_feedforward, **at)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, **at)
        self.norm_first = norm_first
        self.norm1 = LayerNorm(d_model, layer_norm_eps, **at)
        self.norm2 = LayerNorm(d_model, layer_norm_eps, **at)
        self.norm3 = LayerNorm(d_model, layer_norm_eps, **at)
        self.dropout1 = Dropout(dropout)
        self.dropout2 = Dropout(dropout)
        self.dropout3 = Dropout(dropout)
        self.activation = _function("TransformerDecoderLayer", activation)

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The sequence (T, N, E), (N, T, E) with batch_first, or (T, E), given the memory (S, N, E) and so on."""

        def own(x: Tensor) -> Tensor:
            return self.dropout1(self._attend(x, tgt_mask, tgt_key_padding_mask, tgt_is_causal))

        def other(x: Tensor) -> Tensor:
            padding = memory_key_padding_mask
            y = self.multihead_attn(x, memory, memory, padding, False, memory_mask, is_causal=memory_is_causal)[0]
            return self.dropout2(y)

        x = tgt
        if self.norm_first:
            x = x + own(self.norm1(x))
            x = x + other(self.norm2(x))
            return x + self.dropout3(self._dense(self.norm3(x)))
        x = self.norm1(x + own(x))
        x = self.norm2(x + other(x))
        return self.norm3(x + self.dropout3(self._dense(x)))


def _copies(where: str, layer: Module, count: int) -> ModuleList:
    check_count(where, "num_layers", count)
    return ModuleList(copy.deepcopy(layer) for _ in range(count))


class TransformerEncoder(Module):
    """Several copies of an encoder layer one after another, then ``norm``.

    Args:
        encoder_layer: what is copied, with its values.
        num_layers: how many copies.
        norm: applied at the end, or None.
        enable_nested_tensor, mask_check: choose a faster way in PyTorch; nothing depends on them here.
    """

    def __init__(
        self,
        encoder_layer: Module,
        num_layers: int,
        norm: Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__()
        self.layers = _copies("TransformerEncoder", encoder_layer, num_layers)
        self.num_layers = num_layers
        self.register_module("norm", norm)

    def forward(
        self,
        src: Tensor,
        mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """The sequence of src's shape; masks as in TransformerEncoderLayer."""
        for layer in self.layers:
            src = layer(src, mask, src_key_padding_mask, bool(is_causal))
        return src if self.norm is None else self.norm(src)


class TransformerDecoder(Module):
    """Several copies of a decoder layer one after another, then ``norm``; Args as for :class:`TransformerEncoder`."""

    def __init__(self, decoder_layer: Module, num_layers: int, norm: Module | None = None) -> None:
        super().__init__()
        self.layers = _copies("TransformerDecoder", decoder_layer, num_layers)
        self.num_layers = num_layers
        self.register_module("norm", norm)

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The sequence of tgt's shape; masks as in TransformerDecoderLayer."""
        masks = (tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask)
        for layer in self.layers:
            tgt = layer(tgt, memory, *masks, bool(tgt_is_causal), memory_is_causal)
        return tgt if self.norm is None else self.norm(tgt)


class Transformer(Module):
    """Encoder and decoder: what the decoder makes of ``tgt``, looking at what the encoder makes of ``src``.

    Args:
        d_model, nhead, dim_feedforward, dropout, activation: as for :class:`TransformerEncoderLayer`.
        layer_norm_eps, batch_first, norm_first, bias, device, dtype: likewise.
        num_encoder_layers, num_decoder_layers: how many layers; after the last one comes a layer normalisation.
        custom_encoder, custom_decoder: modules that take their places.

    Matrices are drawn by Xavier's rule. Source: Vaswani et al., "Attention is all you need", NIPS 2017.
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = F.relu,
        custom_encoder: Module | None = None,
        custom_decoder: Module | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        layer = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first)
        at: dict[str, Any] = {"bias": bias, "device": device, "dtype": dtype}
        self.encoder = custom_encoder or TransformerEncoder(
            TransformerEncoderLayer(*layer, **at), num_encoder_layers, LayerNorm(d_model, layer_norm_eps, **at)
        )
        self.decoder = custom_decoder or TransformerDecoder(
            TransformerDecoderLayer(*layer, **at), num_decoder_layers, LayerNorm(d_model, layer_norm_eps, **at)
        )
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all matrices by Xavier's rule; vectors stay as they are."""
        for param in self.parameters():
            if param.ndim > 1:
                init.xavier_uniform_(param)

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Tensor | None = None,
        tgt_mask: Tensor | None = None,
        memory_mask: Tensor | None = None,
        src_key_padding_mask: Tensor | None = None,
        tgt_key_padding_mask: Tensor | None = None,
        memory_key_padding_mask: Tensor | None = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """The sequence of tgt's shape.

        Args:
            src: (S, N, E), (N, S, E) with batch_first, or (S, E).
            tgt: (T, N, E), (N, T, E) with batch_first, or (T, E).
            src_mask, tgt_mask, memory_mask: (S, S), (T, T), (T, S), as attn_mask of MultiheadAttention.
            src_key_padding_mask, tgt_key_padding_mask, memory_key_padding_mask: (N, S), (N, T), (N, S).
            src_is_causal, tgt_is_causal, memory_is_causal: say that a mask, which must be given, is the causal one.
        """
        for name, tensor in (("src", src), ("tgt", tgt)):
            if tensor.shape[-1:] != (self.d_model,):
                raise ShapeError(
                    complaint("Transformer", name, f"have vectors of size {self.d_model}", tuple(tensor.shape))
                )
        memory = self.encoder(src, src_mask, src_key_padding_mask, src_is_causal)
        masks = (tgt_mask, memory_mask, tgt_key_padding_mask, memory_key_padding_mask)
        return self.decoder(tgt, memory, *masks, tgt_is_causal, memory_is_causal)

    @staticmethod
    def generate_square_subsequent_mask(sz: int, device: Any = None, dtype: Any = None) -> Tensor:
        """(sz, sz): 0 where a position may look (itself and those before), -inf elsewhere."""
        return where(causal(sz, sz, device), full((), 0.0, dtype=dtype, device=device), float("-inf"))
