"""The backward pass: gradients travel from results to leaves along the tape."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Union

from nnlab.autograd.amp import autocast_off
from nnlab.autograd.elementwise import cast
from nnlab.autograd.tape import Edge, Node, TensorCore, edge_of, grad_mode, wrap
from nnlab.errors import GraphError, ShapeError
from nnlab.types import is_floating

if TYPE_CHECKING:
    from nnlab.autograd.tensor import Tensor
    from nnlab.backend import Backend

# A gradient, or a function that waits for the array of one, which another thread computes meanwhile: where it goes to a
# leaf, that is done at the end of the pass.
Gradient = Union["Tensor", Callable[[], Any]]


def _owner(array: Any) -> int:
    """Identity of the array that owns the memory of a view."""
    while array.base is not None and hasattr(array.base, "base"):
        array = array.base
    return id(array)


def _apply_hooks(hooks: dict[int, Callable[[Tensor], Tensor | None]], gradient: Tensor) -> Tensor:
    for hook in list(hooks.values()):
        replaced = hook(gradient)
        gradient = gradient if replaced is None else replaced
    return gradient


def _now(be: Backend, gradient: Gradient) -> Tensor:
    """A gradient that may still have to be waited for."""
    return wrap(be, gradient()) if callable(gradient) else gradient


def _at(leaf: TensorCore, gradient: Gradient) -> Tensor:
    """Likewise, in the leaf's dtype."""
    return cast(_now(leaf._be, gradient), leaf._data.dtype)


def _key(edge: Edge) -> Any:
    """What an edge is known by: a leaf's identity, or the number of a node and of its output."""
    return id(edge) if isinstance(edge, TensorCore) else (edge[0].number, edge[1])


def _useful(roots: Sequence[TensorCore], wanted: set[Any]) -> set[int]:
    """Numbers of the nodes through which a gradient reaches a wanted edge."""
    nodes: dict[int, Node] = {}
    waiting = [root._node for root in roots if root._node is not None]
    while waiting:
        node = waiting.pop()
        if node.number not in nodes:
            nodes[node.number] = node
            waiting += [edge[0] for edge in node.edges if isinstance(edge, tuple)]
    useful: set[int] = set()
    for number in sorted(nodes):  # producers come before consumers
        for edge in nodes[number].edges:
            if edge is not None and (_key(edge) in wanted or (isinstance(edge, tuple) and edge[0].number in useful)):
                useful.add(number)
    return useful


class _Run:
    """One backward pass."""

    def __init__(self, create_graph: bool, capture: set[Any] | None, roots: Sequence[TensorCore]) -> None:
        self.create_graph = create_graph
        self.capture = capture
        self.useful = set() if capture is None else _useful(roots, capture)
        self.captured: dict[Any, Tensor] = {}
        self.pending: dict[int, tuple[Node, dict[int, Tensor]]] = {}
        self.heap: list[int] = []
        self.leaves: dict[int, tuple[TensorCore, Gradient]] = {}

    def wants(self, edge: Edge | None) -> bool:
        """Whether a gradient at this edge leads to something that was asked for."""
        if edge is None or self.capture is None:
            return edge is not None
        return _key(edge) in self.capture or (not isinstance(edge, TensorCore) and edge[0].number in self.useful)

    def send(self, edge: Edge, gradient: Gradient) -> None:
        """Add a gradient to what waits at an edge, in the dtype of the tensor there."""
        if isinstance(edge, TensorCore):
            before = self.leaves.get(id(edge))
            if before is not None:
                gradient = _at(edge, before[1]) + _at(edge, gradient)
            self.leaves[id(edge)] = (edge, gradient)
            return
        node, slot = edge
        gradient = cast(_now(node.be, gradient), node.outputs[slot][1])
        if node.number not in self.pending:
            self.pending[node.number] = (node, {})
            heapq.heappush(self.heap, -node.number)
        slots = self.pending[node.number][1]
        slots[slot] = slots[slot] + gradient if slot in slots else gradient

    def step(self, retain_graph: bool) -> None:
        """Run the backward of the youngest pending node."""
        node, slots = self.pending.pop(-heapq.heappop(self.heap))
        for slot, hooks in node.hooks.items():
            if slot in slots:
                slots[slot] = _apply_hooks(hooks, slots[slot])
        if self.capture is not None:
            for slot, gradient in slots.items():
                if (node.number, slot) in self.capture:
                    self.captured[node.number, slot] = gradient
            if node.number not in self.useful:
                return
        if node.freed:
            raise GraphError(
                f"[{node.op.name()}] the graph was freed by an earlier backward; "
                "pass retain_graph=True there to go through it twice"
            )
        be, needs = node.be, node.needs
        node.needs = tuple(self.wants(edge) for edge in node.edges)
        dy = [
            slots[slot] if slot in slots else (wrap(be, be.xp.zeros(shape, dtype)) if is_floating(dtype) else None)
            for slot, (shape, dtype) in enumerate(node.outputs)
        ]
        if node.op.backward_raw is not None and not self.create_graph:
            result = node.op.backward_raw(node, *[g._data if g is not None else None for g in dy])
            result = result if isinstance(result, tuple) else (result,)
            result = tuple(g if g is None or callable(g) else wrap(be, g) for g in result)
        else:
            result = node.op.backward(node, *dy)
            result = result if isinstance(result, tuple) else (result,)
        for edge, need, gradient in zip(node.edges, node.needs, result):  # trailing Nones may be left out
            if edge is not None and need and gradient is not None:
                self.send(edge, gradient)
        node.needs = needs
        if not retain_graph and not node.op.lasting:
            node.release()

    def finish(self) -> None:
        """Store what arrived at the leaves."""
        owners: set[int] = set()
        for leaf, gradient in [(leaf, _at(leaf, gradient)) for leaf, gradient in self.leaves.values()]:
            if leaf._hooks:
                gradient = _apply_hooks(leaf._hooks, gradient)
            if self.capture is not None:
                if id(leaf) in self.capture:
                    self.captured[id(leaf)] = gradient
                continue
            if leaf.grad is not None:
                leaf.grad = leaf.grad + gradient
            elif self.create_graph:
                leaf.grad = gradient
            else:
                # A gradient array may be shared (x + x gives both sides the same one): each leaf gets its own.
                data, owner = gradient._data, _owner(gradient._data)
                whole = data.flags.c_contiguous and getattr(data.flags, "writeable", True)
                shared = owner in owners or not whole
                owners.add(owner)
                leaf.grad = wrap(gradient._be, data.copy() if shared else data)


