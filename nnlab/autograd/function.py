"""Operations written by users: ``Function`` with PyTorch's interface, over Tensors."""

from __future__ import annotations

from typing import Any

from nnlab.autograd.tape import Node, Op, TensorCore, is_grad_enabled, no_grad, record
from nnlab.autograd.tensor import Tensor
from nnlab.errors import GraphError


class FunctionContext(Node):
    """What ``forward`` and ``backward`` of a :class:`Function` share."""

    _saved: tuple[tuple[TensorCore | None, int, int], ...] = ()
    _fresh: frozenset[int] = frozenset()

    @property
    def needs_input_grad(self) -> tuple[bool, ...]:
        return self.needs

    def save_for_backward(self, *tensors: Tensor | None) -> None:
        """Keep tensors (inputs, results or others) for backward."""
        self._saved = tuple((t, 0 if t is None else t._version.count, -1) for t in tensors)

    def mark_non_differentiable(self, *tensors: Tensor) -> None:
        """Name results that carry no gradient."""
        self._fresh = frozenset(id(t) for t in tensors)

    @property
    def saved_tensors(self) -> tuple[Tensor | None, ...]:
        out: list[Any] = []
        for tensor, count, slot in self._saved:
            if tensor is not None and tensor._version.count != count:
                raise GraphError(self._SAVED_CHANGED.format(op=self.op.name(), saved=count, now=tensor._version.count))
            if slot >= 0:
                # A result: handed out with this node as its history, without keeping itself alive.
                result = Tensor(tensor._data, self.be)  # type: ignore[union-attr]
                result._node, result._slot = self, slot
                out.append(result)
            else:
                out.append(tensor)
        return tuple(out)


class Function(Op):
    """Base of differentiable operations defined by users.

    >>> class Cube(Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x * x
    ...     @staticmethod
    ...     def backward(ctx, dy):
    ...         (x,) = ctx.saved_tensors
    ...         return dy * 3 * x * x

    ``Cube.apply(x)`` runs it. ``forward`` sees Tensors and records nothing; ``backward`` returns one gradient (or None)
    for each argument of ``forward``, and is itself differentiable if it is written in differentiable operations.
    """

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        tensors = [a for a in args if isinstance(a, TensorCore)]
        if not tensors:
            raise GraphError(f"[{cls.name()}] apply needs at least one Tensor")
        recorded = is_grad_enabled()
        needs = tuple(recorded and isinstance(a, Tensor) and a.requires_grad for a in args)
        ctx = FunctionContext(cls, tensors[0]._be, needs)
        with no_grad():
            result = cls.forward(ctx, *args, **kwargs)
        several = isinstance(result, tuple)
        # Results share memory with what forward returned, but are tensors of their own (forward may return an input).
        returned = result if several else (result,)
        outputs = [Tensor(r._data, r._be) for r in returned]
        for r, out in zip(returned, outputs, strict=True):
            out._version, out._rebased_at = r._version, r._version.rebased
        slots = {id(r): i for i, r in enumerate(returned) if not any(r is a for a in args)}
        ctx._saved = tuple((t, count, slots.get(id(t), -1)) for t, count, _ in ctx._saved)
        if any(needs):
            record(ctx, args, outputs)
            for r, out in zip(returned, outputs, strict=True):
                if id(r) in ctx._fresh:
                    out._node = None
        return tuple(outputs) if several else outputs[0]
