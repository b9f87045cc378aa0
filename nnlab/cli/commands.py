"""``nnlab eval``, ``predict``, ``summary`` and ``doctor``."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from nnlab.train.evaluate import Evaluation

CHECKPOINT = typer.Option(
    ..., "--checkpoint", help="Run folder (its best weights), or RUN/best or RUN/last.", metavar="RUN"
)
DEVICE = typer.Option("auto", help="auto, cpu, cuda, cuda:N or emulated.")


def version(show: bool) -> None:
    """Print the version and leave."""
    if show:
        import nnlab

        typer.echo(f"nnlab {nnlab.__version__}")
        raise typer.Exit


def evaluate(
    checkpoint: Path = CHECKPOINT,
    data: str | None = typer.Option(
        None, help="Other data of the same classes (class folders are used whole); default: the run's own."
    ),
    data_dir: str | None = typer.Option(None, help="Folder with files already downloaded."),
    batch_size: int = typer.Option(256, min=1, help="Images in a batch."),
    workers: int = typer.Option(0, min=0, help="Worker processes that load data."),
    limit: int | None = typer.Option(None, min=1, help="Evaluate only so many images."),
    device: str = DEVICE,
    json: bool = typer.Option(False, "--json", help="Print the result as JSON."),
) -> None:
    """Evaluate a trained network on validation images: accuracy, top-5, classes, confusion."""
    from dataclasses import replace

    from rich.console import Console

    from nnlab.data import DataLoader
    from nnlab.nn import CrossEntropyLoss
    from nnlab.train.evaluate import evaluate as run_evaluation
    from nnlab.train.runs import load_validation, open_run

    run = open_run(checkpoint, device=device)
    config = replace(
        run.config, data=data or run.config.data, data_dir=data_dir or run.config.data_dir, limit_val=limit
    )
    dataset = load_validation(config, run.preprocess, whole=data is not None)
    loader = DataLoader(dataset, batch_size=batch_size, num_workers=workers)
    result = run_evaluation(run.model, loader, loss=CrossEntropyLoss(), device=run.device)
    names = run.preprocess.classes
    if json:
        typer.echo(json_module.dumps(_as_json(result, names), ensure_ascii=False))
        return
    console = Console()
    head = f"{run.folder} ({run.which}, epoch {run.epoch}) on {len(result.target)} images of {config.data}"
    console.print(head, highlight=False, markup=False, soft_wrap=True)
    _print_evaluation(console, result, names)


def _as_json(result: Evaluation, names: list[str]) -> dict[str, Any]:
    return {
        "images": len(result.target),
        "accuracy": result.accuracy,
        "top5": result.top5,
        "loss": result.loss,
        "classes": names,
        "confusion": result.confusion().tolist(),
        "images_per_second": len(result.target) / result.seconds,
    }


def _print_evaluation(console: Any, result: Evaluation, names: list[str]) -> None:
    from rich.table import Table

    from nnlab.train.metrics import per_class
    from nnlab.train.progress import percent

    confusion = result.confusion()
    recall, precision = per_class(confusion)
    for name, value in (
        ("accuracy", percent(result.accuracy)),
        ("top-5", percent(result.top5)),
        ("loss", f"{result.loss:.4f}"),
        ("speed", f"{len(result.target) / result.seconds:.0f} images/s"),
    ):
        console.print(f"{name:<10}{value}", highlight=False)
    matrix = len(names) <= 12
    table = Table(title="Classes" + (" and confusion (rows: true, columns: predicted)" if matrix else ""), box=None)
    table.add_column("class")
    for heading in ("images", "found", "precision", *(str(i) for i in range(len(names)) if matrix)):
        table.add_column(heading, justify="right")
    for i, name in enumerate(names):
        cells = [str(confusion[i].sum()), *("-" if v != v else percent(v) for v in (recall[i], precision[i]))]
        if matrix:
            cells += [f"[bold]{n}[/]" if i == j else str(n) if n else "·" for j, n in enumerate(confusion[i])]
        table.add_row(f"{i} {name}" if matrix and name != str(i) else name, *cells)
    console.print(table)


def predict(
    images: list[Path] = typer.Argument(..., help="Image files.", metavar="IMAGE..."),
    checkpoint: Path = CHECKPOINT,
    top: int = typer.Option(5, min=1, help="How many classes to show."),
    device: str = DEVICE,
    json: bool = typer.Option(False, "--json", help="Print a JSON line for each image."),
) -> None:
    """Say what is on pictures: the most likely classes with their probabilities."""
    from rich.console import Console
    from rich.table import Table

    from nnlab.train.runs import open_run

    run = open_run(checkpoint, device=device)
    console = Console()
    for path in images:
        best = run.predict(path, top)
        if json:
            typer.echo(json_module.dumps({"image": str(path), "top": best}, ensure_ascii=False))
            continue
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        for entry in best:
            table.add_row(f"{100 * entry['probability']:6.2f} %", entry["class"])
        console.print(str(path), style="bold", highlight=False, markup=False, soft_wrap=True)
        console.print(table)


def summary(
    model: str | None = typer.Argument(None, help="Name of a network; without it the names are listed."),
    num_classes: int = typer.Option(1000, min=1, help="Classes."),
    image_size: int | None = typer.Option(None, min=1, help="Side of the input; default: the network's own."),
    channels: int | None = typer.Option(None, min=1, help="Channels of the input; default: the network's own."),
    batch_size: int = typer.Option(1, min=1, help="Images in a batch, for the memory."),
) -> None:
    """Show a network's layers: shapes, parameters, multiply-adds, memory."""
    from rich.console import Console
    from rich.table import Table

    from nnlab import models

    console = Console()
    if model is None:
        console.print("\n".join(models.names()), highlight=False)
        return
    size = image_size or models.default_size(model)
    channels = channels or models.default_channels(model)
    network = models.create(model, num_classes=num_classes, in_channels=channels, image_size=size)
    found = models.summary(network, (batch_size, channels, size, size))
    table = Table(title=f"{model} on {_times(found.input_shape)}", show_footer=True, box=None, title_justify="left")
    table.add_column("layer", "sum", no_wrap=True)
    table.add_column("kind")
    for heading, total in (
        ("output", ""),
        ("parameters", f"{found.parameters:,}"),
        ("mult-adds", f"{found.multiply_adds:,}"),
        ("memory", _memory(found.activation_bytes)),
    ):
        table.add_column(heading, total, justify="right", no_wrap=True)
    for row in found.rows:
        shape = row.output_shape if batch_size > 1 else row.output_shape[1:]
        counts = [f"{n:,}" if n else "" for n in (row.parameters, row.multiply_adds)]
        table.add_row(row.path, row.kind, _times(shape), *counts, _memory(row.activation_bytes))
    console.print(table)
    training = 2 * found.activation_bytes + 3 * found.parameter_bytes
    console.print(
        f"weights {_memory(found.parameter_bytes)}; training with momentum about {_memory(training)} "
        f"(weights, gradients, momentum; outputs and their gradients)",
        highlight=False,
        soft_wrap=True,
    )


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(str(n) for n in shape)


def _memory(n: int) -> str:
    return "" if n == 0 else f"{n / 2**20:.1f} MiB" if n >= 2**20 else f"{n / 2**10:.1f} KiB"


def doctor(json: bool = typer.Option(False, "--json", help="Print it as JSON.")) -> None:
    """Show devices, drivers, libraries and what is wrong with them."""
    from nnlab.cli.doctor import doctor as report

    report(json=json)
