"""What the commands that train share: flags made from a configuration, new and resumed runs, what is printed."""

from __future__ import annotations

import inspect
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from nnlab.errors import ArgumentError
from nnlab.train.config import RunConfig
from nnlab.train.settings import read_config_file

if TYPE_CHECKING:
    from nnlab.train.trainer import Trainer

_KINDS = {"str": (str, "TEXT"), "int": (int, "N"), "float": (float, "X"), "bool": (bool, None)}
Build = Callable[..., "tuple[Trainer, list[str]]"]
Describe = Callable[[Any, "Trainer"], list[str]]


def _flag(spec: Any) -> inspect.Parameter:
    """The flag of one configuration value. It defaults to None, so that flags that were given can be told apart."""
    name, meta = "--" + spec.name.replace("_", "-"), spec.metadata
    kind, metavar = _KINDS[str(spec.type).split(" ")[0]]
    text = f"{meta['help'].rstrip('.')}: {', '.join(meta['choices'])}." if "choices" in meta else meta["help"]
    if kind is bool and spec.default is None:
        name = f"{name}/--no-{name[2:]}"
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


def _folder_options(
    out: Path | None = typer.Option(
        None, help="Run folder; default: a new one in runs/, named after data and model.", rich_help_panel="Running"
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
) -> None:
    """The flags that say where a run lies; typer reads them from this signature."""


def command(kind: type[RunConfig], build: Build, describe: Describe, doc: str) -> Callable[..., None]:
    """A command that trains.

    Args:
        kind: its configuration, whose values become flags.
        build: ``(settings, folder, callbacks=..., resume=...)`` to a Trainer and notes.
        describe: settings and Trainer to the lines that say what is trained, on what, and how.
        doc: its help.
    """

    def train(*, out: Path | None, resume: bool, previous: bool, config: Path | None, **flags: Any) -> None:
        given = {name: value for name, value in flags.items() if value is not None}
        if config is not None:
            given = {**kind.known(read_config_file(config), source=str(config)), **given}
        if previous and not resume:
            raise ArgumentError(f"[{kind.command}] --previous goes with --resume")
        _run(kind, build, describe, given, out, resume, previous)

    own = inspect.signature(_folder_options, eval_str=True).parameters.values()
    parameters = [_flag(spec) for spec in kind.specs()]
    parameters += [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    train.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    train.__annotations__ = {p.name: p.annotation for p in parameters}
    train.__doc__ = doc
    return train


def _run(
    kind: type[RunConfig],
    build: Build,
    describe: Describe,
    given: dict[str, Any],
    out: Path | None,
    resume: bool,
    previous: bool,
) -> None:
    from rich.console import Console

    from nnlab.train.folders import find_run, new_folder
    from nnlab.train.interrupt import Interrupted
    from nnlab.train.progress import display, summary

    for name, is_path in (("data", kind.is_path), ("data_dir", Path.exists)):
        if name in given and is_path(Path(given[name])):
            given[name] = str(Path(given[name]).resolve())  # the run may be resumed from another folder
    started, console = time.monotonic(), Console()
    with ExitStack() as stack:
        if resume:
            folder = find_run(kind, out)
            settings = kind.load(folder).extended(given)
        else:
            settings = kind(**given)
            if settings.fast_dev_run and out is None:
                out = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nnlab-dev-run-")))
            folder = new_folder(settings, out)
        trainer, notes = build(settings, folder, callbacks=[display(console)], resume=resume)
        for line in [*describe(settings, trainer), *notes, f"run folder {folder}"]:
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        try:
            trainer.fit(resume="previous" if previous else resume)
        except Interrupted as stop:
            typer.echo(f"{stop}; continue with: nnlab {kind.command} --resume --out {folder}", err=True)
            raise typer.Exit(stop.exit_code) from None
        console.print()
        console.print(summary(trainer, time.monotonic() - started), soft_wrap=True)


def optimization(settings: RunConfig, trainer: Trainer) -> str:
    """Optimizer, rate, schedule, precision and length in words."""
    schedule = f"{settings.schedule} schedule" if settings.schedule != "none" else "constant rate"
    epochs = f"{trainer.epochs} epoch{'' if trainer.epochs == 1 else 's'} of {trainer.batches} batches"
    return f"{settings.optimizer}, lr {settings.lr:g}, {schedule}, {settings.precision}, {epochs}"
