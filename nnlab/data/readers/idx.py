"""The idx format of MNIST and Fashion-MNIST.

Big-endian: two zero bytes, a type code, the number of dimensions, the dimensions as 4-byte integers, the values in
row-major order. Source: http://yann.lecun.com/exdb/mnist/, section "File formats".
"""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nnlab.errors import DataError

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The contents of a file, unzipped if its name ends in ``.gz``.

    Raises:
        DataError: it cannot be read, or the zipped data is damaged.
    """
    path = Path(path)
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as file:
                return file.read()
        return path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"[data] cannot read {path} ({path_size(path)}): {error}") from error


def path_size(path: Path) -> str:
    """The size of a file in words, for messages."""
    return f"{path.stat().st_size} bytes" if path.is_file() else "no such file"


def read_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read an idx file.

    Args:
        path: the file; ``.gz`` is unzipped.

    Returns:
        array of the file's shape and type, in the machine's byte order.

    Raises:
        DataError: the file is missing, not an idx file, truncated, or longer than its header says.
    """
    data = read_bytes(path)
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _TYPES or data[3] == 0:
        raise DataError(
            f"[idx] {path}: the first 4 bytes must be 00 00, a type (08 09 0b 0c 0d 0e) and the number of dimensions, "
            f"got {data[:4].hex(' ') or 'an empty file'}"
        )
    dtype, ndim = np.dtype(_TYPES[data[2]]), data[3]
    header = 4 + 4 * ndim
    if len(data) < header:
        raise DataError(f"[idx] {path}: expected a header of {header} bytes, found {len(data)} bytes")
    shape = tuple(int(n) for n in np.frombuffer(data, ">u4", ndim, 4))
    expected = header + math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        raise DataError(f"[idx] {path}: expected {expected} bytes for shape {shape}, found {len(data)} bytes")
    return np.frombuffer(data, dtype, offset=header).reshape(shape).astype(dtype.newbyteorder("="))
