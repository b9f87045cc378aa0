"""The configuration of a training run: one dataclass, from which the command line's flags are made.

Values come from the defaults, then a TOML or JSON file, then the flags. The resolved configuration is saved as
``config.json`` in the run folder, and a resumed run takes it from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nnlab.train.mixed import PRECISIONS
from nnlab.train.settings import Settings, option

OPTIMIZERS = ("sgd", "adam", "adamw", "adagrad", "adadelta", "rmsprop", "adamax", "nadam", "radam")
_RATES = {"sgd": 0.01, "adagrad": 1e-2, "adadelta": 1.0, "adamax": 2e-3, "nadam": 2e-3}
_DECAY = {"sgd": 5e-4, "adamw": 0.01}


@dataclass
class RunConfig(Settings):
    """What all training runs have: data, length, optimizer, schedule, device, checkpoints."""

    data: str = option("", "Data set by name, or a path.", group="Data")
    data_dir: str | None = option(None, "Folder with files already downloaded.", group="Data", extend=True)
    epochs: int = option(30, "Passes over the training data.", group="Training", low=1, extend=True)
    batch_size: int = option(64, "Examples in a batch.", group="Training", low=1)
    accumulate: int = option(1, "Batches whose gradients make one step.", group="Training", low=1)
    clip_norm: float | None = option(None, "Clip the gradients' total norm to this.", group="Training", above=0.0)
    early_stopping: int | None = option(
        None, "Stop after so many epochs without a better validation result.", group="Training", low=1, extend=True
    )
    precision: str = option(
        "float32", "What is multiplied: float32 numbers, TF32 (on GPUs), or bfloat16 or float16 by autocast.",
        group="Training", choices=PRECISIONS,
    )  # fmt: skip
    seed: int = option(0, "Seed of everything random.", group="Training", low=0, below=2**63)
    optimizer: str = option("sgd", "Optimizer.", group="Optimizer", choices=OPTIMIZERS)
    lr: float | None = option(None, "Learning rate (after the warm-up).", group="Optimizer", above=0.0)
    momentum: float = option(0.9, "Momentum of SGD (Nesterov's).", group="Optimizer", low=0.0, below=1.0)
    weight_decay: float | None = option(
        None, "Weight decay; default: 0.0005 for sgd, 0.01 for adamw, 0 for the others.", group="Optimizer", low=0.0
    )
    schedule: str = option(
        "cosine", "Learning-rate schedule.", group="Optimizer", choices=("cosine", "step", "plateau", "none")
    )
    warmup_epochs: float = option(
        1.0, "Epochs over which the rate rises linearly (not with 'plateau').", group="Optimizer", low=0.0
    )
    lr_step: int = option(10, "Epochs between drops of the 'step' schedule; patience of 'plateau'.",
                          group="Optimizer", low=1)  # fmt: skip
    lr_gamma: float = option(
        0.1, "Factor of a drop, for 'step' and 'plateau'.", group="Optimizer", above=0.0, below=1.0
    )
    device: str = option("auto", "auto, cpu, cuda, cuda:N or emulated.", group="Running", extend=True)
    checkpoint_every: int = option(
        500, "Steps between checkpoints inside an epoch; 0: only at its end.", group="Running", low=0, extend=True
    )
    poll_every: int | None = option(
        None, "Steps between looks at the loss; default: 1 on the CPU, 20 on a GPU and with --graph.",
        group="Running", low=1, extend=True,
    )  # fmt: skip
    graph: bool | None = option(
        None, "Run whole steps as CUDA graphs; default: on a GPU, where steps can be recorded.",
        group="Running", extend=True,
    )  # fmt: skip
    fast_dev_run: bool = option(False, "Three batches of training and validation, to try everything.", group="Running")
    overfit_batches: int = option(
        0, "Train and validate on the first so many batches, again and again.", group="Running", low=0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.lr is None:
            self.lr = self._rate()
        if self.weight_decay is None:
            self.weight_decay = _DECAY.get(self.optimizer, 0.0)

    def _rate(self) -> float:
        """A learning rate to begin with."""
        return _RATES.get(self.optimizer, 1e-3)

    def run_name(self) -> str:
        """The name of a new run's folder."""
        raise NotImplementedError

    @staticmethod
    def is_path(data: Path) -> bool:
        """Whether ``data`` is a path, not the name of a published set."""
        return data.is_dir()


@dataclass
class TrainConfig(RunConfig):
    """Everything that decides a training run of an image classifier."""

    command = "train"

    model: str = option("vgg_small", "Network; 'nnlab summary' lists them.", group="Model")
    dropout: float | None = option(
        None, "Dropout probability, for networks that have dropout; default: the network's own.",
        group="Model", low=0.0, below=1.0,
    )  # fmt: skip
    data: str = option("digits", "Data set by name, or a folder with train/<class>/ and val/<class>/.", group="Data")
    image_size: int | None = option(
        None, "Side of the square that images are resized to; default: the network's or the data's own.",
        group="Data", low=1,
    )  # fmt: skip
    augment: str = option(
        "auto", "Augmentation of training images: auto, none, or a list out of shift,flip,crop,jitter,pca,erase.",
        group="Data",
    )  # fmt: skip
    workers: int = option(0, "Worker processes that load data; 0: a thread.", group="Data", low=0, extend=True)
    limit_train: int | None = option(None, "Use only so many training images.", group="Data", low=1)
    limit_val: int | None = option(None, "Use only so many validation images.", group="Data", low=1)
    batch_size: int = option(64, "Images in a batch.", group="Training", low=1)
    label_smoothing: float = option(0.0, "Label smoothing of the loss.", group="Training", low=0.0, below=1.0)
    lr: float | None = option(
        None,
        "Learning rate (after the warm-up); default: 0.05 for sgd (0.01 if the network has no batch normalisation), "
        "1 for adadelta, 0.01 for adagrad, 0.002 for adamax and nadam, 0.001 for the others.",
        group="Optimizer",
        above=0.0,
    )

    def _rate(self) -> float:
        # Batch normalisation bears a larger one.
        normalised = self.model == "vgg_small" or self.model.endswith("_bn")
        return 0.05 if self.optimizer == "sgd" and normalised else super()._rate()

    def run_name(self) -> str:
        return f"{Path(self.data).name or 'data'}-{self.model}"
