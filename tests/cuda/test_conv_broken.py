"""Kernels of kernels/conv.cu, each broken in one place: the comparison with the loops notices it."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnlab.cuda import launch
from nnlab.geometry import conv_geometry
from tests.cuda.common import NOTICED, break_sources
from tests.cuda.convolution import LARGER, MEMORY, check, small_shares
from tests.cuda.drawn import channels_last


def _several_checks() -> None:
    for key, g in enumerate(LARGER):
        check(g, "float32", key, MEMORY[1 + key % 2])
    mixed = [
        conv_geometry((1, 8, 9, 5, 7), (10, 4, 3, 2, 2), (3, 1, 2), (2, 1, 1), (1, 3, 2), 2),
        conv_geometry((2, 6, 5, 6, 7), (9, 2, 2, 3, 2), (2, 1, 3), 1, (1, 2, 2), 3),
    ]
    for g in mixed:
        check(g, "float32", 9, channels_last)


MUTANTS = [
    ("include/tile.cuh", "step % table == 0", "step % table == table"),
    ("include/tile.cuh", "to.offset[n] + by.offset[k]", "to.offset[n] + by.offset[start]"),
    ("include/tile.cuh", "between(to.d[n] + by.d[k], p.size_d) &&", ""),
    ("include/tile.cuh", "q >= 0 && q < size", "q >= 0 && q <= size"),
    ("include/tile.cuh", "m < p.rows && k < steps ?", "m < p.rows ?"),
    ("include/tile.cuh", "(p.row0 + m) * p.row_stride", "m * p.row_stride"),
    ("include/tile.cuh", "first_row() < p.rows &&", "first_row() + height < p.rows &&"),
    ("include/tile.cuh", "sums[i][j] += a[i] * b[j]", "sums[i][j] = a[i] * b[j]"),
    ("include/tile.cuh", "j / 4 * (across * 4) + j % 4", "j % 4"),
    ("include/tile.cuh", "    buffer ^= 1;\n", ""),
    ("include/tile.cuh", "buffer, staged);\n    __syncthreads();", "buffer, staged);"),
    ("include/tile.cuh", "block % down * tile_rows", "block / down * tile_rows"),
    ("include/tile.cuh", "(int)(size - start) : most", "(int)(size - start) - 1 : most"),
    ("include/conv.cuh", "last ? 1 : d * h * w", "d * h * w"),
    ("include/conv.cuh", "(line.kernel - first + period - 1) / period", "(line.kernel - first) / period"),
    ("include/conv.cuh", "line.dilation / (line.stride / period)", "line.dilation"),
    ("include/conv.cuh", "pad - first * line.dilation) / line.stride", "pad) / line.stride"),
    ("include/conv.cuh", "first, period, phase, line.stride}", "first, 1, phase, line.stride}"),
    ("include/conv.cuh", "entry.h = h.origin + u.h * h.step", "entry.h = h.origin + u.h"),
    ("include/conv.cuh", "t.h * window.h.dilation", "t.h"),
    ("conv.cu", "x + group * inputs * in.c", "x + group * outputs * in.c"),
    ("conv.cu", "images * positions, last != 0)", "images * positions, false)"),
    ("conv.cu", "thread / lanes, end < terms ? end : terms", "thread / lanes, end"),
    ("conv.cu", "    __syncthreads();\n    if (lane.member < half)", "    if (lane.member < half)"),
    ("conv.cu", "(rest * inputs + input) * taps + tap", "i"),
    ("conv.cu", "o.channel / outputs * inputs * in.c", "o.channel / inputs * inputs * in.c"),
    ("conv.cu", "start_h + th * dilation_h", "start_h + th"),
    ("conv.cu", "if (th < 0) continue;", ""),
    ("conv.cu", "q.channel % inputs * weight_c", "q.channel * weight_c"),
    ("conv.cu", "lane.channel / outputs * inputs + tap.plane", "lane.channel / outputs * inputs"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "old", "new"), MUTANTS)
def test_a_broken_kernel_is_noticed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str, old: str, new: str
) -> None:
    """With the large tile alone, so that each needs one compilation; shares are small, so that there are parts."""
    monkeypatch.setattr(launch, "FORCED", {"TILE_ROWS": 64})
    small_shares(monkeypatch)
    break_sources(monkeypatch, tmp_path, file, old, new)
    with pytest.raises(NOTICED):
        _several_checks()
