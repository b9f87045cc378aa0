"""Data sets by name."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnlab import cache
from nnlab.data.images import ArrayImages, ImageDataset, stratified_split
from nnlab.data.progress import Progress
from nnlab.data.readers import ImageFolder, read_cifar10, read_cifar100, read_digits, read_idx
from nnlab.data.readers.folder import class_folders
from nnlab.data.transforms.base import Transform
from nnlab.errors import ArgumentError, DataError, complaint

_DIGITS = tuple(str(i) for i in range(10))
_FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_CIFAR100 = (
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl", "boy",
    "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair", "chimpanzee", "clock",
    "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish",
    "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower", "leopard", "lion",
    "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain", "mouse", "mushroom", "oak_tree", "orange",
    "orchid", "otter", "palm_tree", "pear", "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine",
    "possum", "rabbit", "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk",
    "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank",
    "telephone", "television", "tiger", "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale",
    "willow_tree", "wolf", "woman", "worm",
)  # fmt: skip
_VALIDATION_FOLDERS = ("val", "valid", "validation", "test")

Arrays = tuple[NDArray[np.uint8], NDArray[np.int64]]


@dataclass(frozen=True)
class Source:
    """A published data set.

    Fields:
        files: file name -> checksum, as :func:`nnlab.data.download.download` takes it.
        mirrors: addresses of folders that hold the files.
        read: (folder or archive that was found, train) -> images, labels.
        found: folder -> what ``read`` needs, or None if the folder does not hold the data.
    """

    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    files: dict[str, str]
    mirrors: tuple[str, ...]
    found: Callable[[Path], Path | None]
    read: Callable[[Path, bool], Arrays]


_IDX_STEMS = {True: ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
              False: ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")}  # fmt: skip


def _idx_file(folder: Path, stem: str) -> Path | None:
    return next((folder / name for name in (stem + ".gz", stem) if (folder / name).is_file()), None)


def _found_idx(folder: Path) -> Path | None:
    stems = [stem for pair in _IDX_STEMS.values() for stem in pair]
    return folder if all(_idx_file(folder, stem) for stem in stems) else None


def _read_idx_pair(folder: Path, train: bool) -> Arrays:
    paths = [_idx_file(folder, stem) for stem in _IDX_STEMS[train]]
    assert paths[0] is not None and paths[1] is not None
    images, labels = read_idx(paths[0]), read_idx(paths[1])
    if images.ndim != 3 or images.dtype != np.uint8:
        raise DataError(f"[idx] {paths[0]}: expected uint8 images (N, H, W), found {images.dtype} {images.shape}")
    if labels.shape != images.shape[:1]:
        raise DataError(f"[idx] {paths[1]}: expected {len(images)} labels, found shape {labels.shape}")
    return images, labels.astype(np.int64)


def _found_cifar(folder_name: str, last_file: str, archive: str) -> Callable[[Path], Path | None]:
    def found(folder: Path) -> Path | None:
        for place in (folder / folder_name, folder):
            if (place / last_file).is_file():
                return place
        return folder / archive if (folder / archive).is_file() else None

    return found


def _idx_source(
    classes: tuple[str, ...], mean: float, std: float, checksums: Sequence[str], mirrors: tuple[str, ...]
) -> Source:
    names = [stem + ".gz" for pair in _IDX_STEMS.values() for stem in pair]
    files = dict(zip(names, checksums, strict=True))
    return Source(classes, (mean,), (std,), files, mirrors, _found_idx, _read_idx_pair)


SOURCES = {
    "mnist": _idx_source(
        _DIGITS, 0.1307, 0.3081,
        ("md5:f68b3c2dcbeaaa9fbdd348bbdeb94873", "md5:d53e105ee54ea40749a09fcbcd1e9432",
         "md5:9fb629c4189551a2d022fa330f9573f3", "md5:ec29112dd5afa0611ce80d1b7f02629c"),
        ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/",
         "http://yann.lecun.com/exdb/mnist/"),
    ),
    "fashion-mnist": _idx_source(
        _FASHION, 0.2860, 0.3530,
        ("sha256:3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
         "sha256:a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
         "sha256:346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
         "sha256:67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
        ("http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
         "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"),
    ),
    "cifar10": Source(
        _CIFAR10, (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616),
        {"cifar-10-binary.tar.gz": "md5:c32a1d4ab5d03f1284b67883e8d87530"},
        ("https://www.cs.toronto.edu/~kriz/",),
        _found_cifar("cifar-10-batches-bin", "test_batch.bin", "cifar-10-binary.tar.gz"),
        lambda path, train: read_cifar10(path, train, records=10000),
    ),
    "cifar100": Source(
        _CIFAR100, (0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762),
        {"cifar-100-binary.tar.gz": "md5:03b5dce01913d631647c71ecec9e9cb8"},
        ("https://www.cs.toronto.edu/~kriz/",),
        _found_cifar("cifar-100-binary", "test.bin", "cifar-100-binary.tar.gz"),
        lambda path, train: read_cifar100(path, train, records=50000 if train else 10000),
    ),
}  # fmt: skip

NAMES = ("digits", *SOURCES)


def default_root() -> Path:
    """Where downloaded data goes: ``data`` in nnlab's cache folder."""
    return cache.folder() / "data"


