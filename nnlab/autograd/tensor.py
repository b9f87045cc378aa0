"""The Tensor: an array on a device, with a place on the tape."""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np

from nnlab import types
from nnlab.autograd import elementwise as ew
from nnlab.autograd import index as ix
from nnlab.autograd import matmul as mm
from nnlab.autograd import reduce as rd
from nnlab.autograd import shape as sh
from nnlab.autograd import unary as un
from nnlab.autograd.amp import in_float32
from nnlab.autograd.engine import root_gradient, run_backward
from nnlab.autograd.tape import (
    Node,
    Op,
    TensorCore,
    is_grad_enabled,
    set_tensor_type,
    wrap,
)
from nnlab.backend import Backend, Device, get_backend
from nnlab.errors import ArgumentError, DeviceError, DtypeError, GraphError, ShapeError


class Transfer(Op):
    """Copy to another device; the gradient comes back."""

    @staticmethod
    def forward(ctx: Node, x: Any, target: Backend) -> Any:
        raise NotImplementedError  # apply is overridden: input and output are on different devices

    @classmethod
    def apply(cls, *args: Any, **kwargs: Any) -> Any:
        from nnlab.autograd.tape import record

        x, target = args
        out = wrap(target, target.asarray(x._be.to_numpy(x._data)))
        if is_grad_enabled() and x.requires_grad:
            ctx = Node(cls, target, (True, False))
            ctx.source = x._be
            record(ctx, args, [out])
        return out

    @staticmethod
    def backward(ctx: Node, dy: Tensor) -> Any:
        return Transfer.apply(dy, ctx.source), None


class Size(tuple[int, ...]):
    """A shape; ``numel()`` is the number of elements."""

    __slots__ = ()

    def numel(self) -> int:
        count = 1
        for n in self:
            count *= n
        return count

    def __repr__(self) -> str:
        return f"Size({list(self)})"


