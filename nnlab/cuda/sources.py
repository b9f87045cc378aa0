"""Find the kernel sources and make each one self-contained.

Our own headers are pasted into the text before it is hashed: a cache key made from the text then changes with every
header, and the compiler needs no include folder for them. House rule for kernel files: ``#include "..."`` names one of
our headers relative to the including file, stands at the top, outside any ``#if``; ``#include <...>`` is the toolkit's.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from nnlab.errors import DataError

_INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')
_ONCE = re.compile(r"^\s*#\s*pragma\s+once\b")


def folder() -> Path:
    """The folder of the ``.cu`` files: inside an installed package, beside the package in a checkout.

    Raises:
        DataError: it is in neither place.
    """
    package = Path(__file__).resolve().parent.parent
    for place in (package / "kernels", package.parent / "kernels"):
        if (place / "include").is_dir():
            return place
    raise DataError(f"[kernels] the CUDA sources are missing: looked in {package} and {package.parent}")


def units() -> list[str]:
    """Names of the kernel files, without ``.cu``."""
    return sorted(path.stem for path in folder().glob("*.cu"))


def source(unit: str, root: Path | None = None) -> str:
    """The text of a kernel file with our headers pasted in, once each.

    ``#line`` directives keep file names and line numbers in compiler messages right.

    Args:
        unit: file name without ``.cu``, e.g. ``"dropout"``.
        root: folder of the sources; default :func:`folder`.

    Raises:
        DataError: the file or one of its headers does not exist.
    """
    root = (root or folder()).resolve()
    return "\n".join(_paste(root / f"{unit}.cu", root, set(), f"kernel {unit!r}")) + "\n"


def digest(text: str, *more: str) -> str:
    """SHA-256 of a source and of whatever else decides about the compiled result, as 64 hexadecimal digits."""
    state = hashlib.sha256()
    for part in (text, *more):
        encoded = part.encode()
        state.update(len(encoded).to_bytes(8, "little") + encoded)
    return state.hexdigest()


def _paste(path: Path, root: Path, seen: set[Path], asked_by: str) -> list[str]:
    if not path.is_relative_to(root) or not path.is_file():
        raise DataError(f"[kernels] {asked_by} needs {path}, which is not there or outside of {root}")
    seen.add(path)
    name = path.relative_to(root).as_posix()
    lines = [f'#line 1 "{name}"']
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        include = _INCLUDE.match(line)
        if include is None:
            lines.append("" if _ONCE.match(line) else line)
            continue
        header = (path.parent / include[1]).resolve()
        if header not in seen:
            lines += _paste(header, root, seen, f"{name}:{number}")
        lines.append(f'#line {number + 1} "{name}"')
    return lines
