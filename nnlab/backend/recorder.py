"""Recorded steps on the device ``emulated``: NumPy's calls and kernels' launches, written down to be made again.

Inside ``recorded`` every array of the device is a :class:`Recorded`: functions, operators, methods and assignments
come through :meth:`Recorder.call`, which makes the call and, unless the result is a view, notes it with its arrays; the
result becomes the buffer that a later run fills. As on a GPU, nothing happens for good while a step is recorded: what
was overwritten of the arrays from before is put back at the end. What would make a GPU wait (a value on the host, a
shape that depends on values) is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from nnlab.backend.graphs import refuse
from nnlab.errors import CaptureError

if TYPE_CHECKING:
    from nnlab.backend.emulated import EmulatedBackend

_LOOKS = "item tolist tobytes tofile dump dumps nonzero __bool__ __int__ __float__ __index__ __complex__ __contains__"
_CHANGES = "fill sort partition put itemset resize byteswap"
_METHODS = (
    "all any argmax argmin argpartition argsort astype choose clip compress conj copy cumprod cumsum diagonal dot "
    "flatten max mean min prod ravel repeat reshape round searchsorted squeeze std sum swapaxes take trace transpose "
    "var view"
)
# Functions whose results are no arrays and do not depend on values.
_FACTS = {np.may_share_memory, np.shares_memory, np.result_type, np.shape, np.ndim, np.size, np.can_cast}
_UNKNOWN_SHAPES = {np.nonzero, np.flatnonzero, np.argwhere, np.unique, np.extract, np.compress}


class Recorded(np.ndarray):
    """An array of a step that is being recorded; any other time it behaves as the array that it is a view of."""

    recorder: ClassVar[Recorder | None] = None
    original: Any = None  # the array from before that this one is the same as

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        return _call(getattr(ufunc, method), inputs, options)

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        return _call(function, args, options)

    def __getitem__(self, index: Any) -> Any:
        if Recorded.recorder is None:
            return plain(self)[plain(index)]
        parts = index if isinstance(index, tuple) else (index,)
        if any(isinstance(part, np.ndarray) and part.dtype == bool for part in parts):
            refuse("picks elements by a mask, whose number only their values tell")
        whole = parts if any(part is Ellipsis for part in parts) else (*parts, Ellipsis)  # an array, no scalar
        return _call(_item, (self, whole), {})

    def __setitem__(self, index: Any, value: Any) -> None:
        _call(_set, (self, index, value), {}, writes=(self,))

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))


def _item(array: Any, index: Any) -> Any:
    return array[index]


def _set(array: Any, index: Any, value: Any) -> None:
    array[index] = value


def _method(name: str) -> Any:
    inner = getattr(np.ndarray, name)

    def call(self: Any, *args: Any, **options: Any) -> Any:
        return _call(inner, (self, *args), options)

    return call


def _change(name: str) -> Any:
    inner = getattr(np.ndarray, name)

    def call(self: Any, *args: Any, **options: Any) -> Any:
        return _call(inner, (self, *args), options, writes=(self,))

    return call


def _look(name: str) -> Any:
    def call(self: Any, *args: Any, **options: Any) -> Any:
        refuse("looks at values on the host")
        return getattr(plain(self), name)(*args, **options)

    return call


for _names, _make in ((_LOOKS, _look), (_CHANGES, _change), (_METHODS, _method)):
    for _name in _names.split():
        if hasattr(np.ndarray, _name):
            setattr(Recorded, _name, _make(_name))


def plain(value: Any) -> Any:
    """A value without its marks: arrays on the same memory."""
    if isinstance(value, Recorded):
        return np.ndarray.view(value, np.ndarray)
    if isinstance(value, list | tuple):
        return type(value)(map(plain, value)) if type(value) in (list, tuple) else value
    return value


def _call(function: Any, args: Sequence[Any], options: dict[str, Any], writes: Sequence[Any] = ()) -> Any:
    recorder = Recorded.recorder
    if recorder is None:
        return function(*plain(tuple(args)), **{name: plain(value) for name, value in options.items()})
    return recorder.call(function, tuple(args), options, writes)


def _arrays(value: Any) -> Iterator[np.ndarray]:
    if isinstance(value, np.ndarray):
        yield value
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _arrays(one)


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return (a.ctypes.data, a.shape, a.strides, a.dtype) == (b.ctypes.data, b.shape, b.strides, b.dtype)


class _Module:
    """The device's array module, each function of which is recorded."""

    def __init__(self, module: Any, recorder: Recorder) -> None:
        self._module, self._recorder = module, recorder

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._module, name)
        if isinstance(value, type | np.ufunc) or not callable(value):
            return value
        if name in ("asarray", "array", "ascontiguousarray"):
            return self._converted(value)
        return lambda *args, **options: self._recorder.call(value, args, options)

    def _converted(self, function: Any) -> Any:
        def call(given: Any, *args: Any, **options: Any) -> Any:
            if not isinstance(given, Recorded) and np.ndim(given):
                refuse("copies numbers from the host")
            return self._recorder.call(function, (given, *args), options)

        return call


