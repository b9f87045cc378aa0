"""The training loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from nnlab.autograd import Tensor, no_grad
from nnlab.autograd.creation import tensor
from nnlab.backend import Device, get_backend
from nnlab.data.collate import to_arrays
from nnlab.errors import ArgumentError, CheckpointError, DataError, NonFiniteError, complaint
from nnlab.nn import CrossEntropyLoss, Module
from nnlab.nn.utils import clip_grad_norm_
from nnlab.optim import Optimizer
from nnlab.optim.lr_scheduler import ReduceLROnPlateau
from nnlab.random import default_generator
from nnlab.train import checkpoint as files
from nnlab.train.callbacks import Callback
from nnlab.train.evaluate import Evaluation, evaluate
from nnlab.train.interrupt import Interrupted, Signals
from nnlab.train.logs import Row
from nnlab.train.nonfinite import find_culprit, first_bad

Batch = tuple[Tensor, Tensor]


class _GoBack(Exception):  # noqa: N818
    """The weights are spoilt: return to the last checkpoint and look at every step."""


class Trainer:
    """Trains a model, and can be killed at any moment.

    A run folder (``out``) receives ``last/`` (every ``checkpoint_every`` steps, after each epoch, and on Ctrl-C) and
    ``best/`` (weights only). A resumed run continues exactly: the same batches, dropout masks and statistics as if it had
    never stopped.

    NaN or infinity stops the run, before it reaches a checkpoint. On the CPU every loss is looked at before the update,
    and the step is replayed with a look at each layer. On a GPU the running sum of losses is looked at every
    ``poll_every`` steps, so that the GPU is not made to wait; if it is spoilt, the Trainer returns to the last
    checkpoint and repeats the steps since then (they are deterministic) with a look at each.

    Args:
        model: moved to ``device``.
        optimizer: over the model's parameters.
        train_loader: a DataLoader, or any sized iterable of batches ``(images, target)`` (always in the same order).
        val_loader: the same, not shuffled; None: no validation.
        epochs: passes over the training data.
        loss: mean over a batch, called as ``loss(output, target)``; default CrossEntropyLoss.
        scheduler: stepped after every step, ReduceLROnPlateau after every epoch.
        device: where to train.
        out: run folder; None: nothing is saved.
        accumulate: batches whose gradients make one step.
        clip_norm: largest total norm of the gradients.
        checkpoint_every: steps between checkpoints inside an epoch; 0: none.
        poll_every: steps between looks at the loss; default 1 on the CPU and without ``out``, else 20.
        fast_dev_run: one epoch of three batches.
        overfit_batches: if positive, train and validate on the first so many batches.
        callbacks: called in this order.

    Attributes:
        epoch: finished epochs.
        batch: batches of the current epoch that are done.
        step: optimizer steps so far.
        history: one row for each finished epoch.
        best: ``{"epoch", "name", "value"}`` of the best epoch, None before the first.
        result: the last validation.
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
        checkpoint_every: int = 500,
        poll_every: int | None = None,
        fast_dev_run: bool = False,
        overfit_batches: int = 0,
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
        self.model = model.to(self.device)
        self.optimizer, self.scheduler = optimizer, scheduler
        self.train_loader, self.val_loader = train_loader, val_loader
        self.loss = loss if loss is not None else CrossEntropyLoss()
        self.epochs = 1 if fast_dev_run else epochs
        self.limit = 3 if fast_dev_run else None
        self.out = Path(out) if out is not None else None
        self.accumulate, self.clip_norm = accumulate, clip_norm
        self.checkpoint_every = checkpoint_every
        # Without a checkpoint there is nothing to go back to, and on the CPU a look costs nothing: look at every step.
        self.poll_every = poll_every or (1 if self.device.type == "cpu" or self.out is None else 20)
        self.strict = self.out is None
        self.callbacks = list(callbacks)
        self._fixed = self._first_batches(overfit_batches) if overfit_batches else None
        self.batches = self._count(train_loader)
        if self.batches == 0:
            raise DataError("[Trainer] the training loader has no batch")

        self.epoch = self.batch = self.step = 0
        self.history: list[Row] = []
        self.best: dict[str, Any] | None = None
        self.result: Evaluation | None = None
        self.stop: str | None = None
        self.phase = "train"
        self._signals = Signals()
        self._reset_sums()

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
            with Signals() as self._signals:
                self._call("on_fit_start")
                while self.epoch < self.epochs and self.stop is None:
                    try:
                        self._train_epoch()
                        self._finish_epoch()
                    except _GoBack as trouble:
                        self._go_back(str(trouble))
                if self.val_loader is not None and self.result is None:
                    self.result = self._validate()
                self._call("on_fit_end")
        finally:
            for loader in (self.train_loader, self.val_loader):
                if hasattr(loader, "close"):
                    loader.close()
            self._call("on_close")
        return self.history

    def _begin(self, resume: bool | str) -> None:
        if isinstance(resume, str):
            self.restore(resume)
        elif resume and self.out is not None and files.exists(self.out / "last"):
            self.restore()
        elif self.out is not None:
            try:
                self.save()
            except _GoBack as trouble:
                raise NonFiniteError(f"[Trainer] {trouble} before the first step") from None

    def validate(self) -> Evaluation:
        """Evaluate the model as it is on the validation loader."""
        if self.val_loader is None:
            raise ArgumentError("[Trainer] there is no validation loader")
        return self._validate()

    def _train_epoch(self) -> None:
        self.phase = "train"
        self.model.train()
        group: list[Batch] = []
        mark = time.perf_counter()
        for images, target in self._training_batches():
            group.append((images.to(self.device), target.to(self.device)))
            last = self.batch + len(group) == self.batches
            if len(group) < self.accumulate and not last:
                continue
            self._step(group)
            self.batch += len(group)
            group = []
            now = time.perf_counter()
            self.seconds, mark = self.seconds + now - mark, now
            if self.step % self.poll_every == 0 and not np.isfinite(self._loss_sum.item()):
                raise _GoBack("the loss is NaN or infinite")
            self._call("on_batch_end")
            if self._signals.caught is not None:
                self._leave()
            due = self.out is not None and self.checkpoint_every and self.step % self.checkpoint_every == 0
            if due and not last:
                self.save()
                mark = time.perf_counter()

    def _step(self, group: list[Batch]) -> None:
        """One update from one or more batches."""
        self.optimizer.zero_grad()
        examples = sum(target.shape[0] for _, target in group)
        look = self.strict or self.poll_every == 1
        for images, target in group:
            random_state = default_generator.get_state()
            output = self.model(images)
            loss = self.loss(output, target)
            if look and not np.isfinite(loss.item()):
                self._blame(images, target, random_state)
            n = target.shape[0]
            (loss if len(group) == 1 else loss * (n / examples)).backward()
            if self.strict and first_bad((name, p.grad) for name, p in self.model.named_parameters() if p.grad is not None):
                self._blame(images, target, random_state)
            with no_grad():
                self._loss_sum += loss.detach().double() * n
                if output.ndim == 2 and target.dtype.kind in "iu":
                    self._correct += (output.detach().argmax(1) == target).sum()
                    self._classified = True
            self.images += n
        if self.clip_norm is not None:
            clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.optimizer.step()
        self.lr = float(self.optimizer.param_groups[0]["lr"])
        if self.scheduler is not None and not isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step()
        self.step += 1

    def _finish_epoch(self) -> None:
        """Validate, and turn the epoch into a row of the log and a checkpoint."""
        row: Row = {
            "epoch": self.epoch + 1,
            "train_loss": self.train_loss,
            "train_accuracy": self.train_accuracy,
            "val_loss": None,
            "val_accuracy": None,
            "lr": self.lr,
            "images_per_second": self.images / max(self.seconds, 1e-9),
            "seconds": self.seconds,
            "step": self.step,
        }
        if not np.isfinite(row["train_loss"]):
            raise _GoBack("the loss is NaN or infinite")
        if self.val_loader is not None:
            self.result = self._validate()
            row["val_loss"], row["val_accuracy"] = self.result.loss, self.result.accuracy
            row["seconds"] += self.result.seconds
        name = "val_accuracy" if row["val_accuracy"] is not None else "val_loss" if self.result else "train_loss"
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(row["val_loss"] if self.result else row["train_loss"])
        self.history.append(row)
        self.epoch, self.batch = self.epoch + 1, 0
        self._reset_sums()
        sign = 1 if name == "val_accuracy" else -1
        improved = self.best is None or sign * row[name] > sign * self.best["value"]
        if improved:
            self.best = {"epoch": self.epoch, "name": name, "value": row[name]}
        if self.out is not None:
            if improved:
                self._save("best")
            self._save("last")
        for callback in self.callbacks:
            callback.on_epoch_end(self, row)
        if self._signals.caught is not None:
            self._leave()

    def _validate(self) -> Evaluation:
        self.phase, self.batch_in_phase = "validate", 0

        def on_batch(n: int) -> None:
            self.batch_in_phase += 1
            self._call("on_batch_end")
            if self._signals.caught is not None:
                self._leave()

        batches = self._fixed if self._fixed is not None else self.val_loader
        return evaluate(
            self.model, batches, loss=self.loss, device=self.device, limit=self.limit, on_batch=on_batch
        )  # fmt: skip

    # Batches.

    def _count(self, loader: Any) -> int:
        n = len(loader) if self._fixed is None else len(self._fixed)
        return n if self.limit is None else min(n, self.limit)

    @property
    def validation_batches(self) -> int:
        """Batches of one validation."""
        return 0 if self.val_loader is None else self._count(self.val_loader)

    def _first_batches(self, n: int) -> list[Batch]:
        return list(islice(self._from(self.train_loader, 0, 0), n))

    def _training_batches(self) -> Iterator[Batch]:
        """The batches of this epoch that are still to do."""
        source = iter(self._fixed[self.batch :]) if self._fixed else self._from(self.train_loader, self.epoch, self.batch)
        yield from islice(source, self.batches - self.batch)

    @staticmethod
    def _from(loader: Any, epoch: int, batch: int) -> Iterator[Batch]:
        """A loader's batches of an epoch, from one on; a DataLoader does not even load those before."""
        if not hasattr(loader, "load_state_dict"):
            return islice(loader, batch, None)
        loader.load_state_dict({**loader.state_dict(), "epoch": epoch, "batches": batch})
        return iter(loader)

    def validation_image(self, place: int) -> np.ndarray:
        """The network's input ``(C, H, W)`` at a place in the order of validation."""
        if self._fixed is None:
            image: np.ndarray = to_arrays(self.val_loader.dataset[place][0])
            return image
        for images, _ in self._fixed:
            if place < images.shape[0]:
                return images[place].numpy()
            place -= images.shape[0]
        raise ArgumentError(complaint("Trainer", "place", "lie in the validation set", place))

    # Running statistics.

    def _reset_sums(self, loss: float = 0.0, correct: int = 0, images: int = 0, seconds: float = 0.0) -> None:
        self._loss_sum = tensor(loss, dtype="float64", device=self.device)
        self._correct = tensor(correct, dtype="int64", device=self.device)
        self._classified = False
        self.images, self.seconds = images, seconds

    @property
    def train_loss(self) -> float:
        """Mean training loss of the epoch so far (waits for the GPU)."""
        return float(self._loss_sum.item()) / max(self.images, 1)

    @property
    def train_accuracy(self) -> float | None:
        """Training accuracy of the epoch so far (waits for the GPU), None if this is no classification."""
        return int(self._correct.item()) / max(self.images, 1) if self._classified else None

    # Checkpoints.

    def save(self) -> None:
        """Save ``last``; the one before it is kept as ``previous``.

        Raises:
            NonFiniteError: the weights hold NaN or infinity (nothing is saved).
        """
        self._save("last")

    def _save(self, name: str) -> None:
        assert self.out is not None
        weights = self.model.state_dict()
        bad = first_bad(weights.items())
        if bad is not None or not np.isfinite(self._loss_sum.item()):
            raise _GoBack(f"{bad} holds NaN or infinity" if bad else "the loss is NaN or infinite")
        state = {
            "epoch": self.epoch,
            "batch": self.batch,
            "step": self.step,
            "batches_per_epoch": self.batches,
            "loader": self._loader_state(),
            "sums": {
                "loss": self._loss_sum.item(),
                "correct": self._correct.item(),
                "images": self.images,
                "seconds": self.seconds,
            },
            "classified": self._classified,
            "lr": self.lr if self.step else None,
            "random": default_generator.get_state(),
            "scheduler": None if self.scheduler is None else self.scheduler.state_dict(),
            "history": self.history,
            "best": self.best,
        }
        files.save_checkpoint(
            self.out / name,
            weights=weights,
            optimizer=self.optimizer.state_dict() if name == "last" else None,
            state=state,
            previous=self.out / "previous" if name == "last" else None,
        )

    def _loader_state(self) -> dict[str, Any] | None:
        """What the training loader must be again for a resumed run: set size, batch size and seed."""
        state = self.train_loader.state_dict() if hasattr(self.train_loader, "state_dict") else None
        return state and {**state, "epoch": self.epoch, "batches": self.batch}

    def restore(self, name: str = "last") -> None:
        """Return to a checkpoint of the run folder.

        Raises:
            CheckpointError: it is missing or damaged, or belongs to another model or data set.
        """
        if self.out is None:
            raise CheckpointError("[Trainer] there is no run folder ('out') to resume from")
        try:
            found = files.read_checkpoint(self.out / name)
        except CheckpointError as error:
            if name == "last" and files.exists(self.out / "previous"):
                hint = "the checkpoint before it can be used: fit(resume='previous'), or --resume --previous"
                raise CheckpointError(f"{error}; {hint}") from error
            raise
        state = found.state
        if state["batches_per_epoch"] != self.batches:
            raise CheckpointError(
                f"[checkpoint] {found.folder} was saved with {state['batches_per_epoch']} batches an epoch, "
                f"the training loader now has {self.batches}: the data or the batch size changed"
            )
        now, then = self._loader_state() or {}, state["loader"] or {}
        for name in now.keys() - {"epoch", "batches"}:
            if now[name] != then.get(name):
                raise CheckpointError(
                    f"[checkpoint] {found.folder} was saved with a loader of {name} {then.get(name)}, it now has {now[name]}"
                )
        files.load_weights(self.model, found)
        self.optimizer.load_state_dict(found.optimizer)
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        default_generator.set_state(state["random"])
        self.epoch, self.batch, self.step = state["epoch"], state["batch"], state["step"]
        self.history, self.best = list(state["history"]), state["best"]
        self.result, self.stop = None, None
        self._reset_sums(**state["sums"])
        self._classified = state["classified"]
        if state["lr"] is not None:
            self.lr = state["lr"]

    # Trouble.

    def _blame(self, images: Tensor, target: Tensor, random_state: dict[str, int]) -> None:
        """Replay a bad batch and raise, naming the layer; the weights have not been updated with it."""
        spoilt = first_bad(self.model.named_parameters())
        if spoilt is not None and not self.strict:
            raise _GoBack(f"{spoilt} holds NaN or infinity")
        default_generator.set_state(random_state)
        culprit = find_culprit(self.model, self.loss, images, target)
        where = f"epoch {self.epoch + 1}, batch {self.batch + 1}, learning rate {self.optimizer.param_groups[0]['lr']:.3g}"
        kept = f"; the checkpoint {self.out / 'last'} is from before" if self.out is not None else ""
        raise NonFiniteError(f"{culprit} ({where}){kept}. A smaller learning rate or gradient clipping may help")

    def _go_back(self, trouble: str) -> None:
        if self.strict or self.out is None:
            raise NonFiniteError(f"[Trainer] {trouble} (epoch {self.epoch + 1}, batch {self.batch})")
        self.restore()
        self.strict, self.poll_every = True, 1
        self._note(f"{trouble}: going back to step {self.step} to find the layer")
        self._call("on_fit_start")

    def _leave(self) -> None:
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

    def _note(self, text: str) -> None:
        for callback in self.callbacks:
            callback.on_note(self, text)
