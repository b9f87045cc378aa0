"""Written text: drawn with the right probabilities, the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

import nnlab
from nnlab.errors import ArgumentError
from nnlab.text import CharModel, Vocabulary, probabilities, sample
from nnlab.train import carried

P = np.array([0.4, 0.3, 0.15, 0.1, 0.05])
# 99.9 % quantiles of chi-square by degrees of freedom (NIST/SEMATECH e-Handbook, 1.3.6.7.4).
LIMIT = {2: 13.816, 4: 18.467, 16: 39.252}


@pytest.fixture
def known() -> CharModel:
    """Whatever it reads, its scores are log P."""
    model = CharModel(5, embedding_dim=1, hidden_size=1, num_layers=1)
    with nnlab.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(nnlab.from_numpy(np.log(P).astype(np.float32)))
    return model


ABC = Vocabulary("abcde")


def chi_square(text: str, expected: np.ndarray) -> float:
    counts = np.array([text.count(c) for c in ABC.characters])
    assert counts[expected == 0].sum() == 0
    some = expected > 0
    return float((((counts - len(text) * expected) ** 2)[some] / (len(text) * expected[some])).sum())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, P),
        ({"temperature": 0.5}, P**2 / (P**2).sum()),
        ({"temperature": 2.0}, np.sqrt(P) / np.sqrt(P).sum()),
        ({"top_k": 2}, np.array([4, 3, 0, 0, 0]) / 7),
        ({"top_k": 9}, P),
        ({"top_k": 3, "temperature": 0.5}, np.array([64, 36, 9, 0, 0]) / 109),
    ],
)
def test_probabilities(options: dict[str, float], expected: np.ndarray) -> None:
    np.testing.assert_allclose(probabilities(np.log(P), **options), expected, rtol=1e-12)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, P), ({"top_k": 3, "temperature": 0.5}, np.array([64, 36, 9, 0, 0]) / 109)],
)
def test_distribution(known: CharModel, options: dict[str, float], expected: np.ndarray) -> None:
    text = sample(known, ABC, 1500, prompt="a", seed=3, **options)  # type: ignore[arg-type]
    assert len(text) == 1500
    assert chi_square(text, expected) < LIMIT[int((expected > 0).sum()) - 1]


def test_neighbours_are_independent(known: CharModel) -> None:
    """Pairs of characters occur as often as their probabilities' products say."""
    text = sample(known, ABC, 2000, prompt="a", seed=1)
    pairs = np.zeros((5, 5))
    for first, second in zip(text[::2], text[1::2]):
        pairs[ABC.encode(first)[0], ABC.encode(second)[0]] += 1
    rows, columns = pairs.sum(1), pairs.sum(0)
    expected = np.outer(rows, columns) / pairs.sum()
    assert ((pairs - expected) ** 2 / expected).sum() < LIMIT[16]


def lively(**options: float) -> CharModel:
    """A network for which it matters much what it has read."""
    nnlab.manual_seed(2)
    model = CharModel(5, embedding_dim=4, hidden_size=8, num_layers=2, **options)  # type: ignore[arg-type]
    with nnlab.no_grad():
        for p in model.parameters():
            p *= 4.0
    return model


def test_seed_prompt_and_state() -> None:
    model = lively(dropout=0.5)
    model(nnlab.zeros((3, 2), dtype="int64"))
    before = carried.take(model)
    first = sample(model, ABC, 50, prompt="abc", seed=7)
    assert model.training and all(carried.take(model)[name] is value for name, value in before.items())
    nnlab.manual_seed(99)
    assert sample(model, ABC, 50, prompt="abc", seed=7) == first
    assert sample(model, ABC, 20, prompt="abc", seed=7) == first[:20]
    assert sample(model, ABC, 50, prompt="abc", seed=8) != first
    several = [[sample(model, ABC, 10, prompt=prompt, seed=seed) for seed in range(8)] for prompt in ("aaa", "eee")]
    assert several[0] != several[1]
    assert sample(model, ABC, 0, prompt="a") == ""


def test_the_likeliest_is_what_a_whole_pass_says() -> None:
    """With top_k=1 each character is the largest score after all characters before it, read in one batch."""
    model = lively().eval()
    text = "abc" + sample(model, ABC, 12, prompt="abc", top_k=1)
    with carried.fresh(model), nnlab.no_grad():
        scores = model(nnlab.from_numpy(ABC.encode(text)[None].astype(np.int64))).numpy()[0]
    assert ABC.decode(scores.argmax(0)[2:-1]) == text[3:]
    assert len(set(text[3:])) > 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temperature": 0.0}, r"'temperature' must be positive \(top_k=1 takes the likeliest\), got 0.0"),
        ({"temperature": float("nan")}, "'temperature' must be positive"),
        ({"top_k": 0}, "'top_k' must be positive, got 0"),
        ({"prompt": ""}, "'prompt' must hold at least one character, got ''"),
        ({"prompt": "abz"}, r"got 'z' \(U\+007A\) at position 2"),
        ({"length": -1}, "'length' must not be negative, got -1"),
        ({"seed": -1}, "'seed' must be in"),
    ],
)
def test_errors(known: CharModel, options: dict[str, object], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        sample(known, ABC, **{"length": 5, "prompt": "a", **options})  # type: ignore[arg-type]
