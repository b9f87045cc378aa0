"""One row of a table of cases: a layer, its constructor's arguments, the shape of its input."""

from __future__ import annotations

from typing import Any

import nnlab
from tests.nn.peer import close, compare, normals, pair
from tests.ops.common import pytorch, scattered

Row = tuple[str, tuple[Any, ...], dict[str, Any], tuple[int, ...]]


def check(name: str, args: tuple[Any, ...], kwargs: dict[str, Any], shape: tuple[int, ...]) -> None:
    """The layer and PyTorch's: values, gradients, text; input with gaps in memory; state back to a new layer there."""
    torch = pytorch()
    ours, theirs = pair(name, *args, **kwargs)
    x = normals(*shape) * 2 + 1
    compare(ours, theirs, x)
    assert repr(ours) == repr(theirs)
    close(ours(nnlab.from_numpy(scattered(x))), theirs(torch.tensor(x)), "input with gaps")
    back = getattr(torch.nn, name)(*args, **kwargs).double()
    assert list(ours.state_dict()) == list(back.state_dict())
    back.load_state_dict({key: torch.tensor(value.numpy()) for key, value in ours.state_dict().items()})
    close(ours.eval()(nnlab.tensor(x)), back.eval()(torch.tensor(x)), "state moved to PyTorch")
