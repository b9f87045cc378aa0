"""Training through the Trainer: what is learnt, and what becomes of the carried state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import nnlab
from nnlab import nn, optim
from nnlab.errors import NonFiniteError
from nnlab.text import BitsPerCharacter, CharModel, TextStreams, Vocabulary, for_evaluation, sample
from nnlab.train import Trainer, evaluate
from tests import emulator
from tests.text import markov

emulator.backend()


def test_bits_approach_the_entropy_of_a_known_chain() -> None:
    """The text is drawn from a chain of known probabilities, so that the least possible number of bits is known."""
    text, held_out = markov.text(16_000, 1), markov.text(4_000, 2)
    least = markov.bits(held_out)
    assert least == pytest.approx(markov.entropy_rate(), abs=0.05)  # 4000 draws
    vocabulary = Vocabulary(markov.CHARACTERS)
    ids = [vocabulary.encode(part) for part in (text, held_out)]
    nnlab.manual_seed(0)
    model = CharModel(len(vocabulary), embedding_dim=5, hidden_size=12, num_layers=1)
    loaders = TextStreams(ids[0], 16, 25), for_evaluation(ids[1])
    optimizer = optim.Adam(model.parameters(), lr=0.02)
    trainer = Trainer(model, optimizer, *loaders, epochs=4, loss=BitsPerCharacter(), unit="characters")
    rows = trainer.fit()
    found = rows[-1]["val_loss"]
    assert least - 0.002 < found < least + 0.02
    assert trainer.best is not None and trainer.best["name"] == "val_loss"  # though there is an accuracy
    assert rows[-1]["train_accuracy"] == pytest.approx(rows[-1]["val_accuracy"], abs=0.03)
    written, counts = vocabulary.encode(sample(model, vocabulary, 1000, prompt="a")), np.zeros((5, 5))
    np.add.at(counts, (written[:-1], written[1:]), 1)
    order = vocabulary.encode(markov.CHARACTERS)
    shares = (counts / counts.sum(1, keepdims=True))[order][:, order]
    assert abs(shares - markov.CHAIN).max() < 0.12  # rows of 100 and more: three standard deviations


class Counter(nn.Module):
    """Carries the number of batches that it has read; NaN when it has read ``bad`` of them."""

    carried = ("count",)
    count: nnlab.Tensor | None

    def __init__(self, bad: int, only: bool | None = None) -> None:
        super().__init__()
        self.bad, self.only = bad, only
        self.seen: list[int] = []
        self.head = nn.Linear(1, 5)
        self.register_buffer("count", None, persistent=False)

    def forward(self, x: nnlab.Tensor) -> nnlab.Tensor:
        before = 0 if self.count is None else int(self.count.item())
        self.seen.append(before)
        self.count = nnlab.tensor(before + 1)
        y = self.head(nnlab.zeros((*x.shape, 1))).transpose(1, 2)
        return y * float("nan") if before == self.bad and self.only in (None, self.training) else y


def _trainer(model: nn.Module, out: Path | None, **options: Any) -> Trainer:
    ids = np.arange(121) % 5
    loaders = TextStreams(ids, 4, 5), TextStreams(ids, 1, 30)  # 6 and 4 batches
    optimizer = optim.SGD(model.parameters(), lr=0.1)
    settings: dict[str, Any] = {"epochs": 2, "loss": BitsPerCharacter(), "out": out, "checkpoint_every": 2, **options}
    return Trainer(model, optimizer, *loaders, **settings)


def test_each_epoch_and_each_validation_begins_anew() -> None:
    model = Counter(-1)
    _trainer(model, None).fit()
    assert model.seen == 2 * [0, 1, 2, 3, 4, 5, 0, 1, 2, 3]


@pytest.mark.parametrize("poll", [1, 3])
def test_nan_that_depends_on_the_state_is_replayed(tmp_path: Path, poll: int) -> None:
    model = Counter(4)
    with pytest.raises(NonFiniteError, match=r"\[model Counter\] its output holds .* NaN .*epoch 1, batch 5"):
        _trainer(model, tmp_path, poll_every=poll).fit()
    # Found at once, or after a return to step 4; then the bad batch once more.
    assert model.seen == {1: [0, 1, 2, 3, 4, 4], 3: [0, 1, 2, 3, 4, 5, 4, 4]}[poll]


def test_nan_in_validation_is_replayed_from_its_beginning() -> None:
    with pytest.raises(NonFiniteError, match=r"\[model Counter\] its output holds .*\(evaluation, batch 2\)"):
        _trainer(Counter(2, only=False), None).fit()


def test_accumulated_batches_count_by_their_characters() -> None:
    """Of two batches that make a step the second one is shorter: the mean is over characters."""
    small, model = TextStreams(np.arange(33) % 5, 4, 5), Counter(-1)
    assert [x.shape for x, _ in small] == [(4, 5), (4, 3)]
    trainer = Trainer(
        model, optim.SGD(model.parameters(), lr=1.0), small, epochs=1, accumulate=2, loss=BitsPerCharacter()
    )
    before = model.head.bias.detach().numpy().astype(np.float64)
    row = trainer.fit()[0]
    targets = np.concatenate([y.numpy().ravel() for _, y in small])
    p = np.exp(before) / np.exp(before).sum()
    gradient = (p - np.bincount(targets, minlength=5) / 32) / np.log(2)
    np.testing.assert_allclose(model.head.bias.detach().numpy(), before - gradient, rtol=1e-5)
    assert row["train_loss"] == pytest.approx(-np.log2(p[targets]).mean(), rel=1e-6)
    assert row["train_accuracy"] == (targets == p.argmax()).mean()


def test_on_kernels_as_on_the_cpu(tmp_path: Path) -> None:
    """``emulated`` runs the CUDA kernels: the same run, the same text."""
    ids, vocabulary = np.arange(61) ** 2 % 5, Vocabulary("abcde")

    def run(device: str) -> tuple[list[dict[str, Any]], str, float]:
        nnlab.manual_seed(1)
        model = CharModel(5, embedding_dim=3, hidden_size=6, num_layers=2, dropout=0.2)
        loaders = TextStreams(ids, 3, 7), for_evaluation(ids)
        trainer = Trainer(
            model, optim.Adam(model.parameters(), lr=0.02), *loaders, epochs=2, loss=BitsPerCharacter(), device=device,
            out=tmp_path / device, checkpoint_every=2,
        )  # fmt: skip
        rows = trainer.fit()
        trainer.restore("previous")
        found = evaluate(model, loaders[1], loss=BitsPerCharacter(), device=device)
        return rows, sample(model, vocabulary, 20, prompt="ab"), found.loss

    (rows, text, bits), (others, other, more) = run("cpu"), run("emulated")
    for name in ("train_loss", "val_loss"):
        assert [row[name] for row in rows] == pytest.approx([row[name] for row in others], rel=1e-4)
    assert text == other and bits == pytest.approx(more, rel=1e-4)
