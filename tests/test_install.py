"""tools/install.py: which CUDA extra a machine gets."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def install(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("install", root / "tools" / "install.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("answer", "extra", "reason"),
    [
        (None, "", "no NVIDIA driver"),
        ((13000, []), "", "no NVIDIA driver"),
        ((11080, [(8, 0)]), "", "supports CUDA 11.8, nnlab needs 12"),
        ((12020, [(9, 0)]), "cuda12", "supports CUDA 12.2"),
        ((13010, [(9, 0)]), "cuda13", "supports CUDA 13.1"),
        ((13010, [(7, 5)]), "cuda13", "supports CUDA 13.1"),
        ((13010, [(9, 0), (7, 0)]), "cuda12", "capability 7.0 is not served by CUDA 13"),
    ],
)
def test_choice_of_the_extra(
    install: ModuleType, answer: tuple[int, list[tuple[int, int]]] | None, extra: str, reason: str
) -> None:
    chosen, why = install.choose_extra(answer)
    assert chosen == extra
    assert reason in why


def test_the_extras_exist(root: Path, install: ModuleType) -> None:
    import tomllib

    extras = tomllib.loads((root / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {"cuda12", "cuda13", "vision", "plots", "demo", "tensorboard", "test", "lint"} <= set(extras)
    for name in ("cuda12", "cuda13"):
        wheels = " ".join(extras[name])
        for part in ("cupy", "nvrtc", "runtime", "cublas", "nvidia-ml-py", "nnlab[bfloat16]"):
            assert part in wheels
    assert any(wheel.startswith("ml_dtypes") for wheel in extras["bfloat16"])


def test_an_old_python_is_told_clearly(install: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 9, 1))
    with pytest.raises(SystemExit, match=r"Python 3.11 or newer is needed, .* is 3\.9"):
        install.main("unused", "demo")


def test_a_failing_pip_is_told_clearly(
    install: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        commands.append(command)
        return subprocess.CompletedProcess(command, 1)

    monkeypatch.setattr(install, "make_venv", lambda folder: folder / "bin" / "python")
    monkeypatch.setattr(install, "ask_driver", lambda: (13000, [(9, 0)]))
    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(SystemExit, match="PIP_FIND_LINKS"):
        install.main(str(tmp_path), "test,kernels")
    assert commands[0][-1].endswith("[test,cuda13]")
    assert "--no-input" in commands[0]
    assert "supports CUDA 13.0" in capsys.readouterr().out
