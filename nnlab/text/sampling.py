"""Writing text with a language model, one character after another."""

from __future__ import annotations

import numpy as np

from nnlab.autograd import no_grad
from nnlab.autograd.creation import from_numpy
from nnlab.errors import ArgumentError, complaint
from nnlab.nn import Module
from nnlab.random import host_generator
from nnlab.text.vocabulary import Vocabulary
from nnlab.train import carried, metrics

_STREAM = 4  # of nnlab.random.host_generator (docs/architecture.md)


def probabilities(scores: np.ndarray, temperature: float = 1.0, top_k: int | None = None) -> np.ndarray:
    """How likely each character is to be drawn: softmax(scores / temperature), of the k largest scores only.

    Args:
        scores: (V,).
        temperature: below 1 the likely becomes likelier, above 1 all becomes more even.
        top_k: how many characters may be drawn, of equal ones the first; None: all.
    """
    p = metrics.softmax((scores[None].astype(np.float64) - scores.max()) / temperature)[0]
    if top_k is not None:
        kept = np.zeros_like(p)
        best = metrics.top_k(scores[None], top_k)[0]
        kept[best] = p[best]
        p = kept / kept.sum()
    return p


def sample(
    model: Module,
    vocabulary: Vocabulary,
    length: int,
    *,
    prompt: str = "\n",
    temperature: float = 1.0,
    top_k: int | None = None,
    seed: int = 0,
) -> str:
    """Text that goes on after a prompt: each character is drawn with its probability, and read before the next one.

    Args:
        model: gives scores (1, V, T) for numbers (1, T), and carries its state. Its mode and state are restored.
        vocabulary: of the text that it was trained on.
        length: characters to write.
        prompt: what it reads first.
        temperature, top_k: see :func:`probabilities`.
        seed: the same seed gives the same text.

    Returns:
        ``length`` characters, without the prompt.

    Raises:
        ArgumentError: an argument makes no sense, or the prompt holds a character that is not in the vocabulary.
    """
    for name, ok, must, value in (
        ("length", length >= 0, "not be negative", length),
        ("prompt", bool(prompt), "hold at least one character", prompt),
        ("temperature", temperature > 0, "be positive (top_k=1 takes the likeliest)", temperature),
        ("top_k", top_k is None or top_k >= 1, "be positive", top_k),
        ("seed", 0 <= seed < 2**64, "be in 0..2**64-1", seed),
    ):
        if not ok:
            raise ArgumentError(complaint("sample", name, must, value))
    generator = host_generator(seed, 0, 0, _STREAM)
    device = next(model.parameters()).device
    given, written = vocabulary.encode(prompt).astype(np.int64), np.empty(length, np.int64)
    before = model.training
    model.eval()
    try:
        with no_grad(), carried.fresh(model):
            for i in range(length):
                scores = model(from_numpy(given[None]).to(device))[0, :, -1].cpu().numpy()
                reach = np.cumsum(probabilities(scores, temperature, top_k))
                written[i] = np.searchsorted(reach, generator.random() * reach[-1], side="right")
                given = written[i : i + 1]
    finally:
        model.train(before)
    return vocabulary.decode(written)
