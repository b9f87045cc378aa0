"""The CUDA backend without a GPU: why it cannot be used, which architecture is compiled for, out of memory."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nnlab.backend import cuda, get_backend, resolve
from nnlab.errors import DeviceError, MissingExtraError, OutOfMemoryError


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """The answers are kept for the life of a process: ask anew in each test, and forget the test's."""

    def clear() -> None:
        cuda._cupy.cache_clear()
        cuda.why_unusable.cache_clear()

    clear()
    yield
    clear()


def _fake_cupy(monkeypatch: pytest.MonkeyPatch, **runtime: Any) -> None:
    """A CuPy whose driver gives these answers. Defaults: driver 13.0, CuPy for 13.0, one card 9.0, NVRTC 13.0."""
    answers = {"driver": 13000, "built": 13000, "count": 1, "capability": (9, 0), "archs": (75, 80, 90), **runtime}

    def count() -> int:
        if isinstance(answers["count"], Exception):
            raise answers["count"]
        return answers["count"]

    def nvrtc_version() -> tuple[int, int]:
        if answers["archs"] is None:
            raise RuntimeError("libnvrtc.so not found")
        return 13, 0

    major, minor = answers["capability"]
    module: Any = ModuleType("cupy")
    module.__version__ = "14.2.0"
    module.cuda = SimpleNamespace(
        runtime=SimpleNamespace(
            driverGetVersion=lambda: answers["driver"],
            runtimeGetVersion=lambda: answers["built"],
            getDeviceCount=count,
            getDeviceProperties=lambda index: {"major": major, "minor": minor},
        ),
        nvrtc=SimpleNamespace(getVersion=nvrtc_version, getSupportedArchs=lambda: answers["archs"]),
    )
    monkeypatch.setitem(sys.modules, "cupy", module)


def test_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_cupy(monkeypatch)
    assert cuda.why_unusable() is None
    assert cuda.device_count() == 1
    assert resolve("auto") == ("cuda:0", "a usable GPU was found")


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        ({"driver": 0}, "no NVIDIA driver was found"),
        ({"driver": 11080}, r"driver is too old: it supports CUDA 11.8"),
        ({"driver": 12040}, r"supports CUDA 12.4, this CuPy is built for CUDA 13.0; .* install the extra cuda12"),
        ({"count": 0}, "reports no GPU"),
        ({"count": RuntimeError("cudaErrorNoDevice")}, r"no usable GPU \(cudaErrorNoDevice\)"),
        ({"archs": None}, r"NVRTC cannot be loaded \(libnvrtc.so not found\); pip install 'nnlab\[cuda13\]'"),
        (
            {"capability": (7, 0)},
            r"NVRTC 13.0 does not compile for compute capability 7.0; pip install 'nnlab\[cuda12\]'",
        ),
        ({"capability": (13, 0)}, r"does not compile for compute capability 13.0; pip install 'nnlab\[cuda13\]'"),
    ],
)
def test_reasons(monkeypatch: pytest.MonkeyPatch, answers: dict[str, Any], reason: str) -> None:
    _fake_cupy(monkeypatch, **answers)
    why = cuda.why_unusable()
    assert why is not None
    assert re.search(reason, why), why


def test_cupy_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert "CuPy is not installed; pip install 'nnlab[cuda13]'" in str(cuda.why_unusable())
    assert cuda.cupy_version() is None
    assert cuda.driver_and_runtime() is None
    with pytest.raises(MissingExtraError, match="CuPy is not installed"):
        cuda.nvrtc()
    device, why = resolve("auto")
    assert device == "cpu"
    assert "CuPy is not installed" in why


@pytest.mark.parametrize("error", [ImportError("libcublas.so: cannot open"), ModuleNotFoundError("no x", name="x")])
def test_cupy_cannot_be_imported(monkeypatch: pytest.MonkeyPatch, error: ImportError) -> None:
    """Installed but broken is told apart from not installed, and the exception's text is kept."""

    def fail(name: str) -> ModuleType:
        raise error

    monkeypatch.setattr(importlib, "import_module", fail)
    why = str(cuda.why_unusable())
    assert "CuPy is installed but cannot be imported" in why
    assert str(error) in why


def test_asking_for_an_unusable_gpu_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_cupy(monkeypatch, driver=0)
    with pytest.raises(DeviceError, match=r"'cuda:0' is not usable: no NVIDIA driver was found"):
        get_backend("cuda")


@pytest.mark.parametrize(
    ("capability", "supported", "expected"),
    [
        ((9, 0), (75, 80, 90), "sm_90a"),
        ((8, 6), (75, 80, 86, 90), "sm_86"),
        ((8, 9), (75, 80, 86, 90), "sm_86"),
        ((12, 1), (90, 100, 120), "sm_120"),
        ((12, 0), (90, 100, 120), "sm_120a"),
        ((7, 0), (75, 80, 90), None),
        ((13, 0), (90, 100, 120), None),
    ],
)
def test_pick_arch(capability: tuple[int, int], supported: tuple[int, ...], expected: str | None) -> None:
    assert cuda.pick_arch(capability, supported) == expected


