"""Characters and their numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nnlab.errors import ArgumentError, CheckpointError, complaint

FILE = "vocabulary.json"


def _codes(text: str) -> NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


class Vocabulary:
    """The characters that a network knows, numbered by their code points' order.

    Args:
        characters: all of them; twice the same counts once.
    """

    def __init__(self, characters: str) -> None:
        if not characters:
            raise ArgumentError(complaint("Vocabulary", "characters", "hold at least one character", characters))
        self._codes = np.unique(_codes(characters))
        self.characters = "".join(map(chr, self._codes.tolist()))

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> NDArray[np.int32]:
        """The numbers (N,) of the N characters of a text.

        Raises:
            ArgumentError: a character is unknown; the message names the first one.
        """
        codes = _codes(text)
        ids = np.minimum(np.searchsorted(self._codes, codes), len(self) - 1)
        unknown = np.flatnonzero(self._codes[ids] != codes)
        if unknown.size:
            place = int(unknown[0])
            raise ArgumentError(
                f"[Vocabulary] 'text' must hold characters of the training text alone, got {text[place]!r} "
                f"(U+{ord(text[place]):04X}) at position {place}"
            )
        return ids.astype(np.int32)

    def decode(self, ids: NDArray[np.integer]) -> str:
        """The text of numbers (N,)."""
        return "".join(self.characters[i] for i in np.asarray(ids).tolist())

    def save(self, folder: Path) -> None:
        """Write ``vocabulary.json`` into a run folder."""
        aside = folder / (FILE + ".tmp")
        aside.write_text(json.dumps({"characters": self.characters}) + "\n", encoding="utf-8")
        aside.replace(folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> Vocabulary:
        """Read a run folder's ``vocabulary.json``.

        Raises:
            CheckpointError: it is missing or damaged.
        """
        path = folder / FILE
        try:
            return cls(json.loads(path.read_text(encoding="utf-8"))["characters"])
        except OSError as error:
            raise CheckpointError(f"[checkpoint] {folder} is no run of a language model: it has no {FILE}") from error
        except (ValueError, TypeError, KeyError) as error:
            raise CheckpointError(f"[checkpoint] {path} is damaged: {error}") from error
