"""What a module is made of: named parameters, buffers and child modules, and walks over them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from nnlab.autograd import Tensor
from nnlab.errors import ArgumentError, complaint
from nnlab.nn.hooks import Hook
from nnlab.nn.parameter import Parameter

if TYPE_CHECKING:
    from nnlab.nn.module import Module

_NO_INIT = "[{0}] super().__init__() must be called before parameters, buffers or modules are assigned"


class Tree:
    """The base of ``Module``: assigning a parameter or module to an attribute registers it."""

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
        if module is not None and not isinstance(module, Tree):
            raise ArgumentError(complaint(type(self).__name__, name, "be a Module or None", type(module).__name__))
        self._forget(name)
        self._modules[name] = cast("Module | None", module)

    def add_module(self, name: str, module: Module | None) -> None:
        """The same as :meth:`register_module`."""
        self.register_module(name, module)

    def _forget(self, name: str) -> None:
        for table in (self._parameters, self._buffers, self._modules):
            table.pop(name, None)
        self._not_saved.discard(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if "_modules" not in self.__dict__:
            if isinstance(value, (Tensor, Tree)):
                raise ArgumentError(_NO_INIT.format(type(self).__name__))
            object.__setattr__(self, name, value)
        elif isinstance(value, Parameter):
            self.__dict__.pop(name, None)
            if name in self._parameters:
                self._parameters[name] = value
            else:
                self.register_parameter(name, value)
        elif isinstance(value, Tree):
            self.__dict__.pop(name, None)
            if name in self._modules:
                self._modules[name] = cast("Module", value)
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

    def named_modules(
        self, memo: set[int] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """This module and all below it, each with its dotted path, in the order of registration."""
        memo = set() if memo is None else memo
        if id(self) in memo:
            return
        if remove_duplicate:
            memo.add(id(self))
        yield prefix, cast("Module", self)
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
        owners = (
            self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate)
            if recurse
            else [(prefix, cast("Module", self))]
        )
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
        module = cast("Module", self)
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
