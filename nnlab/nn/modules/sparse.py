"""Tables of learned rows."""

from __future__ import annotations

from typing import Any, Self

from nnlab.autograd import Tensor, no_grad
from nnlab.autograd.creation import empty
from nnlab.errors import ArgumentError, ShapeError, complaint
from nnlab.nn import functional as F
from nnlab.nn import init
from nnlab.nn.functional._checks import check_count
from nnlab.nn.functional.sparse import MODES, row_number
from nnlab.nn.module import Module
from nnlab.nn.parameter import Parameter


class _Table(Module):
    """What the two layers share: weight (num_embeddings, embedding_dim), drawn from N(0, 1)."""

    weight: Parameter

    def _learn(
        self,
        rows: int,
        size: int,
        padding_idx: int | None,
        weight: Tensor | None,
        freeze: bool,
        device: Any,
        dtype: Any,
    ) -> None:
        name = type(self).__name__
        check_count(name, "num_embeddings", rows)
        check_count(name, "embedding_dim", size)
        self.num_embeddings = rows
        self.embedding_dim = size
        self.padding_idx = row_number(name, "padding_idx", padding_idx, rows)
        if weight is not None:
            if tuple(weight.shape) != (rows, size):
                raise ShapeError(complaint(name, "_weight", f"have shape {(rows, size)}", tuple(weight.shape)))
            self.weight = Parameter(weight, requires_grad=not freeze)
        else:
            self.weight = Parameter(empty((rows, size), dtype=dtype, device=device), requires_grad=not freeze)
            self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all rows from N(0, 1); the row of padding_idx is zero."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx] = 0.0


def _check_table(where: str, embeddings: Tensor) -> None:
    if embeddings.ndim != 2:
        raise ShapeError(complaint(where, "embeddings", "have shape (rows, D)", tuple(embeddings.shape)))


class Embedding(_Table):
    """Rows of a learned table: input (*) of row numbers, output (*, embedding_dim).

    Args:
        num_embeddings: number of rows.
        embedding_dim: size of a row.
        padding_idx: row that is zero at first and gets no gradient; negative numbers count from the end.
        max_norm: rows that are read are first scaled down to this norm, in place, if theirs is larger.
        norm_type: p of that norm.
        scale_grad_by_freq: divide each row's gradient by how often the row comes in the input.
        sparse: must be False; gradients are dense.
        device, dtype: of the weight; default CPU and float32.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self._learn(num_embeddings, embedding_dim, padding_idx, _weight, _freeze, device, dtype)
        if sparse:
            raise ArgumentError(complaint("Embedding", "sparse", "be False (gradients are dense)", sparse))
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq

    def forward(self, input: Tensor) -> Tensor:
        return F.embedding(input, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Self:
        """A layer on a given table (rows, D), whose memory it shares; ``freeze`` keeps it from being trained."""
        _check_table("Embedding.from_pretrained", embeddings)
        rows, size = embeddings.shape
        return cls(
            rows, size, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, _weight=embeddings, _freeze=freeze
        )

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        text += f", padding_idx={self.padding_idx}" if self.padding_idx is not None else ""
        text += f", max_norm={self.max_norm}" if self.max_norm is not None else ""
        text += f", norm_type={self.norm_type}" if self.norm_type != 2 else ""
        return text + (", scale_grad_by_freq=True" if self.scale_grad_by_freq else "")


class EmbeddingBag(_Table):
    """Sum, mean or maximum of the rows of each bag; see :func:`nnlab.nn.functional.embedding_bag`.

    Args:
        num_embeddings: number of rows.
        embedding_dim: size D of a row.
        max_norm, norm_type, scale_grad_by_freq, sparse: as for :class:`Embedding`.
        mode: 'sum', 'mean' or 'max'.
        include_last_offset: whether offsets also say where the last bag ends.
        padding_idx: row that belongs to no bag, is zero at first and gets no gradient.
        device, dtype: of the weight; default CPU and float32.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: Tensor | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self._learn(num_embeddings, embedding_dim, padding_idx, _weight, False, device, dtype)
        if sparse:
            raise ArgumentError(complaint("EmbeddingBag", "sparse", "be False (gradients are dense)", sparse))
        if mode not in MODES:
            raise ArgumentError(complaint("EmbeddingBag", "mode", f"be one of {MODES}", mode))
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.mode = mode
        self.include_last_offset = include_last_offset

    def forward(self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None) -> Tensor:
        return F.embedding_bag(
            input,
            self.weight,
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            False,
            per_sample_weights,
            self.include_last_offset,
            self.padding_idx,
        )

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> Self:
        """A layer on a given table (rows, D), whose memory it shares; ``freeze`` keeps it from being trained."""
        _check_table("EmbeddingBag.from_pretrained", embeddings)
        rows, size = embeddings.shape
        layer = cls(
            rows, size, max_norm, norm_type, scale_grad_by_freq, mode, sparse, embeddings, include_last_offset,
            padding_idx,
        )  # fmt: skip
        layer.weight.requires_grad_(not freeze)
        return layer

    def extra_repr(self) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        text += f", max_norm={self.max_norm}" if self.max_norm is not None else ""
        text += f", norm_type={self.norm_type}" if self.norm_type != 2 else ""
        text += ", scale_grad_by_freq=True" if self.scale_grad_by_freq else ""
        text += f", mode={self.mode!r}"
        return text + (f", padding_idx={self.padding_idx}" if self.padding_idx is not None else "")
