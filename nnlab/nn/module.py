"""The base of all layers and networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Self

from nnlab.autograd import Tensor
from nnlab.backend import Device
from nnlab.errors import ArgumentError, NNLabError, OutOfMemoryError, complaint
from nnlab.nn import state
from nnlab.nn.blame import blame
from nnlab.nn.hooks import RemovableHandle, add_hook
from nnlab.nn.tree import Tree
from nnlab.types import as_dtype, is_floating


class Module(Tree):
    """A layer or network: named parameters, buffers and child modules, and a ``forward``.

    A subclass calls ``super().__init__()`` first, assigns parameters and modules to attributes (which registers them)
    and defines ``forward``; the module itself is then called.

    Attributes:
        training: whether dropout and batch normalisation behave as in training (see ``train`` and ``eval``).
        carried: names of buffers that a forward pass leaves for the next one (``nnlab.train.carried``); default none.
    """

    carried: tuple[str, ...] = ()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes; every subclass defines it."""
        raise NotImplementedError(f"[{type(self).__name__}] the module defines no 'forward'")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the pre-hooks, ``forward`` and the hooks; an error on the way says which layer it came from."""
        try:
            if not (self._pre_hooks or self._hooks):
                return self.forward(*args, **kwargs)
            return self._call_with_hooks(args, kwargs)
        except NNLabError as error:
            blame(error, self)
            raise
        except MemoryError as error:
            renamed = OutOfMemoryError(f"[{type(self).__name__}] out of memory: {error}")
            blame(renamed, self)
            raise renamed from error

    def _call_with_hooks(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        for hook, with_kwargs in list(self._pre_hooks.values()):
            if with_kwargs:
                changed = hook(self, args, kwargs)
                if changed is not None:
                    args, kwargs = changed
            else:
                changed = hook(self, args)
                if changed is not None:
                    args = changed if isinstance(changed, tuple) else (changed,)
        result = self.forward(*args, **kwargs)
        for hook, with_kwargs in list(self._hooks.values()):
            changed = hook(self, args, kwargs, result) if with_kwargs else hook(self, args, result)
            if changed is not None:
                result = changed
        return result

    # Hooks.

    def register_forward_pre_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args)`` before ``forward``; what it returns (if not None) replaces the arguments.

        With ``with_kwargs`` it is ``hook(module, args, kwargs)``, and it returns ``(args, kwargs)`` or None.
        """
        return add_hook(self._pre_hooks, hook, prepend=prepend, with_kwargs=with_kwargs)

    def register_forward_hook(
        self, hook: Callable[..., Any], *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after ``forward``; what it returns (if not None) replaces the output.

        With ``with_kwargs`` it is ``hook(module, args, kwargs, output)``.
        """
        return add_hook(self._hooks, hook, prepend=prepend, with_kwargs=with_kwargs)

    # Changing all of it.

    def apply(self, fn: Callable[[Module], Any]) -> Self:
        """Call ``fn`` on every module below and then on this one."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def train(self, mode: bool = True) -> Self:
        """Set training behaviour here and below."""
        if not isinstance(mode, bool):
            raise ArgumentError(complaint(type(self).__name__, "mode", "be a bool", mode))
        object.__setattr__(self, "training", mode)
        for child in self.children():
            child.train(mode)
        return self

    def eval(self) -> Self:
        """Set evaluation behaviour here and below."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Switch the gradients of all parameters on or off (freezing a network)."""
        for param in self.parameters():
            param.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop all gradients, or fill them with zeros."""
        for param in self.parameters():
            if set_to_none:
                param.grad = None
            elif param.grad is not None:
                param.grad = param.grad.detach()
                param.grad.zero_()

    def _apply(self, fn: Callable[[Tensor], Tensor]) -> Self:
        """Replace the memory of every parameter, gradient and buffer; the parameter objects stay the same."""
        for module in self.modules():
            for param in module._parameters.values():
                if param is not None:
                    param.data = fn(param.detach())
                    if param.grad is not None:
                        param.grad = fn(param.grad.detach())
            for name, buffer in module._buffers.items():
                if buffer is not None:
                    module._buffers[name] = fn(buffer)
        return self

    def to(
        self,
        device: Any = None,
        dtype: Any = None,
    ) -> Self:
        """Move to a device and/or change the dtype of floating parameters and buffers, in place.

        Args:
            device: a device, or (as in ``to(nnlab.float64)``) a dtype, or a tensor whose device and dtype to take.
            dtype: floating dtype; integer buffers keep theirs.
        """
        if isinstance(device, Tensor):
            device, dtype = device.device, device.dtype
        elif device is not None and not isinstance(device, (str, Device)):
            device, dtype = None, device
        wanted = None if dtype is None else as_dtype(dtype)
        if wanted is not None and not is_floating(wanted):
            raise ArgumentError(complaint(type(self).__name__, "dtype", "be floating point", str(wanted)))

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device=device, dtype=wanted if is_floating(tensor.dtype) else None)

        return self._apply(move)

    def cpu(self) -> Self:
        """Move to the CPU, in place."""
        return self.to("cpu")

    def cuda(self, device: int = 0) -> Self:
        """Move to a GPU, in place."""
        return self.to(f"cuda:{device}")

    def float(self) -> Self:
        """Turn floating parameters and buffers into float32, in place."""
        return self.to(dtype="float32")

    def double(self) -> Self:
        """Turn floating parameters and buffers into float64, in place."""
        return self.to(dtype="float64")

    def bfloat16(self) -> Self:
        """Turn floating parameters and buffers into bfloat16, in place (needs the package ml_dtypes)."""
        return self.to(dtype="bfloat16")

    def half(self) -> Self:
        """Turn floating parameters and buffers into float16, in place."""
        return self.to(dtype="float16")

    # State.

    def state_dict(self, *, prefix: str = "", keep_vars: bool = False) -> dict[str, Tensor]:
        """Parameters and persistent buffers by dotted path, sharing memory with the module.

        Args:
            prefix: put before every key.
            keep_vars: keep the parameters themselves instead of detached tensors.
        """
        return state.state_dict(self, prefix, keep_vars)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> state.IncompatibleKeys:
        """Copy values into the parameters and buffers; nothing is changed unless all of it fits.

        Args:
            state_dict: tensors or host arrays by dotted path.
            strict: missing or unexpected keys are an error; otherwise they are returned. A wrong shape always is one.
            assign: put the given tensors themselves in place (they keep their dtype and device) instead of copying.

        Returns:
            ``(missing_keys, unexpected_keys)``.

        Raises:
            CheckpointError: keys or shapes do not fit; the message lists all of them.
        """
        return state.load_state_dict(self, state_dict, strict, assign)

    # Printing.

    def extra_repr(self) -> str:
        """What stands between the parentheses after the class name."""
        return ""

    def _get_name(self) -> str:
        return type(self).__name__

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = extra.split("\n") if extra else []
        children = [f"({name}): " + repr(child).replace("\n", "\n  ") for name, child in self._modules.items()]
        if not children and len(lines) <= 1:
            return f"{self._get_name()}({extra})"
        body = "\n  ".join(lines + children)
        return f"{self._get_name()}(\n  {body}\n)"
