"""The launch gate: what it refuses, what it passes on, and in which types."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from nnlab.backend import get_backend
from nnlab.cuda import launch
from nnlab.cuda.launch import Grid, Kernel, prepare
from nnlab.errors import ArgumentError, DeviceError, DtypeError, NNLabError, ShapeError
from tests import emulator

KERNEL = Kernel(
    "unit",
    "unit_forward",
    {"x": "scalar*", "y": "scalar*", "mask": "bool*", "n": "index", "t": "uint32", "scale": "acc", "seed": "uint64"},
    variants={"TILE": (32, 16)},
)
CPU = get_backend("cpu")


def _arguments(**changed: Any) -> dict[str, Any]:
    x = np.ones((3, 4), np.float32)
    mask = np.ones((3, 4), bool)
    return {"x": x, "y": x.copy(), "mask": mask, "n": 12, "t": 7, "scale": 2.5, "seed": 2**63, **changed}


def _prepare(threads: int | Grid = 12, **changed: Any) -> launch.Launch:
    return prepare(CPU, KERNEL, threads=threads, arguments=_arguments(**changed))


def test_scalars_get_the_declared_types() -> None:
    x, _, _, n, t, scale, seed = _prepare().arguments
    assert isinstance(x, np.ndarray)
    assert [type(v) for v in (n, t, scale, seed)] == [np.int32, np.uint32, np.float32, np.uint64]
    assert (n, t, scale, seed) == (12, 7, 2.5, 2**63)


@pytest.mark.parametrize(
    ("dtype", "accumulator"),
    [("float16", np.float32), ("bfloat16", np.float32), ("float32", np.float32), ("float64", np.float64)],
)
def test_accumulator_and_macro_follow_the_dtype(dtype: str, accumulator: type) -> None:
    x = np.ones((3, 4), dtype)
    ready = _prepare(x=x, y=x.copy())
    assert type(ready.arguments[5]) is accumulator
    assert ready.macros == {f"DTYPE_{dtype.upper()}": 1, "INDEX_BITS": 32, "TILE": 32}


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        (
            {"x": np.ones(12, np.int32)},
            DtypeError,
            r"\[unit_forward\] 'x' must be one of float32, float64, float16, bfloat16, got 'int32'",
        ),
        ({"y": np.ones((3, 4), np.float64)}, DtypeError, r"'y' must be float32 as 'x' is, got 'float64'"),
        ({"mask": np.ones((3, 4), np.uint8)}, DtypeError, r"'mask' must be bool, got 'uint8'"),
        (
            {"x": np.ones((4, 3), np.float32).T},
            ShapeError,
            r"'x' must be contiguous in C order, got .*strides \(4, 12\)",
        ),
        ({"x": np.ones((3, 8), np.float32)[:, ::2]}, ShapeError, "'x' must be contiguous"),
        ({"x": [1.0]}, DeviceError, r"'x' must be an array of cpu, got 'builtins.list'"),
        ({"n": 12.0}, ArgumentError, r"'n' must be an integer, got 12.0"),
        ({"n": True}, ArgumentError, r"'n' must be an integer, got True"),
        ({"t": 7.5}, ArgumentError, r"'t' must be an integer, got 7.5"),
        ({"t": np.float32(7)}, ArgumentError, r"'t' must be an integer"),
        ({"t": 2**32}, ArgumentError, r"'t' must be in 0..4294967295, got 4294967296"),
        ({"seed": -1}, ArgumentError, r"'seed' must be in 0.."),
        ({"scale": "2"}, ArgumentError, r"'scale' must be a number, got '2'"),
        ({"extra": 1}, ArgumentError, r"arguments must be exactly x, y, mask, n, t, scale, seed; got .*extra"),
    ],
)
def test_refuses(changed: dict[str, Any], error: type[NNLabError], message: str) -> None:
    with pytest.raises(error, match=message):
        _prepare(**changed)


@pytest.mark.parametrize(
    ("dtype", "wide"), [("float16", "float32"), ("bfloat16", "float32"), ("float32", "float32"), ("float64", "float64")]
)
def test_arrays_of_the_accumulators_dtype(dtype: str, wide: str) -> None:
    kernel = Kernel("unit", "unit_forward", {"s": "acc*", "x": "scalar*"})
    x = np.ones(3, dtype)
    ready = prepare(CPU, kernel, threads=3, arguments={"s": x.astype(wide), "x": x})
    assert ready.arguments[0].dtype == launch.accumulator(x.dtype) == wide
    narrow = np.ones(3, np.float16)
    with pytest.raises(DtypeError, match=rf"\[unit_forward\] 's' must be {wide}, got 'float16'"):
        prepare(CPU, kernel, threads=3, arguments={"s": narrow, "x": x})


def test_refuses_a_missing_argument() -> None:
    arguments = _arguments()
    del arguments["seed"]
    with pytest.raises(ArgumentError, match="arguments must be exactly"):
        prepare(CPU, KERNEL, threads=1, arguments=arguments)


def test_grid_covers_the_threads_up_to_a_limit() -> None:
    assert [_prepare(threads=t).grid for t in (1, 256, 257)] == [(1,), (1,), (2,)]
    assert _prepare(threads=10**12).grid == (launch.MAX_BLOCKS,)


@pytest.mark.parametrize(("size", "bits"), [(1000, 32), (1001, 64)])
def test_index_width_follows_the_largest_array(size: int, bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "_INDEX_LIMIT", 1000)
    x = np.ones(size, np.float32)
    ready = _prepare(threads=1, x=x, y=x.copy())
    assert ready.macros["INDEX_BITS"] == bits
    assert type(ready.arguments[3]) is (np.int32 if bits == 32 else np.int64)


def test_at_the_limit_the_last_step_of_a_grid_stride_loop_fits_32_bits() -> None:
    limit = launch._INDEX_LIMIT
    for threads in (limit, limit // 4):
        ready = _prepare(threads=threads)
        assert ready.macros["INDEX_BITS"] == 32
        assert limit + ready.grid[0] * ready.block[0] <= 2**31 - 1
    assert _prepare(threads=limit + 1).macros["INDEX_BITS"] == 64


@pytest.mark.parametrize(("reach", "bits"), [(1000, 32), (1001, 64)])
def test_index_width_follows_the_reach(reach: int, bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "_INDEX_LIMIT", 1000)
    started: list[launch.Launch] = []
    monkeypatch.setattr(launch, "run", lambda be, ready: started.append(ready))
    launch.launch(CPU, KERNEL, threads=1, reach=reach, **_arguments())
    assert started[0].macros["INDEX_BITS"] == bits


def test_no_threads_no_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[launch.Launch] = []
    monkeypatch.setattr(launch, "run", lambda be, ready: started.append(ready))
    empty = np.ones((0, 4), np.float32)
    launch.launch(CPU, KERNEL, threads=0, **_arguments(x=empty, y=empty, mask=np.ones((0, 4), bool), n=0))
    assert started == []
    launch.launch(CPU, KERNEL, threads=12, **_arguments())
    assert [ready.name for ready in started] == ["unit_forward"]


def test_run_compiles_once_for_the_backends_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate asks the compiler for the backend's architecture and hands over name, grid, block and arguments."""
    compiled: list[tuple[str, str]] = []
    calls: list[tuple[Any, ...]] = []

    class Compiled:
        path = "x.cubin"

    class Card:
        arch = "sm_90a"

        def run_kernel(self, *arguments: Any) -> None:
            calls.append(arguments)

    def compile_unit(unit: str, *, arch: str, macros: dict[str, Any]) -> type[Compiled]:
        compiled.append((unit, arch))
        return Compiled

    monkeypatch.setattr(launch, "compile_unit", compile_unit)
    launch._image.cache_clear()
    ready = _prepare(threads=300)
    launch.run(Card(), ready)
    launch.run(Card(), ready)
    launch._image.cache_clear()
    assert compiled == [("unit", "sm_90a")]
    assert calls == [("x.cubin", "unit_forward", (2,), (256,), ready.arguments, 0, False)] * 2


