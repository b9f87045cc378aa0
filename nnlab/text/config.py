"""The configuration of a language model's training run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nnlab.text.model import CELLS
from nnlab.train.config import OPTIMIZERS, RunConfig
from nnlab.train.settings import option


@dataclass
class TextConfig(RunConfig):
    """Everything that decides a training run of a character language model."""

    command = "lm train"

    cell: str = option("lstm", "Recurrent layers.", group="Model", choices=tuple(CELLS))
    layers: int = option(2, "Recurrent layers on top of each other.", group="Model", low=1)
    hidden: int = option(256, "Units of a recurrent layer.", group="Model", low=1)
    embedding: int = option(64, "Numbers that stand for a character.", group="Model", low=1)
    dropout: float = option(0.2, "Dropout between layers.", group="Model", low=0.0, below=1.0)
    data: str = option("tinyshakespeare", "A text file (UTF-8), or tinyshakespeare.", group="Data")
    val_fraction: float = option(
        0.1, "Share of the text, its end, that is held out.", group="Data", above=0.0, below=1.0
    )
    epochs: int = option(12, "Passes over the training text.", group="Training", low=1, extend=True)
    batch_size: int = option(32, "Pieces of the text that are read side by side.", group="Training", low=1)
    length: int = option(64, "Characters of each piece in a batch; gradients go no further back.",
                         group="Training", low=1)  # fmt: skip
    clip_norm: float | None = option(1.0, "Clip the gradients' total norm to this.", group="Training", above=0.0)
    optimizer: str = option("adam", "Optimizer.", group="Optimizer", choices=OPTIMIZERS)
    lr: float | None = option(
        None,
        "Learning rate (after the warm-up); default: 0.004 for adam, 0.002 for adamax and nadam, 0.01 for sgd and "
        "adagrad, 1 for adadelta, 0.001 for the others.",
        group="Optimizer",
        above=0.0,
    )
    warmup_epochs: float = option(0.1, "Epochs over which the rate rises linearly (not with 'plateau').",
                                  group="Optimizer", low=0.0)  # fmt: skip

    def _rate(self) -> float:
        return 4e-3 if self.optimizer == "adam" else super()._rate()

    def run_name(self) -> str:
        return f"{Path(self.data).stem}-{self.cell}"

    @staticmethod
    def is_path(data: Path) -> bool:
        return data.is_file()
