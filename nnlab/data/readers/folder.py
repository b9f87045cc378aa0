"""Folders of image files: ``root/<class>/*.jpg|png``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nnlab.data.images import ImageDataset
from nnlab.data.transforms.base import Transform
from nnlab.errors import ArgumentError, DataError, complaint, optional_import

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
MODES = {"RGB": 3, "L": 1}


def read_image(path: str | os.PathLike[str], mode: str = "RGB") -> NDArray[np.uint8]:
    """Decode an image file.

    Args:
        path: JPEG, PNG or anything else that Pillow reads.
        mode: "RGB" or "L" (grey); images of other kinds are converted.

    Returns:
        uint8 (H, W, C).

    Raises:
        DataError: the file is missing, truncated, broken or no image.
        MissingExtraError: Pillow is not installed.
    """
    pillow = optional_import("PIL.Image", extra="vision", purpose="reading image files")
    try:
        with pillow.open(path) as image:
            pixels = np.array(image.convert(mode), dtype=np.uint8)
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, ValueError, struct.error, zlib.error …
        size = f"{os.path.getsize(path)} bytes" if os.path.isfile(path) else "no such file"
        raise DataError(f"[image] cannot read {os.fspath(path)} ({size}): {error}") from error
    return pixels[:, :, None] if pixels.ndim == 2 else pixels


def class_folders(root: Path) -> list[str]:
    """Names of the sub-folders that are classes, sorted."""
    return sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))


def _image_files(folder: Path) -> list[Path]:
    found = []
    for place, folders, files in os.walk(folder):
        folders.sort()
        found += [Path(place) / name for name in sorted(files) if _is_image(name)]
    return found


def _is_image(name: str) -> bool:
    return name.lower().endswith(EXTENSIONS) and not name.startswith(".")


class ImageFolder(ImageDataset):
    """Images in one folder a class, read when they are asked for.

    Args:
        root: folder whose sub-folders are the classes; images may lie deeper in them.
        transform: see :mod:`nnlab.data.transforms`; images of different sizes need one that makes them equal.
        mode: "RGB" or "L". Default "RGB".
        classes: names of the classes. Default: the sub-folders, sorted. With it, a class may have no folder, but
            each folder must be a class.
        mean, std: as in :class:`ImageDataset`.

    Attributes:
        samples: list of (file, label), sorted by class and name.

    Raises:
        DataError: no such folder, no class folders, a class folder without images, or one that is not in ``classes``.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        transform: Transform | None = None,
        mode: str = "RGB",
        classes: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        if mode not in MODES:
            raise ArgumentError(complaint("ImageFolder", "mode", f"be one of {tuple(MODES)}", mode))
        self.root = Path(root)
        if not self.root.is_dir():
            raise DataError(f"[ImageFolder] no such folder: {self.root}")
        folders = class_folders(self.root)
        if not folders:
            raise DataError(f"[ImageFolder] {self.root}: must hold one folder for each class, found none")
        names = folders if classes is None else list(classes)
        if strange := sorted(set(folders) - set(names)):
            raise DataError(f"[ImageFolder] {self.root}: folder {strange[0]!r} is not one of the classes {names}")
        self.samples: list[tuple[str, int]] = []
        for name in folders:
            files = _image_files(self.root / name)
            if not files:
                raise DataError(
                    f"[ImageFolder] class folder {self.root / name} holds no image ({', '.join(EXTENSIONS)})"
                )
            self.samples += [(str(file), names.index(name)) for file in files]
        self.mode = mode
        self.channels = MODES[mode]
        super().__init__([label for _, label in self.samples], names, transform=transform, **options)

    def image(self, index: int) -> NDArray[np.uint8]:
        return read_image(self.samples[index][0], self.mode)

    def select(self, indices: Sequence[int]) -> Self:
        part = super().select(indices)
        part.samples = [self.samples[i] for i in indices]
        return part