def load(
    name: str | os.PathLike[str],
    root: str | os.PathLike[str] | None = None,
    train: bool = True,
    download: bool = False,
    transform: Transform | None = None,
    *,
    val_fraction: float = 0.2,
    split_seed: int = 0,
    progress: Progress | bool = True,
) -> ImageDataset:
    """A data set by name.

    Args:
        name: "digits", "mnist", "fashion-mnist", "cifar10", "cifar100", or a folder of images: either with
            ``train/`` and ``val/`` (or ``valid/``, ``validation/``, ``test/``) inside, each ``<class>/*.jpg|png``,
            or ``<class>/*.jpg|png`` directly, which is split by class.
        root: folder with the files of the data set, directly or in a sub-folder called ``name``. Files that are there
            are used as they are, and checked when they are read. Default: :func:`default_root`.
        train: the training part, else the validation or test part.
        download: fetch files that are missing into ``root/name``.
        transform: see :mod:`nnlab.data.transforms`.
        val_fraction: share of each class held back when the data comes in one part (digits, single folder).
        split_seed: that split is a function of it.
        progress: as in :func:`nnlab.data.download.download`.

    Returns:
        data set with ``classes``, ``channels``, ``mean`` and ``std`` (of the training part).

    Raises:
        ArgumentError: no data set and no folder has this name.
        DataError: files are missing or damaged; the message names them.
    """
    name = os.fspath(name)
    if name == "digits":
        images, labels = read_digits()
        whole = ArrayImages(images, labels, _DIGITS, transform=transform)
        return _part(whole, train, val_fraction, split_seed)
    if name in SOURCES:
        return _load_source(name, root, train, download, transform, progress)
    for folder in (Path(name), *([Path(root) / name] if root is not None else [])):
        if folder.is_dir():
            return _load_folder(folder, train, transform, val_fraction, split_seed)
    raise ArgumentError(complaint("load", "name", f"be one of {', '.join(NAMES)} or a folder of images", name))


def _part(whole: ImageDataset, train: bool, fraction: float, seed: int) -> ImageDataset:
    first, second = stratified_split(whole.targets, fraction, seed)
    training = whole.select(first.tolist())
    if train:
        return training
    part = whole.select(second.tolist())
    part.statistics_from(training)
    return part


def locate(
    name: str,
    files: dict[str, str],
    mirrors: Sequence[str],
    found: Callable[[Path], Path | None],
    root: str | os.PathLike[str] | None,
    fetch: bool,
    progress: Progress | bool,
) -> Path:
    """Where the files of a published data set are, fetched if need be.

    Args:
        name: of the data set.
        files, mirrors, found: as in :class:`Source`.
        root, fetch, progress: ``root``, ``download`` and ``progress`` of :func:`load`.

    Raises:
        DataError: files are missing.
    """
    base = default_root() if root is None else Path(root)
    places = [base / name, base]
    path = next((there for place in places if (there := found(place)) is not None), None)
    if path is None and fetch:
        from nnlab.data.download import download  # imports the network modules only when they are needed

        for file, checksum in files.items():
            if not (base / name / file).is_file():
                download([mirror + file for mirror in mirrors], base / name / file, checksum, progress=progress)
        path = found(base / name)
    if path is None:
        raise DataError(
            f"[load] data set {name!r} is not in {places[0]} or {places[1]}: expected {', '.join(files)}; "
            f"name the folder that holds the files, or allow the download"
        )
    return path


def _load_source(
    name: str,
    root: str | os.PathLike[str] | None,
    train: bool,
    fetch: bool,
    transform: Transform | None,
    progress: Progress | bool,
) -> ImageDataset:
    source = SOURCES[name]
    path = locate(name, source.files, source.mirrors, source.found, root, fetch, progress)
    images, labels = source.read(path, train)
    if labels.max() >= len(source.classes):
        raise DataError(f"[load] {path}: labels of {name!r} must be below {len(source.classes)}, found {labels.max()}")
    return ArrayImages(images, labels, source.classes, transform=transform, mean=source.mean, std=source.std)


def _load_folder(folder: Path, train: bool, transform: Transform | None, fraction: float, seed: int) -> ImageDataset:
    inside = class_folders(folder)
    if "train" not in inside:
        return _part(ImageFolder(folder, transform), train, fraction, seed)
    training = ImageFolder(folder / "train", transform)
    if train:
        return training
    held_back = next((name for name in _VALIDATION_FOLDERS if name in inside), None)
    if held_back is None:
        raise DataError(f"[load] {folder}: has train/ but none of {', '.join(_VALIDATION_FOLDERS)}, found {inside}")
    part = ImageFolder(folder / held_back, transform, classes=training.classes)
    part.statistics_from(training)
    return part
