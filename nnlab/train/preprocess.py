"""From a picture to the network's input: settled once when a run starts, saved as ``data.json`` beside its checkpoints.

Evaluation and prediction read it back, so that a picture is treated exactly as in validation, without the data set.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnlab.data import transforms as T
from nnlab.errors import ArgumentError, CheckpointError, complaint

FILE = "data.json"
AUGMENTATIONS = ("shift", "flip", "crop", "jitter", "pca", "erase")


def common_size(dataset: Any, look_at: int = 32) -> tuple[int, int] | None:
    """Height and width that the pictures of a data set share, judged by some of them; None if they differ."""
    n = min(look_at, len(dataset))
    shapes = {dataset.image(i * len(dataset) // n).shape[:2] for i in range(n)}
    return shapes.pop() if len(shapes) == 1 else None


@dataclass
class Preprocess:
    """How pictures become inputs.

    Attributes:
        size: side of the square input.
        channels: 1 or 3.
        mean, std: of each channel, on the scale 0..1.
        classes: names.
        native: height and width that the pictures of the data set share; None if they differ.
    """

    size: int
    channels: int
    mean: list[float]
    std: list[float]
    classes: list[str]
    native: list[int] | None = None

    def _colour(self) -> list[Any]:
        return [T.ToRGB()] if self.channels == 3 else [T.Grayscale()]

    def _fit(self) -> list[Any]:
        """Square pictures of one size are resized whole, others cropped from the middle."""
        if self.native is not None and self.native[0] == self.native[1]:
            return [T.Resize((self.size, self.size))]
        return [T.Resize(round(self.size / 0.875)), T.CenterCrop(self.size)]

    def evaluation(self) -> Any:
        """The transform of validation, evaluation and prediction."""
        return T.Compose([*self._colour(), *self._fit(), T.Normalize(self.mean, self.std)])

    def training(self, augment: str) -> Any:
        """The transform of training.

        Args:
            augment: ``none``, ``auto`` (shift for small pictures of one size, crop and flip else) or a list:
                shift (by up to an eighth), flip (left-right), crop (of random size), jitter (of colours),
                pca (colour noise along its axes), erase (a random rectangle).
        """
        chosen = self.augmentations(augment)
        steps: list[Any] = self._colour()
        if "crop" in chosen:
            steps.append(T.RandomResizedCrop(self.size, scale=(0.25, 1.0)))
        else:
            steps += self._fit()
        if "shift" in chosen:
            steps.append(T.RandomCrop(self.size, padding=max(1, self.size // 8)))
        if "flip" in chosen:
            steps.append(T.RandomHorizontalFlip())
        if "jitter" in chosen:
            steps.append(T.ColorJitter(0.4, 0.4, 0.4, 0.1))
        if "pca" in chosen:
            steps.append(T.PCANoise())
        steps.append(T.Normalize(self.mean, self.std))
        if "erase" in chosen:
            steps.append(T.RandomErasing(0.25))
        return T.Compose(steps)

    def augmentations(self, augment: str) -> list[str]:
        """The list that ``augment`` stands for."""
        if augment == "none":
            return []
        if augment == "auto":
            return ["shift"] if self.native is not None and max(self.native) <= 64 else ["crop", "flip"]
        chosen = [part.strip() for part in augment.split(",") if part.strip()]
        for part in chosen:
            if part not in AUGMENTATIONS:
                must = f"be auto, none, or a list out of {', '.join(AUGMENTATIONS)}"
                raise ArgumentError(complaint("config", "augment", must, augment))
        if self.channels == 1 and "pca" in chosen:
            raise ArgumentError(f"[config] augment 'pca' needs colour pictures, got {self.channels} channel")
        return chosen

    def to_image(self, pixels: np.ndarray) -> np.ndarray:
        """An input ``(C, H, W)`` back as values in 0..1."""
        shape = (-1, 1, 1)
        restored: np.ndarray = pixels * np.reshape(self.std, shape) + np.reshape(self.mean, shape)
        return np.clip(restored, 0, 1)

    @classmethod
    def of(cls, dataset: Any, size: int) -> Preprocess:
        """What suits a data set of images, measured on its training part."""
        shape = common_size(dataset)
        return cls(
            size=size,
            channels=dataset.channels,
            mean=[round(float(v), 4) for v in dataset.mean],
            std=[max(round(float(v), 4), 1e-3) for v in dataset.std],
            classes=list(dataset.classes),
            native=None if shape is None else list(shape),
        )

    def input(self, picture: Any) -> np.ndarray:
        """A picture (array ``(H, W[, C])`` or Pillow image) as float32 input ``(1, C, H, W)``."""
        return np.ascontiguousarray(self.evaluation()(picture).transpose(2, 0, 1)[None], dtype=np.float32)

    def save(self, folder: Path) -> None:
        """Write ``data.json`` into a run folder."""
        aside = folder / (FILE + ".tmp")
        aside.write_text(json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        aside.replace(folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> Preprocess:
        """Read a run folder's ``data.json``.

        Raises:
            CheckpointError: it is missing or damaged.
        """
        path = folder / FILE
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise CheckpointError(f"[checkpoint] {folder} is not a run folder: it has no {FILE}") from error
        except (ValueError, TypeError) as error:
            raise CheckpointError(f"[checkpoint] {path} is damaged: {error}") from error
