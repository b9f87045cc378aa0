"""The binary version of CIFAR-10 and CIFAR-100.

A record is the label (CIFAR-100: coarse label, fine label) and 3072 bytes of pixels: 32x32 red, then green, then blue.
Source: https://www.cs.toronto.edu/~kriz/cifar.html, section "Binary version".
"""

from __future__ import annotations

import os
import tarfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnlab.data.readers.idx import path_size
from nnlab.errors import DataError

_PIXELS = 3 * 32 * 32
Images = tuple[NDArray[np.uint8], NDArray[np.int64]]


def _members(path: Path, names: list[str]) -> dict[str, bytes]:
    """Contents of files of a folder, or of a .tar.gz, by file name and in the order of ``names``."""
    found: dict[str, bytes] = {}
    try:
        if path.is_dir():
            found = {name: (path / name).read_bytes() for name in names if (path / name).is_file()}
        else:
            with tarfile.open(path) as archive:
                for member in archive:
                    name = member.name.rsplit("/", 1)[-1]
                    if name in names and (file := archive.extractfile(member)) is not None:
                        found[name] = file.read()
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise DataError(f"[cifar] cannot read {path} ({path_size(path)}): {error}") from error
    for name in names:
        if name not in found:
            raise DataError(f"[cifar] {path}: has no file {name}")
    return {name: found[name] for name in names}


def _read(path: str | os.PathLike[str], names: list[str], labels: int, classes: int, records: int | None) -> Images:
    size = labels + _PIXELS
    images, targets = [], []
    for name, data in _members(Path(path), names).items():
        wanted = "a multiple of" if records is None else f"{records} *"
        if not data or len(data) % size or (records is not None and len(data) != records * size):
            raise DataError(f"[cifar] {Path(path) / name}: expected {wanted} {size} bytes, found {len(data)} bytes")
        rows = np.frombuffer(data, np.uint8).reshape(-1, size)
        fine = rows[:, labels - 1]
        if fine.max() >= classes:
            raise DataError(f"[cifar] {Path(path) / name}: labels must be below {classes}, found {fine.max()}")
        images.append(rows[:, labels:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1))
        targets.append(fine.astype(np.int64))
    return np.concatenate(images), np.concatenate(targets)


def read_cifar10(path: str | os.PathLike[str], train: bool = True, records: int | None = None) -> Images:
    """Read CIFAR-10.

    Args:
        path: folder with ``data_batch_1.bin`` … ``data_batch_5.bin`` and ``test_batch.bin``, or the ``.tar.gz``.
        train: the five training files, else the test file.
        records: how many records each file must hold (10000 in the published files). Default: any number.

    Returns:
        images uint8 (N, 32, 32, 3), labels int64 (N,).

    Raises:
        DataError: a file is missing, has another size than it should, or holds an impossible label.
    """
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] if train else ["test_batch.bin"]
    return _read(path, names, 1, 10, records)


def read_cifar100(path: str | os.PathLike[str], train: bool = True, records: int | None = None) -> Images:
    """Read CIFAR-100 with its 100 fine labels; arguments, results and errors as in :func:`read_cifar10`.

    ``path`` holds ``train.bin`` (50000 records in the published file) and ``test.bin`` (10000).
    """
    return _read(path, ["train.bin" if train else "test.bin"], 2, 100, records)
