"""Modules that hold modules or parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Generic, Self, TypeVar, overload

from nnlab.autograd import Tensor
from nnlab.errors import ArgumentError, complaint
from nnlab.nn.fuse import run
from nnlab.nn.module import Module
from nnlab.nn.parameter import Parameter


class Identity(Module):
    """Returns its input; takes and ignores any arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Any:
        return input


class _Ordered(Module):
    """Modules numbered '0', '1', ...; negative indices and slices as for a list."""

    def _key(self, index: int) -> str:
        if not -len(self) <= index < len(self):
            raise IndexError(f"[{type(self).__name__}] index {index} is out of range for {len(self)} modules")
        return list(self._modules)[index]

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())  # type: ignore[arg-type]

    def _slice(self, index: slice) -> Self:
        raise NotImplementedError

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> Module | Self:
        if isinstance(index, slice):
            return self._slice(index)
        return self._modules[self._key(index)]  # type: ignore[return-value]

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, self._key(index), module)

    def __delitem__(self, index: int | slice) -> None:
        keys = list(self._modules)
        for key in keys[index] if isinstance(index, slice) else [self._key(index)]:
            del self._modules[key]
        self._renumber()

    def _renumber(self) -> None:
        kept = list(self._modules.values())
        self._modules.clear()
        self._modules.update({str(i): module for i, module in enumerate(kept)})

    def append(self, module: Module) -> Self:
        """Add a module at the end."""
        self.register_module(str(len(self)), module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add modules at the end."""
        for module in modules:
            self.append(module)
        return self

    def insert(self, index: int, module: Module) -> Self:
        """Put a module before position ``index``."""
        if not isinstance(module, Module):
            raise ArgumentError(complaint(type(self).__name__, "module", "be a Module", type(module).__name__))
        kept = list(self._modules.values())
        kept.insert(index, module)
        self._modules.clear()
        self._modules.update({str(i): each for i, each in enumerate(kept)})
        return self


class Sequential(_Ordered):
    """Modules called one after another, each on the last one's output.

    Where no hook looks, neighbours may be computed in another way that gives the same (``nn/fuse.py``).

    Args:
        args: modules, or one dict of name to module. A slice is a Sequential of the same modules with the same names.
    """

    def __init__(self, *args: Module | Mapping[str, Module]) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], Mapping):
            for name, module in args[0].items():
                self.register_module(name, module)
        else:
            for i, each in enumerate(args):
                self.register_module(str(i), each)

    def _slice(self, index: slice) -> Self:
        return type(self)(dict(list(self._modules.items())[index]))  # type: ignore[arg-type]

    def _renumber(self) -> None:
        if all(key.isdecimal() for key in self._modules):
            super()._renumber()

    def forward(self, input: Any) -> Any:
        return run(self, input)


class ModuleList(_Ordered):
    """A list of modules whose parameters are seen; it has no ``forward``."""

    def __init__(self, modules: Iterable[Module] | None = None) -> None:
        super().__init__()
        self.extend(modules or ())

    def _slice(self, index: slice) -> Self:
        return type(self)(list(self)[index])

    def __iadd__(self, modules: Iterable[Module]) -> Self:
        return self.extend(modules)


class ParameterList(Module):
    """A list of parameters that are seen, numbered '0', '1', ...; it has no ``forward``.

    Args:
        values: parameters, or tensors, of which parameters are made.
    """

    def __init__(self, values: Iterable[Tensor] | None = None) -> None:
        super().__init__()
        self.extend(values or ())

    def __len__(self) -> int:
        return len(self._parameters)

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self._parameters.values())  # type: ignore[arg-type]

    @overload
    def __getitem__(self, index: int) -> Parameter: ...
    @overload
    def __getitem__(self, index: slice) -> Self: ...
    def __getitem__(self, index: int | slice) -> Parameter | Self:
        found = list(self)[index]
        return type(self)(found) if isinstance(found, list) else found

    def __setitem__(self, index: int, value: Tensor) -> None:
        setattr(self, str(range(len(self))[index]), _parameter(value))

    def append(self, value: Tensor) -> Self:
        """Add a parameter at the end."""
        self.register_parameter(str(len(self)), _parameter(value))
        return self

    def extend(self, values: Iterable[Tensor]) -> Self:
        """Add parameters at the end."""
        for value in values:
            self.append(value)
        return self

    def __iadd__(self, values: Iterable[Tensor]) -> Self:
        return self.extend(values)


def _parameter(value: Any) -> Any:
    return Parameter(value) if isinstance(value, Tensor) and not isinstance(value, Parameter) else value


Entry = TypeVar("Entry", Module, Parameter)


class _Named(Module, Generic[Entry]):
    """Entries by name, in the order in which they came; no ``forward``."""

    def _table(self) -> dict[str, Any]:
        raise NotImplementedError

    def _register(self, key: str, value: Any) -> None:
        raise NotImplementedError

    def __setitem__(self, key: str, value: Any) -> None:
        if key in self:
            setattr(self, key, value)  # in its place
        else:
            self._register(key, value)

    def __getitem__(self, key: str) -> Entry:
        return self._table()[key]

    def __delitem__(self, key: str) -> None:
        del self._table()[key]

    def __len__(self) -> int:
        return len(self._table())

    def __iter__(self) -> Iterator[str]:
        return iter(self._table())

    def __contains__(self, key: object) -> bool:
        return key in self._table()

    def clear(self) -> None:
        """Remove all entries."""
        self._table().clear()

    def pop(self, key: str) -> Entry:
        """Remove an entry and return it."""
        return self._table().pop(key)

    def keys(self) -> Iterable[str]:
        return self._table().keys()

    def items(self) -> Iterable[tuple[str, Entry]]:
        return self._table().items()

    def values(self) -> Iterable[Entry]:
        return self._table().values()

    def update(self, entries: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> None:
        """Add or replace entries."""
        for name, value in dict(entries).items():
            self[name] = value


class ModuleDict(_Named[Module]):
    """Named modules whose parameters are seen; it has no ``forward``."""

    def __init__(self, modules: Mapping[str, Module] | None = None) -> None:
        super().__init__()
        self.update(modules or {})

    def _table(self) -> dict[str, Any]:
        return self._modules

    def _register(self, key: str, value: Any) -> None:
        self.register_module(key, value)


class ParameterDict(_Named[Parameter]):
    """Named parameters that are seen; of a tensor a parameter is made; it has no ``forward``."""

    def __init__(self, parameters: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        self.update(parameters or {})

    def _table(self) -> dict[str, Any]:
        return self._parameters

    def __setitem__(self, key: str, value: Any) -> None:
        super().__setitem__(key, _parameter(value))

    def _register(self, key: str, value: Any) -> None:
        self.register_parameter(key, value)
