"""Data sets, loaders and transforms."""

from __future__ import annotations

from nnlab.data import transforms
from nnlab.data.collate import default_collate
from nnlab.data.dataset import ArrayDataset, ConcatDataset, Dataset, Subset, TensorDataset, random_split
from nnlab.data.images import ArrayImages, ImageDataset, channel_statistics, stratified_split
from nnlab.data.key import SampleKey, sample_rng
from nnlab.data.loader import DataLoader
from nnlab.data.named import NAMES, load
from nnlab.data.readers import ImageFolder, read_image
from nnlab.data.sampler import BatchSampler, RandomSampler, Sampler, SequentialSampler
from nnlab.errors import WorkerError

__all__ = [
    "NAMES",
    "ArrayDataset",
    "ArrayImages",
    "BatchSampler",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "ImageDataset",
    "ImageFolder",
    "RandomSampler",
    "SampleKey",
    "Sampler",
    "SequentialSampler",
    "Subset",
    "TensorDataset",
    "WorkerError",
    "channel_statistics",
    "default_collate",
    "load",
    "random_split",
    "read_image",
    "sample_rng",
    "stratified_split",
    "transforms",
]
