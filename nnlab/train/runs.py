"""From a configuration to a Trainer, and from a run folder back to its network."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nnlab
from nnlab import data, models, optim
from nnlab.backend import Device, resolve
from nnlab.errors import ArgumentError, CheckpointError, MissingExtraError
from nnlab.nn import CrossEntropyLoss, Module
from nnlab.optim import lr_scheduler
from nnlab.train import checkpoint as files
from nnlab.train.callbacks import Callback, EarlyStopping, Logging, Plots, TensorBoard
from nnlab.train.config import FILE, TrainConfig
from nnlab.train.metrics import softmax, top_k
from nnlab.train.preprocess import Preprocess, common_size
from nnlab.train.trainer import Trainer

RUNS = Path("runs")

_OPTIMIZERS: dict[str, Any] = {
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "adagrad": optim.Adagrad,
    "adadelta": optim.Adadelta,
    "rmsprop": optim.RMSprop,
    "adamax": optim.Adamax,
    "nadam": optim.NAdam,
    "radam": optim.RAdam,
}


# Folders.


def new_folder(config: TrainConfig, out: Path | None) -> Path:
    """The folder of a new run: ``out``, else ``runs/DATA-MODEL`` with the first free number.

    Raises:
        ArgumentError: ``out`` already holds something.
    """
    if out is not None:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            hint = "; --resume continues it" if (out / FILE).exists() else ""
            raise ArgumentError(f"[train] 'out' must be a new or empty folder, {out} holds something{hint}")
        return out
    name = f"{Path(config.data).name or 'data'}-{config.model}"
    return next(
        folder
        for number in itertools.count(1)
        if not (folder := RUNS / (name if number == 1 else f"{name}-{number}")).exists()
    )


def find_run(out: Path | None) -> Path:
    """The run folder to resume: ``out``, else the one in ``runs/`` that was written to last.

    Raises:
        CheckpointError: there is none.
    """
    if out is not None:
        TrainConfig.load(out)
        return out
    found = [path.parent for path in RUNS.glob(f"*/{FILE}")]
    if not found:
        raise CheckpointError(f"[checkpoint] there is no run in {RUNS}/ to resume; name one with --out")
    return max(found, key=lambda folder: max(path.stat().st_mtime for path in [folder, *folder.iterdir()]))


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


def build_optimizer(config: TrainConfig, model: Module) -> Any:
    """The optimizer; weight decay applies to weights, not to biases and normalisation."""
    decayed = [(name, p) for name, p in model.named_parameters() if p.ndim > 1]
    others = [(name, p) for name, p in model.named_parameters() if p.ndim <= 1]
    groups = [
        {"params": params, "weight_decay": decay}
        for params, decay in ((decayed, config.weight_decay), (others, 0.0))
        if params
    ]
    assert config.lr is not None
    if config.optimizer == "sgd":
        return optim.SGD(groups, lr=config.lr, momentum=config.momentum, nesterov=config.momentum > 0)
    return _OPTIMIZERS[config.optimizer](groups, lr=config.lr)


def rate_factor(config: TrainConfig, steps: int, step: int) -> float:
    """The learning rate of an optimizer step as a share of ``config.lr``.

    A linear rise over the warm-up, then: cosine ``(1 + cos(pi * t)) / 2`` for t from 0 to 1 over the rest of the run;
    step: ``gamma ** (epoch // lr_step)``; none: 1. A pure function of the step, so that a run whose ``epochs`` are
    extended goes on along the longer curve.

    Args:
        steps: optimizer steps an epoch.
        step: steps done so far.
    """
    total = steps * config.epochs
    warm = min(round(steps * config.warmup_epochs), total - 1)
    if step < warm:
        return (step + 1) / (warm + 1)
    if config.schedule == "cosine":
        return (1 + math.cos(math.pi * min((step - warm) / (total - warm), 1.0))) / 2
    return config.lr_gamma ** (step // (steps * config.lr_step)) if config.schedule == "step" else 1.0


def build_scheduler(config: TrainConfig, optimizer: Any, steps: int) -> Any:
    """The schedule: in optimizer steps, ``plateau`` in epochs and without warm-up."""
    if config.schedule == "plateau":
        return lr_scheduler.ReduceLROnPlateau(optimizer, factor=config.lr_gamma, patience=config.lr_step)
    return lr_scheduler.LambdaLR(optimizer, lambda step: rate_factor(config, steps, step))


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
    device, reason = resolve(config.device)
    notes = [f"device {device} ({reason})" if config.device == "auto" else f"device {device}"]
    train_set, val_set, preprocess = load_data(config, Preprocess.load(folder) if resume else None)
    nnlab.manual_seed(config.seed)
    model = build_model(config, preprocess)
    loaders = [
        data.DataLoader(dataset, batch_size=config.batch_size, shuffle=shuffle, num_workers=config.workers,
                        persistent_workers=config.workers > 0, background_thread=config.workers == 0, seed=config.seed)
        for dataset, shuffle in ((train_set, True), (val_set, False))
    ]  # fmt: skip
    optimizer = build_optimizer(config, model)
    batches = config.overfit_batches or len(loaders[0])
    scheduler = build_scheduler(config, optimizer, max(1, -(-batches // config.accumulate)))
    folder.mkdir(parents=True, exist_ok=True)
    config.save(folder)
    preprocess.save(folder)
    after: list[Callback] = [Logging()]
    if config.early_stopping is not None:
        after.append(EarlyStopping(config.early_stopping))
    for make in (lambda: Plots(preprocess.classes, preprocess.to_image), TensorBoard):
        try:
            after.append(make())
        except MissingExtraError as error:
            notes.append(str(error))
    trainer = Trainer(
        model,
        optimizer,
        *loaders,
        epochs=config.epochs,
        loss=CrossEntropyLoss(label_smoothing=config.label_smoothing),
        scheduler=scheduler,
        device=device,
        out=folder,
        accumulate=config.accumulate,
        clip_norm=config.clip_norm,
        checkpoint_every=config.checkpoint_every,
        poll_every=config.poll_every,
        fast_dev_run=config.fast_dev_run,
        overfit_batches=config.overfit_batches,
        callbacks=[*(callbacks or []), *after],
    )
    return trainer, notes


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
        path: a run folder (its ``best`` weights, or ``last`` if there is no ``best`` yet), or ``RUN/best`` or
            ``RUN/last`` for one of them.
        device: where to put it.

    Raises:
        CheckpointError: the run is not there, or damaged; the message names the file.
    """
    path = Path(path)
    folder, which = (path, None) if path.name not in ("best", "last", "previous") else (path.parent, path.name)
    if not folder.is_dir():
        raise CheckpointError(f"[checkpoint] there is no run folder {folder}")
    if which is None:
        which = "best" if files.exists(folder / "best") else "last"
    config, preprocess = TrainConfig.load(folder), Preprocess.load(folder)
    found = files.read_checkpoint(folder / which, optimizer=False)
    model = build_model(config, preprocess)
    files.load_weights(model, found)
    place, _ = resolve(device)
    return TrainedRun(folder, which, found.state["epoch"], config, preprocess, model.to(place).eval(), place)
