"""The base of all layers and networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Self

from nnlab.autograd import Tensor
from nnlab.backend import Device
from nnlab.errors import ArgumentError, NNLabError, OutOfMemoryError, complaint
from nnlab.nn import state
from nnlab.nn.blame import blame
from nnlab.nn.hooks import Hook, RemovableHandle, add_hook
from nnlab.nn.parameter import Parameter
from nnlab.types import as_dtype, is_floating

_NO_INIT = "[{0}] super().__init__() must be called before parameters, buffers or modules are assigned"


class Module:
    """A layer or network: named parameters, buffers and child modules, and a ``forward``.

    A subclass calls ``super().__init__()`` first, assigns parameters and modules to attributes (which registers them)
    and defines ``forward``; the module itself is then called.

    Attributes:
        training: whether dropout and batch normalisation behave as in training (see ``train`` and ``eval``).
    """

    training: bool
    _parameters: dict[str, Parameter | None]
    _buffers: dict[str, Tensor | None]
    _not_saved: set[str]
    _modules: dict[str, Module | None]
    _pre_hooks: dict[int, Hook]
    _hooks: dict[int, Hook]

    def __init__(self) -> None:
        for name in ("_parameters", "_buffers", "_modules", "_pre_hooks", "_hooks"):
            object.__setattr__(self, name, {})
        object.__setattr__(self, "_not_saved", set())
        object.__setattr__(self, "training", True)

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

    # Registration.

    def _check_name(self, kind: str, name: Any) -> None:
        if not isinstance(name, str) or not name or "." in name:
            raise ArgumentError(
                complaint(type(self).__name__, f"{kind} name", "be a non-empty string without a dot", name)
            )
        taken = name in self._parameters or name in self._buffers or name in self._modules
        if not taken and hasattr(self, name):
            raise ArgumentError(f"[{type(self).__name__}] {kind} {name!r} would hide an attribute of the same name")

    def register_parameter(self, name: str, param: Any) -> None:
        """Add a parameter; None reserves the name (a layer without bias)."""
        self._check_name("parameter", name)
        if param is not None and not isinstance(param, Parameter):
            must = "be a Parameter or None"
            raise ArgumentError(complaint(type(self).__name__, name, must, type(param).__name__))
        self._forget(name)
        self._parameters[name] = param

    def register_buffer(self, name: str, tensor: Any, persistent: bool = True) -> None:
        """Add a tensor that is not trained but moves and (if persistent) is saved with the module."""
        self._check_name("buffer", name)
        if tensor is not None and not isinstance(tensor, Tensor):
            raise ArgumentError(complaint(type(self).__name__, name, "be a Tensor or None", type(tensor).__name__))
        self._forget(name)
        self._buffers[name] = tensor
        if not persistent:
            self._not_saved.add(name)

    def register_module(self, name: str, module: Any) -> None:
        """Add a child module."""
        self._check_name("module", name)
        if module is not None and not isinstance(module, Module):
            raise ArgumentError(complaint(type(self).__name__, name, "be a Module or None", type(module).__name__))
        self._forget(name)
        self._modules[name] = module

    def add_module(self, name: str, module: Module | None) -> None:
        """The same as :meth:`register_module`."""
        self.register_module(name, module)

    def _forget(self, name: str) -> None:
        for table in (self._parameters, self._buffers, self._modules):
            table.pop(name, None)
        self._not_saved.discard(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if "_modules" not in self.__dict__:
            if isinstance(value, (Tensor, Module)):
                raise ArgumentError(_NO_INIT.format(type(self).__name__))
            object.__setattr__(self, name, value)
        elif isinstance(value, Parameter):
            self.__dict__.pop(name, None)
            if name in self._parameters:
                self._parameters[name] = value
            else:
                self.register_parameter(name, value)
        elif isinstance(value, Module):
            self.__dict__.pop(name, None)
            if name in self._modules:
                self._modules[name] = value
            else:
                self.register_module(name, value)
        elif name in self._parameters or name in self._modules:
            table: dict[str, Any] = self._parameters if name in self._parameters else self._modules
            if value is not None:
                must = "be a Parameter or None" if name in self._parameters else "be a Module or None"
                raise ArgumentError(complaint(type(self).__name__, name, must, type(value).__name__))
            table[name] = None
        elif name in self._buffers:
            if value is not None and not isinstance(value, Tensor):
                raise ArgumentError(complaint(type(self).__name__, name, "be a Tensor or None", type(value).__name__))
            self._buffers[name] = value
        else:
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        for table in ("_parameters", "_buffers", "_modules"):
            found = self.__dict__.get(table, {})
            if name in found:
                return found[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        if name in self._parameters or name in self._buffers or name in self._modules:
            self._forget(name)
        else:
            object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self._parameters, *self._buffers, *self._modules})

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

    # Walking.

    def named_modules(
        self, memo: set[int] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it, each with its dotted path, in the order of registration."""
        memo = set() if memo is None else memo
        if id(self) in memo:
            return
        if remove_duplicate:
            memo.add(id(self))
        yield prefix, self
        for name, child in self._modules.items():
            if child is not None:
                yield from child.named_modules(memo, f"{prefix}.{name}" if prefix else name, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each once."""
        for _, module in self.named_modules():
            yield module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules right below this one, each once."""
        seen: set[int] = set()
        for name, child in self._modules.items():
            if child is not None and id(child) not in seen:
                seen.add(id(child))
                yield name, child

    def children(self) -> Iterator[Module]:
        """The modules right below this one, each once."""
        for _, child in self.named_children():
            yield child

    def _named_members(
        self, table: str, prefix: str, recurse: bool, remove_duplicate: bool
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        owners = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for path, module in owners:
            for name, value in getattr(module, table).items():
                if value is None or id(value) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(value))
                yield (f"{path}.{name}" if path else name), value

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Parameters with their dotted paths; one that is shared comes once, under its first path."""
        return self._named_members("_parameters", prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Parameters, each once."""
        for _, param in self.named_parameters(recurse=recurse):
            yield param

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """Buffers with their dotted paths."""
        return self._named_members("_buffers", prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Buffers, each once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def get_submodule(self, target: str) -> Module:
        """The module at a dotted path; '' is this module.

        Raises:
            ArgumentError: there is none; the message names the first missing part.
        """
        module = self
        for part in target.split(".") if target else ():
            child = module._modules.get(part)
            if child is None:
                must = f"be the path of a submodule ({type(module).__name__} has no child {part!r})"
                raise ArgumentError(complaint(type(self).__name__, "target", must, target))
            module = child
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter at a dotted path."""
        path, _, name = target.rpartition(".")
        found = self.get_submodule(path)._parameters.get(name)
        if found is None:
            raise ArgumentError(complaint(type(self).__name__, "target", "be the path of a parameter", target))
        return found

    def get_buffer(self, target: str) -> Tensor:
        """The buffer at a dotted path."""
        path, _, name = target.rpartition(".")
        found = self.get_submodule(path)._buffers.get(name)
        if found is None:
            raise ArgumentError(complaint(type(self).__name__, "target", "be the path of a buffer", target))
        return found

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
