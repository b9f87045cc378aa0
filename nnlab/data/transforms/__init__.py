"""Transforms on image arrays (H, W, C); see :mod:`nnlab.data.transforms.base`."""

from __future__ import annotations

from nnlab.data.transforms.affine import RandomAffine, RandomRotation
from nnlab.data.transforms.base import Compose, Lambda, Transform
from nnlab.data.transforms.colour import ColorJitter, PCANoise
from nnlab.data.transforms.crop import (
    CenterCrop,
    FiveCrop,
    Pad,
    RandomCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomVerticalFlip,
    TenCrop,
)
from nnlab.data.transforms.erase import RandomErasing
from nnlab.data.transforms.resize import Resize
from nnlab.data.transforms.tone import Grayscale, Normalize, ToFloat, ToRGB

__all__ = [
    "CenterCrop",
    "ColorJitter",
    "Compose",
    "FiveCrop",
    "Grayscale",
    "Lambda",
    "Normalize",
    "PCANoise",
    "Pad",
    "RandomAffine",
    "RandomCrop",
    "RandomErasing",
    "RandomHorizontalFlip",
    "RandomResizedCrop",
    "RandomRotation",
    "RandomVerticalFlip",
    "Resize",
    "TenCrop",
    "ToFloat",
    "ToRGB",
    "Transform",
]
