"""The training loop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

from nnlab.autograd import Tensor
from nnlab.backend import Device, get_backend
from nnlab.errors import ArgumentError, DataError, NonFiniteError, complaint
from nnlab.nn import CrossEntropyLoss, Module
from nnlab.nn.utils import clip_grad_norm_
from nnlab.optim import Optimizer
from nnlab.optim.lr_scheduler import ReduceLROnPlateau
from nnlab.random import default_generator
from nnlab.train import carried, state
from nnlab.train import checkpoint as files
from nnlab.train.batches import Batch, Batches
from nnlab.train.callbacks import Callback
from nnlab.train.evaluate import Evaluation, evaluate
from nnlab.train.graphs import StepGraphs
from nnlab.train.interrupt import Interrupted, Signals
from nnlab.train.logs import Row
from nnlab.train.mixed import Precision
from nnlab.train.nonfinite import find_culprit, first_bad, gradients
from nnlab.train.sums import Sums, examples


class _Stop(Exception):
    """A signal came during validation."""


class Trainer:
    """Trains a model, and can be killed at any moment.

    A run folder (``out``) receives ``last/`` (every ``checkpoint_every`` steps, after each epoch, and on Ctrl-C) and
    ``best/`` (weights only). A resumed run continues exactly: the same batches, dropout masks and statistics as if it
    had never stopped.

    NaN or infinity stops the run, before it reaches a checkpoint. On the CPU every loss is looked at before the update,
    and the step is replayed with a look at each layer. On a GPU the running sum of losses is looked at every
    ``poll_every`` steps, so that the GPU is not made to wait; if it is spoilt, the Trainer returns to the last
    checkpoint and repeats the steps since then (they are deterministic) with a look at each. Without a run folder such
    checkpoints are kept in the host's memory. So the error is the same, and only comes later.

    Args:
        model: moved to ``device``.
        optimizer: over the model's parameters.
        train_loader: a DataLoader, or any sized iterable of batches ``(images, target)`` (always in the same order).
        val_loader: the same, not shuffled; None: no validation.
        epochs: passes over the training data.
        loss: mean over a batch, called as ``loss(output, target)``; default CrossEntropyLoss. If it has an
            attribute ``unit``, that is shown with its values.
        scheduler: stepped after every step, ReduceLROnPlateau after every epoch.
        device: where to train.
        out: run folder; None: nothing is saved.
        accumulate: batches whose gradients make one step.
        clip_norm: largest total norm of the gradients.
        precision: ``float32`` (the default), ``tf32``, ``bf16`` or ``fp16`` (:mod:`nnlab.train.mixed`), of validation
            too. With ``fp16`` a step whose gradients overflow changes no weight.
        checkpoint_every: steps between checkpoints inside an epoch; 0: none.
        poll_every: steps between looks at the loss; default 1 on the CPU, 20 on a GPU and where a graph is asked for.
        fast_dev_run: one epoch of three batches.
        overfit_batches: if positive, train and validate on the first so many batches.
        graph: record the whole step (forward, backward, update) of each shape of batches as a CUDA graph and run that
            from the third such step on: the same numbers, for the host's time of one launch. It keeps the memory of a
            step's intermediate results. ``"auto"``: on a GPU. Where a step cannot be recorded, a note says why and
            steps go on without; see ``nnlab/train/graphs.py``.
        unit: what the examples are called where their number is shown.
        callbacks: called in this order.

    What a model carries from batch to batch (``nnlab.train.carried``) begins anew in each epoch.

    Attributes:
        epoch: finished epochs.
        batch: batches of the current epoch that are done.
        step: optimizer steps so far.
        history: one row for each finished epoch. Where targets are class numbers ``(N, ...)``, each of them counts as
            an example, else each input.
        training, validation: the batches (:class:`nnlab.train.batches.Batches`); ``batches`` is their number an epoch.
        phase: ``train`` or ``validate``. lr: rate of the last step.
        best: ``{"epoch", "name", "value"}`` of the best epoch, None before the first. It is the one with the largest
            validation accuracy if inputs have one class each, else with the least validation loss, else training loss.
        result: the last validation.
        sums: statistics of the current epoch so far.
        stop: set by a callback to end after this epoch; says why.
    """

    def __init__(
        self,
        model: Module,
        optimizer: Optimizer,
        train_loader: Any,
        val_loader: Any = None,
        *,
        epochs: int,
        loss: Callable[[Tensor, Tensor], Tensor] | None = None,
        scheduler: Any = None,
        device: str | Device = "cpu",
        out: str | Path | None = None,
        accumulate: int = 1,
        clip_norm: float | None = None,
        precision: str = "float32",
        checkpoint_every: int = 500,
        poll_every: int | None = None,
        fast_dev_run: bool = False,
        overfit_batches: int = 0,
        graph: bool | str = "auto",
        unit: str = "images",
        callbacks: Sequence[Callback] = (),
    ) -> None:
        for name, value, least in (
            ("epochs", epochs, 1),
            ("accumulate", accumulate, 1),
            ("checkpoint_every", checkpoint_every, 0),
            ("poll_every", 1 if poll_every is None else poll_every, 1),
            ("overfit_batches", overfit_batches, 0),
        ):
            if value < least:
                raise ArgumentError(complaint("Trainer", name, f"be at least {least}", value))
        self.device = get_backend(device).device
        self.precision = Precision(precision, self.device)
        self.model = model.to(self.device)
        self.optimizer, self.scheduler = optimizer, scheduler
        self.train_loader, self.val_loader = train_loader, val_loader
        self.loss = loss if loss is not None else CrossEntropyLoss()
        if isinstance(self.loss, Module):
            self.loss.to(self.device)
        self.epochs = 1 if fast_dev_run else epochs
        self.out = Path(out) if out is not None else None
        self.accumulate, self.clip_norm = accumulate, clip_norm
        self.checkpoint_every = checkpoint_every
        seldom = self.device.type == "cuda" or (graph is True and self.device.type != "cpu")
        self.poll_every = poll_every or (20 if seldom else 1)  # on the CPU a look costs nothing
        self._kept: files.Checkpoint | None = None  # the last one, without a run folder
        self.strict = False
        self.unit = unit
        self.callbacks = list(callbacks)
        limit = 3 if fast_dev_run else None
        fixed = list(islice(Batches(train_loader).starting(0, 0), overfit_batches)) if overfit_batches else None
        self.training = Batches(train_loader, limit=limit, fixed=fixed)
        self.validation = None if val_loader is None else Batches(val_loader, limit=limit, fixed=fixed)
        self.batches = len(self.training)
        if self.batches == 0:
            raise DataError("[Trainer] the training loader has no batch")

        self.epoch = self.batch = self.step = 0
        self.lr = float(optimizer.param_groups[0]["lr"])
        self.history: list[Row] = []
        self.best: dict[str, Any] | None = None
        self.result: Evaluation | None = None
        self.stop: str | None = None
        self.phase = "train"
        self._signals = Signals()
        self.graphs = StepGraphs(self, graph)
        self.sums = Sums(self.device)

    # The loop.

    def fit(self, resume: bool | str = False) -> list[Row]:
        """Train to the last epoch.

        Args:
            resume: True continues from ``last`` in the run folder (from the start if nothing was saved yet);
                ``"previous"`` from the checkpoint before it.

        Returns:
            The history, one row an epoch.

        Raises:
            NonFiniteError: NaN or infinity; the message names the first layer that made it.
            Interrupted: Ctrl-C (a KeyboardInterrupt), after saving.
            CheckpointError: the checkpoint is damaged or of another model.
        """
        try:
            self._begin(resume)
            with Signals() as self._signals, self.precision.throughout():
                self._call("on_fit_start")
                while self.epoch < self.epochs and self.stop is None:
                    try:
                        self._train_epoch()
                        self._finish_epoch()
                    except state.Spoilt as trouble:
                        self._go_back(str(trouble))
                if self.validation is not None and self.result is None:
                    self.result = self._validate()
                self._call("on_fit_end")
        finally:
            for batches in (self.training, self.validation):
                if batches is not None:
                    batches.close()
            self._call("on_close")
        return self.history

    def _begin(self, resume: bool | str) -> None:
        if isinstance(resume, str) or (resume and self.out is not None and files.exists(self.out / "last")):
            self.restore(resume if isinstance(resume, str) else "last")
            self.note(f"continuing in epoch {self.epoch + 1} after batch {self.batch} (step {self.step})")
        else:
            try:
                self._checkpoint()
            except state.Spoilt as trouble:
                raise NonFiniteError(f"[Trainer] {trouble} before the first step") from None

    def validate(self) -> Evaluation:
        """Evaluate the model as it is on the validation loader."""
        if self.validation is None:
            raise ArgumentError("[Trainer] there is no validation loader")
        return self._validate()

    def _train_epoch(self) -> None:
        self.phase = "train"
        self.model.train()
        if self.batch == 0:
            carried.reset(self.model)
        group: list[Batch] = []
        mark = time.perf_counter()
        for images, target in self.training.starting(self.epoch, self.batch):
            group.append((images.to(self.device), target.to(self.device)))
            last = self.batch + len(group) == self.batches
            if len(group) < self.accumulate and not last:
                continue
            self._step(group)
            self.batch += len(group)
            group = []
            now = time.perf_counter()
            self.sums.seconds, mark = self.sums.seconds + now - mark, now
            if self.step % self.poll_every == 0 and not math.isfinite(self.sums.loss):
                raise state.Spoilt("the loss is NaN or infinite")
            self._call("on_batch_end")
            if self._signals.caught is not None:
                self._leave()
            if self.checkpoint_every and self.step % self.checkpoint_every == 0 and not last:
                self._checkpoint()
                mark = time.perf_counter()

    def _step(self, group: list[Batch]) -> None:
        """One update from one or more batches, and what belongs to it on the host."""
        self.graphs.run(group)
        self.lr = float(self.optimizer.param_groups[0]["lr"])
        if self.scheduler is not None and not isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step()
        self.step += 1

    def update(self, group: list[Batch]) -> None:
        """Forward, backward and update from one or more batches: all of a step that a graph repeats."""
        scaler = self.precision.scaler
        self.optimizer.zero_grad()
        total = sum(examples(target) for _, target in group)
        look = self.strict or self.poll_every == 1
        for images, target in group:
            before = default_generator.get_state(), carried.take(self.model)
            with self.precision.autocast():
                output = self.model(images)
                loss = self.loss(output, target)
            if look and not math.isfinite(loss.item()):
                self._blame(images, target, *before)
            scaler.scale(loss if len(group) == 1 else loss * (examples(target) / total)).backward()
            if self.strict and not scaler.is_enabled() and first_bad(gradients(self.model)) is not None:
                self._blame(images, target, *before)
            self.sums.add(loss, output, target)
        if self.clip_norm is not None:
            scaler.unscale_(self.optimizer)
            clip_grad_norm_(self.model.parameters(), self.clip_norm)
        scaler.step(self.optimizer)
        scaler.update()

    def _finish_epoch(self) -> None:
        """Validate, and turn the epoch into a row of the log and a checkpoint."""
        row: Row = {
            "epoch": self.epoch + 1,
            "train_loss": self.sums.loss,
            "train_accuracy": self.sums.accuracy,
            "val_loss": None,
            "val_accuracy": None,
            "lr": self.lr,
            "examples_per_second": self.sums.examples / max(self.sums.seconds, 1e-9),
            "seconds": self.sums.seconds,
            "step": self.step,
        }
        if not math.isfinite(row["train_loss"]):
            raise state.Spoilt("the loss is NaN or infinite")
        spoilt = first_bad(self.model.named_parameters())
        if spoilt is not None:
            raise state.Spoilt(f"{spoilt} holds NaN or infinity")
        if self.validation is not None:
            self.result = self._validate()
            row["val_loss"], row["val_accuracy"] = self.result.loss, self.result.accuracy
            row["seconds"] += self.result.seconds
        name = "train_loss"
        if self.result is not None:
            name = "val_accuracy" if self.result.is_classification else "val_loss"
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(row["val_loss"] if self.result else row["train_loss"])
        self.history.append(row)
        self.epoch, self.batch = self.epoch + 1, 0
        self.sums.restart()
        sign = 1 if name == "val_accuracy" else -1
        improved = self.best is None or sign * row[name] > sign * self.best["value"]
        if improved:
            self.best = {"epoch": self.epoch, "name": name, "value": row[name]}
        if self.out is not None and improved:
            state.save(self, "best")
        self._checkpoint()
        for callback in self.callbacks:
            callback.on_epoch_end(self, row)
        if self._signals.caught is not None:
            self._leave()

    def _validate(self) -> Evaluation:
        assert self.validation is not None
        self.phase, self.batch_in_phase = "validate", 0

        def on_batch(n: int) -> None:
            self.batch_in_phase += 1
            self._call("on_batch_end")
            if self._signals.caught is not None:
                raise _Stop

        try:
            with self.precision.throughout(), self.precision.autocast():
                return evaluate(self.model, self.validation, loss=self.loss, device=self.device, on_batch=on_batch)
        except _Stop:  # only now the model carries what training left
            self._leave()

    # Checkpoints.

    def save(self) -> None:
        """Save ``last``; the one before it is kept as ``previous``."""
        state.save(self, "last")

    def _checkpoint(self) -> None:
        """What :meth:`_go_back` returns to, where it may be asked to."""
        if self.out is not None:
            self.save()
        elif self.poll_every > 1:
            self._kept = state.keep(self)

    def restore(self, name: str = "last") -> None:
        """Return to a checkpoint of the run folder.

        Raises:
            CheckpointError: it is missing or damaged, or belongs to another model or other data.
        """
        state.restore(self, name)

    # Trouble.

    def _blame(
        self, images: Tensor, target: Tensor, random_state: dict[str, int], before: Mapping[str, Tensor]
    ) -> None:
        """Replay a bad batch and raise, naming the layer; the weights have not been updated with it."""
        spoilt = first_bad(self.model.named_parameters())
        if spoilt is not None and not self.strict and self.out is not None:
            raise state.Spoilt(f"{spoilt} holds NaN or infinity")
        default_generator.set_state(random_state)
        carried.put(self.model, before)
        with self.precision.autocast():
            culprit = find_culprit(self.model, self.loss, images, target)
        rate = self.optimizer.param_groups[0]["lr"]
        where = f"epoch {self.epoch + 1}, batch {self.batch + 1}, learning rate {rate:.3g}"
        kept = f"; the checkpoint {self.out / 'last'} is from before" if self.out is not None else ""
        raise NonFiniteError(f"{culprit} ({where}){kept}. A smaller learning rate or gradient clipping may help")

    def _go_back(self, trouble: str) -> None:
        if self.strict or (self.out is None and self._kept is None):
            raise NonFiniteError(f"[Trainer] {trouble} (epoch {self.epoch + 1}, batch {self.batch})")
        if self.out is not None:
            self.restore()
        elif self._kept is not None:
            state.put_back(self, self._kept)
        self.strict, self.poll_every = True, 1
        self.note(f"{trouble}: going back to step {self.step} to find the layer")
        self._call("on_fit_start")

    def _leave(self) -> NoReturn:
        """Save and stop after a signal."""
        signum = self._signals.caught
        assert signum is not None
        message = "stopped"
        if self.out is not None:
            self.save()
            message = f"stopped; saved in {self.out / 'last'}"
        raise Interrupted(message, signum)

    # Callbacks.

    def _call(self, moment: str) -> None:
        for callback in self.callbacks:
            getattr(callback, moment)(self)

    def note(self, text: str) -> None:
        """Tell the user something, through the callbacks."""
        for callback in self.callbacks:
            callback.on_note(self, text)
