"""What a user sees of a run: a live bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from nnlab.train.callbacks import Callback
from nnlab.train.logs import Row

if TYPE_CHECKING:
    from nnlab.train.trainer import Trainer


def clock(seconds: float) -> str:
    """``0:07``, ``12:34`` or ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f} %"


class _Pace:
    """How fast training goes, and what is left of the whole run."""

    def __init__(self, trainer: Trainer) -> None:
        self.validation = 0.0
        self.history = len(trainer.history)

    def rate(self, trainer: Trainer) -> float | None:
        """Examples a second in this epoch so far (in the last one at an epoch's start)."""
        if trainer.sums.seconds > 0:
            return trainer.sums.examples / trainer.sums.seconds
        return trainer.history[-1]["examples_per_second"] if trainer.history else None

    def left(self, trainer: Trainer) -> float | None:
        """Seconds left of the run, as the epochs so far went."""
        whole = trainer.history[-1]["seconds"] if len(trainer.history) > self.history else None
        if whole is None:
            if not trainer.batch:
                return None
            whole = trainer.sums.seconds / trainer.batch * trainer.batches
        done = 1.0 if trainer.phase == "validate" else trainer.batch / trainer.batches
        return whole * max(trainer.epochs - trainer.epoch - done, 0.0)


def epoch_line(trainer: Trainer, row: Row) -> str:
    """One line on a finished epoch."""
    width = len(str(trainer.epochs))
    parts = [f"epoch {row['epoch']:>{width}}/{trainer.epochs}", f"loss {row['train_loss']:.4f}"]
    if row["train_accuracy"] is not None:
        parts.append(f"accuracy {percent(row['train_accuracy'])}")
    if row["val_loss"] is not None:
        parts.append(f"val loss {row['val_loss']:.4f}")
    if row["val_accuracy"] is not None:
        parts.append(f"val accuracy {percent(row['val_accuracy'])}")
    parts += [f"lr {row['lr']:.2g}", f"{row['examples_per_second']:.0f} {trainer.unit}/s", clock(row["seconds"])]
    if trainer.precision.scaler.is_enabled():
        parts.append(f"loss scale {trainer.precision.scaler.get_scale():g}")
    best = trainer.best is not None and trainer.best["epoch"] == row["epoch"]
    return "  ".join(parts) + ("  *" if best else "")


class Lines(Callback):
    """Plain lines: one an epoch, and in long epochs one every ``every`` seconds."""

    def __init__(self, console: Console, every: float = 30.0) -> None:
        self.console = console
        self.every = every

    def _print(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def on_fit_start(self, trainer: Trainer) -> None:
        self._pace, self._last = _Pace(trainer), time.monotonic()

    def on_batch_end(self, trainer: Trainer) -> None:
        now = time.monotonic()
        if trainer.phase != "train" or now - self._last < self.every:
            return
        self._last = now
        rate, left = self._pace.rate(trainer), self._pace.left(trainer)
        self._print(
            f"epoch {trainer.epoch + 1}/{trainer.epochs}  batch {trainer.batch}/{trainer.batches}  "
            f"loss {trainer.sums.loss:.4f}  {rate or 0:.0f} {trainer.unit}/s  {clock(left or 0)} left"
        )

    def on_epoch_end(self, trainer: Trainer, row: Row) -> None:
        self._last = time.monotonic()
        self._print(epoch_line(trainer, row))

    def on_note(self, trainer: Trainer, text: str) -> None:
        self._print(text)


class Bar(Callback):
    """A live bar of the current epoch, drawn anew every ``every`` seconds; above it a line for each finished one."""

    def __init__(self, console: Console, every: float = 0.1) -> None:
        self.console = console
        self.every = every
        self._progress: Progress | None = None

    def on_fit_start(self, trainer: Trainer) -> None:
        self.on_close(trainer)
        self._pace, self._last = _Pace(trainer), 0.0
        self._progress = Progress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"),
            console=self.console,
            transient=True,
            auto_refresh=False,
        )
        self._task = self._progress.add_task("epoch", total=trainer.batches, status="")
        self._progress.start()

    def on_batch_end(self, trainer: Trainer) -> None:
        now = time.monotonic()
        if self._progress is None or now - self._last < self.every:
            return
        # Reading the loss waits for a GPU: only at the steps at which the Trainer looks at it anyway.
        training = trainer.phase == "train"
        if training and trainer.step % trainer.poll_every:
            return
        self._last = now
        status: list[Any] = []
        if training:
            status.append(f"loss {trainer.sums.loss:.4f}")
            if trainer.sums.accuracy is not None:
                status.append(f"acc {percent(trainer.sums.accuracy)}")
        rate, left = self._pace.rate(trainer), self._pace.left(trainer)
        status += [f"{rate:.0f} {trainer.unit}/s"] if rate else []
        status += [f"{clock(left)} left"] if left is not None else []
        what = f"epoch {trainer.epoch + 1}/{trainer.epochs}" if training else "validation"
        self._progress.update(
            self._task,
            description=what,
            completed=trainer.batch if training else trainer.batch_in_phase,
            total=trainer.batches if training else len(trainer.validation or ()),
            status="  ".join(status),
        )
        self._progress.refresh()

    def on_epoch_end(self, trainer: Trainer, row: Row) -> None:
        self._print(epoch_line(trainer, row))

    def on_note(self, trainer: Trainer, text: str) -> None:
        self._print(text)

    def _print(self, text: str) -> None:
        self.console.print(text, highlight=True, markup=False, soft_wrap=True)

    def on_close(self, trainer: Trainer) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


def display(console: Console) -> Callback:
    """The bar in a terminal, lines elsewhere."""
    return Bar(console) if console.is_terminal else Lines(console)


def summary(trainer: Trainer, seconds: float) -> Table:
    """A table of what came out of a run."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column()
    last = trainer.history[-1] if trainer.history else None
    result = trainer.result
    if result is not None:
        if not result.is_classification:
            table.add_row("validation loss", f"{result.loss:.4f} {getattr(trainer.loss, 'unit', '')}".rstrip())
        if result.accuracy is not None:
            table.add_row("validation accuracy", f"{percent(result.accuracy)} ({result.examples:,} {trainer.unit})")
        if result.is_classification and result.outputs.shape[1] > 10:
            table.add_row("top-5", percent(result.top5))
    if trainer.best is not None:
        value = trainer.best["value"]
        shown = percent(value) if trainer.best["name"].endswith("accuracy") else f"{value:.4f}"
        table.add_row("best epoch", f"{trainer.best['epoch']} ({trainer.best['name'].replace('_', ' ')} {shown})")
    if last is not None:
        mean = sum(row["examples_per_second"] for row in trainer.history) / len(trainer.history)
        table.add_row("training speed", f"{mean:.0f} {trainer.unit}/s")
    table.add_row("time", clock(seconds))
    if trainer.stop is not None:
        table.add_row("stopped early", trainer.stop)
    if trainer.out is not None:
        table.add_row("run folder", str(trainer.out))
        files = sorted(path.name + ("/" if path.is_dir() else "") for path in trainer.out.iterdir())
        table.add_row("", ", ".join(name for name in files if not name.endswith(".tmp")))
    return table
