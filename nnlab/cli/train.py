"""``nnlab train``: its flags are the fields of TrainConfig."""

from __future__ import annotations

import inspect
import tempfile
import time
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from nnlab.errors import ArgumentError
from nnlab.train.config import TrainConfig, read_config_file

if TYPE_CHECKING:
    from nnlab.train.trainer import Trainer

_KINDS = {"str": (str, "TEXT"), "int": (int, "N"), "float": (float, "X"), "bool": (bool, None)}


def _flag(spec: Any) -> inspect.Parameter:
    """The flag of one configuration value. It defaults to None, so that flags that were given can be told apart."""
    name, meta = "--" + spec.name.replace("_", "-"), spec.metadata
    kind, metavar = _KINDS[str(spec.type).split(" ")[0]]
    text = f"{meta['help'].rstrip('.')}: {', '.join(meta['choices'])}." if "choices" in meta else meta["help"]
    if spec.default is not None and kind is not bool:
        text += f" [dim]Default: {spec.default}[/dim]"
    option = typer.Option(
        None,
        name,
        help=text,
        rich_help_panel=meta["group"],
        metavar=metavar,
    )
    return inspect.Parameter(spec.name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=kind | None)


def train(
    out: Path | None = typer.Option(
        None, help="Run folder; default: runs/DATA-MODEL, with a number if that exists.", rich_help_panel="Running"
    ),
    resume: bool = typer.Option(
        False, "--resume", help="Continue the run in --out; default: the latest in runs/.", rich_help_panel="Running"
    ),
    previous: bool = typer.Option(
        False, "--previous", help="With --resume: from the checkpoint before the last.", rich_help_panel="Running"
    ),
    config: Path | None = typer.Option(
        None, help="TOML or JSON file with any of these settings; flags override it.", rich_help_panel="Running"
    ),
    **flags: Any,
) -> None:
    """Train a network; without flags, a small VGG-style network on handwritten digits.

    Ctrl-C saves and stops; --resume continues exactly where it was, also after a kill.
    """
    from rich.console import Console

    from nnlab.train.progress import display, summary
    from nnlab.train.runs import build_trainer, find_run, new_folder

    given = {name: value for name, value in flags.items() if value is not None}
    if config is not None:
        given = {**TrainConfig.known(read_config_file(config), source=str(config)), **given}
    for name in ("data", "data_dir"):
        if name in given and Path(given[name]).is_dir():
            given[name] = str(Path(given[name]).resolve())  # the run may be resumed from another folder
    if previous and not resume:
        raise ArgumentError("[train] --previous goes with --resume")
    started, console = time.monotonic(), Console()
    with ExitStack() as stack:
        if resume:
            folder = find_run(out)
            settings = TrainConfig.load(folder).extended(given)
        else:
            settings = TrainConfig(**given)
            if settings.fast_dev_run and out is None:
                out = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nnlab-dev-run-")))
            folder = new_folder(settings, out)
        trainer, notes = build_trainer(settings, folder, callbacks=[display(console)], resume=resume)
        for line in [*describe(settings, trainer), *notes, f"run folder {folder}"]:
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        from nnlab.train.interrupt import Interrupted

        try:
            trainer.fit(resume="previous" if previous else resume)
        except Interrupted as stop:
            typer.echo(f"{stop}; continue with: nnlab train --resume --out {folder}", err=True)
            raise typer.Exit(stop.exit_code) from None
        console.print()
        console.print(summary(trainer, time.monotonic() - started), soft_wrap=True)


def describe(settings: TrainConfig, trainer: Trainer) -> list[str]:
    """What is trained, on what, and how, in two lines."""
    parameters = sum(p.numel() for p in trainer.model.parameters())
    training, validation = trainer.train_loader.dataset, trainer.val_loader.dataset
    shape = " × ".join(str(n) for n in training[0][0].shape)
    schedule = f"{settings.schedule} schedule" if settings.schedule != "none" else "constant rate"
    return [
        f"{settings.model} ({parameters:,} parameters) on {settings.data}: {len(training):,} training and "
        f"{len(validation):,} validation images, {shape}, {len(training.classes)} classes",
        f"{settings.optimizer}, lr {settings.lr:g}, {schedule}, {trainer.epochs} epochs of {trainer.batches} batches "
        f"of {settings.batch_size}, augmentation {settings.augment}, seed {settings.seed}",
    ]


# typer reads the signature: the flags of TrainConfig take the place of **flags.
_own = [p for p in inspect.signature(train, eval_str=True).parameters.values() if p.kind is not p.VAR_KEYWORD]
_all = [_flag(spec) for spec in fields(TrainConfig)] + [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in _own]
train.__signature__ = inspect.Signature(_all)  # type: ignore[attr-defined]
train.__annotations__ = {p.name: p.annotation for p in _all}
