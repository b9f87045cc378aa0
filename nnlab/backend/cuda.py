"""NVIDIA GPUs: CuPy arrays. The only file of nnlab that imports CuPy, and it does so inside functions.

"CuPy is installed" and "a GPU is usable" are different things: :func:`why_unusable` tells them apart and remembers
the reason. CuPy's NVRTC binding works without any driver, which is how kernels are compiled on a machine without a GPU.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from nnlab.backend import Device, graphs
from nnlab.errors import ArgumentError, DeviceError, MissingExtraError, OutOfMemoryError, complaint
from nnlab.precision import get_float32_matmul_precision

EXTRAS = "pip install 'nnlab[cuda13]' or, for older cards and drivers, 'nnlab[cuda12]'"
OLDEST_DRIVER = 12000
CUBLAS_TF32_TENSOR_OP_MATH = 3  # cublasMath_t
_NO_LIBRARY = (ImportError, OSError, RuntimeError)  # what CuPy raises for a missing or broken library


@cache
def _cupy() -> ModuleType | str:
    """CuPy, or why it cannot be had."""
    try:
        return importlib.import_module("cupy")
    except ModuleNotFoundError as error:
        if error.name == "cupy":
            return f"CuPy is not installed; {EXTRAS}"
        return f"CuPy is installed but cannot be imported ({type(error).__name__}: {error})"
    except _NO_LIBRARY as error:
        return f"CuPy is installed but cannot be imported ({type(error).__name__}: {error})"


def cupy_version() -> str | None:
    """CuPy's version, None if it cannot be imported."""
    cupy = _cupy()
    return None if isinstance(cupy, str) else str(cupy.__version__)


def nvrtc() -> ModuleType:
    """CuPy's binding of NVRTC, the run-time compiler. Needs neither a driver nor a GPU.

    Raises:
        MissingExtraError: CuPy or NVRTC is not installed or cannot be loaded.
    """
    cupy = _cupy()
    if isinstance(cupy, str):
        raise MissingExtraError(f"[nvrtc] {cupy}")
    try:
        module: ModuleType = cupy.cuda.nvrtc
        module.getVersion()
    except _NO_LIBRARY as error:
        raise MissingExtraError(f"[nvrtc] the compiler NVRTC cannot be loaded ({error}); {EXTRAS}") from error
    return module


