"""``nnlab doctor``: complete as JSON, readable at 80 and 120 columns, with a GPU, an unusable GPU and none."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import nnlab
from nnlab.backend import Device, cuda
from nnlab.cli import doctor
from nnlab.cuda import sources, tuned
from nnlab.cuda.tuned import Entry


def test_json(capsys: pytest.CaptureFixture[str], kernel_cache: Path) -> None:
    (kernel_cache / "kernels").mkdir(parents=True)
    (kernel_cache / "kernels" / "a.cubin").write_bytes(b"12345")
    doctor.doctor(json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["nnlab"] == nnlab.__version__
    assert found["cache"] == {"folder": str(kernel_cache), "files": 1, "bytes": 5}
    assert found["devices"][0]["device"] == "cpu"
    assert found["devices"][0]["usable"] is True
    assert found["devices"][0]["cores"] >= 1
    assert all(device["usable"] or device["why"] for device in found["devices"])
    assert found["kernels"]["files"] == [f"{unit}.cu" for unit in sources.units()]
    versions = {package["name"]: package["version"] for package in found["packages"]}
    assert versions["numpy"]
    assert all(package["version"] or package["extra"] for package in found["packages"])


@pytest.mark.parametrize("columns", [80, 120])
def test_tables_fit_the_terminal(
    columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    doctor.doctor()
    lines = capsys.readouterr().out.splitlines()
    assert {len(line) for line in lines} == {columns}
    text = " ".join(" ".join(line.strip("│").split()) for line in lines)
    for word in ("nnlab 0.", "Devices", "cpu usable", "CUDA", "driver", "Packages", "numpy"):
        assert word in text


class _NvmlError(Exception):
    pass


def test_tuned_tables(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(tuned, "own_file", lambda device: tmp_path / tuned.file_name(device))
    assert doctor.examine()["tuned"] == []
    old, new = (
        Entry("conv", "conv_forward", "float32", (n,), {}, source) for n, source in ((1, ""), (2, tuned.digest("conv")))
    )
    tuned.save(tuned.own_file("NVIDIA Example"), "NVIDIA Example", [old, new])
    doctor.doctor()
    assert "nvidia-example.json: 2 entries, 1 not used: the kernel sources have changed" in capsys.readouterr().out


def _nvml() -> Any:
    """A management library with one card that does not report its power limit."""

    def refuse(handle: object) -> None:
        raise _NvmlError

    return SimpleNamespace(
        NVMLError=_NvmlError,
        NVML_CLOCK_SM=1,
        NVML_CLOCK_MEM=2,
        NVML_TEMPERATURE_GPU=0,
        nvmlSystemGetDriverVersion=lambda: "580.95",
        nvmlDeviceGetCount=lambda: 1,
        nvmlDeviceGetHandleByIndex=lambda index: "card",
        nvmlDeviceGetHandleByPciBusId=lambda bus: "card",
        nvmlDeviceGetName=lambda handle: "NVIDIA Example",
        nvmlDeviceGetCudaComputeCapability=lambda handle: (9, 0),
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(total=80 * 2**30, used=3 * 2**30),
        nvmlDeviceGetClockInfo=lambda handle, kind: {1: 1200, 2: 2600}[kind],
        nvmlDeviceGetMaxClockInfo=lambda handle, kind: 1980,
        nvmlDeviceGetTemperature=lambda handle, kind: 41,
        nvmlDeviceGetPowerUsage=lambda handle: 71500,
        nvmlDeviceGetEnforcedPowerLimit=refuse,
    )


def _shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", "100")
    doctor.doctor()
    return " ".join(" ".join(line.strip("│").split()) for line in capsys.readouterr().out.splitlines())


def test_a_usable_card(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_nvml", _nvml)
    monkeypatch.setattr(doctor, "resolve", lambda device: (Device("cuda"), "a usable GPU was found"))
    monkeypatch.setattr(cuda, "why_unusable", lambda: None)
    monkeypatch.setattr(cuda, "device_count", lambda: 1)
    monkeypatch.setattr(cuda, "compute_capability", lambda index: (9, 0))
    monkeypatch.setattr(cuda, "bus_id", lambda index: "0000:01:00.0")
    monkeypatch.setattr(cuda, "driver_and_runtime", lambda: (13000, 13020))
    nvrtc = SimpleNamespace(getVersion=lambda: (13, 5), getSupportedArchs=lambda: (75, 90))
    monkeypatch.setattr(cuda, "nvrtc", lambda: nvrtc)
    text = _shown(capsys, monkeypatch)
    for words in (
        "--device auto cuda:0",
        "cuda:0 usable; NVIDIA Example; compute capability 9.0 (sm_90a); 3.0 GiB of 80.0 GiB in use; "
        "1200 of 1980 MHz, memory 2600 MHz; 41 °C; 72 W",
        "driver 580.95, CUDA 13.0",
        "compiles for 7.5 9.0",
        "the cards are 9.0 (cuda:0)",
    ):
        assert words in text


def test_a_card_that_cannot_be_used(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver shows a card, CuPy is missing: the card is listed with the reason."""
    monkeypatch.setattr(doctor, "_nvml", _nvml)
    monkeypatch.setattr(cuda, "why_unusable", lambda: "CuPy is not installed")
    monkeypatch.setattr(cuda, "driver_and_runtime", lambda: None)
    text = _shown(capsys, monkeypatch)
    assert "cuda:0 not usable: CuPy is not installed; NVIDIA Example; compute capability 9.0;" in text
    assert "driver 580.95" in text


def test_nothing_but_the_core(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any extra the command still answers and says what would bring the missing parts."""
    monkeypatch.setattr(doctor, "_nvml", lambda: None)
    monkeypatch.setattr(cuda, "_cupy", lambda: "CuPy is not installed")
    monkeypatch.setattr(cuda, "why_unusable", lambda: "CuPy is not installed")
    monkeypatch.setattr(doctor, "_version", lambda name: "2.0" if name == "numpy" else None)
    text = _shown(capsys, monkeypatch)
    for words in (
        "cuda not usable: CuPy is not installed",
        "CuPy not found",
        "NVRTC not found",
        "matplotlib not installed (extra plots)",
        "nvidia-ml-py not installed (extra cuda13 or cuda12)",
    ):
        assert words in text
