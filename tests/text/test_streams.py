"""How a text is cut into batches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnlab.errors import ArgumentError, DataError
from nnlab.text import TextStreams, for_evaluation


def test_a_small_text() -> None:
    batches = [(x.numpy().tolist(), y.numpy().tolist()) for x, y in TextStreams(np.arange(12), 2, 3)]
    assert batches == [
        ([[0, 1, 2], [5, 6, 7]], [[1, 2, 3], [6, 7, 8]]),
        ([[3, 4], [8, 9]], [[4, 5], [9, 10]]),
    ]


@given(st.integers(2, 200), st.integers(1, 9), st.integers(1, 30))
def test_streams_go_on_from_batch_to_batch(n: int, streams: int, length: int) -> None:
    ids = np.random.default_rng(n).integers(0, 50, n)
    if n <= streams:
        return
    loader = TextStreams(ids, streams, length)
    batches = list(loader)
    assert len(batches) == len(loader)
    x, y = (np.concatenate([batch[i].numpy() for batch in batches], axis=1) for i in (0, 1))
    assert x.dtype == y.dtype == np.int64
    steps = (n - 1) // streams
    for stream in range(streams):
        np.testing.assert_array_equal(x[stream], ids[stream * steps : (stream + 1) * steps])
        np.testing.assert_array_equal(y[stream], ids[stream * steps + 1 : (stream + 1) * steps + 1])
    assert all(batch[0].shape == (streams, length) for batch in batches[:-1])
    for first, second in zip(batches, loader, strict=True):
        np.testing.assert_array_equal(first[0].numpy(), second[0].numpy())


def test_an_evaluation_guesses_every_character_but_the_first() -> None:
    assert [x.shape for x, _ in for_evaluation(np.zeros(1000, np.int32))] == [(1, 512), (1, 487)]
    assert for_evaluation(np.zeros(199_999, np.int32)).streams == 1
    assert for_evaluation(np.zeros(350_000, np.int32)).streams == 3


def test_errors() -> None:
    with pytest.raises(ArgumentError, match=r"\[TextStreams\] 'length' must be positive, got 0"):
        TextStreams(np.arange(9), 2, 0)
    with pytest.raises(ArgumentError, match=r"\[TextStreams\] 'streams' must be positive, got 0"):
        TextStreams(np.arange(9), 0, 2)
    with pytest.raises(DataError, match=r"hold more characters than there are streams \(9\), got '9 characters'"):
        TextStreams(np.arange(9), 9, 2)


def test_identity_follows_the_text() -> None:
    ids = np.arange(20)
    state = TextStreams(ids, 2, 3).state_dict()
    assert TextStreams(ids.copy(), 2, 3).state_dict() == state
    other = ids.copy()
    other[7] = 0
    assert TextStreams(other, 2, 3).state_dict()["sha256"] != state["sha256"]
