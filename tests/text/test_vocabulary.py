"""Characters and their numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnlab.errors import ArgumentError, CheckpointError
from nnlab.text import Vocabulary


def test_hello() -> None:
    """The four letters of the course's example, in order."""
    vocabulary = Vocabulary("hello")
    assert vocabulary.characters == "ehlo" and len(vocabulary) == 4
    ids = vocabulary.encode("hello")
    assert ids.tolist() == [1, 0, 2, 2, 3] and ids.dtype == np.int32
    assert vocabulary.decode(ids) == "hello"
    assert vocabulary.encode("").tolist() == []


@given(st.text(min_size=1))
def test_round_trip(text: str) -> None:
    vocabulary = Vocabulary(text)
    assert list(vocabulary.characters) == sorted(set(text))
    ids = vocabulary.encode(text)
    assert [vocabulary.characters[i] for i in ids] == list(text)
    assert vocabulary.decode(ids) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hallo", r"got 'a' \(U\+0061\) at position 1"),
        ("hell\n", r"got '\\n' \(U\+000A\) at position 4"),
        ("😀h", r"got '😀' \(U\+1F600\) at position 0"),
        ("\udcff", r"\(U\+DCFF\) at position 0"),
    ],
)
def test_an_unknown_character_is_named(text: str, message: str) -> None:
    with pytest.raises(
        ArgumentError, match=r"\[Vocabulary\] 'text' must hold characters of the training text.*" + message
    ):
        Vocabulary("hello").encode(text)


def test_file(tmp_path: Path) -> None:
    vocabulary = Vocabulary("Straße \n\U0001f600")
    vocabulary.save(tmp_path)
    assert Vocabulary.load(tmp_path).characters == vocabulary.characters
    (tmp_path / "vocabulary.json").write_text('{"letters": "ab"}')
    with pytest.raises(CheckpointError, match=r"vocabulary.json is damaged"):
        Vocabulary.load(tmp_path)
    with pytest.raises(CheckpointError, match=r"is no run of a language model: it has no vocabulary.json"):
        Vocabulary.load(tmp_path / "none")
    with pytest.raises(ArgumentError, match="hold at least one character"):
        Vocabulary("")
