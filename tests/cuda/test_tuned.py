"""Tuned tables: which value a launch takes, what is stale, what is damaged, and which results keep their bits."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnlab.cuda import launch, sources, tuned
from nnlab.cuda.launch import Kernel, choose
from nnlab.cuda.tuned import Entry, Table
from nnlab.errors import DataError
from nnlab.geometry import conv_geometry
from nnlab.ops._cuda import bias_relu, softmax, teams
from nnlab.ops._cuda import conv as kernels
from tests.cuda.common import EMULATED, break_sources
from tests.ops.common import rng

FLOAT32 = np.dtype(np.float32)
TILED = Kernel("conv", "conv_forward", {"x": "scalar*"}, variants={"TILE": (32, 16, 8, 4), "ROWS": (1, 2)})


@pytest.fixture(autouse=True)
def _folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Folders of this test's own for the package's and the user's tables."""
    monkeypatch.setattr(tuned, "PACKAGE", tmp_path / "package")
    monkeypatch.setattr(tuned, "own_file", lambda device: tmp_path / "own" / tuned.file_name(device))
    tuned.forget()
    yield
    tuned.forget()


def entry(macros: dict[str, int], sizes: tuple[int, ...] = (64, 8), dtype: str = "float32", **changes: Any) -> Entry:
    return Entry(**{"unit": "conv", "kernel": "conv_forward", "dtype": dtype, "sizes": sizes, "macros": macros,
                    "source": tuned.digest("conv"), **changes})  # fmt: skip


def package(*entries: Entry) -> None:
    tuned.save(tuned.PACKAGE / tuned.file_name("emulated"), "emulated", entries)
    tuned.forget()


def own(*entries: Entry) -> None:
    tuned.save(tuned.own_file("emulated"), "emulated", entries)
    tuned.forget()


def value(*sizes: int, dtype: Any = FLOAT32, **preferred: int) -> int:
    return choose(TILED, EMULATED, dtype, sizes, **preferred)["TILE"]


def test_forced_before_tuned_before_preferred_before_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert value(60, 8) == 32
    assert value(60, 8, TILE=16) == 16
    package(entry({"TILE": 8}))
    assert value(60, 8, TILE=16) == 8
    assert choose(TILED, TILE=16)["TILE"] == 16  # nothing is looked up without sizes
    own(entry({"TILE": 4}))
    assert value(60, 8, TILE=16) == 4
    monkeypatch.setitem(launch.FORCED, "TILE", 32)
    assert value(60, 8, TILE=16) == 32


def test_an_entry_holds_for_its_kernel_dtype_and_class() -> None:
    own(entry({"TILE": 4}))
    assert [value(rows, 8) for rows in (32, 33, 64, 65)] == [32, 4, 4, 32]
    assert value(64, 9) == 32 and value(64, 8, 1) == 32
    assert value(64, 8, dtype=np.dtype(np.float16)) == 32
    other = Kernel("conv", "conv_sum", {"x": "scalar*"}, variants=TILED.variants)
    assert choose(other, EMULATED, FLOAT32, (64, 8))["TILE"] == 32


def test_part_of_the_macros_and_values_that_are_no_variants() -> None:
    """What an entry does not say, or says wrongly, stays with the body."""
    own(entry({"ROWS": 2}))
    assert choose(TILED, EMULATED, FLOAT32, (64, 8), TILE=16) == {"TILE": 16, "ROWS": 2}
    own(entry({"TILE": 5, "LANES": 2}))
    assert choose(TILED, EMULATED, FLOAT32, (64, 8), TILE=16) == {"TILE": 16, "ROWS": 1}


def test_classes() -> None:
    assert tuned.size_class((0, 1, 2, 3, 4, 5, 1024, 1025)) == (0, 1, 2, 4, 4, 8, 1024, 2048)
    assert tuned.size_class(()) == ()


def test_an_entry_for_other_sources_is_not_used() -> None:
    package(entry({"TILE": 8}))
    own(entry({"TILE": 4}, source="0" * 64), entry({"TILE": 16}, sizes=(1, 1)))
    assert value(64, 8) == 8  # the package's, which is not stale
    assert value(1, 1) == 16
    assert [(one["entries"], one["stale"]) for one in tuned.overview()] == [(1, 0), (2, 1)]
    text = tuned.overview_text(tuned.overview()[1])
    assert text.endswith("emulated.json: 2 entries, 1 not used: the kernel sources have changed since")
    own(entry({"TILE": 4}, unit="no_such_kernel"))
    assert value(64, 8) == 8


def test_a_changed_header_makes_entries_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own(entry({"TILE": 4}))
    assert value(64, 8) == 4
    header = (sources.folder() / "include" / "tile.cuh").read_text()
    first = header.splitlines()[0]
    break_sources(monkeypatch, tmp_path, "include/tile.cuh", first, first + " ")
    tuned.forget()
    assert value(64, 8) == 32


def test_a_file_is_read_back() -> None:
    measured = ({"op": "conv2d", "choices": [{"macros": {"TILE": 4}, "seconds": None}]},)
    entries = [entry({"TILE": 4}, measured=measured), entry({}, dtype="float16")]
    path = tuned.own_file("NVIDIA H200 (2)")
    assert path.name == "nvidia-h200-2.json"
    tuned.save(path, "NVIDIA H200 (2)", entries)
    assert sorted(tuned.load(path), key=lambda one: one.dtype) == [entries[1], entries[0]]
    assert json.loads(path.read_text())["device"] == "NVIDIA H200 (2)"


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 1}', '{"format": 1, "entries": [{"sizes": [1]}]}'])
def test_a_damaged_file_is_named(text: str) -> None:
    path = tuned.own_file("emulated")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(DataError, match=r"emulated\.json is not a table of nnlab tune .*; remove it"):
        value(64, 8)
    assert "remove it" in tuned.overview_text(tuned.overview()[0])


