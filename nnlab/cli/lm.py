"""``nnlab lm train``, ``eval`` and ``sample``: language models over characters."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from nnlab.cli.commands import CHECKPOINT, DEVICE
from nnlab.cli.training import command, optimization
from nnlab.text.config import TextConfig

if TYPE_CHECKING:
    from nnlab.train.trainer import Trainer


def _build(settings: Any, folder: Path, **options: Any) -> tuple[Trainer, list[str]]:
    from nnlab.text.runs import build_trainer

    return build_trainer(settings, folder, **options)


def _describe(settings: TextConfig, trainer: Trainer) -> list[str]:
    parameters = sum(p.numel() for p in trainer.model.parameters())
    training, held_out = trainer.train_loader, trainer.val_loader
    return [
        f"{settings.cell} of {settings.layers} × {settings.hidden} units ({parameters:,} parameters) on "
        f"{settings.data}: {len(training.ids):,} training and {len(held_out.ids):,} held-out characters, "
        f"{trainer.model.head.out_features} different ones",
        f"{optimization(settings, trainer)} of "
        f"{settings.batch_size} × {settings.length} characters, dropout {settings.dropout:g}, seed {settings.seed}; "
        "losses in bits per character",
    ]


train = command(
    TextConfig,
    _build,
    _describe,
    """Train a network to guess the next character of a text; without flags, tiny Shakespeare.

    The end of the text is held out: the bits per character that the network needs for it are reported.

    Ctrl-C saves and stops; --resume continues exactly where it was, also after a kill.
    """,
)


def evaluate(
    checkpoint: Path = CHECKPOINT,
    data: Path | None = typer.Option(None, help="Another text file, read whole; default: what the run held out."),
    data_dir: str | None = typer.Option(None, help="Folder with files already downloaded."),
    device: str = DEVICE,
    json: bool = typer.Option(False, "--json", help="Print the result as JSON."),
) -> None:
    """Say how well a language model guesses a text: bits per character, perplexity, accuracy."""
    from dataclasses import replace

    from nnlab.text.model import BitsPerCharacter
    from nnlab.text.runs import load_parts, open_run
    from nnlab.text.source import load
    from nnlab.text.streams import for_evaluation
    from nnlab.train.evaluate import evaluate as run_evaluation
    from nnlab.train.progress import percent

    run = open_run(checkpoint, device=device)
    if data is None:
        text = load_parts(replace(run.config, data_dir=data_dir or run.config.data_dir))[1]
    else:
        text = load(data, data_dir, download=True)
    batches = for_evaluation(run.vocabulary.encode(text))
    result = run_evaluation(run.model, batches, loss=BitsPerCharacter(), device=run.device)
    speed = result.examples / result.seconds
    if json:
        found = {
            "characters": result.examples,
            "bits_per_character": result.loss,
            "perplexity": 2**result.loss,
            "accuracy": result.accuracy,
            "characters_per_second": speed,
        }
        typer.echo(json_module.dumps(found))
        return
    what = f"the held-out end of {run.config.data}" if data is None else str(data)
    typer.echo(f"{run.folder} ({run.which}, epoch {run.epoch}) on {result.examples:,} characters of {what}")
    for name, value in (
        ("bits per character", f"{result.loss:.4f}"),
        ("perplexity", f"{2**result.loss:.3f}"),
        ("accuracy", percent(result.accuracy)),
        ("speed", f"{speed:.0f} characters/s"),
    ):
        typer.echo(f"{name:<20}{value}")


def sample(
    checkpoint: Path = CHECKPOINT,
    prompt: str = typer.Option("\n", help="What the network reads first.", show_default="a line end"),
    length: int = typer.Option(500, min=0, help="Characters to write."),
    temperature: float = typer.Option(1.0, help="Below 1 the likely becomes likelier, above 1 all becomes more even."),
    top_k: int | None = typer.Option(None, help="Draw only out of so many likeliest characters; default: all."),
    seed: int = typer.Option(0, help="The same seed gives the same text."),
    device: str = DEVICE,
) -> None:
    """Let a language model write: the prompt and what it makes of it."""
    from nnlab.text.runs import open_run
    from nnlab.text.sampling import sample as write

    run = open_run(checkpoint, device=device)
    text = write(run.model, run.vocabulary, length, prompt=prompt, temperature=temperature, top_k=top_k, seed=seed)
    typer.echo((prompt + text).removeprefix("\n"))


lm = typer.Typer(
    help="Language models over characters: train, evaluate, write.", no_args_is_help=True, rich_markup_mode="rich"
)
lm.command("train")(train)
lm.command("eval")(evaluate)
lm.command("sample")(sample)
