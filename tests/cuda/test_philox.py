"""kernels/include/philox.cuh, run on the CPU, against published vectors and against nnlab.random."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from nnlab import random
from nnlab.backend import get_backend
from nnlab.cuda import host, sources
from tests import emulator

# Known-answer vectors of Random123 for philox4x32 with 10 rounds: counter, key, result.
KNOWN = [
    ([0, 0, 0, 0], [0, 0], [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
    ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
    (
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
        [0xA4093822, 0x299F31D0],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ),
]

EMULATED = emulator.backend()

PROBE = """
#include "include/philox.cuh"
extern "C" __global__ void probe(const uint32* counter, uint32 key0, uint32 key1, uint32* out) {
  const Words4 words = philox4x32(Words4{{counter[0], counter[1], counter[2], counter[3]}}, key0, key1);
  for (int j = 0; j < 4; ++j) out[j] = words.w[j];
}
extern "C" __global__ void draw(uint64 seed, uint64 offset, uint64 block, uint32* out) {
  const Words4 words = random_words(seed, offset, block);
  for (int j = 0; j < 4; ++j) out[j] = words.w[j];
}
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("probe")
    shutil.copytree(sources.folder() / "include", folder / "include")
    (folder / "probe.cu").write_text(PROBE)
    return host.compile_unit("probe", macros={"DTYPE_FLOAT32": 1, "INDEX_BITS": 32}, root=folder)


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_published_vectors(library: Path, counter: list[int], key: list[int], expected: list[int]) -> None:
    out = np.zeros(4, np.uint32)
    EMULATED.run_kernel(
        library, "probe", 1, 1, [np.array(counter, np.uint32), np.uint32(key[0]), np.uint32(key[1]), out]
    )
    assert out.tolist() == expected


@pytest.mark.parametrize(
    ("seed", "offset"), [(0, 0), (1, 2), (2**32 - 1, 2**32), (2**32, 2**32 - 1), (2**64 - 1, 2**64 - 1), (12345, 7)]
)
def test_same_words_as_on_the_cpu(library: Path, seed: int, offset: int) -> None:
    expected = random.philox(get_backend("cpu"), seed, offset, 43)
    drawn = np.zeros(44, np.uint32)
    for block in range(11):
        words = drawn[4 * block : 4 * block + 4]
        EMULATED.run_kernel(library, "draw", 1, 1, [np.uint64(seed), np.uint64(offset), np.uint64(block), words])
    assert expected.dtype == np.uint32
    np.testing.assert_array_equal(drawn[:43], expected)


def test_high_half_of_the_block_number_counts(library: Path) -> None:
    """Beyond 2**32 blocks the words do not repeat."""
    low, high = np.zeros(4, np.uint32), np.zeros(4, np.uint32)
    EMULATED.run_kernel(library, "draw", 1, 1, [np.uint64(3), np.uint64(4), np.uint64(5), low])
    EMULATED.run_kernel(library, "draw", 1, 1, [np.uint64(3), np.uint64(4), np.uint64(5 + 2**32), high])
    assert not np.array_equal(low, high)
