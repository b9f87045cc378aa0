"""Caffe's trained LeNet on the MNIST test set: the published weights give their known accuracy."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

import nnlab
from nnlab import models, nn


def idx(path: Path, header: int) -> np.ndarray:
    if not path.is_file():
        pytest.skip(f"no {path}")
    return np.frombuffer(gzip.decompress(path.read_bytes())[header:], np.uint8)


@pytest.mark.external
def test_accuracy(data_dir: Path) -> None:
    images = idx(data_dir / "mnist" / "t10k-images-idx3-ubyte.gz", 16).reshape(-1, 1, 28, 28)
    labels = idx(data_dir / "mnist" / "t10k-labels-idx1-ubyte.gz", 8)
    path = data_dir / "lenet-mnist" / "lenet_weights.npz"
    if not path.is_file():
        pytest.skip(f"no {path}")
    model = models.lenet_caffe()
    with np.load(path) as weights:
        names = {"W": "weight", "b": "bias"}
        state = {f"{key.split('/')[0]}.{names[key.split('/')[1]]}": weights[key] for key in weights.files}
    model.load_state_dict(state)
    model.eval()
    right, loss = 0, 0.0
    with nnlab.no_grad():
        for start in range(0, len(images), 500):
            x = nnlab.tensor(images[start : start + 500].astype(np.float32) / 256)
            target = nnlab.tensor(labels[start : start + 500].astype(np.int64))
            y = model(x)
            right += int((y.argmax(1) == target).sum().item())
            loss += nn.functional.cross_entropy(y, target, reduction="sum").item()
    assert right == 9905
    assert loss / len(images) == pytest.approx(0.02976, abs=5e-6)
