"""Recording a step on a GPU, with a stand-in for CuPy and cuBLAS: the order of calls, and which products are made."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nnlab.backend import Device, cublas, cuda
from nnlab.backend.graphs import Numbers, draw, numbers
from nnlab.errors import CaptureError, DeviceError
from nnlab.precision import set_float32_matmul_precision


class Array(np.ndarray):
    """A NumPy array with the address where CuPy has it."""

    @property
    def data(self) -> Any:  # type: ignore[override]
        return SimpleNamespace(ptr=self.ctypes.data)


def put(array: np.ndarray) -> Array:
    return array.view(Array)


CUPY = SimpleNamespace(
    empty=lambda shape, dtype=float: put(np.full(shape, 7, dtype)),
    asarray=lambda a: put(np.array(a)),
    ascontiguousarray=lambda a: put(np.ascontiguousarray(a)),
    broadcast_to=lambda a, shape: put(np.broadcast_to(a, shape)),
    matmul=np.matmul,
    add=np.add,
)


class Library:
    """cuBLAS: column-major products, by NumPy."""

    dtypes = {0: np.float32, 1: np.float64, 2: np.float16}

    def __init__(self, log: list[Any]) -> None:
        self.log = log

    def cublasCreate_v2(self, handle: Any) -> int:
        handle._obj.value = 77
        return 0

    def cublasSetStream_v2(self, handle: Any, stream: Any) -> int:
        self.log.append(("stream", handle.value, stream.value))
        return 0

    def cublasSetWorkspace_v2(self, handle: Any, place: Any, size: Any) -> int:
        self.log.append(("workspace", handle.value, place.value, size.value))
        return 0

    def cublasSetMathMode(self, handle: Any, mode: Any) -> int:
        self.log.append(("math", mode.value))
        return 0

    def _matrix(self, place: Any, kind: Any, leading: int, columns: int, shift: int = 0) -> np.ndarray:
        """(leading, columns), column-major."""
        dtype = np.dtype(self.dtypes[kind.value])
        count = leading * columns
        raw = (ctypes.c_char * (count * dtype.itemsize)).from_address(place.value + shift * dtype.itemsize)
        return np.frombuffer(raw, dtype).reshape(columns, leading).T

    def _product(self, flips: Any, sizes: Any, scales: Any, a: Any, b: Any, c: Any, shifts: Any, how: Any) -> None:
        m, n, k = sizes
        assert [number._obj.value for number in scales] == [1, 0]
        wide = ctypes.c_double if a[1].value == 1 else ctypes.c_float
        assert all(isinstance(number._obj, wide) for number in scales)
        assert how == ((70 if a[1].value == 1 else 68), 99)
        left = self._matrix(a[0], a[1], a[2], m if flips[0] else k, shifts[0])
        right = self._matrix(b[0], b[1], b[2], k if flips[1] else n, shifts[1])
        left, right = left.T if flips[0] else left, right.T if flips[1] else right
        target = self._matrix(c[0], c[1], c[2], n, shifts[2])
        target[:m] = left[:m, :k].astype(np.float64) @ right[:k, :n].astype(np.float64)

    def cublasGemmEx(self, handle: Any, *given: Any) -> int:
        v = [g.value if isinstance(g, ctypes.c_int) else g for g in given]
        (ta, tb, m, n, k, one, a, ka, lda, b, kb, ldb, zero, c, kc, ldc, compute, algorithm) = v
        kinds = [ctypes.c_int(kind) for kind in (ka, kb, kc)]
        self.log.append("gemm")
        self._product(
            (ta, tb), (m, n, k), (one, zero), (a, kinds[0], lda), (b, kinds[1], ldb), (c, kinds[2], ldc), (0, 0, 0),
            (compute, algorithm),
        )  # fmt: skip
        return 0

    def cublasGemmStridedBatchedEx(self, handle: Any, *given: Any) -> int:
        v = [g.value if isinstance(g, ctypes.c_int | ctypes.c_longlong) else g for g in given]
        (ta, tb, m, n, k, one, a, ka, lda, sa, b, kb, ldb, sb, zero, c, kc, ldc, sc, count, compute, algorithm) = v
        kinds = [ctypes.c_int(kind) for kind in (ka, kb, kc)]
        self.log.append("batched")
        for i in range(count):
            self._product(
                (ta, tb), (m, n, k), (one, zero), (a, kinds[0], lda), (b, kinds[1], ldb), (c, kinds[2], ldc),
                (i * sa, i * sb, i * sc), (compute, algorithm),
            )  # fmt: skip
        return 0


def _layouts(rng: np.random.Generator, *shape: int) -> list[np.ndarray]:
    """The same size in several orders of memory: row-major, transposed, a part of a larger one."""
    plain = rng.standard_normal(shape)
    turned = rng.standard_normal((*shape[:-2], shape[-1], shape[-2])).swapaxes(-1, -2)
    part = rng.standard_normal((*shape[:-1], shape[-1] + 3))[..., 1:-2]
    return [plain, turned, part]


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("sizes", [(3, 4, 5), (1, 4, 5), (3, 1, 5), (3, 4, 1), (2, 7, 2)])
def test_products(dtype: str, sizes: tuple[int, int, int]) -> None:
    rng, log = np.random.default_rng(2), []
    products = cublas.Cublas(Library(log), tensor_cores=True)
    rows, depth, columns = sizes
    tolerance = {"float16": 5e-3, "float32": 1e-5, "float64": 1e-12}[dtype]
    for a in _layouts(rng, rows, depth):
        for b in _layouts(rng, depth, columns):
            left, right = put(a.astype(dtype, order="K")), put(b.astype(dtype, order="K"))
            want = left.astype(np.float64) @ right.astype(np.float64)
            np.testing.assert_allclose(products.matmul(CUPY, left, right), want, tolerance, tolerance)
            for out in (np.full((rows, columns), 9, dtype), np.full((rows, columns + 2), 9, dtype)[:, 1:-1]):
                assert products.matmul(CUPY, left, right, out=put(out)) is not None
                np.testing.assert_allclose(out, want, tolerance, tolerance)
    assert log == ["gemm"] * 27


@pytest.mark.parametrize(
    ("first", "second"), [((2, 3), (2, 3)), ((), (2, 3)), ((2, 3), ()), ((2, 1), (1, 3)), ((1,), (4,))]
)
def test_batches(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    rng, log = np.random.default_rng(3), []
    products = cublas.Cublas(Library(log), tensor_cores=True)
    for a in _layouts(rng, *first, 3, 4):
        for b in _layouts(rng, *second, 4, 5):
            found = products.matmul(CUPY, put(a), put(b))
            np.testing.assert_allclose(found, a @ b, 1e-12, 1e-12)
    assert log == ["batched"] * 9


def test_what_needs_no_cublas_is_left_to_cupy() -> None:
    log: list[Any] = []
    products = cublas.Cublas(Library(log), tensor_cores=False)
    ones = [np.ones(shape) for shape in ((1, 4), (4, 1), (4,), (0, 4), (4, 2))]
    for a, b in (
        (ones[0], ones[1]),
        (ones[2], ones[2]),
        (ones[3], ones[4]),
        (ones[0].astype(int), ones[4].astype(int)),
    ):
        np.testing.assert_array_equal(products.matmul(CUPY, put(a), put(b)), a @ b)
    assert log == []


def test_a_failure_is_named() -> None:
    library = Library([])
    library.cublasSetStream_v2 = lambda handle, stream: 7  # type: ignore[method-assign]
    with pytest.raises(DeviceError, match=r"\[cublas\] cublasSetStream_v2 failed with status 7"):
        cublas.Cublas(library, True).use(1, 2, 3)


class Stream:
    def __init__(self, world: World, name: str) -> None:
        self.world, self.name, self.ptr = world, name, 5 if name == "own" else 0

    def __enter__(self) -> Stream:
        self.world.stack.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        self.world.stack.pop()

    def record(self, event: Any) -> Any:
        self.world.log.append(f"record on {self.name}")
        return event

    def wait_event(self, event: Any) -> None:
        self.world.log.append(f"{self.name} waits")

    def begin_capture(self) -> None:
        assert self.world.stack[-1] is self, "the captured stream is not the current one"
        self.world.log.append("begin")

    def end_capture(self) -> Any:
        self.world.log.append("end")
        if self.world.spoilt:
            raise RuntimeError("cudaErrorStreamCaptureInvalidated")
        return SimpleNamespace(launch=lambda stream: self.world.log.append(f"launch on {stream.name}"))


class World:
    """The part of CuPy that a recording uses."""

    def __init__(self) -> None:
        self.log: list[Any] = []
        self.spoilt = False
        self.allocators: list[Any] = ["default"]
        self.stack = [Stream(self, "outer")]
        pool = SimpleNamespace(malloc=lambda size: size)
        pinned = SimpleNamespace(malloc=lambda size: f"{size} pinned bytes")
        self.pinned: Any = pinned.malloc
        self.module = SimpleNamespace(**vars(CUPY), ndarray=np.ndarray, get_default_pinned_memory_pool=lambda: pinned)
        self.module.cuda = SimpleNamespace(
            Stream=lambda non_blocking: Stream(self, "own"), MemoryPool=lambda: pool,
            Event=lambda disable_timing: object(), get_current_stream=lambda: self.stack[-1],
            set_pinned_memory_allocator=lambda malloc: setattr(self, "pinned", malloc),
            using_allocator=self.using, get_cublas_handle=lambda: 1,
            memory=SimpleNamespace(OutOfMemoryError=LookupError),
            runtime=SimpleNamespace(
                runtimeGetVersion=lambda: 13000, getDeviceProperties=lambda index: {"major": 9, "minor": 0}
            ),
        )  # fmt: skip

    @contextmanager
    def using(self, allocator: Any) -> Iterator[None]:
        self.allocators.append(allocator)
        try:
            yield
        finally:
            self.allocators.pop()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()
    monkeypatch.setitem(sys.modules, "cupy", world.module)
    monkeypatch.setattr(cublas, "load", lambda version: Library(world.log))
    return world


@pytest.fixture
def be(world: World) -> Any:
    be: Any = cuda.CudaBackend.__new__(cuda.CudaBackend)
    be._cupy, be._card, be._thread = world.module, SimpleNamespace(use=lambda: None), threading.local()
    be.device, be.tensor_cores = Device("cuda"), True
    return be


def test_a_step_is_recorded_in_its_own_memory_and_launched(world: World, be: Any) -> None:
    recording = be.recording()
    _, place, size = world.log[1][1:]
    assert world.log == [("stream", 77, 5), ("workspace", 77, place, 32 << 20)]
    assert size == 32 << 20
    assert place == recording._lane.workspace.data.ptr
    assert be.recording()._lane is recording._lane  # one handle and workspace for all
    assert len(world.log) == 2
    world.log.clear()
    with recording.working:
        assert be.xp is not world.module
        assert be.xp.add is np.add
        assert world.stack[-1].name == "own"
        assert world.allocators[-1](3) == 3
    assert be.xp is world.module
    assert world.log == ["record on outer", "own waits", "record on own", "outer waits"]
    world.log.clear()
    with recording.recorded([]):
        with be.products():
            be.xp.matmul(put(np.ones((2, 3))), put(np.ones((3, 2))))
        assert world.allocators[-1](3) == 3
    assert world.log == ["begin", ("math", 0), "gemm", "end"]
    assert world.allocators == ["default"]
    world.log.clear()
    with recording.working:
        recording.launch()
    assert world.log == ["record on outer", "own waits", "launch on own", "record on own", "outer waits"]


def test_tf32_is_the_handles_own_setting(world: World, be: Any) -> None:
    recording = be.recording()
    set_float32_matmul_precision("high")
    try:
        world.log.clear()
        with recording.working, be.products():
            pass
    finally:
        set_float32_matmul_precision("highest")
    assert ("math", 3) in world.log


@pytest.mark.parametrize("spoilt", [False, True])
def test_what_goes_wrong_ends_the_capture(world: World, be: Any, spoilt: bool) -> None:
    recording = be.recording()
    world.spoilt = spoilt
    world.log.clear()
    places = Numbers(be, recording)
    for look in (lambda: be.to_numpy(put(np.ones(2))), be.synchronize, lambda: be.asarray(np.ones(2))):
        with pytest.raises(CaptureError, match=r"\[graph\] the step "), places.record(), recording.recorded([]):
            look()
    assert world.log == ["begin", "end"] * 3
    assert (world.allocators, be.xp) == (["default"], world.module)
    if spoilt:
        with pytest.raises(RuntimeError, match="Invalidated"), recording.recorded([]):
            pass
        assert be.xp is world.module


def test_numbers_keep_their_places(world: World, be: Any) -> None:
    places = Numbers(be, be.recording())
    p = put(np.ones(3))
    with places.record():
        first = numbers(be, [0.5, 2.0], arrays=[p], flags=("a",))
        drawn = draw(be, 2**64 - 1, 7)
    with places.renew():
        assert numbers(be, [0.25, 3.0], arrays=[p], flags=("a",)) is None
    places.draw_again(5, 2**64 - 5)
    places.write()
    assert first.tolist() == [0.25, 3.0]
    assert drawn.tolist() == [5, 2]
    assert numbers(be, [0.1]).tolist() == [0.1]
    assert draw(be, 3, 4).tolist() == [3, 4]


def test_a_copy_of_cupys_own_from_the_host_is_refused(world: World, be: Any) -> None:
    recording = be.recording()
    places = Numbers(be, recording)
    refused = pytest.raises(CaptureError, match="copies numbers from the host")
    with refused, places.record(), recording.recorded([]):
        world.pinned(8)
    with recording.recorded([]):
        assert world.pinned(8) == "8 pinned bytes"  # another thread's
    assert world.pinned is world.module.get_default_pinned_memory_pool().malloc


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_many_arrays_are_joined_without_a_table(world: World, be: Any, axis: int) -> None:
    parts = [put(np.random.default_rng(i).standard_normal((2, 3, 4))) for i in range(9)]
    with be.recording().working:
        found = be.xp.concatenate(parts, axis=axis)
    np.testing.assert_array_equal(found, np.concatenate(parts, axis=axis))
