"""Readers of data set files."""

from __future__ import annotations

from nnlab.data.readers.cifar import read_cifar10, read_cifar100
from nnlab.data.readers.digits import read_digits
from nnlab.data.readers.folder import ImageFolder, read_image
from nnlab.data.readers.idx import read_idx

__all__ = ["ImageFolder", "read_cifar10", "read_cifar100", "read_digits", "read_idx", "read_image"]