def test_out_of_memory_names_device_and_bytes() -> None:
    class Pool:
        def malloc(self, size: int) -> str:
            if size > 100:
                raise LookupError("Out of memory allocating")
            return f"pointer to {size}"

    malloc = cuda.allocator(Pool(), LookupError, lambda: "cuda:0")
    assert malloc(100) == "pointer to 100"
    with pytest.raises(OutOfMemoryError, match=r"\[cuda:0\] out of GPU memory asking for 1,234,567 bytes"):
        malloc(1234567)


def test_a_kernel_is_loaded_once_and_started_on_its_card(monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_cupy(monkeypatch, count=2, capability=(8, 6), archs=(75, 80, 86))
    log: list[tuple[Any, ...]] = []
    functions: list[Any] = []

    class Module:
        def __init__(self, path: str, enable_cooperative_groups: bool) -> None:
            log.append(("load", path, enable_cooperative_groups))

        def get_function(self, name: str) -> Any:
            def start(grid: Any, block: Any, arguments: Any, shared_mem: int) -> None:
                log.append((name, grid, block, arguments, shared_mem))

            functions.append(start)
            return start

    module: Any = sys.modules["cupy"]
    module.RawModule = Module
    module.cuda.Device = lambda index: SimpleNamespace(
        use=lambda: log.append(("use", index)),
        attributes={"MultiProcessorCount": 20, "MaxSharedMemoryPerBlockOptin": 101376},
    )
    monkeypatch.setattr(cuda, "_install_allocator", lambda: None)
    be = cuda.CudaBackend(1)
    assert (be.device, be.arch, be.tensor_cores, be.shared_memory) == ("cuda:1", "sm_86", True, 99 << 10)
    for _ in range(2):
        be.run_kernel(Path("k.cubin"), "op_forward", (3,), (16, 16), [1, 2], 96)
    start = ("op_forward", (3,), (16, 16), (1, 2), 96)
    assert log == [("use", 1), ("load", "k.cubin", False), start, ("use", 1), start]
    be.run_kernel(Path("k.cubin"), "op_forward", (3,), (16, 16), [1, 2], 96, cooperative=True)
    assert log[5:] == [("use", 1), ("load", "k.cubin", True), start]
    assert be.blocks_together(256) == 20
    assert not hasattr(functions[0], "max_dynamic_shared_size_bytes")  # 96 bytes need not be asked for
    for asked in (49153, 70000, 60000):
        be.run_kernel(Path("k.cubin"), "op_forward", (3,), (16, 16), [1, 2], asked)
    assert functions[0].max_dynamic_shared_size_bytes == 70000
    log.clear()
    arrays = [SimpleNamespace(data=SimpleNamespace(ptr=address)) for address in (2**40, 256)]
    be.run_kernel(Path("k.cubin"), "op_forward", (3,), (16, 16), [(*arrays, None), np.void(b"sixteen bytes...")], 96)
    pointers, numbers = log[-1][3]
    assert (pointers.size, numbers.size) == (1, 1)
    assert pointers.tobytes() == np.array([2**40, 256, 0], np.uint64).tobytes()
    assert numbers.tobytes() == b"sixteen bytes..."
    with pytest.raises(DeviceError, match=r"'cuda:2' does not exist, the driver shows 2 card\(s\)"):
        cuda.CudaBackend(2)


def test_elapsed_flushes_the_cache_and_asks_the_cards_events(monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_cupy(monkeypatch, count=1, capability=(9, 0), archs=(75, 80, 90))
    log: list[str] = []

    class Event:
        def record(self) -> None:
            log.append("record")

        def synchronize(self) -> None:
            log.append("wait")

    module: Any = sys.modules["cupy"]
    module.cuda.Device = lambda index: SimpleNamespace(use=lambda: None, attributes={"L2CacheSize": 50})
    module.cuda.Event = Event
    module.cuda.get_elapsed_time = lambda start, end: 2.5 if start is not end else 0.0
    module.empty = lambda size, dtype: SimpleNamespace(fill=lambda value: log.append(f"fill {size}"))
    monkeypatch.setattr(cuda, "_install_allocator", lambda: None)
    be = cuda.CudaBackend(0)
    for _ in range(2):
        assert be.elapsed(lambda: log.append("call")) == 0.0025
    assert log == ["fill 100", "record", "call", "record", "wait"] * 2
    assert be.versions().keys() == {"cupy", "cuda", "driver", "nvrtc"}