def pick_arch(capability: tuple[int, int], supported: Sequence[int]) -> str | None:
    """The architecture to compile for.

    Args:
        capability: the card's compute capability, e.g. ``(9, 0)``.
        supported: what NVRTC compiles for, e.g. ``(75, 80, 90)``.

    Returns:
        ``"sm_90a"`` where the card itself is known (from 9.0 on with its own instructions), else the newest older
        architecture of the same generation, which the card runs too; None if there is none.
    """
    major, minor = capability
    exact = 10 * major + minor
    if exact in supported:
        return f"sm_{exact}{'a' if major >= 9 else ''}"
    older = [arch for arch in supported if arch // 10 == major and arch < exact]
    return f"sm_{max(older)}" if older else None


def version_text(number: int) -> str:
    """A CUDA version as people write it: 13020 is ``"13.2"``."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _why_unusable(cupy: ModuleType) -> str | None:
    runtime = cupy.cuda.runtime
    driver = int(runtime.driverGetVersion())
    built = int(runtime.runtimeGetVersion())
    if driver == 0:
        return "no NVIDIA driver was found"
    if driver < max(OLDEST_DRIVER, built // 1000 * 1000):
        return (
            f"the NVIDIA driver is too old: it supports CUDA {version_text(driver)}, this CuPy is built for CUDA "
            f"{version_text(built)}; update the driver or install the extra cuda12"
        )
    try:
        count = int(runtime.getDeviceCount())
    except RuntimeError as error:
        return f"the NVIDIA driver reports no usable GPU ({error})"
    if count == 0:
        return "the NVIDIA driver reports no GPU"
    try:
        supported = nvrtc().getSupportedArchs()
    except MissingExtraError as error:
        return str(error)
    capability = compute_capability(0)
    if pick_arch(capability, supported) is None:
        extra = "cuda12" if 10 * capability[0] + capability[1] < min(supported) else "cuda13"
        return (
            f"NVRTC {nvrtc_version()} does not compile for compute capability {capability[0]}.{capability[1]}; "
            f"pip install 'nnlab[{extra}]'"
        )
    return None


@cache
def why_unusable() -> str | None:
    """None if a GPU can be used, else the reason. The answer is kept; asking never raises."""
    cupy = _cupy()
    if isinstance(cupy, str):
        return cupy
    try:
        return _why_unusable(cupy)
    except _NO_LIBRARY as error:
        return f"CuPy could not ask the driver ({type(error).__name__}: {error})"


def nvrtc_version() -> str:
    """NVRTC's version, e.g. ``"13.0"``."""
    return ".".join(map(str, nvrtc().getVersion()))


def compute_capability(index: int) -> tuple[int, int]:
    """A card's compute capability, e.g. ``(9, 0)``."""
    properties = importlib.import_module("cupy").cuda.runtime.getDeviceProperties(index)
    return int(properties["major"]), int(properties["minor"])


def bus_id(index: int) -> str:
    """A card's place on the PCI bus, the name by which all tools know it."""
    return str(importlib.import_module("cupy").cuda.runtime.deviceGetPCIBusId(index))


def device_count() -> int:
    """How many cards the driver shows; 0 if a GPU is not usable."""
    return 0 if why_unusable() else int(importlib.import_module("cupy").cuda.runtime.getDeviceCount())


def driver_and_runtime() -> tuple[int, int] | None:
    """CUDA versions of the driver (0: none) and of CuPy's runtime as CUDA writes them (13020), None without CuPy."""
    cupy = _cupy()
    if isinstance(cupy, str):
        return None
    try:
        return int(cupy.cuda.runtime.driverGetVersion()), int(cupy.cuda.runtime.runtimeGetVersion())
    except _NO_LIBRARY:
        return None


def allocator(pool: Any, out_of_memory: type[BaseException], describe: Callable[[], str]) -> Callable[[int], Any]:
    """``pool.malloc`` with CuPy's out-of-memory error as nnlab's."""

    def malloc(size: int) -> Any:
        try:
            return pool.malloc(size)
        except out_of_memory as error:
            raise OutOfMemoryError(f"[{describe()}] out of GPU memory asking for {size:,} bytes ({error})") from error

    return malloc


@cache
def _install_allocator() -> None:
    """Every CuPy allocation of this process goes through :func:`allocator`, unless the user chose an allocator."""
    cupy = importlib.import_module("cupy")
    pool = cupy.get_default_memory_pool()
    if cupy.cuda.get_allocator() == pool.malloc:
        device = cupy.cuda.Device
        describe = lambda: f"cuda:{device().id}"  # noqa: E731
        cupy.cuda.set_allocator(allocator(pool, cupy.cuda.memory.OutOfMemoryError, describe))


SHARED_UNASKED = 48 << 10  # bytes of dynamic shared memory that every kernel may have


class CudaBackend:
    """One GPU behind the :class:`nnlab.backend.Backend` interface.

    Args:
        index: number of the card.

    Raises:
        DeviceError: there is no such card.
    """

    host_memory = False

    def __init__(self, index: int) -> None:
        count = device_count()
        if index >= count:
            raise DeviceError(f"[device] 'cuda:{index}' does not exist, the driver shows {count} card(s)")
        self._cupy: Any = importlib.import_module("cupy")
        _install_allocator()
        self.device = Device("cuda", index)
        self._card = self._cupy.cuda.Device(index)
        arch = pick_arch(compute_capability(index), nvrtc().getSupportedArchs())
        if arch is None:
            raise DeviceError(f"[device] 'cuda:{index}' is not usable: NVRTC {nvrtc_version()} does not compile for it")
        self.arch: str = arch
        self.tensor_cores = compute_capability(index) >= (8, 0)  # whether kernels may use mma.sync
        self._flush: Any = None  # memory that fills the cache
        self._thread = threading.local()  # its array module, where that is not CuPy itself
        self._functions: dict[tuple[Path, str, bool], Any] = {}
        self._shared: dict[tuple[Path, str, bool], int] = {}  # bytes that were asked for them

    @property
    def xp(self) -> Any:
        """CuPy, with this card made the current one of the calling thread."""
        self._card.use()
        return getattr(self._thread, "module", self._cupy)

    def asarray(self, host: np.ndarray) -> Any:
        graphs.refuse("copies numbers from the host")
        return self.xp.asarray(host)

    def to_numpy(self, array: Any) -> np.ndarray:
        graphs.refuse("looks at values on the host")
        result: np.ndarray = self.xp.asnumpy(array)
        return result

    def is_array(self, value: Any) -> bool:
        return isinstance(value, self._cupy.ndarray) and value.device.id == self.device.index

    def from_dlpack(self, value: Any) -> Any:
        return self.xp.from_dlpack(value)

    def synchronize(self) -> None:
        graphs.refuse("waits for the device")
        self._card.synchronize()

    def recording(self) -> graphs.Recording:
        """A new recording of a step; see :class:`nnlab.backend.graphs.Recording`."""
        from nnlab.backend.capture import CudaRecording

        return CudaRecording(self, self._thread)

    def quiet(self) -> AbstractContextManager[None]:
        """A GPU never warns of 0/0; inside the context this card is the current one of the calling thread."""
        card: AbstractContextManager[None] = self._cupy.cuda.Device(self.device.index)
        return card

    def products(self) -> AbstractContextManager[None]:
        own = getattr(self._thread, "module", None)
        if own is not None:
            return own.products()
        return nullcontext() if get_float32_matmul_precision() == "highest" else _tf32()

    def memory_info(self) -> dict[str, int]:
        """Bytes: ``free`` and ``total`` of the card, ``used`` and ``reserved`` by this process' memory pool."""
        free, total = self._card.mem_info
        pool = self.xp.get_default_memory_pool()
        return {"free": free, "total": total, "used": pool.used_bytes(), "reserved": pool.total_bytes()}

    def set_memory_limit(self, limit: int) -> None:
        """Let this process' memory pool take at most ``limit`` bytes of the card (0: no limit)."""
        if limit < 0:
            raise ArgumentError(complaint("set_memory_limit", "limit", "not be negative", limit))
        self.xp.get_default_memory_pool().set_limit(size=limit)

    def empty_cache(self) -> None:
        """Give the memory pool's unused blocks back to the card."""
        self.xp.get_default_memory_pool().free_all_blocks()

    def name(self) -> str:
        """The card's name, e.g. ``"NVIDIA H200"``."""
        return str(self.xp.cuda.runtime.getDeviceProperties(self.device.index)["name"].decode())

    def versions(self) -> dict[str, str]:
        """Versions of CuPy, of the CUDA that it was built for, of the one that the driver supports, and of NVRTC."""
        runtime = self.xp.cuda.runtime
        return {
            "cupy": str(self.xp.__version__),
            "cuda": version_text(int(runtime.runtimeGetVersion())),
            "driver": version_text(int(runtime.driverGetVersion())),
            "nvrtc": nvrtc_version(),
        }

    def elapsed(self, call: Callable[[], Any]) -> float:
        """Seconds that the card takes for what ``call`` starts, with nothing of it in the card's L2 cache before."""
        xp = self.xp
        if self._flush is None:
            self._flush = xp.empty(2 * int(self._card.attributes["L2CacheSize"]), np.uint8)
        self._flush.fill(0)
        start, end = xp.cuda.Event(), xp.cuda.Event()
        start.record()
        call()
        end.record()
        end.synchronize()
        return float(xp.cuda.get_elapsed_time(start, end)) / 1e3

    @property
    def shared_memory(self) -> int:
        """Bytes of shared memory that a block may ask for."""
        return int(self._card.attributes["MaxSharedMemoryPerBlockOptin"])

    def blocks_together(self, threads: int) -> int:
        """How many blocks of so many threads a cooperative launch may have: one for each multiprocessor."""
        return int(self._card.attributes["MultiProcessorCount"])

    def run_kernel(
        self,
        cubin: Path,
        name: str,
        grid: tuple[int, ...],
        block: tuple[int, ...],
        arguments: Sequence[Any],
        shared: int = 0,
        cooperative: bool = False,
    ) -> None:
        """Start a kernel of a cubin file. Only :mod:`nnlab.cuda.launch`, which has checked everything, calls this."""
        key, cupy = (cubin, name, cooperative), self.xp
        function = self._functions.get(key)
        if function is None:
            module = cupy.RawModule(path=str(cubin), enable_cooperative_groups=cooperative)
            function = self._functions[key] = module.get_function(name)
        if shared > self._shared.get(key, SHARED_UNASKED):
            function.max_dynamic_shared_size_bytes = self._shared[key] = shared
        function(grid, block, tuple(map(_by_value, arguments)), shared_mem=shared)


@contextmanager
def _tf32() -> Iterator[None]:
    """cuBLAS may use TF32 for the current card's float32 products of this thread, batched ones too.

    CuPy's own setting is the process', and leaves out batches.
    """
    cublas = importlib.import_module("cupy_backends.cuda.libs.cublas")
    handle = importlib.import_module("cupy").cuda.get_cublas_handle()
    before = cublas.getMathMode(handle)
    cublas.setMathMode(handle, CUBLAS_TF32_TENSOR_OP_MATH)
    try:
        yield
    finally:
        cublas.setMathMode(handle, before)


def _by_value(argument: Any) -> Any:
    """Tables as CuPy passes a struct by value: an array of NumPy with one element."""
    if isinstance(argument, tuple):
        addresses = np.array([0 if array is None else array.data.ptr for array in argument], np.uint64)
        return addresses.view(f"V{addresses.nbytes}")
    return np.array([argument]) if isinstance(argument, np.void) else argument
