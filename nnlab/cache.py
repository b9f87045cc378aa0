"""The folder of downloaded data and compiled kernels, and writing into it so that no reader ever sees half a file."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from nnlab.errors import DataError


def folder() -> Path:
    """``NNLAB_CACHE_DIR``, else ``nnlab`` in the platform's cache folder. It need not exist."""
    named = os.environ.get("NNLAB_CACHE_DIR")
    if named:
        return Path(named).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "nnlab" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "nnlab"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nnlab"


def write(path: Path, content: bytes) -> None:
    """Write a file in one step: a temporary file beside it, then a rename.

    Raises:
        DataError: the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise DataError(f"[cache] {path} cannot be written ({error}); set NNLAB_CACHE_DIR to another folder") from error


def size() -> tuple[int, int]:
    """How many files the cache holds, and their bytes."""
    root = folder()
    sizes = [path.stat().st_size for path in root.rglob("*") if path.is_file()] if root.is_dir() else []
    return len(sizes), sum(sizes)