class Recorder:
    """What happens on the device ``emulated`` between the beginning and the end of a recording, to be run again."""

    def __init__(self, be: EmulatedBackend) -> None:
        self._be = be
        self._calls: list[Callable[[], Any]] = []
        self._made: dict[int, np.ndarray] = {}  # memory that the recording itself made, by its owner's id
        self._before: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}  # overwritten: array and what it held

    # As every backend's recording.

    @property
    @contextmanager
    def working(self) -> Iterator[None]:
        yield

    @contextmanager
    def recorded(self, arrays: Sequence[Any]) -> Iterator[None]:
        known = {id(one): (one, one._data) for one in arrays}
        views = {id(data): self.view(data) for _, data in known.values()}  # one view for those that share an array
        before = self._be.xp
        for one, data in known.values():
            one._data = views[id(data)]
        self._be.xp, Recorded.recorder, self._be.recorder = _Module(before, self), self, self
        try:
            with np.errstate(all="ignore"):  # numbers that change are not there yet
                yield
        finally:
            self._be.xp, Recorded.recorder, self._be.recorder = before, None, None
            for array, held in reversed(self._before.values()):
                array[...] = held
            self._before.clear()
            for one, data in known.values():
                if one._data is views[id(data)]:
                    one._data = data

    def view(self, array: np.ndarray) -> Any:
        if isinstance(array, Recorded):
            return array
        seen = array.view(Recorded)
        seen.original = array
        return seen

    def launch(self) -> None:
        with np.errstate(all="ignore"):
            for call in self._calls:
                call()

    # While recording.

    def call(self, function: Any, args: tuple[Any, ...], options: dict[str, Any], writes: Sequence[Any] = ()) -> Any:
        """Make a call of NumPy and note it."""
        out = options.get("out")
        writes = [*writes, *_arrays(out)]
        inner = [plain(one) for one in args]
        further = {name: plain(value) for name, value in options.items()}
        if function in _UNKNOWN_SHAPES or (function is np.where and len(args) == 1):
            refuse("makes an array whose shape only values tell")
        self.overwritten(writes)
        result = function(*inner, **further)
        if function in _FACTS:
            return result
        if out is not None or result is None:
            self._calls.append(lambda: function(*inner, **further))
            return out[0] if isinstance(out, tuple) and len(out) == 1 else out
        seen = [*_arrays(args), *_arrays(list(options.values()))]
        if isinstance(result, list | tuple):
            parts = [self._result(part, seen) for part in result]
            fresh = [(i, part) for i, (part, new) in enumerate(parts) if new]
            if fresh:
                self._calls.append(lambda: _fill_each(fresh, function(*inner, **further)))
            return type(result)(part for part, _ in parts) if type(result) in (list, tuple) else parts
        mine, new = self._result(result, seen)
        if new:
            target = plain(mine)
            if isinstance(function, np.ufunc):
                self._calls.append(lambda: function(*inner, **further, out=target))
            else:
                self._calls.append(lambda: _fill(target, function(*inner, **further)))
        return mine

    def _result(self, result: Any, seen: Sequence[np.ndarray]) -> tuple[Any, bool]:
        """What the caller gets, and whether a later run must fill it."""
        if not isinstance(result, np.ndarray | np.generic) or isinstance(result, np.dtype):
            raise CaptureError("[graph] the step looks at values on the host")
        array = np.asarray(result)
        for one in seen:
            if np.may_share_memory(array, one):
                return (one if _same(array, one) and isinstance(one, Recorded) else array.view(Recorded)), False
        owner = _owner(array)
        self._made[id(owner)] = owner
        return array.view(Recorded), True

    def overwritten(self, arrays: Sequence[Any]) -> None:
        """These arrays are about to be written: keep what those from before the recording hold."""
        for array in map(plain, arrays):
            key = (array.ctypes.data, array.nbytes)
            if id(_owner(array)) not in self._made and key not in self._before:
                self._before[key] = (array, array.copy())

    def kernel(self, run: Callable[[], None]) -> None:
        """Note a launch that has just been made."""
        self._calls.append(run)


def _owner(array: np.ndarray) -> np.ndarray:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _fill(target: np.ndarray, result: Any) -> None:
    target[...] = result


def _fill_each(targets: Sequence[tuple[int, np.ndarray]], results: Sequence[Any]) -> None:
    for number, target in targets:
        plain(target)[...] = results[number]