class Tensor(TensorCore):
    """Multi-dimensional array that can record operations for gradients.

    Made by :func:`nnlab.tensor` and the other creation functions; the constructor itself takes an array of the backend
    and shares it. Names and defaults of methods are PyTorch's.
    """

    __slots__ = ()
    # NumPy must leave ``array * tensor`` to Tensor.__rmul__ instead of looping over the elements.
    __array_ufunc__ = None

    # -- what it is ------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        return Size(self._data.shape)

    @property
    def ndim(self) -> builtins.int:
        return int(self._data.ndim)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._data.dtype

    @property
    def device(self) -> Device:
        return self._be.device

    @property
    def is_leaf(self) -> builtins.bool:
        """Whether gradients end here (made by the user, or no gradient wanted)."""
        return self._node is None

    @property
    def grad_fn(self) -> Node | None:
        return self._node

    @property
    def requires_grad(self) -> builtins.bool:
        return self._node is not None or self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: builtins.bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, requires_grad: builtins.bool = True) -> Self:
        """Say whether gradients with respect to this leaf are wanted; returns the tensor."""
        if self._node is not None:
            if not requires_grad:
                raise GraphError("[requires_grad_] only leaf tensors can be switched off; use detach()")
            return self
        if requires_grad and not types.is_floating(self.dtype):
            raise DtypeError(f"[requires_grad_] only floating tensors carry gradients, got {self.dtype.name}")
        self._requires_grad = bool(requires_grad)
        return self

    @property
    def data(self) -> Tensor:
        """The same memory without history; in-place changes through it are not checked by backward."""
        return type(self)._plain(self._data, self._be)

    @data.setter
    def data(self, value: Tensor) -> None:
        if value._data.shape != self._data.shape and self._node is not None:
            raise ShapeError(f"[data] shape must stay {tuple(self.shape)}, got {tuple(value.shape)}")
        self._data, self._be = value._data, value._be

    @staticmethod
    def _plain(data: Any, be: Backend) -> Tensor:
        return Tensor(data, be)

    @property
    def T(self) -> Tensor:
        """All dimensions reversed (a view)."""
        return sh.permute(self, tuple(range(self.ndim))[::-1])

    @property
    def mT(self) -> Tensor:
        """The last two dimensions swapped (a view)."""
        return sh.transpose(self, -1, -2)

    def size(self, dim: builtins.int | None = None) -> Any:
        return self.shape if dim is None else self.shape[dim]

    def dim(self) -> builtins.int:
        return self.ndim

    def numel(self) -> builtins.int:
        return int(self._data.size)

    def element_size(self) -> builtins.int:
        return self.dtype.itemsize

    def is_floating_point(self) -> builtins.bool:
        return types.is_floating(self.dtype)

    def is_contiguous(self) -> builtins.bool:
        return bool(self._data.flags.c_contiguous)

    def __len__(self) -> builtins.int:
        if self.ndim == 0:
            raise ShapeError("[len] a 0-d tensor has no length")
        return int(self._data.shape[0])

    def __iter__(self) -> Iterator[Tensor]:
        return iter(sh.unbind(self, 0))

    def __bool__(self) -> builtins.bool:
        if self.numel() != 1:
            raise ArgumentError(
                f"[bool] a tensor of {self.numel()} elements is neither true nor false; use any() or all()"
            )
        return bool(self.item())

    def __float__(self) -> builtins.float:
        return float(self.item())

    def __int__(self) -> builtins.int:
        return int(self.item())

    def __index__(self) -> builtins.int:
        if self.dtype.kind not in "iub":
            raise DtypeError(f"[index] only integer tensors can be an index, got {self.dtype.name}")
        return int(self.item())

    __hash__ = TensorCore.__hash__  # by identity; == compares elements

    def __repr__(self) -> str:
        host = self._be.to_numpy(self._data)
        host = host.astype(types.wide(host.dtype)) if types.is_bfloat16(host.dtype) else host
        text = np.array2string(host, separator=", ", prefix="tensor(", threshold=200)
        notes = []
        if self.device.type != "cpu":
            notes.append(f"device='{self.device}'")
        if self.dtype not in (types.float32, types.int64, types.bool_):
            notes.append(f"dtype={self.dtype.name}")
        if self._node is not None:
            notes.append(f"grad_fn={self._node!r}")
        elif self._requires_grad:
            notes.append("requires_grad=True")
        return f"tensor({', '.join([text, *notes])})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self._node is not None:
            raise GraphError("[deepcopy] only leaf tensors can be copied; detach() first")
        copied = type(self).__new__(type(self))
        TensorCore.__init__(copied, self._data.copy(), self._be, self._requires_grad)
        memo[id(self)] = copied
        if self.grad is not None:
            copied.grad = self.grad.detach().clone()
        return copied

    # -- where its values go -----------------------------------------------------------------------------------------

    def item(self) -> Any:
        """The only element as a Python number."""
        if self.numel() != 1:
            raise ArgumentError(f"[item] only a tensor of one element has an item, got shape {tuple(self.shape)}")
        return self._be.to_numpy(self._data).item()

    def tolist(self) -> Any:
        return self._be.to_numpy(self._data).tolist()

    def numpy(self) -> np.ndarray:
        """The values as a NumPy array sharing memory.

        Raises:
            GraphError: the tensor requires grad (use ``.detach().numpy()``).
            DeviceError: it is not on the CPU (use ``.cpu().numpy()``).
        """
        if self.requires_grad:
            raise GraphError("[numpy] the tensor requires grad; use .detach().numpy()")
        if self.device.type != "cpu":
            raise DeviceError(f"[numpy] the tensor is on {self.device}; use .cpu().numpy()")
        return self._data

    def __array__(self, dtype: Any = None, copy: builtins.bool | None = None) -> np.ndarray:
        return np.array(self.numpy(), dtype=dtype, copy=copy)

    def __dlpack__(self, **kwargs: Any) -> Any:
        """DLPack capsule sharing this memory (for ``np.from_dlpack``, ``torch.from_dlpack`` ...)."""
        if self.requires_grad:
            raise GraphError("[dlpack] the tensor requires grad; export .detach()")
        return self._data.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> Any:
        return self._data.__dlpack_device__()

    def to(self, *args: Any, device: Any = None, dtype: Any = None, copy: builtins.bool = False) -> Tensor:
        """The tensor on another device and/or in another dtype: ``to("cuda")``, ``to(float64)``, ``to(other)``.

        Returns the tensor itself if nothing changes and ``copy`` is false. Gradients pass.
        """
        for a in args:
            if isinstance(a, Tensor):
                device, dtype = a.device, a.dtype
            elif isinstance(a, Device) or (isinstance(a, str) and a.partition(":")[0] in ("cpu", "cuda", "emulated")):
                device = a
            else:
                dtype = a
        out: Tensor = self
        if device is not None and Device(device) != self.device:
            out = Transfer.apply(out, get_backend(device))
        if dtype is not None:
            out = ew.cast(out, types.as_dtype(dtype))
        return sh.clone(out) if copy and out is self else out

    def cpu(self) -> Tensor:
        return self.to(device="cpu")

    def cuda(self, device: builtins.int | str = 0) -> Tensor:
        return self.to(device=f"cuda:{device}" if isinstance(device, int) else device)

    def type(self, dtype: Any) -> Tensor:
        return self.to(dtype=dtype)

    def half(self) -> Tensor:
        return self.to(dtype=types.float16)

    def bfloat16(self) -> Tensor:
        return self.to(dtype=types.bfloat16)

    def float(self) -> Tensor:
        return self.to(dtype=types.float32)

    def double(self) -> Tensor:
        return self.to(dtype=types.float64)

    def int(self) -> Tensor:
        return self.to(dtype=types.int32)

    def long(self) -> Tensor:
        return self.to(dtype=types.int64)

    def bool(self) -> Tensor:
        return self.to(dtype=types.bool_)

    def type_as(self, other: Tensor) -> Tensor:
        return self.to(dtype=other.dtype)

    # -- the tape ----------------------------------------------------------------------------------------------------

    def detach(self) -> Tensor:
        """The same memory without history; in-place changes through it are noticed by backward."""
        out = self._plain(self._data, self._be)
        out._version, out._rebased_at, out._is_view = self._version, self._version.rebased, self._is_view
        return out

    def detach_(self) -> Self:
        """Cut this tensor from its history."""
        self._node, self._requires_grad = None, False
        return self

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: builtins.bool | None = None,
        create_graph: builtins.bool = False,
    ) -> None:
        """Add the gradient of this tensor to ``.grad`` of every leaf it depends on.

        Args:
            gradient: gradient with respect to this tensor, of its shape; may be left out for a single element (1).
            retain_graph: keep what was saved for another backward (default: as ``create_graph``).
            create_graph: record the backward pass itself, for higher derivatives.

        Raises:
            GraphError: nothing to differentiate, a freed graph, or a saved tensor was modified in place.
        """
        retain = create_graph if retain_graph is None else retain_graph
        run_backward([self], [root_gradient(self, gradient)], retain_graph=retain, create_graph=create_graph)

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Callable[[], None]:
        """Call ``hook(gradient)`` when this tensor's gradient is ready; a returned tensor replaces it.

        Returns:
            A function that removes the hook.
        """
        if not self.requires_grad:
            raise GraphError("[register_hook] the tensor does not require grad")
        if self._node is not None:
            hooks = self._node.hooks.setdefault(self._slot, {})
        else:
            self._hooks = hooks = {} if self._hooks is None else self._hooks
        key = max(hooks, default=-1) + 1
        hooks[key] = hook
        return lambda: hooks.pop(key, None) and None

    def retain_grad(self) -> None:
        """Keep ``.grad`` of this tensor although it is not a leaf."""
        if self._node is not None:

            def keep(gradient: Tensor) -> None:
                gradient = gradient.detach().clone() if gradient._node is None else gradient
                self.grad = gradient if self.grad is None else self.grad + gradient

            self.register_hook(keep)

    @property
    def _version_count(self) -> Any:
        return self._version.count

    # -- in place ----------------------------------------------------------------------------------------------------

    def _assign(self, name: str, function: Callable[[Tensor], Tensor]) -> Self:
        """Replace the values by ``function(self)``, as part of the graph if gradients are wanted."""
        recorded = is_grad_enabled()
        if recorded and self._requires_grad and self._node is None:
            raise GraphError(f"[{name}] a leaf tensor that requires grad cannot be changed in place; use no_grad()")
        before = Tensor(self._data, self._be)
        before._node, before._slot, before._version = self._node, self._slot, self._version
        before._rebased_at = self._rebased_at
        new = function(before)
        if new._data.shape != self._data.shape:
            raise ShapeError(f"[{name}] the result has shape {tuple(new.shape)}, not the tensor's {tuple(self.shape)}")
        if types.rank(new.dtype) > types.rank(self.dtype):
            raise DtypeError(f"[{name}] a result of dtype {new.dtype.name} does not fit a tensor of {self.dtype.name}")
        new = ew.cast(new, self.dtype)
        if recorded and new._node is not None and self._is_view:
            raise GraphError(
                f"[{name}] a view cannot be changed in place where a gradient is wanted; "
                "change the tensor itself (x[i] = ...) or work on a clone()"
            )
        if new._node is not None:
            new._node.keep_copy_of(before)
        self._data[...] = new._data
        self._version.count += 1
        if new._node is not None:
            self._node, self._slot = new._node, new._slot
            self._version.rebased += 1
            self._rebased_at = self._version.rebased
        return self

    def __setitem__(self, index: Any, value: Any) -> None:
        where = ix.raw_index(index, self._be)
        try:
            if is_grad_enabled() and (self.requires_grad or (isinstance(value, Tensor) and value.requires_grad)):
                self._assign("setitem", lambda t: ix.SetItem.apply(t, _fitting(value, t.dtype), where))
            else:
                self._data[where] = value._data if isinstance(value, Tensor) else value
                self._version.count += 1
        except IndexError as error:
            raise ix.ShapeIndexError(f"[index] shape {tuple(self.shape)}: {error}") from error
        except ValueError as error:
            if isinstance(error, ArgumentError | ShapeError):
                raise
            raise ShapeError(f"[index] {error}") from error

    def copy_(self, source: Tensor) -> Self:
        """Copy values (broadcast, cast and moved between devices as needed)."""
        moved = source.to(device=self.device)
        return self._assign("copy_", lambda t: ew.cast(moved, t.dtype).expand(t.shape))

    def fill_(self, value: Any) -> Self:
        return self._assign("fill_", lambda t: t.new_full(t.shape, value))

    def zero_(self) -> Self:
        return self.fill_(0)

    def add_(self, other: Any, *, alpha: Any = 1) -> Self:
        return self._assign("add_", lambda t: ew.add(t, other, alpha=alpha))

    def sub_(self, other: Any, *, alpha: Any = 1) -> Self:
        return self._assign("sub_", lambda t: ew.sub(t, other, alpha=alpha))

    def mul_(self, other: Any) -> Self:
        return self._assign("mul_", lambda t: ew.mul(t, other))

    def div_(self, other: Any) -> Self:
        return self._assign("div_", lambda t: ew.div(t, other))

    def pow_(self, exponent: Any) -> Self:
        return self._assign("pow_", lambda t: ew.pow(t, exponent))

    def clamp_(self, min: Any = None, max: Any = None) -> Self:
        return self._assign("clamp_", lambda t: ew.clamp(t, min, max))

    def exp_(self) -> Self:
        return self._assign("exp_", lambda t: un.exp(t))

    def sqrt_(self) -> Self:
        return self._assign("sqrt_", lambda t: un.sqrt(t))

    def neg_(self) -> Self:
        return self._assign("neg_", lambda t: un.neg(t))

    def relu_(self) -> Self:
        return self._assign("relu_", lambda t: t.relu())

    def masked_fill_(self, mask: Tensor, value: Any) -> Self:
        return self._assign("masked_fill_", lambda t: t.masked_fill(mask, value))

    __iadd__ = add_
    __isub__ = sub_
    __imul__ = mul_
    __itruediv__ = div_

    # -- arithmetic --------------------------------------------------------------------------------------------------

    def __add__(self, other: Any) -> Tensor:
        return ew.add(self, other)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Tensor:
        return ew.sub(self, other)

    def __rsub__(self, other: Any) -> Tensor:
        return ew.sub(other, self)

    def __mul__(self, other: Any) -> Tensor:
        return ew.mul(self, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Tensor:
        return ew.div(self, other)

    def __rtruediv__(self, other: Any) -> Tensor:
        return ew.div(other, self)

    def __pow__(self, other: Any) -> Tensor:
        return ew.pow(self, other)

    def __rpow__(self, other: Any) -> Tensor:
        return ew.pow(other, self)

    def __floordiv__(self, other: Any) -> Tensor:
        return ew.compare("floor_divide", self, other)

    def __mod__(self, other: Any) -> Tensor:
        return ew.compare("remainder", self, other)

    def __neg__(self) -> Tensor:
        return un.neg(self)

    def __abs__(self) -> Tensor:
        return un.abs(self)

    def __matmul__(self, other: Tensor) -> Tensor:
        return mm.matmul(self, other)

    def __eq__(self, other: Any) -> Tensor:  # type: ignore[override]
        return ew.compare("equal", self, other)

    def __ne__(self, other: Any) -> Tensor:  # type: ignore[override]
        return ew.compare("not_equal", self, other)

    def __lt__(self, other: Any) -> Tensor:
        return ew.compare("less", self, other)

    def __le__(self, other: Any) -> Tensor:
        return ew.compare("less_equal", self, other)

    def __gt__(self, other: Any) -> Tensor:
        return ew.compare("greater", self, other)

    def __ge__(self, other: Any) -> Tensor:
        return ew.compare("greater_equal", self, other)

    def __and__(self, other: Any) -> Tensor:
        return ew.compare("bitwise_and", self, other)

    def __or__(self, other: Any) -> Tensor:
        return ew.compare("bitwise_or", self, other)

    def __xor__(self, other: Any) -> Tensor:
        return ew.compare("bitwise_xor", self, other)

    def __invert__(self) -> Tensor:
        return ew.test("invert", self)

    def __getitem__(self, index: Any) -> Tensor:
        return ix.getitem(self, index)

    add, sub, mul, div, pow = ew.add, ew.sub, ew.mul, ew.div, ew.pow
    maximum, minimum, clamp, sign, sigmoid = ew.maximum, ew.minimum, ew.clamp, un.sign, un.sigmoid
    isnan, isinf, isfinite = un.isnan, un.isinf, un.isfinite
    exp, expm1, log, log1p, log2, log10 = un.exp, un.expm1, un.log, un.log1p, un.log2, un.log10
    sqrt, abs, neg, sin, cos, tan, atan, tanh = un.sqrt, un.abs, un.neg, un.sin, un.cos, un.tan, un.atan, un.tanh
    matmul = mm.matmul
    eq, ne, lt, le, gt, ge = __eq__, __ne__, __lt__, __le__, __gt__, __ge__

    @in_float32
    def rsqrt(self) -> Tensor:
        return 1.0 / un.sqrt(self)

    @in_float32
    def square(self) -> Tensor:
        return self * self

    @in_float32
    def reciprocal(self) -> Tensor:
        return 1.0 / self

    def relu(self) -> Tensor:
        from nnlab.autograd.activation import relu

        return relu(self)

    def softmax(self, dim: Any) -> Tensor:
        from nnlab.autograd.activation import softmax

        return softmax(self, dim)

    def log_softmax(self, dim: Any) -> Tensor:
        from nnlab.autograd.activation import log_softmax

        return log_softmax(self, dim)

    def floor(self) -> Tensor:
        return ew.test("floor", self)

    def ceil(self) -> Tensor:
        return ew.test("ceil", self)

    def round(self) -> Tensor:
        return ew.test("rint", self)

    def logical_not(self) -> Tensor:
        return ew.test("logical_not", self)

    def masked_fill(self, mask: Tensor, value: Any) -> Tensor:
        """The values with ``value`` where the boolean mask holds."""
        return ew.where(mask, value, self)

    def masked_select(self, mask: Tensor) -> Tensor:
        """The elements where the boolean mask holds, as one dimension."""
        return ix.getitem(self.expand(mask.shape), mask)

    # -- reductions --------------------------------------------------------------------------------------------------

    sum, mean, var, std, prod, cumsum = rd.sum, rd.mean, rd.var, rd.std, rd.prod, rd.cumsum
    max, min, amax, amin, argmax, argmin = rd.max, rd.min, rd.amax, rd.amin, rd.argmax, rd.argmin
    all, any, norm, logsumexp = rd.all, rd.any, rd.norm, rd.logsumexp
    sort, argsort, topk = rd.sort, rd.argsort, rd.topk

    # -- shape -------------------------------------------------------------------------------------------------------

    def reshape(self, *shape: Any) -> Tensor:
        return sh.reshape(self, sh.sizes(shape))

    def view(self, *shape: Any) -> Tensor:
        """As :meth:`reshape`, but never a copy.

        Raises:
            ShapeError: the memory layout does not allow a view.
        """
        out = sh.reshape(self, sh.sizes(shape))
        if not out._is_view and out.numel():
            raise ShapeError(f"[view] shape {tuple(self.shape)} is not laid out for a view; use reshape()")
        return out

    def view_as(self, other: Tensor) -> Tensor:
        return self.view(other.shape)

    def reshape_as(self, other: Tensor) -> Tensor:
        return sh.reshape(self, other.shape)

    def permute(self, *dims: Any) -> Tensor:
        return sh.permute(self, sh.sizes(dims))

    def expand(self, *shape: Any) -> Tensor:
        return sh.expand(self, sh.sizes(shape))

    def expand_as(self, other: Tensor) -> Tensor:
        return sh.expand(self, other.shape)

    def repeat(self, *sizes: Any) -> Tensor:
        return sh.repeat(self, sh.sizes(sizes))

    def flip(self, *dims: Any) -> Tensor:
        return sh.flip(self, sh.sizes(dims))

    def t(self) -> Tensor:
        """Transpose of a tensor with at most two dimensions (a view)."""
        if self.ndim > 2:
            raise ShapeError(f"[t] at most 2 dimensions, got {self.ndim}")
        return self.T

    def contiguous(self) -> Tensor:
        return self if self.is_contiguous() else sh.clone(self)

    transpose, movedim, squeeze, unsqueeze = sh.transpose, sh.movedim, sh.squeeze, sh.unsqueeze
    flatten, unflatten, clone, split, chunk, unbind, roll = (
        sh.flatten,
        sh.unflatten,
        sh.clone,
        sh.split,
        sh.chunk,
        sh.unbind,
        sh.roll,
    )
    narrow, index_select, gather = ix.narrow, ix.index_select, ix.gather

    # -- new tensors like this one -------------------------------------------------------------------------------------

    def new_full(self, size: Any, fill_value: Any, dtype: Any = None) -> Tensor:
        chosen = self.dtype if dtype is None else types.as_dtype(dtype)
        return wrap(self._be, self._be.xp.full(tuple(size), fill_value, dtype=chosen))

    def new_zeros(self, *size: Any, dtype: Any = None) -> Tensor:
        return self.new_full(sh.sizes(size), 0, dtype)

    def new_ones(self, *size: Any, dtype: Any = None) -> Tensor:
        return self.new_full(sh.sizes(size), 1, dtype)


def _fitting(value: Any, dtype: Any) -> Any:
    return ew.cast(value, dtype) if isinstance(value, Tensor) else ew.as_operand(value, dtype)


set_tensor_type(Tensor)
