"""The configuration of a training run: one dataclass, from which the command line's flags are made.

Values come from the defaults, then a TOML or JSON file, then the flags. The resolved configuration is saved as
``config.json`` in the run folder, and a resumed run takes it from there.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import operator
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from nnlab.errors import ArgumentError, CheckpointError, complaint

FILE = "config.json"


_LIMITS: tuple[tuple[str, Callable[[Any, Any], bool], str], ...] = (
    ("low", operator.ge, "be at least"),
    ("above", operator.gt, "be greater than"),
    ("below", operator.lt, "be less than"),
)
OPTIMIZERS = ("sgd", "adam", "adamw", "adagrad", "adadelta", "rmsprop", "adamax", "nadam", "radam")
_RATES = {"adagrad": 1e-2, "adadelta": 1.0, "adamax": 2e-3, "nadam": 2e-3}
_DECAY = {"sgd": 5e-4, "adamw": 0.01}


def _rate(optimizer: str, model: str) -> float:
    """A learning rate to begin with: batch normalisation bears a larger one."""
    if optimizer != "sgd":
        return _RATES.get(optimizer, 1e-3)
    return 0.05 if model == "vgg_small" or model.endswith("_bn") else 0.01


def _option(default: Any, help: str, *, group: str, extend: bool = False, **limits: Any) -> Any:
    """A configuration value.

    Args:
        default: its default.
        help: the flag's help.
        group: the heading under which ``nnlab train --help`` lists it.
        extend: whether a resumed run may change it.
        limits: ``low`` (inclusive), ``above`` and ``below`` (exclusive), ``choices``.
    """
    return field(default=default, metadata={"help": help, "group": group, "extend": extend, **limits})


@dataclass
class TrainConfig:
    """Everything that decides a training run. Errors name the value: ``[config] 'lr' must be positive, got -1``."""

    model: str = _option("vgg_small", "Network; 'nnlab summary' lists them.", group="Model")
    dropout: float | None = _option(
        None, "Dropout probability, for networks that have dropout; default: the network's own.",
        group="Model", low=0.0, below=1.0,
    )  # fmt: skip
    data: str = _option("digits", "Data set by name, or a folder with train/<class>/ and val/<class>/.", group="Data")
    data_dir: str | None = _option(None, "Folder with files already downloaded.", group="Data", extend=True)
    image_size: int | None = _option(
        None, "Side of the square that images are resized to; default: the network's or the data's own.",
        group="Data", low=1,
    )  # fmt: skip
    augment: str = _option(
        "auto", "Augmentation of training images: auto, none, or a list out of shift,flip,crop,jitter,pca,erase.",
        group="Data",
    )  # fmt: skip
    workers: int = _option(0, "Worker processes that load data; 0: a thread.", group="Data", low=0, extend=True)
    limit_train: int | None = _option(None, "Use only so many training images.", group="Data", low=1)
    limit_val: int | None = _option(None, "Use only so many validation images.", group="Data", low=1)
    epochs: int = _option(30, "Passes over the training images.", group="Training", low=1, extend=True)
    batch_size: int = _option(64, "Images in a batch.", group="Training", low=1)
    accumulate: int = _option(1, "Batches whose gradients make one step.", group="Training", low=1)
    clip_norm: float | None = _option(None, "Clip the gradients' total norm to this.", group="Training", above=0.0)
    label_smoothing: float = _option(0.0, "Label smoothing of the loss.", group="Training", low=0.0, below=1.0)
    early_stopping: int | None = _option(
        None, "Stop after so many epochs without a better validation result.", group="Training", low=1, extend=True
    )
    seed: int = _option(0, "Seed of everything random.", group="Training", low=0, below=2**63)
    optimizer: str = _option("sgd", "Optimizer.", group="Optimizer", choices=OPTIMIZERS)
    lr: float | None = _option(
        None,
        "Learning rate (after the warm-up); default: 0.05 for sgd (0.01 if the network has no batch normalisation), "
        "1 for adadelta, 0.01 for adagrad, 0.002 for adamax and nadam, 0.001 for the others.",
        group="Optimizer",
        above=0.0,
    )
    momentum: float = _option(0.9, "Momentum of SGD (Nesterov's).", group="Optimizer", low=0.0, below=1.0)
    weight_decay: float | None = _option(
        None, "Weight decay; default: 0.0005 for sgd, 0.01 for adamw, 0 for the others.", group="Optimizer", low=0.0
    )
    schedule: str = _option(
        "cosine", "Learning-rate schedule.", group="Optimizer", choices=("cosine", "step", "plateau", "none")
    )
    warmup_epochs: float = _option(
        1.0, "Epochs over which the rate rises linearly (not with 'plateau').", group="Optimizer", low=0.0
    )
    lr_step: int = _option(10, "Epochs between drops of the 'step' schedule; patience of 'plateau'.",
                           group="Optimizer", low=1)  # fmt: skip
    lr_gamma: float = _option(
        0.1, "Factor of a drop, for 'step' and 'plateau'.", group="Optimizer", above=0.0, below=1.0
    )
    device: str = _option("auto", "auto, cpu, cuda, cuda:N or emulated.", group="Running", extend=True)
    checkpoint_every: int = _option(
        500, "Steps between checkpoints inside an epoch; 0: only at its end.", group="Running", low=0, extend=True
    )
    poll_every: int | None = _option(
        None, "Steps between looks at the loss; default: 1 on the CPU, 20 on a GPU.",
        group="Running", low=1, extend=True,
    )  # fmt: skip
    fast_dev_run: bool = _option(False, "Three batches of training and validation, to try everything.", group="Running")
    overfit_batches: int = _option(
        0, "Train and validate on the first so many batches, again and again.", group="Running", low=0
    )

    def __post_init__(self) -> None:
        for spec in fields(self):
            self._check(spec.name, spec.metadata, getattr(self, spec.name))
        if self.lr is None:
            self.lr = _rate(self.optimizer, self.model)
        if self.weight_decay is None:
            self.weight_decay = _DECAY.get(self.optimizer, 0.0)

    def _check(self, name: str, limits: Mapping[str, Any], value: Any) -> None:
        annotation = str(self.__annotations__[name])
        if value is None:
            if "None" in annotation:
                return
            raise ArgumentError(complaint("config", name, "have a value", None))
        kind = {"str": str, "int": int, "float": float, "bool": bool}[annotation.split(" ")[0]]
        if kind is float and type(value) is int:
            value = float(value)
            setattr(self, name, value)
        if type(value) is not kind:
            raise ArgumentError(complaint("config", name, f"be of type {kind.__name__}", value))
        if "choices" in limits and value not in limits["choices"]:
            raise ArgumentError(complaint("config", name, f"be one of {', '.join(limits['choices'])}", value))
        for key, ok, words in _LIMITS:
            if key in limits and not ok(value, limits[key]):
                raise ArgumentError(complaint("config", name, f"{words} {limits[key]}", value))

    @classmethod
    def known(cls, values: Mapping[str, Any], source: str = "config") -> dict[str, Any]:
        """The values under their plain names; they may be spelled with dashes.

        Raises:
            ArgumentError: a name is unknown; the nearest one is suggested.
        """
        names = [spec.name for spec in fields(cls)]
        plain = {name.replace("-", "_"): value for name, value in values.items()}
        for name in plain:
            if name not in names:
                near = difflib.get_close_matches(name, names, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(names)}"
                raise ArgumentError(f"[{source}] there is no setting {name!r}; {hint}")
        return plain

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def save(self, folder: Path) -> None:
        """Write ``config.json`` into a run folder."""
        text = json.dumps(self.to_dict(), indent=1) + "\n"
        aside = folder / (FILE + ".tmp")
        aside.write_text(text, encoding="utf-8")
        aside.replace(folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> TrainConfig:
        """The configuration of a run folder.

        Raises:
            CheckpointError: the folder holds no configuration, or a damaged one.
        """
        path = folder / FILE
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise CheckpointError(f"[checkpoint] {folder} is not a run folder: it has no {FILE}") from error
        except ValueError as error:
            raise CheckpointError(f"[checkpoint] {path} is damaged: not JSON ({error})") from error
        return cls(**cls.known(values, source=str(path)))

    def extended(self, flags: Mapping[str, Any]) -> TrainConfig:
        """This configuration with a resumed run's flags.

        Raises:
            ArgumentError: a flag would change what the run has been so far; every such flag is named.
        """
        clashes = []
        for spec in fields(self):
            before = getattr(self, spec.name)
            if spec.name in flags and flags[spec.name] != before and not spec.metadata["extend"]:
                clashes.append(f"--{spec.name.replace('_', '-')} {flags[spec.name]} (the run has {before})")
        if clashes:
            raise ArgumentError(
                f"[train] --resume continues the run as it was; it cannot change {', '.join(clashes)}. "
                "Start a new run for that"
            )
        return dataclasses.replace(self, **flags)


def read_config_file(path: Path) -> dict[str, Any]:
    """Names and values of a ``.toml`` or ``.json`` file.

    Raises:
        ArgumentError: the file cannot be read or is of another kind.
    """
    try:
        if path.suffix == ".toml":
            return tomllib.loads(path.read_text(encoding="utf-8"))
        if path.suffix == ".json":
            return dict(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ArgumentError(f"[config] cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ArgumentError(f"[config] {path} is not valid {path.suffix[1:].upper()}: {error}") from error
    raise ArgumentError(complaint("config", "config", "be a .toml or .json file", str(path)))
