"""A tensor that a module trains."""

from __future__ import annotations

from nnlab.autograd import Tensor
from nnlab.errors import DtypeError
from nnlab.types import is_floating


class Parameter(Tensor):
    """A leaf tensor that registers itself with the module it is assigned to.

    Args:
        data: tensor of any shape; its memory is shared, its history is left behind.
        requires_grad: whether ``backward`` fills its ``grad``.

    Raises:
        DtypeError: ``requires_grad`` with a dtype that cannot carry gradients.
    """

    __slots__ = ()

    def __init__(self, data: Tensor, requires_grad: bool = True) -> None:
        if requires_grad and not is_floating(data.dtype):
            raise DtypeError(f"[Parameter] 'data' must be floating point to require a gradient, got {data.dtype}")
        super().__init__(data._data, data._be, requires_grad)
        self._version = data._version

    def __repr__(self) -> str:
        return f"Parameter containing:\n{super().__repr__()}"
