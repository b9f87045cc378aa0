"""Look-up of rows of a table: embeddings and bags of them."""

from __future__ import annotations

import numpy as np

from nnlab.autograd import Tensor, no_grad
from nnlab.autograd import embedding as ops
from nnlab.autograd.creation import from_numpy
from nnlab.autograd.elementwise import where
from nnlab.errors import ArgumentError, DeviceError, DtypeError, ShapeError, complaint
from nnlab.nn.functional._checks import check_input
from nnlab.types import wide

MODES = ("sum", "mean", "max")


def row_number(where: str, argument: str, row: int | None, rows: int) -> int | None:
    """A row of a table as a number from 0; negative ones count from the end."""
    if row is None:
        return None
    if not -rows <= row < rows:
        raise ArgumentError(complaint(where, argument, f"be in {-rows}..{rows - 1}", row))
    return row % rows


def _check(where: str, input: Tensor, weight: Tensor, sparse: bool) -> None:
    check_input(where, weight)
    if weight.ndim != 2:
        raise ShapeError(complaint(where, "weight", "have shape (rows, D)", tuple(weight.shape)))
    if not isinstance(input, Tensor) or input.dtype.kind not in "iu":
        got = input.dtype.name if isinstance(input, Tensor) else type(input).__name__
        raise DtypeError(complaint(where, "input", "be a Tensor of integers", got))
    if input.device != weight.device:
        raise DeviceError(f"[{where}] 'input' is on {input.device} but 'weight' is on {weight.device}")
    if sparse:
        raise ArgumentError(complaint(where, "sparse", "be False (gradients are dense)", sparse))


def _limit(weight: Tensor, input: Tensor, max_norm: float, norm_type: float) -> None:
    """Scale those rows that are read and whose norm is larger down to it, in place."""
    if not input.numel():
        return
    with no_grad():
        index = input.reshape(-1)
        rows = weight[index]
        norm = rows.to(dtype=wide(rows.dtype)).norm(norm_type, 1, keepdim=True)
        factor = where(norm > max_norm, max_norm / (norm + 1e-7), 1.0)
        weight[index] = (rows * factor).to(dtype=weight.dtype)


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Rows of a table: ``weight[input]``.

    Args:
        input: row numbers, integers of any shape.
        weight: (rows, D).
        padding_idx: row that gets no gradient; negative numbers count from the end.
        max_norm: rows that are read are first scaled down to this norm, in place, if theirs is larger.
        norm_type: p of that norm.
        scale_grad_by_freq: divide each row's gradient by how often the row comes in the input.
        sparse: must be False; gradients are dense.

    Returns:
        (*input.shape, D). The gradient is added up in a fixed order: the same bits every time.

    Raises:
        ArgumentError: a row number outside of the table (on a GPU they are not looked at).
    """
    _check("embedding", input, weight, sparse)
    padding_idx = row_number("embedding", "padding_idx", padding_idx, len(weight))
    if max_norm is not None:
        _limit(weight, input, max_norm, norm_type)
    return ops.embedding(weight, input, padding_idx, scale_grad_by_freq)


def _bags(input: Tensor, offsets: Tensor, include_last_offset: bool) -> tuple[Tensor, Tensor]:
    """Positions of the input for each bag (B, L), and which of them are there (B, L)."""
    if input.ndim != 1 or offsets.ndim != 1 or offsets.dtype.kind not in "iu":
        must = "be integers of shape (B,), for an input of shape (n,)"
        raise ShapeError(complaint("embedding_bag", "offsets", must, tuple(offsets.shape)))
    starts = offsets.cpu().numpy().astype(np.int64)
    ends = starts[1:] if include_last_offset else np.append(starts[1:], len(input))
    starts = starts[: len(ends)]
    if len(starts) and (starts[0] != 0 or (ends < starts).any() or ends[-1] > len(input)):
        raise ArgumentError(complaint("embedding_bag", "offsets", f"rise from 0 to {len(input)}", offsets.tolist()))
    steps = np.arange(int((ends - starts).max(initial=0)))
    there = starts[:, None] + steps < ends[:, None]
    places = np.where(there, starts[:, None] + steps, 0)
    return from_numpy(places).to(input.device), from_numpy(there).to(input.device)


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """Sum, mean or maximum of the rows of each bag.

    Args:
        input: row numbers, (B, L): B bags of L; or (n,): bags one after another.
        weight: (rows, D).
        offsets: (B,), where each bag starts in an input (n,); None for an input (B, L).
        max_norm, norm_type, scale_grad_by_freq, sparse: as for :func:`embedding`; 'max' has no scale_grad_by_freq.
        mode: 'sum', 'mean' or 'max'.
        per_sample_weights: factors of the rows, of the input's shape; for 'sum' only.
        include_last_offset: whether offsets (B + 1,) also say where the last bag ends.
        padding_idx: row that belongs to no bag and gets no gradient.

    Returns:
        (B, D); zeros for a bag without rows.
    """
    name = "embedding_bag"
    _check(name, input, weight, sparse)
    if mode not in MODES:
        raise ArgumentError(complaint(name, "mode", f"be one of {MODES}", mode))
    if scale_grad_by_freq and mode == "max":
        raise ArgumentError(complaint(name, "scale_grad_by_freq", "be False with mode='max'", True))
    if per_sample_weights is not None:
        check_input(name, weight, per_sample_weights=per_sample_weights)
        if mode != "sum":
            raise ArgumentError(complaint(name, "mode", "be 'sum' with per_sample_weights", mode))
        if per_sample_weights.shape != input.shape:
            must = f"have the input's shape {tuple(input.shape)}"
            raise ShapeError(complaint(name, "per_sample_weights", must, tuple(per_sample_weights.shape)))
    if (input.ndim == 2) != (offsets is None) or input.ndim not in (1, 2):
        must = "be given for an input of shape (n,) and not for one of shape (B, L)"
        raise ShapeError(complaint(name, "offsets", must, None if offsets is None else tuple(offsets.shape)))
    padding = row_number(name, "padding_idx", padding_idx, len(weight))
    rows = embedding(input, weight, padding, max_norm, norm_type, scale_grad_by_freq)
    there = input == input if padding is None else input != padding
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.unsqueeze(-1)
    if offsets is not None:
        places, inside = _bags(input, offsets, include_last_offset)
        if not len(input):
            return weight[:0].sum(0) + weight.new_zeros(len(places), weight.shape[1])
        rows, there = rows[places], there[places] & inside
    there = there.unsqueeze(-1)
    if mode == "max":
        if not rows.shape[1]:
            return rows.sum(1)
        lowest = where(there, rows, float("-inf")).max(1).values
        return where(there.any(1), lowest, 0.0)
    total = where(there, rows, 0.0).sum(1)
    return total / there.to(dtype=weight.dtype).sum(1).clamp(min=1) if mode == "mean" else total