def test_another_format_is_named() -> None:
    path = tuned.own_file("emulated")
    path.parent.mkdir(parents=True)
    path.write_text('{"format": 2}')
    with pytest.raises(DataError, match="has format 2, this nnlab reads format 1"):
        value(64, 8)


def test_the_package_brings_good_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever lies beside the module can be read and is for the kernels as they are."""
    monkeypatch.setattr(tuned, "PACKAGE", Path(tuned.__file__).parent)
    assert all(one.get("stale") == 0 for one in tuned.overview())


def test_another_table_for_a_while() -> None:
    own(entry({"TILE": 4}))
    with tuned.instead(EMULATED, Table({})):
        assert value(64, 8) == 32
    assert value(64, 8) == 4

    def fail() -> None:
        with tuned.instead(EMULATED, Table({})):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert value(64, 8) == 4


class Always(Table):
    """The same values for every kernel and size."""

    def __init__(self, **macros: int) -> None:
        super().__init__({})
        self.macros = macros

    def find(self, kernel: str, dtype: Any, sizes: Sequence[int], preferred: Mapping[str, int]) -> Mapping[str, int]:
        return self.macros


def test_results_that_do_not_depend_on_the_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    """docs/numerics.md: a convolution and its input gradient keep their bits, the weight gradient sums other parts."""
    random = rng(1)
    g = conv_geometry((2, 24, 9, 9), (40, 24, 3, 3), 1, 1, 1, 1)
    x, w, dy = (random.standard_normal(shape).astype(np.float32) for shape in (g.x_shape, g.w_shape, g.y_shape))
    monkeypatch.setattr(kernels, "LEAST_SHARE", 8)  # as many parts as for large problems
    monkeypatch.setattr(kernels, "BLOCKS", 16)
    found = []
    for height in (64, 16):
        with tuned.instead(EMULATED, Always(TILE_ROWS=height)):
            y = kernels.forward(EMULATED, x=x, w=w, geometry=g)
            dx = kernels.input_grad(EMULATED, dy=dy, w=w, geometry=g)
            found.append((y, dx, kernels.weight_grad(EMULATED, x=x, dy=dy, geometry=g)))
    same = [np.array_equal(large, small) for large, small in zip(*found)]
    assert same == [True, True, False]


def test_results_that_depend_on_the_team() -> None:
    x = rng(2).standard_normal((3, 500)).astype(np.float32)
    found = []
    for team in teams.VARIANTS["TEAM"]:
        with tuned.instead(EMULATED, Always(TEAM=team)):
            found.append(softmax.softmax(EMULATED, x=x, axis=1))
    assert not np.array_equal(found[0], found[1]) and not np.array_equal(found[0], found[2])


def test_bodies_say_on_what_their_choice_depends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernel, dtype and sizes: rows, columns, depth and products; lines, their length and the step along them."""
    asked: list[tuple[Any, ...]] = []

    class Noting(Table):
        def find(self, kernel: str, dtype: Any, sizes: Sequence[int], preferred: Mapping[str, int]) -> Any:
            asked.append((kernel, dtype.name, tuple(sizes), preferred))
            return preferred

    monkeypatch.setattr(launch, "run", lambda be, ready: None)
    g = conv_geometry((2, 12, 9, 9), (40, 6, 3, 3), 2, 1, 1, 2)
    x, w, dy = (np.ones(shape, np.float32) for shape in (g.x_shape, g.w_shape, g.y_shape))
    with tuned.instead(EMULATED, Noting({})):
        kernels.forward(EMULATED, x=x, w=w, geometry=g)
        kernels.input_grad(EMULATED, dy=dy, w=w, geometry=g)
        kernels.weight_grad(EMULATED, x=x, dy=dy, geometry=g)
        softmax.softmax(EMULATED, x=np.ones((3, 40, 7), np.float16), axis=1)
        bias_relu.backward(EMULATED, dy=np.ones((130, 5), np.float64), y=np.ones((130, 5), np.float64))
        bias_relu.backward(EMULATED, dy=np.ones((2, 5, 3, 3), np.float32), y=np.ones((2, 5, 3, 3), np.float32))
    assert asked == [
        ("conv_forward", "float32", (20, 50, 54, 2), {"TILE_ROWS": 16}),
        ("conv_input_grad", "float32", (6, 50, 45, 8), {"TILE_ROWS": 16}),
        ("conv_weight_grad", "float32", (20, 54, 50, 2), {"TILE_ROWS": 16}),
        ("softmax_forward", "float16", (21, 40, 7), {"TEAM": 1}),
        ("bias_relu_backward", "float64", (15, 64, 5), {"TEAM": 1}),
        ("bias_relu_sum", "float64", (5, 3, 5), {"TEAM": 1}),
        ("bias_relu_backward", "float32", (5, 18, 1), {"TEAM": 32}),
        ("bias_relu_sum", "float32", (5, 1, 5), {"TEAM": 1}),
    ]
