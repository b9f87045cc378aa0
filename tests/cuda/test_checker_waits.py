"""The checker on asynchronous copies, ldmatrix and cooperative launches: silent if all wait, a wait less is found."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnlab.backend import checked
from nnlab.backend.emulated import KernelError
from nnlab.cuda import host, sources
from tests import emulator
from tests.cuda import case
from tests.cuda.common import break_sources
from tests.cuda.test_cooperative import KERNELS, run_shift
from tests.cuda.test_mma import COPIES, MMA, check_mma, run_pipeline, write

BE = emulator.backend()
if checked.why_unusable() is not None:
    pytest.skip(str(checked.why_unusable()), allow_module_level=True)
ORDERS = ["ascending", "descending", 1]


@pytest.fixture
def build(tmp_path: Path) -> Any:
    macros = {"DTYPE_FLOAT32": 1, "INDEX_BITS": 32}

    def compiled(text: str) -> Path:
        root = write(tmp_path, "test", text)
        return host.compile_text("test", sources.source("test", root), macros=macros, checked=True)

    return compiled


def pipeline(library: Path, order: Any) -> None:
    x, y = np.ones((5, 32, 4), np.float32), np.zeros((32, 4), np.float32)
    with BE.checked(), BE.ordered(order):
        BE.run_kernel(library, "pipeline", 1, 32, [x, y, np.int32(5)])


def test_what_is_right_is_silent(build: Any) -> None:
    with BE.checked() as report:
        assert all(run_pipeline(build(COPIES)))
        check_mma(build(MMA))
    assert report.kernels["pipeline"].shared_accesses == 4 * (5 * 32 * 2)  # four orders; written and read once


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("    wait_copies<1>();\n", "", ["under way"]),
        ("wait_copies<1>", "wait_copies<2>", ["under way"]),
        (
            "    wait_copies<1>();\n    __syncthreads();\n",
            "    wait_copies<1>();\n",
            ["under way", "no barrier is between them", "which nobody has written before"],
        ),
        ("sum.w += v.w;\n    __syncthreads();\n", "sum.w += v.w;\n", ["no barrier is between them", "under way"]),
    ],
)
def test_a_wait_less(build: Any, old: str, new: str, words: list[str], order: Any) -> None:
    assert COPIES.count(old) == 1
    library = build(COPIES.replace(old, new))
    with pytest.raises(KernelError) as caught:
        pipeline(library, order)
    assert any(word in str(caught.value) for word in words), caught.value


def test_the_copy_is_named(build: Any) -> None:
    library = build(COPIES.replace("    wait_copies<1>();\n", ""))
    with pytest.raises(KernelError) as caught:
        pipeline(library, "ascending")
    assert str(caught.value) == (
        "[pipeline] block (0, 0, 0), thread (0, 0, 0): reads bytes 496 to 499 of shared buffer (1024 bytes) "
        "(test.cu:15), to which an asynchronous copy of thread (31, 0, 0) (test.cu:8) is under way"
    )


def test_copies_outside(build: Any) -> None:
    with pytest.raises(KernelError) as caught, BE.checked():
        BE.run_kernel(build(COPIES), "pipeline", 1, 32, [np.ones(127, np.float32), np.zeros(128), np.int32(1)])
    words = (
        "thread (31, 0, 0): reads bytes 496 to 511 of argument 0 'x' (shape (127,), float32, 508 bytes), outside of it"
    )
    assert f"{words} (test.cu:8)" in str(caught.value)


def test_rows_of_matrices_that_nobody_has_written(build: Any) -> None:
    library = build(MMA.replace("for (int i = lane; i < 256; i += 32) ta", "for (int i = lane; i < 240; i += 32) ta"))
    with pytest.raises(KernelError) as caught, BE.checked():
        check_mma(library)
    assert "of shared ta (768 bytes), which nobody has written before (test.cu:15)" in str(caught.value)


@pytest.mark.parametrize("order", ORDERS)
def test_blocks_that_wait_for_one_another(build: Any, order: Any) -> None:
    with BE.checked(), BE.ordered(order):
        found, wanted, kept = run_shift(build(KERNELS), 3)
    np.testing.assert_array_equal(found, wanted)
    np.testing.assert_array_equal(kept, 100 * np.arange(6) + 3)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("which", [0, 1])
def test_a_barrier_of_the_grid_less(build: Any, which: int, order: Any) -> None:
    parts = KERNELS.split("    grid_sync(counter);\n")
    parts[which] += "    __syncthreads();\n" + parts.pop(which + 1)
    library = build("    grid_sync(counter);\n".join(parts))
    with pytest.raises(KernelError, match="blocks are not ordered"), BE.checked(), BE.ordered(order):
        run_shift(library, 4)


def test_shared_memory_of_each_block(build: Any) -> None:
    """A block of a cooperative launch does not see what another one has written there."""
    old = "if (t == 0) number[1] = block;"
    library = build(KERNELS.replace(old, "if (t == 0 && block != 4) number[1] = block;"))
    with pytest.raises(KernelError) as caught, BE.checked():
        run_shift(library, 2)
    assert "block (1, 1, 0), thread (0, 0, 0): reads bytes 4 to 7 of shared number (8 bytes), which nobody" in str(
        caught.value
    )


# Files with barriers: an operation whose case `standard` needs them all, and the values of its macros.
USERS: dict[str, tuple[str, dict[str, int]]] = {
    "conv.cu": ("conv", {}),
    "include/conv_mma.cuh": ("conv_mma", {}),
    "include/team.cuh": ("softmax", {"TEAM": 256}),
    "include/tile.cuh": ("conv", {}),
}
BARRIER = "__syncthreads();"


def _barriers() -> list[tuple[str, int]]:
    """The barriers of our kernels: file, and number in it. Those of grid_sync.cuh are the GPU's alone."""
    root = sources.folder()
    files = {path.relative_to(root).as_posix(): path.read_text() for path in sorted(root.rglob("*.cu*"))}
    del files["include/grid_sync.cuh"]
    code = {name: re.sub("//[^\\n]*", "", text) for name, text in files.items()}
    return [(name, number) for name, text in code.items() for number in range(text.count(BARRIER))]


@pytest.mark.parametrize(("file", "number"), _barriers())
def test_a_barrier_less_in_our_kernels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str, number: int) -> None:
    text = (sources.folder() / file).read_text()
    parts = text.split(BARRIER)
    broken = BARRIER.join([*parts[:number], parts[number] + parts[number + 1], *parts[number + 2 :]])
    op, macros = USERS[file]
    break_sources(monkeypatch, tmp_path, file, text, broken)
    found = "no barrier is between them|which nobody has written|under way"
    for order in (1, 2):  # small grids too
        with pytest.raises(KernelError, match=found), BE.checked():
            case.run(BE, op, "standard", "float32", 32, macros, orders=(order,))
