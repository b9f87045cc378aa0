"""From a configuration to a Trainer of a language model, and from a run folder back to it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import nnlab
from nnlab.backend import Device, resolve
from nnlab.text import source
from nnlab.text.config import TextConfig
from nnlab.text.model import BitsPerCharacter, CharModel
from nnlab.text.streams import TextStreams, for_evaluation
from nnlab.text.vocabulary import Vocabulary
from nnlab.train import checkpoint as files
from nnlab.train.assemble import assemble, find_device
from nnlab.train.callbacks import Callback, Curves
from nnlab.train.folders import find_weights
from nnlab.train.trainer import Trainer


def load_parts(config: TextConfig) -> tuple[str, str]:
    """The training and the held-out part of a configuration's text."""
    return source.split(source.load(config.data, config.data_dir, download=True), config.val_fraction)


def build_model(config: TextConfig, vocabulary: Vocabulary) -> CharModel:
    """The network of a configuration."""
    return CharModel(
        len(vocabulary),
        cell=config.cell,
        embedding_dim=config.embedding,
        hidden_size=config.hidden,
        num_layers=config.layers,
        dropout=config.dropout,
    )


def build_trainer(
    config: TextConfig, folder: Path, *, callbacks: list[Callback] | None = None, resume: bool = False
) -> tuple[Trainer, list[str]]:
    """Everything that a configuration describes, put together.

    Args:
        config: the resolved configuration.
        folder: the run folder; made if need be, and given ``config.json`` and ``vocabulary.json``.
        callbacks: called before the log, the plots and so on.
        resume: take ``vocabulary.json`` from the folder.

    Returns:
        The Trainer, and notes for the user: the device and why, extras that are missing.
    """
    device, note = find_device(config)
    training, held_out = load_parts(config)
    vocabulary = Vocabulary.load(folder) if resume else Vocabulary(training + held_out)
    loaders = (
        TextStreams(vocabulary.encode(training), config.batch_size, config.length),
        for_evaluation(vocabulary.encode(held_out)),
    )
    nnlab.manual_seed(config.seed)
    model = build_model(config, vocabulary)
    folder.mkdir(parents=True, exist_ok=True)
    config.save(folder)
    vocabulary.save(folder)
    trainer, notes = assemble(
        config,
        folder,
        model,
        *loaders,
        device=device,
        loss=BitsPerCharacter(),
        callbacks=callbacks or [],
        plots=Curves,
        unit="characters",
    )
    return trainer, [note, *notes]


@dataclass
class TrainedText:
    """A language model as a run left it.

    Attributes:
        folder: the run folder. which: ``best`` or ``last``. epoch: the epoch of the weights.
    """

    folder: Path
    which: str
    epoch: int
    config: TextConfig
    vocabulary: Vocabulary
    model: CharModel
    device: Device


def open_run(path: str | Path, *, device: str = "auto") -> TrainedText:
    """Read a trained language model.

    Args:
        path: as in :func:`nnlab.train.folders.find_weights`.
        device: where to put it.

    Raises:
        CheckpointError: the run is not there, or damaged; the message names the file.
    """
    folder, which = find_weights(Path(path))
    config, vocabulary = TextConfig.load(folder), Vocabulary.load(folder)
    found = files.read_checkpoint(folder / which, optimizer=False)
    model = build_model(config, vocabulary)
    files.load_weights(model, found)
    place, _ = resolve(device)
    return TrainedText(folder, which, found.state["epoch"], config, vocabulary, model.to(place).eval(), place)
