"""Connectionist temporal classification: a sequence of labels whose places in the input are not known."""

from __future__ import annotations

from collections.abc import Sequence

from nnlab.autograd import Tensor
from nnlab.autograd.amp import in_float32
from nnlab.autograd.creation import full, tensor
from nnlab.autograd.elementwise import cast, where
from nnlab.autograd.shape import cat, stack
from nnlab.errors import ArgumentError, DtypeError, ShapeError, complaint
from nnlab.nn.functional._checks import check_input, check_reduction, reduce
from nnlab.types import wide

# Stands for log(0): large beside any sum of logarithms, and unlike infinity without NaN in the gradients.
_NEVER = -1e30

Lengths = Tensor | Sequence[int]


def _lengths(layer: str, name: str, given: Lengths, count: int, most: int) -> list[int]:
    values = given.reshape(-1).tolist() if isinstance(given, Tensor) else list(given)
    if len(values) != count or any(not isinstance(n, int) or not 0 <= n <= most for n in values):
        raise ArgumentError(complaint(layer, name, f"be {count} integers between 0 and {most}", values))
    return values


def _padded(targets: Tensor, lengths: list[int], blank: int) -> Tensor:
    """Targets that follow one another, as rows filled up with blanks."""
    rows, longest, start = [], max(lengths, default=0), 0
    for length in lengths:
        fill = full((longest - length,), blank, dtype=targets.dtype, device=targets.device)
        rows.append(cat([targets[start : start + length], fill]))
        start += length
    return stack(rows)


@in_float32
def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """``-log`` of the probability of all paths that give the target once repeats are merged and blanks dropped.

    With the target's labels between blanks, l = (blank, t1, blank, t2, ..., blank), and a[s] the probability of the
    first steps ending in l[s], each step takes ``a[s] + a[s - 1] + a[s - 2]``, the last only where l[s] is neither
    blank nor l[s - 2], times the probability of l[s]; all in logarithms. What counts is the last two places.

    Args:
        log_probs: logarithms of the classes' probabilities (T, N, C) or (T, C).
        targets: class numbers other than blank, (N, S), (S,) without N, or all targets one after the other (sum,).
        input_lengths: how many of the T steps count, for each sample; integers or a tensor (which is read on the host).
        target_lengths: how many labels count.
        blank: class number that stands for no label.
        reduction: 'none', 'sum', or 'mean' (each loss divided by its target's length, at least 1, then averaged).
        zero_infinity: take 0, also as gradient, for a target that is too long for its input; else infinity.

    Raises:
        ArgumentError, ShapeError, DtypeError: lengths, blank or targets do not fit.

    Source: Graves et al., "Connectionist temporal classification", ICML 2006. The gradient with respect to log_probs is
    the derivative; PyTorch's is that with respect to the scores before log_softmax, which agrees behind a log_softmax.
    """
    layer = "ctc_loss"
    check_input(layer, log_probs)
    check_reduction(layer, reduction)
    batched = log_probs.ndim == 3
    if log_probs.ndim not in (2, 3):
        raise ShapeError(complaint(layer, "log_probs", "have shape (T, N, C) or (T, C)", tuple(log_probs.shape)))
    if targets.dtype.kind not in "iu":
        raise DtypeError(complaint(layer, "targets", "be integer class numbers", targets.dtype.name))
    x = cast(log_probs if batched else log_probs.unsqueeze(1), wide(log_probs.dtype))
    steps, count, classes = x.shape
    if not 0 <= blank < classes:
        raise ArgumentError(complaint(layer, "blank", f"be a class number below {classes}", blank))
    heard = _lengths(layer, "input_lengths", input_lengths, count, steps)
    spoken = _lengths(layer, "target_lengths", target_lengths, count, targets.shape[-1] if targets.ndim else 0)
    fits = len(targets) >= sum(spoken) if targets.ndim == 1 else targets.ndim == 2 and len(targets) == count
    if not fits:
        must = f"hold {count} rows or the {sum(spoken)} labels of target_lengths"
        raise ShapeError(complaint(layer, "targets", must, tuple(targets.shape)))
    rows = targets if targets.ndim == 2 else _padded(targets, spoken, blank)
    loss = -_log_probability(x, rows, heard, spoken, blank)
    possible = loss < -0.1 * _NEVER
    loss = where(possible, loss, 0.0 if zero_infinity else float("inf"))
    if reduction == "mean":
        loss = loss / tensor([max(n, 1) for n in spoken], dtype=loss.dtype, device=loss.device)
    loss = cast(reduce(loss, reduction), log_probs.dtype)
    return loss if batched or reduction != "none" else loss.squeeze(0)


def _log_probability(x: Tensor, targets: Tensor, heard: list[int], spoken: list[int], blank: int) -> Tensor:
    """Of targets (N, S) under log-probabilities x (T, N, C): (N,)."""
    steps, count, _ = x.shape
    if steps == 0 or count == 0:
        return tensor([0.0 if n == 0 else _NEVER for n in spoken], dtype=x.dtype, device=x.device)
    none = full((count, 1), blank, dtype=targets.dtype, device=x.device)
    between = stack([targets * 0 + blank, targets], -1).reshape(count, -1)
    labels = cat([between, none], 1)
    places = labels.shape[1]
    emission = x.gather(2, labels.unsqueeze(0).expand(steps, count, places))
    never = full((count, 2), _NEVER, dtype=x.dtype, device=x.device)
    before = cat([none, none, labels], 1)[:, :places]
    jump = where((labels != blank) & (labels != before), 0.0, never[:, :1])
    start = full((places,), _NEVER, dtype=x.dtype, device=x.device)
    start[:2] = 0.0
    lengths = tensor(heard, device=x.device).unsqueeze(1)
    # The first step is at one of the first two places; without any step only the empty target has a way.
    first = full((places,), _NEVER, dtype=x.dtype, device=x.device)
    first[0] = 0.0
    ways = where(lengths > 0, emission[0] + start, first)
    for t in range(1, steps):
        one = cat([never[:, :1], ways[:, :-1]], 1)
        two = cat([never, ways[:, :-2]], 1)[:, :places] + jump
        ways = where(lengths > t, stack([ways, one, two]).logsumexp(0) + emission[t], ways)
    ends = tensor([[2 * n, max(2 * n - 1, 0)] for n in spoken], device=x.device)
    last = ways.gather(1, ends)
    # A target of no labels ends in one place only.
    alone = tensor([[False, n == 0] for n in spoken], device=x.device)
    return where(alone, _NEVER, last).logsumexp(1)
