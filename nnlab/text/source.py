"""Texts: published ones by name, files, and the part that is held out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from nnlab.data.download import file_digest
from nnlab.data.named import locate
from nnlab.data.progress import Progress
from nnlab.errors import ArgumentError, DataError, complaint


@dataclass(frozen=True)
class Source:
    """A published text: one file, its checksum as ``download`` takes it, addresses of folders that hold it."""

    file: str
    checksum: str
    mirrors: tuple[str, ...]

    def found(self, folder: Path) -> Path | None:
        return folder / self.file if (folder / self.file).is_file() else None


SOURCES = {
    "tinyshakespeare": Source(
        "input.txt",
        "sha256:86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
        ("https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/",),
    ),
}


def load(
    name: str | os.PathLike[str],
    root: str | os.PathLike[str] | None = None,
    download: bool = False,
    *,
    progress: Progress | bool = True,
) -> str:
    """A text. Line ends of any kind become ``"\\n"``.

    Args:
        name: "tinyshakespeare" (1,115,394 characters, 65 of them different), or a file in UTF-8.
        root, download, progress: as in :func:`nnlab.data.load`, for published texts.

    Raises:
        ArgumentError: no text and no file has this name.
        DataError: the file is missing, not the published one, or no text in UTF-8.
    """
    name = os.fspath(name)
    if name in SOURCES:
        source = SOURCES[name]
        path = locate(name, {source.file: source.checksum}, source.mirrors, source.found, root, download, progress)
        if file_digest(path, source.checksum) != source.checksum:
            raise DataError(f"[load] {path} is not the published {name!r}: its checksum is not {source.checksum}")
    elif Path(name).is_file():
        path = Path(name)
    else:
        raise ArgumentError(complaint("load", "name", f"be one of {', '.join(SOURCES)} or a text file", name))
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"[load] {path} is no text in UTF-8: {error.reason} at byte {error.start}") from error


def split(text: str, fraction: float = 0.1) -> tuple[str, str]:
    """A text's beginning, for training, and its last ``fraction``, which is held out."""
    end = len(text) - int(len(text) * fraction)
    return text[:end], text[end:]
