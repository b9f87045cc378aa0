"""Counter-based random numbers."""

from __future__ import annotations

import numpy as np
import pytest

from nnlab.backend import get_backend
from nnlab.errors import ArgumentError
from nnlab.random import Generator, host_generator, philox

CPU = get_backend("cpu")


def reference(seed: int, offset: int, i: int) -> int:
    """Word i of a draw, in Python integers (Salmon et al. 2011, section 2)."""
    block = i // 4
    c = [block & 0xFFFFFFFF, block >> 32, offset & 0xFFFFFFFF, offset >> 32]
    k = [seed & 0xFFFFFFFF, seed >> 32]
    for _ in range(10):
        p, q = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
        c = [(q >> 32) ^ c[1] ^ k[0], q & 0xFFFFFFFF, (p >> 32) ^ c[3] ^ k[1], p & 0xFFFFFFFF]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return c[i % 4]


def test_published_answer():
    # Random123's known answer for philox4x32-10 with counter and key zero.
    assert philox(CPU, 0, 0, 4).tolist() == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]


@pytest.mark.parametrize(("seed", "offset"), [(1, 0), (2**64 - 1, 5), (123456789012345, 2**40 + 7)])
def test_words_against_python_integers(seed, offset):
    words = philox(CPU, seed, offset, 11)
    assert words.dtype == np.uint32
    assert words.tolist() == [reference(seed, offset, i) for i in range(11)]


def test_a_word_depends_on_its_position_alone():
    assert philox(CPU, 7, 3, 100_000)[:999].tolist() == philox(CPU, 7, 3, 999).tolist()
    assert philox(CPU, 7, 3, 0).size == 0


def test_uniform():
    words = philox(CPU, 11, 0, 1 << 20)
    counts = np.bincount(words >> 28, minlength=16)
    # 16 bins of expected 65,536: the standard deviation of a count is 248.
    assert abs(counts - 65536).max() < 5 * 248


def test_host_generator_is_a_function_of_its_counters():
    draws = [host_generator(*args).random() for args in [(1,), (1, 1), (1, 0, 1), (1, 0, 0, 1), (2,)]]
    assert len(set(draws)) == len(draws)
    assert host_generator(1, 2, 3).random() == host_generator(1, 2, 3).random()
    with pytest.raises(ArgumentError):
        host_generator(1, 2, 3, 4, 5)


def test_state_goes_on_exactly():
    g = Generator(5)
    g.next_offset()
    state = g.get_state()
    first = g.numpy().random(3)
    other = Generator()
    other.set_state(state)
    np.testing.assert_array_equal(other.numpy().random(3), first)
    with pytest.raises(ArgumentError, match="-1"):
        Generator(-1)
