"""``nnlab doctor``: what this machine offers to nnlab, and why something cannot be used."""

from __future__ import annotations

import importlib.metadata
import json as jsonlib
import os
import platform
import sys
from typing import TYPE_CHECKING, Any

import nnlab
from nnlab import cache
from nnlab.backend import cuda, emulated, resolve
from nnlab.cuda import compiler, sources, tuned
from nnlab.errors import MissingExtraError, NNLabError, optional_import

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.panel import Panel

# Distribution, import name, and the extra that brings it ("" for what is always installed).
PACKAGES = (
    ("numpy", ""),
    ("safetensors", ""),
    ("threadpoolctl", ""),
    ("rich", ""),
    ("typer", ""),
    ("pillow", "vision"),
    ("matplotlib", "plots"),
    ("scikit-learn", "demo"),
    ("tensorboardX", "tensorboard"),
    ("cupy-cuda13x", "cuda13"),
    ("cupy-cuda12x", "cuda12"),
    ("nvidia-ml-py", "cuda13 or cuda12"),
    ("ml_dtypes", "cuda13 or cuda12"),
)


def doctor(json: bool = False) -> None:
    """Print devices, CUDA, caches and versions; as JSON with ``json``."""
    found = examine()
    if json:
        print(jsonlib.dumps(found, indent=2))
    else:
        _show(found)


def examine() -> dict[str, Any]:
    """All that ``nnlab doctor`` reports, as plain values. Never raises: what cannot be had is None, with a reason."""
    device, _ = resolve("auto")
    files, size = cache.size()
    return {
        "nnlab": nnlab.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "default_device": str(device),
        "devices": [_cpu(), *_cards(), _emulated()],
        "cuda": _cuda(),
        "kernels": _kernels(),
        "tuned": tuned.overview(),
        "cache": {"folder": str(cache.folder()), "files": files, "bytes": size},
        "packages": [{"name": name, "version": _version(name), "extra": extra or None} for name, extra in PACKAGES],
    }


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu_name() -> str:
    if sys.platform == "linux":
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return " ".join(line.partition(":")[2].split())
    return platform.processor() or platform.machine()


def _memory() -> int | None:
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None


def _cpu() -> dict[str, Any]:
    from nnlab.backend.threads import blas_name, get_num_threads

    return {
        "device": "cpu",
        "usable": True,
        "name": _cpu_name(),
        "cores": os.cpu_count(),
        "threads": get_num_threads(),
        "memory": _memory(),
        "blas": blas_name(),
    }


def _emulated() -> dict[str, Any]:
    why = emulated.why_unusable()
    if why is not None:
        return {"device": "emulated", "usable": False, "why": why}
    program, version = emulated.compiler()
    return {"device": "emulated", "usable": True, "name": f"kernels on the CPU, compiled by {program}: {version}"}


def _cuda() -> dict[str, Any]:
    versions = cuda.driver_and_runtime()
    driver, runtime = versions or (0, 0)
    result: dict[str, Any] = {
        "why_unusable": cuda.why_unusable(),
        "driver": _driver_version(),
        "driver_cuda": cuda.version_text(driver) if driver else None,
        "cupy": cuda.cupy_version(),
        "cupy_cuda": cuda.version_text(runtime) if runtime else None,
        "nvrtc": None,
        "nvrtc_architectures": [],
        "headers": None,
    }
    try:
        result["nvrtc"] = cuda.nvrtc_version()
        result["nvrtc_architectures"] = [f"{n // 10}.{n % 10}" for n in cuda.nvrtc().getSupportedArchs()]
        result["headers"] = str(compiler.toolkit_include())
    except MissingExtraError as error:
        result["why_no_compiler"] = str(error)
    return result


def _kernels() -> dict[str, Any]:
    try:
        return {"folder": str(sources.folder()), "files": [f"{unit}.cu" for unit in sources.units()]}
    except NNLabError as error:
        return {"folder": None, "files": [], "why": str(error)}


def _nvml() -> Any:
    """The management library, initialised, or None."""
    try:
        nvml = optional_import("pynvml", extra="cuda13", purpose="reading a card's clocks and temperature")
        nvml.nvmlInit()
    except Exception:  # the library's own error class is not importable without the library
        return None
    return nvml


def _driver_version() -> str | None:
    nvml = _nvml()
    return None if nvml is None else str(nvml.nvmlSystemGetDriverVersion())


def _cards() -> list[dict[str, Any]]:
    """Each card that the driver shows, also where CuPy cannot use it; one unusable ``cuda`` entry if there is none."""
    nvml, reason = _nvml(), cuda.why_unusable()
    if reason is None:
        return [_usable_card(nvml, index) for index in range(cuda.device_count())]
    count = 0 if nvml is None else nvml.nvmlDeviceGetCount()
    if count == 0:
        return [{"device": "cuda", "usable": False, "why": reason}]
    handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
    return [
        {"device": f"cuda:{index}", "usable": False, "why": reason, **_sensors(nvml, handle)}
        for index, handle in enumerate(handles)
    ]


def _usable_card(nvml: Any, index: int) -> dict[str, Any]:
    capability = cuda.compute_capability(index)
    arch = cuda.pick_arch(capability, cuda.nvrtc().getSupportedArchs())
    card: dict[str, Any] = {
        "device": f"cuda:{index}",
        "usable": arch is not None,
        "why": None if arch else f"NVRTC {cuda.nvrtc_version()} does not compile for it",
        "compute_capability": ".".join(map(str, capability)),
        "architecture": arch,
    }
    if nvml is not None:  # by bus id: CUDA may number the cards differently
        card |= _sensors(nvml, nvml.nvmlDeviceGetHandleByPciBusId(cuda.bus_id(index)))
    return card


