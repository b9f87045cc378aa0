"""What happens around training: callbacks, called by the Trainer at fixed moments."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from nnlab.errors import ArgumentError, complaint, optional_import
from nnlab.train.logs import Row, RunLog

if TYPE_CHECKING:
    from nnlab.train.trainer import Trainer


class Callback:
    """Base of callbacks; every method does nothing unless overridden."""

    def on_fit_start(self, trainer: Trainer) -> None:
        """Before the first step of a new or resumed run, and again after going back to a checkpoint."""

    def on_batch_end(self, trainer: Trainer) -> None:
        """After each batch of training or validation (``trainer.phase``)."""

    def on_epoch_end(self, trainer: Trainer, row: Row) -> None:
        """After an epoch's validation and checkpoint; ``row`` is its line of the log."""

    def on_note(self, trainer: Trainer, text: str) -> None:
        """When the Trainer has something to tell the user."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """After the last epoch, not after an error."""

    def on_close(self, trainer: Trainer) -> None:
        """Last of all, also after an error."""


class EarlyStopping(Callback):
    """Stop when the best epoch lies ``patience`` epochs back.

    The monitored value is the Trainer's (validation accuracy, else validation loss, else training loss), kept in the
    checkpoint, so that a resumed run stops where the uninterrupted one would.
    """

    def __init__(self, patience: int) -> None:
        if patience < 1:
            raise ArgumentError(complaint("EarlyStopping", "patience", "be positive", patience))
        self.patience = patience

    def on_fit_start(self, trainer: Trainer) -> None:
        self._check(trainer)

    def on_epoch_end(self, trainer: Trainer, row: Row) -> None:
        self._check(trainer)

    def _check(self, trainer: Trainer) -> None:
        best = trainer.best
        if best is not None and trainer.epoch - best["epoch"] >= self.patience:
            trainer.stop = f"{best['name']} has not improved on epoch {best['epoch']} for {self.patience} epochs"


class Logging(Callback):
    """Writes ``log.csv`` and ``log.jsonl`` into the run folder."""

    def on_fit_start(self, trainer: Trainer) -> None:
        assert trainer.out is not None
        self.log = RunLog(trainer.out)
        self.log.rewrite(trainer.history)

    def on_epoch_end(self, trainer: Trainer, row: Row) -> None:
        self.log.append(row)


class TensorBoard(Callback):
    """Writes TensorBoard events into ``tensorboard/`` of the run folder; needs the ``tensorboard`` extra."""

    def __init__(self) -> None:
        self._module = optional_import("tensorboardX", extra="tensorboard", purpose="writing TensorBoard events")
        self._writer: Any = None

    def on_fit_start(self, trainer: Trainer) -> None:
        assert trainer.out is not None
        self.on_close(trainer)
        # Events after the checkpoint (of a run that was killed later) are hidden by the viewer.
        self._writer = self._module.SummaryWriter(str(trainer.out / "tensorboard"), purge_step=trainer.epoch + 1)

    def on_epoch_end(self, trainer: Trainer, row: Row) -> None:
        for name, value in row.items():
            if name not in ("epoch", "step") and value is not None:
                part, _, rest = name.partition("_")
                tag = f"{rest}/{part}" if part in ("train", "val") else f"run/{name}"
                self._writer.add_scalar(tag, value, row["epoch"])
        self._writer.flush()

    def on_close(self, trainer: Trainer) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class Curves(Callback):
    """Draws ``curves.png`` in the run folder as epochs go by; needs the ``plots`` extra.

    Args:
        every: seconds between two drawings.
    """

    def __init__(self, every: float = 20.0) -> None:
        optional_import("matplotlib", extra="plots", purpose="drawing the run's pictures")
        self.every = every
        self._drawn = time.monotonic()

    def on_epoch_end(self, trainer: Trainer, row: Row) -> None:
        if time.monotonic() - self._drawn >= self.every:
            self._draw(trainer)

    def on_fit_end(self, trainer: Trainer) -> None:
        self._draw(trainer)

    def _draw(self, trainer: Trainer) -> None:
        from nnlab.train import plots

        assert trainer.out is not None
        plots.curves(trainer.history, trainer.out / "curves.png", getattr(trainer.loss, "unit", None))
        self._drawn = time.monotonic()


class Plots(Curves):
    """Pictures of an image network in the run folder: ``curves.png`` as epochs go by, the others at the end.

    Args:
        classes: names of the classes, for the confusion matrix and the misclassified examples.
        to_image: turns an input of the network ``(C, H, W)`` back into a picture with values in 0..1.
        every: seconds between two drawings of the curves.
    """

    def __init__(self, classes: list[str] | None = None, to_image: Any = None, every: float = 20.0) -> None:
        super().__init__(every)
        self.classes = classes
        self.to_image = to_image

    def on_fit_end(self, trainer: Trainer) -> None:
        from nnlab.train import plots

        super().on_fit_end(trainer)
        assert trainer.out is not None
        weight = plots.first_filters(trainer.model)
        if weight is not None:
            plots.filters(weight, trainer.out / "filters.png")
        result = trainer.result
        if result is None or trainer.validation is None or not result.is_classification:
            return
        classes = self.classes or [str(i) for i in range(result.outputs.shape[1])]
        plots.confusion(result.confusion(), classes, trainer.out / "confusion.png")
        examples = [
            (trainer.validation.image(place), true, predicted, probability)
            for place, true, predicted, probability in result.worst(25)
        ]
        plots.misclassified(examples, classes, trainer.out / "misclassified.png", self.to_image)