def run_backward(
    roots: Sequence[TensorCore],
    gradients: Sequence[Tensor],
    *,
    retain_graph: bool,
    create_graph: bool,
    inputs: Sequence[TensorCore] | None = None,
) -> list[Tensor | None]:
    """Send gradients from the roots to the leaves, or to ``inputs`` if given (then leaves are left alone)."""
    wanted: list[Any] = []
    for i, t in enumerate(inputs or ()):
        edge = edge_of(t)
        if edge is None:
            raise GraphError(f"[grad] input {i} does not require grad")
        wanted.append(_key(edge))
    run = _Run(create_graph, None if inputs is None else set(wanted), roots)
    with grad_mode(create_graph), autocast_off(), roots[0]._be.quiet():
        for root, gradient in zip(roots, gradients, strict=True):
            edge = edge_of(root)
            if edge is None:
                raise GraphError("[backward] the tensor does not require grad and has no history")
            # The caller's gradient array must not end up in a .grad: the copy makes it ours.
            run.send(edge, gradient if create_graph else wrap(gradient._be, gradient._data.copy()))
        while run.heap:
            run.step(retain_graph)
        run.finish()
    return [run.captured.get(key) for key in wanted]


def root_gradient(tensor: Tensor, gradient: Tensor | None) -> Tensor:
    """The gradient with which a backward pass starts."""
    if gradient is None:
        if tensor.numel() != 1:
            raise GraphError(
                f"[backward] a tensor of shape {tuple(tensor.shape)} needs a 'gradient'; only a single element has 1"
            )
        gradient = tensor.new_full(tensor.shape, 1)
    if gradient.shape != tensor.shape:
        raise ShapeError(f"[backward] 'gradient' must have shape {tuple(tensor.shape)}, got {tuple(gradient.shape)}")
    return cast(gradient, tensor.dtype)


def grad(
    outputs: Tensor | list[Tensor] | tuple[Tensor, ...],
    inputs: Tensor | list[Tensor] | tuple[Tensor, ...],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool = False,
) -> tuple[Tensor | None, ...]:
    """Gradients of the (weighted) sum of outputs with respect to inputs; ``.grad`` fields are left alone.

    Args:
        outputs, inputs: tensors.
        grad_outputs: gradient for each output; None for single elements (1).
        retain_graph: keep what was saved (default: as ``create_graph``).
        create_graph: make the gradients differentiable themselves.
        allow_unused: give None for an input that the outputs do not depend on, instead of an error.
    """
    outs = [outputs] if isinstance(outputs, TensorCore) else list(outputs)
    ins = [inputs] if isinstance(inputs, TensorCore) else list(inputs)
    given: list[Any] = (
        [grad_outputs] if isinstance(grad_outputs, TensorCore) else list(grad_outputs or [None] * len(outs))
    )
    seeds = [root_gradient(o, g) for o, g in zip(outs, given, strict=True)]
    retain = create_graph if retain_graph is None else retain_graph
    result = run_backward(outs, seeds, retain_graph=retain, create_graph=create_graph, inputs=ins)
    for i, g in enumerate(result):
        if g is None and not allow_unused:
            raise GraphError(f"[grad] the outputs do not depend on input {i}; pass allow_unused=True to get None")
    return tuple(result)
