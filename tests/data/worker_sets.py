"""Data sets for worker processes, which must be able to import them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nnlab.data import ArrayDataset, ArrayImages, Dataset, SampleKey
from nnlab.data import transforms as T
from nnlab.errors import DataError


def augmented_images(count: int = 50) -> ArrayImages:
    """Noise images under every kind of random transform."""
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (count, 12, 10, 3), dtype=np.uint8)
    transform = T.Compose(
        [
            T.RandomCrop((8, 8), padding=1),
            T.RandomHorizontalFlip(),
            T.ColorJitter(0.4, 0.4, 0.4, 0.1),
            T.PCANoise(),
            T.RandomRotation(20, "bilinear"),
            T.RandomResizedCrop(6),
            T.Normalize((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)),
            T.RandomErasing(value="random"),
        ]
    )
    return ArrayImages(images, rng.integers(0, 7, count), list("abcdefg"), transform=transform)


class Ragged(Dataset):
    """Arrays whose length is the index, so that every batch has another size; strings and floats along with them."""

    def __len__(self) -> int:
        return 9

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"values": np.full((index * 1000,), index, np.float32), "name": f"sample {index}", "weight": index / 2}


class Failing(Dataset):
    """Sample 5 does something bad."""

    def __init__(self, deed: str) -> None:
        self.deed = deed

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> int:
        if index == 5:
            if self.deed == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            elif self.deed == "exit":
                os._exit(3)
            elif self.deed == "hang":
                time.sleep(60)
            elif self.deed == "data error":
                raise DataError("[image] cannot read /pictures/cat.jpg (17 bytes): truncated")
            elif self.deed == "strange error":
                raise Strange(1, 2)
        return index


class Strange(Exception):
    """Cannot be made again from its ``args``."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"strange {a} {b}")


class Counting(Dataset):
    """Writes down which samples were loaded."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.loaded: list[int] = []

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> int:
        self.loaded.append(index)
        return index


class Drawing(Dataset):
    """A sample is what its generator draws."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def sample(self, index: int, key: SampleKey) -> float:
        return float(key.rng(index).random())


class BrokenInWorkers(Dataset):
    """Cannot be unpickled."""

    def __len__(self) -> int:
        return 4

    def __reduce__(self) -> Any:
        return _refuse, ()


def _refuse() -> None:
    raise DataError("[BrokenInWorkers] refused")


REMEMBERED: list[Any] = []


class Remembered(ArrayDataset):
    """Arrays that stay in use until the very end of the worker."""

    def batch(self, indices: Sequence[int], key: SampleKey) -> tuple[Any, ...]:
        REMEMBERED.append(self)
        return super().batch(indices, key)


class Written(Dataset):
    """Tries to write into its own array."""

    def __init__(self) -> None:
        self.array = np.zeros(100)

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> float:
        self.array[index] = 1
        return float(self.array.sum())


def double_all(samples: list[Any]) -> dict[str, Any]:
    return {"doubled": np.asarray(samples) * 2, "count": len(samples)}


def write_worker_id(worker_id: int) -> None:
    Path(os.environ["NNLAB_TEST_FOLDER"], f"worker-{worker_id}").touch()