def test_a_grid_of_the_callers_own() -> None:
    ready = _prepare(Grid((3, 2, 5), (8, 4, 2), shared=96, macros={"TILE": 16}))
    assert (ready.grid, ready.block, ready.shared) == ((3, 2, 5), (8, 4, 2), 96)
    assert ready.macros == {"DTYPE_FLOAT32": 1, "INDEX_BITS": 32, "TILE": 16}
    assert _prepare(Grid((1,), (1,))).macros["TILE"] == _prepare().macros["TILE"] == 32
    assert _prepare(Grid((2**31 - 1, 2), (1,))).macros["INDEX_BITS"] == 64


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        (Grid((), (1,)), "'blocks' must be up to 3 sizes"),
        (Grid((1, 65536), (1,)), "'blocks' must be up to 3 sizes"),
        (Grid((-1,), (1,)), "'blocks' must be up to 3 sizes"),
        (Grid((1,), (1025,)), "'threads' must be up to 3 positive sizes, together at most 1024"),
        (Grid((1,), (1, 0)), "'threads' must be up to 3 positive sizes"),
        (Grid((1,), (1, 1, 65)), "the third at most 64"),
        (Grid((1,), (1,), macros={"TILE": 8}), r"must be of its variants \(TILE in \(32, 16\)\), got 'TILE=8'"),
        (Grid((1,), (1,), macros={"ROWS": 8}), "'macros' must be of its variants"),
    ],
)  # fmt: skip
def test_a_grid_that_not_every_card_runs_is_refused(grid: Grid, message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        _prepare(grid)


def test_more_shared_memory_than_a_card_has_is_refused() -> None:
    be = emulator.backend()
    most = be.shared_memory
    assert most > launch.MAX_SHARED
    assert prepare(be, KERNEL, threads=Grid((1,), (1,), shared=most), arguments=_arguments()).shared == most
    for asked, limit in ((most + 1, most), (-1, launch.MAX_SHARED)):
        with pytest.raises(ArgumentError, match=f"'shared' must be in 0..{limit} on emulated, got {asked}"):
            prepare(be, KERNEL, threads=Grid((1,), (1,), shared=asked), arguments=_arguments())


TABLES = Kernel("unit", "unit_step", {"p": "scalar*[3]", "g": "scalar*[3]", "m": "bool*[3]", "sizes": "index[3]"})


def _tables(**changed: Any) -> launch.Launch:
    arrays = [np.ones(n, np.float32) for n in (2, 5)]
    masks = [np.ones(n, bool) for n in (2, 5)]
    arguments = {"p": arrays, "g": [a.copy() for a in arrays], "m": masks, "sizes": [2, 5], **changed}
    return prepare(CPU, TABLES, threads=7, arguments=arguments)


@pytest.mark.parametrize(("limit", "dtype"), [(1000, np.int32), (4, np.int64)])
def test_tables_are_filled_up(monkeypatch: pytest.MonkeyPatch, limit: int, dtype: type) -> None:
    """Also the arrays in a table decide the width of an index."""
    monkeypatch.setattr(launch, "_INDEX_LIMIT", limit)
    p, _, _, sizes = _tables().arguments
    assert isinstance(p, tuple)
    assert [None if a is None else a.size for a in p] == [2, 5, None]
    assert isinstance(sizes, np.void)
    np.testing.assert_array_equal(np.frombuffer(sizes.tobytes(), dtype), [2, 5, 0])


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        (
            {"p": [np.ones(1, np.float32)] * 4},
            ArgumentError,
            "'p' must be a list of at most 3 entries, got '4 entries'",
        ),
        ({"sizes": [1, 2, 3, 4]}, ArgumentError, "'sizes' must be a list of at most 3 entries, got '4 entries'"),
        ({"p": np.ones(2, np.float32)}, ArgumentError, "'p' must be a list of at most 3 entries, got 'ndarray'"),
        ({"sizes": [2, 2**40]}, ArgumentError, r"'sizes' must be in -2147483648..2147483647"),
        ({"sizes": [2, 2.5]}, ArgumentError, "'sizes' must be an integer, got 2.5"),
        ({"p": [np.ones(2)]}, DtypeError, r"'g\[0\]' must be float64 as 'p\[0\]' is, got 'float32'"),
        ({"g": [np.ones(2, np.float32), np.ones(2, int)]}, DtypeError, r"'g\[1\]' must be one of float32"),
        ({"m": [np.ones(2, np.uint8)]}, DtypeError, r"'m\[0\]' must be bool, got 'uint8'"),
        ({"p": [np.ones(4, np.float32)[::2]]}, ShapeError, r"'p\[0\]' must be contiguous"),
        ({"p": [[1.0]]}, DeviceError, r"'p\[0\]' must be an array of cpu, got 'builtins.list'"),
    ],
)
def test_refuses_in_a_table(changed: dict[str, Any], error: type[NNLabError], message: str) -> None:
    with pytest.raises(error, match=message):
        _tables(**changed)
