"""From a configuration to a Trainer, and from a run folder back to its network."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nnlab
from nnlab import data, models
from nnlab.backend import Device, resolve
from nnlab.errors import CheckpointError
from nnlab.nn import CrossEntropyLoss, Module
from nnlab.train import checkpoint as files
from nnlab.train.assemble import assemble, find_device
from nnlab.train.callbacks import Callback, Plots
from nnlab.train.config import TrainConfig
from nnlab.train.folders import find_weights
from nnlab.train.metrics import softmax, top_k
from nnlab.train.preprocess import Preprocess, common_size
from nnlab.train.trainer import Trainer

# Parts of a run.


def _part(config: TrainConfig, *, train: bool) -> Any:
    return data.load(config.data, config.data_dir, train=train, download=True)


def _limited(dataset: Any, limit: int | None) -> Any:
    """No more than ``limit`` samples, spread over the whole set (which may be sorted by class)."""
    n = len(dataset)
    return dataset if limit is None or limit >= n else dataset.select([k * n // limit for k in range(limit)])


def load_data(config: TrainConfig, preprocess: Preprocess | None = None) -> tuple[Any, Any, Preprocess]:
    """Training and validation set with their transforms, and how pictures become inputs.

    Args:
        config: names the data.
        preprocess: of the run that is resumed; None: measured on the data.
    """
    training = _part(config, train=True)
    if preprocess is None:
        size = config.image_size or models.default_size(config.model, common_size(training))
        preprocess = Preprocess.of(training, size)
    validation = load_validation(config, preprocess)
    training = _limited(training, config.limit_train).with_transform(preprocess.training(config.augment))
    return training, validation, preprocess


def load_validation(config: TrainConfig, preprocess: Preprocess, *, whole: bool = False) -> Any:
    """The validation part of a run's data, or other data for it.

    Args:
        whole: a folder of class folders is taken as a whole, not split.

    Raises:
        CheckpointError: its classes are not those of the run.
    """
    folder = Path(config.data)
    if whole and folder.is_dir() and not (folder / "train").is_dir():
        dataset: Any = data.ImageFolder(folder, classes=preprocess.classes)
    else:
        dataset = _part(config, train=False)
    if dataset.classes != preprocess.classes:
        raise CheckpointError(
            f"[checkpoint] the run has the classes {preprocess.classes}, the data {config.data!r} has {dataset.classes}"
        )
    return _limited(dataset, config.limit_val).with_transform(preprocess.evaluation())


def build_model(config: TrainConfig, preprocess: Preprocess) -> Module:
    """The network of a configuration, for the data's channels, classes and size.

    Raises:
        ArgumentError: there is no network of that name.
    """
    options = {} if config.dropout is None else {"dropout": config.dropout}
    return models.create(
        config.model,
        num_classes=len(preprocess.classes),
        in_channels=preprocess.channels,
        image_size=preprocess.size,
        **options,
    )


def build_trainer(
    config: TrainConfig, folder: Path, *, callbacks: list[Callback] | None = None, resume: bool = False
) -> tuple[Trainer, list[str]]:
    """Everything that a configuration describes, put together.

    Args:
        config: the resolved configuration.
        folder: the run folder; made if need be, and given ``config.json`` and ``data.json``.
        callbacks: called before the log, the plots and so on.
        resume: take ``data.json`` from the folder.

    Returns:
        The Trainer, and notes for the user: the device and why, extras that are missing.
    """
    device, note = find_device(config)
    train_set, val_set, preprocess = load_data(config, Preprocess.load(folder) if resume else None)
    nnlab.manual_seed(config.seed)
    model = build_model(config, preprocess)
    loaders = [
        data.DataLoader(dataset, batch_size=config.batch_size, shuffle=shuffle, num_workers=config.workers,
                        persistent_workers=config.workers > 0, background_thread=config.workers == 0, seed=config.seed)
        for dataset, shuffle in ((train_set, True), (val_set, False))
    ]  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    config.save(folder)
    preprocess.save(folder)
    trainer, notes = assemble(
        config,
        folder,
        model,
        *loaders,
        device=device,
        loss=CrossEntropyLoss(label_smoothing=config.label_smoothing),
        callbacks=callbacks or [],
        plots=lambda: Plots(preprocess.classes, preprocess.to_image),
    )
    return trainer, [note, *notes]


# Finished runs.


@dataclass
class TrainedRun:
    """A network as a run left it.

    Attributes:
        folder: the run folder. which: ``best`` or ``last``. epoch: the epoch of the weights.
    """

    folder: Path
    which: str
    epoch: int
    config: TrainConfig
    preprocess: Preprocess
    model: Module
    device: Device

    def predict(self, path: Path, top: int) -> list[dict[str, Any]]:
        """The most likely classes of an image file: ``[{"class": name, "probability": p}, ...]``, best first.

        Raises:
            DataError: the file is no image, or a damaged one.
        """
        picture = data.read_image(path, "RGB" if self.preprocess.channels == 3 else "L")
        images = nnlab.from_numpy(self.preprocess.input(picture)).to(self.device)
        with nnlab.no_grad():
            logits = self.model(images).cpu().numpy()
        probability = softmax(logits)[0]
        return [
            {"class": self.preprocess.classes[i], "probability": float(probability[i])} for i in top_k(logits, top)[0]
        ]


def open_run(path: str | Path, *, device: str = "auto") -> TrainedRun:
    """Read a trained network, ready for evaluation.

    Args:
        path: as in :func:`nnlab.train.folders.find_weights`.
        device: where to put it.

    Raises:
        CheckpointError: the run is not there, or damaged; the message names the file.
    """
    folder, which = find_weights(Path(path))
    config, preprocess = TrainConfig.load(folder), Preprocess.load(folder)
    found = files.read_checkpoint(folder / which, optimizer=False)
    model = build_model(config, preprocess)
    files.load_weights(model, found)
    place, _ = resolve(device)
    return TrainedRun(folder, which, found.state["epoch"], config, preprocess, model.to(place).eval(), place)
