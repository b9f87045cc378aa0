"""The network: its numbers against float64 loops and PyTorch, and the state that it carries."""

from __future__ import annotations

import math

import numpy as np
import pytest

import nnlab
from nnlab import nn, optim
from nnlab.errors import ArgumentError, ShapeError
from nnlab.text import BitsPerCharacter, CharModel, TextStreams, for_evaluation
from nnlab.train import carried, evaluate
from tests.oracles import recurrent as oracle

CELLS = {"lstm": "lstm", "gru": "gru", "rnn": "rnn_tanh"}


def small(cell: str = "lstm", **options: object) -> CharModel:
    nnlab.manual_seed(5)
    return CharModel(5, cell=cell, embedding_dim=3, hidden_size=4, num_layers=2, **options).eval()  # type: ignore[arg-type]


def characters(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 5, n)


def bits_by_loops(model: CharModel, cell: str, ids: np.ndarray) -> tuple[float, float]:
    """Bits per character and accuracy of one stream, in float64."""
    weights = {name: value.numpy().astype(np.float64) for name, value in model.state_dict().items()}
    x = np.array([weights["embedding.weight"][i] for i in ids[:-1]])[:, None]
    zero = np.zeros((1, 4))
    for k in range(2):
        parts = [weights[f"recurrent.{name}_l{k}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        dy = np.zeros((len(x), 1, 4))
        x = oracle.layer(CELLS[cell], x, *parts, zero, zero, dy, zero, zero, False, [len(x)])["y"]
    total = correct = 0.0
    for features, target in zip(x[:, 0], ids[1:], strict=True):
        scores = [
            math.fsum(w * f for w, f in zip(row, features, strict=True)) + b
            for row, b in zip(weights["head.weight"], weights["head.bias"], strict=True)
        ]
        total += math.log2(math.fsum(math.exp(s) for s in scores)) - scores[target] / math.log(2)
        correct += scores.index(max(scores)) == target
    return total / (len(ids) - 1), correct / (len(ids) - 1)


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("length", [1, 7, 100])
def test_bits_per_character_by_loops(cell: str, length: int) -> None:
    """However the text is cut into batches: the state is carried over the cuts, the shorter last batch counts less."""
    model, ids = small(cell), characters(40)
    bits, accuracy = bits_by_loops(model, cell, ids)
    found = evaluate(model, TextStreams(ids, 1, length), loss=BitsPerCharacter())
    assert found.loss == pytest.approx(bits, rel=1e-6)
    assert found.accuracy == pytest.approx(accuracy)
    assert found.examples == 39
    assert found.outputs.shape == (0,) and not found.is_classification


def test_equal_scores_need_log2_of_the_vocabulary() -> None:
    loss = BitsPerCharacter()(nnlab.zeros((2, 8, 3)), nnlab.zeros((2, 3), dtype="int64"))
    assert loss.item() == pytest.approx(3.0, rel=1e-6)


@pytest.mark.parametrize("cell", CELLS)
def test_the_first_batch_changes_what_comes_out_of_the_second(cell: str) -> None:
    model = small(cell)
    first, other, second = (nnlab.from_numpy(characters(12, seed).reshape(2, 6)) for seed in (1, 2, 3))

    def after(*batches: nnlab.Tensor) -> np.ndarray:
        carried.reset(model)
        outputs = [model(batch) for batch in batches]
        assert outputs[-1].shape == (2, 5, batches[-1].shape[1])
        return outputs[-1].detach().numpy()

    assert abs(after(first, second) - after(other, second)).max() > 1e-3
    assert abs(after(first, second) - after(second)).max() > 1e-3
    whole = nnlab.cat([first, second], 1)
    np.testing.assert_allclose(after(first, second), after(whole)[:, :, 6:], rtol=1e-5, atol=1e-6)


def test_taking_and_putting_state() -> None:
    model = nn.Sequential(small())
    assert carried.take(model) == {}
    x = nnlab.from_numpy(characters(6).reshape(2, 3))
    model(x)
    state = carried.take(model)
    assert {name: value.shape for name, value in state.items()} == {"0.h": (2, 2, 4), "0.c": (2, 2, 4)}
    assert not any(value.requires_grad for value in state.values())
    again = model(x).detach().numpy()
    carried.put(model, {name: value.numpy() for name, value in state.items()})
    np.testing.assert_array_equal(model(x).detach().numpy(), again)
    before = carried.take(model)
    with carried.fresh(model):
        assert carried.take(model) == {}
        model(x[:1])
    assert all(carried.take(model)[name] is value for name, value in before.items())
    assert not any("." in key and key.endswith((".h", ".c")) for key in model.state_dict())


def test_evaluation_leaves_the_state_alone() -> None:
    model = small()
    model(nnlab.from_numpy(characters(6).reshape(2, 3)))
    before = carried.take(model)
    first = evaluate(model, for_evaluation(characters(30)), loss=BitsPerCharacter()).loss
    assert all(carried.take(model)[name] is value for name, value in before.items())
    carried.reset(model)
    assert evaluate(model, for_evaluation(characters(30)), loss=BitsPerCharacter()).loss == first


@pytest.mark.torch
@pytest.mark.parametrize("cell", CELLS)
def test_truncated_backpropagation_against_pytorch(cell: str) -> None:
    """Three steps of SGD over three batches: the same weights, and so gradients that end where a batch begins."""
    torch = pytest.importorskip("torch")
    ours = small(cell).train()
    kind = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[cell]
    theirs = torch.nn.ModuleDict(
        {"embedding": torch.nn.Embedding(5, 3), "recurrent": kind(3, 4, 2), "head": torch.nn.Linear(4, 5)}
    )
    theirs.load_state_dict({name: torch.tensor(value.numpy()) for name, value in ours.state_dict().items()})
    optimizers = optim.SGD(ours.parameters(), lr=0.5), torch.optim.SGD(theirs.parameters(), lr=0.5)
    state = None
    for x, y in TextStreams(characters(44), 3, 5):
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss = BitsPerCharacter()(ours(x), y)
        loss.backward()
        features, after = theirs["recurrent"](theirs["embedding"](torch.tensor(x.numpy().T.copy())), state)
        state = tuple(part.detach() for part in after) if cell == "lstm" else after.detach()
        scores = theirs["head"](features).flatten(0, 1)
        other = torch.nn.functional.cross_entropy(scores, torch.tensor(y.numpy().T.copy()).flatten()) / math.log(2)
        other.backward()
        assert loss.item() == pytest.approx(other.item(), rel=1e-5)
        for optimizer in optimizers:
            optimizer.step()
    for name, value in ours.state_dict().items():
        np.testing.assert_allclose(value.numpy(), theirs.state_dict()[name].numpy(), rtol=1e-4, atol=1e-6)


def test_dropout_is_between_layers_and_before_the_head() -> None:
    model = small(dropout=0.5)
    x = nnlab.from_numpy(characters(6).reshape(2, 3))
    with carried.fresh(model):
        calm = model(x).detach().numpy()
    model.recurrent.dropout = 0.0
    model.train()
    with carried.fresh(model):
        assert abs(model(x).detach().numpy() - calm).max() > 1e-3
    model.recurrent.dropout = 0.5
    model.dropout.eval()
    with carried.fresh(model):
        assert abs(model(x).detach().numpy() - calm).max() > 1e-3
    assert CharModel(5, num_layers=1, dropout=0.5).recurrent.dropout == 0.0  # no warning, either


def test_errors() -> None:
    with pytest.raises(ArgumentError, match=r"\[CharModel\] 'cell' must be one of lstm, gru, rnn, got 'tanh'"):
        CharModel(5, cell="tanh")
    model = small()
    model(nnlab.from_numpy(characters(6).reshape(2, 3)))
    with pytest.raises(ShapeError, match="LSTM"):
        model(nnlab.from_numpy(characters(6).reshape(3, 2)))
