"""Language models over characters: text, samples, training."""

from __future__ import annotations

from nnlab.text.model import BitsPerCharacter, CharModel
from nnlab.text.sampling import probabilities, sample
from nnlab.text.source import load, split
from nnlab.text.streams import TextStreams, for_evaluation
from nnlab.text.vocabulary import Vocabulary

__all__ = [
    "BitsPerCharacter",
    "CharModel",
    "TextStreams",
    "Vocabulary",
    "for_evaluation",
    "load",
    "probabilities",
    "sample",
    "split",
]
