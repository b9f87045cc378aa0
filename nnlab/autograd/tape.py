"""The tape: operations record themselves as nodes, which the engine (engine.py) walks backwards.

A node knows its operation, the edges to the producers of its inputs, and what the operation saved. Nodes are numbered
as they are made, so that a node's consumers always have larger numbers: taking the largest pending number first is a
topological order, and a fixed one, so gradients are added up in the same order every time.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ContextDecorator, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from nnlab.backend import Backend
from nnlab.errors import DeviceError, GraphError
from nnlab.types import is_floating

if TYPE_CHECKING:
    from nnlab.autograd.tensor import Tensor


class _Mode(threading.local):
    enabled = True


_mode = _Mode()
_number = itertools.count()


def is_grad_enabled() -> bool:
    """Whether operations are recorded in this thread."""
    return _mode.enabled


class set_grad_enabled(ContextDecorator):
    """Switch recording on or off: at once, and back again when used as a context manager.

    >>> with set_grad_enabled(False):
    ...     pass
    """

    def __init__(self, mode: bool) -> None:
        self._before = _mode.enabled
        _mode.enabled = bool(mode)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: object) -> None:
        _mode.enabled = self._before


class _Switch(ContextDecorator):
    _value: bool

    def __enter__(self) -> None:
        self._before = _mode.enabled
        _mode.enabled = self._value

    def __exit__(self, *exc: object) -> None:
        _mode.enabled = self._before

    def _recreate_cm(self) -> _Switch:
        return type(self)()


class no_grad(_Switch):
    """Context manager or decorator: operations inside are not recorded."""

    _value = False


class enable_grad(_Switch):
    """Context manager or decorator: operations inside are recorded, also within ``no_grad``."""

    _value = True


class Version:
    """Counters shared by all tensors on one storage.

    ``count`` rises with every in-place change; backward compares it with the value at saving time. ``rebased`` rises
    when an in-place operation becomes part of the graph, which makes the history of older views wrong.
    """

    __slots__ = ("count", "rebased")

    def __init__(self) -> None:
        self.count = 0
        self.rebased = 0


class TensorCore:
    """The state of a tensor, without its methods (those are in ``tensor.py``)."""

    __slots__ = (
        "__weakref__",
        "_be",
        "_data",
        "_hooks",
        "_is_view",
        "_node",
        "_rebased_at",
        "_requires_grad",
        "_slot",
        "_version",
        "grad",
    )

    def __init__(self, data: Any, be: Backend, requires_grad: bool = False) -> None:
        self._data = data
        self._be = be
        self._requires_grad = requires_grad
        self._node: Node | None = None
        self._slot = 0
        self._version = Version()
        self._rebased_at = 0
        self._is_view = False
        self._hooks: dict[int, Callable[[Tensor], Tensor | None]] | None = None
        self.grad: Tensor | None = None


# The public class that operations return; set once by tensor.py, which is built on top of this module.
_tensor_type: type[Tensor]


def set_tensor_type(cls: type[Tensor]) -> None:
    global _tensor_type
    _tensor_type = cls


def wrap(be: Backend, data: Any) -> Tensor:
    """A tensor on a raw array of the backend, without a copy."""
    return _tensor_type(data, be)


class Node:
    """One recorded operation; also the ``ctx`` that its forward and backward see.

    Attributes:
        be: backend of the arrays.
        needs: for each positional argument of ``forward``, whether its gradient is wanted.
    """

    _SAVED_CHANGED = (
        "[{op}] a tensor that backward needs was modified in place after it was saved "
        "(saved at version {saved}, now {now}); clone it before the in-place operation"
    )

    if TYPE_CHECKING:  # forward may set any attribute

        def __getattr__(self, name: str) -> Any: ...

        def __setattr__(self, name: str, value: Any) -> None: ...

    def __init__(self, op: type[Op], be: Backend, needs: tuple[bool, ...]) -> None:
        self.op = op
        self.be = be
        self.needs = needs
        self.number = next(_number)
        self.edges: list[Edge | None] = []
        self.outputs: list[tuple[tuple[int, ...], Any]] = []
        self.hooks: dict[int, dict[int, Callable[[Tensor], Tensor | None]]] = {}
        self.freed = False
        self._keep: tuple[int, ...] = ()
        self._keep_output = False
        self._inputs: dict[int, tuple[TensorCore, Any, Version, int]] = {}
        self._output: tuple[Any, Version, int] | None = None

    # What forward may ask to keep.
    def save_inputs(self, *positions: int) -> None:
        """Keep these positional arguments (Tensors) for backward; later in-place changes of them are noticed."""
        self._keep = positions

    def save_factors(self) -> None:
        """Keep the first two arguments, the factors of a product: each only if the other one wants a gradient."""
        self._keep = tuple(i for i in (0, 1) if self.needs[1 - i])

    def save_output(self) -> None:
        """Keep the (first) result for backward."""
        self._keep_output = True

    # What backward may ask for.
    def input_raw(self, position: int) -> Any:
        _, data, version, count = self._inputs[position]
        if version.count != count:
            raise GraphError(self._SAVED_CHANGED.format(op=self.op.name(), saved=count, now=version.count))
        return data

    def input(self, position: int) -> Tensor:
        """A saved input with the history that it had in forward."""
        data = self.input_raw(position)
        edge = self.edges[position]
        if isinstance(edge, TensorCore):
            return edge  # type: ignore[return-value]
        tensor = wrap(self.be, data)
        if edge is not None:
            tensor._node, tensor._slot = edge
        return tensor

    def output_raw(self) -> Any:
        assert self._output is not None, "forward did not call save_output()"
        data, version, count = self._output
        if version.count != count:
            raise GraphError(self._SAVED_CHANGED.format(op=self.op.name(), saved=count, now=version.count))
        return data

    def output(self) -> Tensor:
        """The saved result, with this node as its history."""
        tensor = wrap(self.be, self.output_raw())
        tensor._node = self
        return tensor

    def _remember(self, args: Sequence[Any], first: TensorCore) -> None:
        for i in self._keep:
            t = args[i]
            self._inputs[i] = (t, t._data, t._version, t._version.count)
        if self._keep_output:
            self._output = (first._data, first._version, first._version.count)

    def keep_copy_of(self, tensor: TensorCore) -> None:
        """Where this saved input is kept, keep a copy: its memory is about to be overwritten with the result."""
        for i, (kept, data, _, _) in self._inputs.items():
            if kept is tensor:
                self._inputs[i] = (kept, data.copy(), Version(), 0)

    def release(self) -> None:
        """Drop everything saved; a second backward through this node is an error."""
        for name in list(self.__dict__):
            if name not in ("op", "be", "needs", "number", "edges", "outputs", "hooks"):
                del self.__dict__[name]
        self.freed = True

    def __repr__(self) -> str:
        return f"<{self.op.name()}Backward>"


# Where a gradient goes: the producing node and its output number, or the leaf tensor itself.
Edge = tuple[Node, int] | TensorCore


def edge_of(tensor: TensorCore) -> Edge | None:
    """Where a tensor's gradient goes, None if it wants none."""
    if tensor._node is not None:
        return (tensor._node, tensor._slot)
    return tensor if tensor._requires_grad else None


