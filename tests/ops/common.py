"""What the tests of operations share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nnlab.backend import get_backend

CPU = get_backend("cpu")


def rng(*key: int) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[*key, 0][:2]))


def scattered(array: np.ndarray) -> np.ndarray:
    """The same values in memory of another order and with gaps: no code may rely on contiguity."""
    if array.ndim == 0:
        return array
    room = np.zeros((*array.shape[::-1][:-1], 2 * array.shape[0]), array.dtype)
    view = room.transpose()[::2]
    view[...] = array
    return view


def close(found: object, wanted: object, message: str = "", rtol: float = 1e-10) -> None:
    """Equal to 1e-10 of the largest value (an element may be the small difference of large ones)."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape, message
    finite = np.abs(wanted[np.isfinite(wanted)])
    np.testing.assert_allclose(found, wanted, rtol=rtol, atol=rtol * float(finite.max(initial=0.0)), err_msg=message)


def pytorch() -> Any:
    """PyTorch as a peer, if it is installed; one thread, for these tensors are tiny."""
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    return torch