def _sensors(nvml: Any, handle: Any) -> dict[str, Any]:
    """What the management library says about a card; None for what this card does not report."""

    def ask(name: str, *arguments: Any) -> Any:
        try:
            return getattr(nvml, name)(handle, *arguments)
        except nvml.NVMLError:
            return None

    memory = ask("nvmlDeviceGetMemoryInfo")
    power, limit = ask("nvmlDeviceGetPowerUsage"), ask("nvmlDeviceGetEnforcedPowerLimit")
    return {
        "name": ask("nvmlDeviceGetName"),
        "compute_capability": ".".join(map(str, ask("nvmlDeviceGetCudaComputeCapability") or ())),
        "memory": None if memory is None else int(memory.total),
        "memory_used": None if memory is None else int(memory.used),
        "clock_mhz": ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_SM),
        "clock_max_mhz": ask("nvmlDeviceGetMaxClockInfo", nvml.NVML_CLOCK_SM),
        "memory_clock_mhz": ask("nvmlDeviceGetClockInfo", nvml.NVML_CLOCK_MEM),
        "temperature_c": ask("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
        "power_w": None if power is None else power / 1000,
        "power_limit_w": None if limit is None else limit / 1000,
    }


def _bytes(count: int | None) -> str:
    if count is None:
        return "unknown"
    value, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def _panel(title: str, rows: list[tuple[str, RenderableType]]) -> Panel:
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, expand=True, box=None)
    table.add_column(style="cyan", no_wrap=True, width=14)
    table.add_column(overflow="fold", ratio=1)
    for label, value in rows:
        table.add_row(label, Text(value) if isinstance(value, str) else value)
    return Panel(table, title=f"[bold]{title}", title_align="left", border_style="dim")


def _card_details(card: dict[str, Any]) -> str:
    """One card's values that are known, in a line."""
    parts = [card.get("name")]
    if card.get("compute_capability"):
        arch = f" ({card['architecture']})" if card.get("architecture") else ""
        parts.append(f"compute capability {card['compute_capability']}{arch}")
    if card.get("memory"):
        parts.append(f"{_bytes(card['memory_used'])} of {_bytes(card['memory'])} in use")
    if card.get("clock_mhz") is not None:
        parts.append(f"{card['clock_mhz']} of {card['clock_max_mhz']} MHz, memory {card['memory_clock_mhz']} MHz")
    if card.get("temperature_c") is not None:
        parts.append(f"{card['temperature_c']} °C")
    if card.get("power_w") is not None:
        limit = f" of {card['power_limit_w']:.0f}" if card.get("power_limit_w") else ""
        parts.append(f"{card['power_w']:.0f}{limit} W")
    return "; ".join(part for part in parts if part)


def _devices_rows(devices: list[dict[str, Any]]) -> list[tuple[str, RenderableType]]:
    from rich.text import Text

    rows: list[tuple[str, RenderableType]] = []
    for device in devices:
        text = Text("usable" if device["usable"] else "not usable", style="green" if device["usable"] else "yellow")
        if device["device"] == "cpu":
            text.append(
                f"; {device['name']}; {device['cores']} cores, {device['threads']} threads used; "
                f"{_bytes(device['memory'])}; BLAS {device['blas']}",
                style="default",
            )
        else:
            details = _card_details(device)
            text.append(f": {device['why']}" if device.get("why") else "", style="default")
            text.append(f"; {details}" if details else "", style="default")
        rows.append((device["device"], text))
    return rows


def _cuda_rows(found: dict[str, Any]) -> list[tuple[str, RenderableType]]:
    info, none = found["cuda"], "not found"
    driver_cuda = f"CUDA {info['driver_cuda']}" if info["driver_cuda"] else None
    rows: list[tuple[str, RenderableType]] = [
        ("driver", ", ".join(filter(None, [info["driver"], driver_cuda])) or none),
        ("CuPy", f"{info['cupy']}, built for CUDA {info['cupy_cuda']}" if info["cupy"] else none),
        ("NVRTC", info["nvrtc"] or none),
    ]
    if info["nvrtc"]:
        rows += [("compiles for", " ".join(info["nvrtc_architectures"])), ("CUDA headers", info["headers"] or none)]
    cards = [d for d in found["devices"] if d.get("compute_capability")]
    if cards:
        rows.append(("the cards are", ", ".join(f"{d['compute_capability']} ({d['device']})" for d in cards)))
    kernels = found["kernels"]
    rows.append(
        ("kernels", f"{', '.join(kernels['files'])} in {kernels['folder']}" if kernels["folder"] else kernels["why"])
    )
    if found["tuned"]:
        rows.append(("tuned", "\n".join(map(tuned.overview_text, found["tuned"]))))
    return rows


def _package_rows(found: dict[str, Any]) -> list[tuple[str, RenderableType]]:
    from rich.text import Text

    rows: list[tuple[str, RenderableType]] = []
    for package in found["packages"]:
        if package["version"]:
            rows.append((package["name"], package["version"]))
        else:
            rows.append((package["name"], Text(f"not installed (extra {package['extra']})", style="dim")))
    return rows


def _show(found: dict[str, Any]) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    where = found["cache"]
    general: list[tuple[str, RenderableType]] = [
        ("nnlab", found["nnlab"]),
        ("Python", f"{found['python']} on {found['platform']}"),
        ("--device auto", found["default_device"]),
        ("cache", f"{where['folder']} ({where['files']} files, {_bytes(where['bytes'])})"),
    ]
    for title, rows in (
        ("nnlab", general),
        ("Devices", _devices_rows(found["devices"])),
        ("CUDA", _cuda_rows(found)),
        ("Packages", _package_rows(found)),
    ):
        console.print(_panel(title, rows))