class Op:
    """A differentiable operation over raw arrays. See docs/architecture.md, "The tape".

    Subclasses define ``forward(ctx, *args, **kwargs)`` and ``backward(ctx, *dy)``, and may define
    ``backward_raw(ctx, *dy)``, the fused form over raw arrays; in place of an array it may give a function that waits
    for it, which the engine calls as late as it can: the node may be freed by then.
    """

    is_view: ClassVar[bool] = False
    lasting: ClassVar[bool] = False  # several graphs may share the result: backward frees nothing
    backward_raw: ClassVar[Callable[..., Any] | None] = None

    @classmethod
    def name(cls) -> str:
        return cls.__name__.lstrip("_")

    @staticmethod
    def forward(ctx: Node, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError

    @staticmethod
    def backward(ctx: Node, *args: Any, **kwargs: Any) -> Any:
        raise GraphError(
            f"[{ctx.op.name()}] has no differentiable backward, so create_graph=True cannot pass through it"
        )

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        """Run the operation on tensors and record it if a gradient is wanted."""
        tensors = [a for a in args if isinstance(a, TensorCore)]
        be = tensors[0]._be
        for t in tensors:
            if t._be is not be:
                devices = ", ".join(str(u._be.device) for u in tensors)
                raise DeviceError(f"[{cls.name()}] all tensors must be on one device, got {devices}")
        if _mode.enabled:
            needs = tuple(isinstance(a, TensorCore) and (a._node is not None or a._requires_grad) for a in args)
        else:
            needs = (False,) * len(args)
        ctx = Node(cls, be, needs)
        with be.quiet():
            result = cls.forward(ctx, *[a._data if isinstance(a, TensorCore) else a for a in args], **kwargs)
        several = isinstance(result, tuple)
        arrays = result if several else (result,)
        outputs = []
        for data in arrays:
            out = _tensor_type(data if be.is_array(data) else be.xp.asarray(data), be)
            outputs.append(out)
        if cls.is_view:
            base = tensors[0]
            for out in outputs:
                if be.xp.may_share_memory(out._data, base._data):
                    out._version = base._version
                    out._rebased_at = base._version.rebased
                    out._is_view = True
        if any(needs):
            record(ctx, args, outputs)
        return tuple(outputs) if several else outputs[0]


def record(ctx: Node, args: Sequence[Any], outputs: Sequence[TensorCore]) -> None:
    """Put a node between its inputs and its outputs."""
    for a, need in zip(args, ctx.needs, strict=True):
        if need and a._rebased_at != a._version.rebased:
            raise GraphError(
                f"[{ctx.op.name()}] this view of a tensor was taken before an in-place operation changed that tensor; "
                "take the view again after the in-place operation"
            )
        ctx.edges.append(edge_of(a) if need else None)
    ctx.outputs = [(out._data.shape, out._data.dtype) for out in outputs]
    ctx._remember(args, outputs[0])
    for slot, out in enumerate(outputs):
        if is_floating(out._data.dtype):
            out._node, out._slot = ctx, slot


@contextmanager
def grad_mode(enabled: bool) -> Iterator[None]:
    """Recording on or off inside a block."""
    before, _mode.enabled = _mode.enabled, enabled
    try:
        yield
    finally:
        _mode.enabled = before
