"""The artefact: build the wheel, install it into an empty environment, run it from an empty folder.

The environment is made with `python -m venv`; what the tests' own environment has installed (NumPy and the like, but
not its nnlab) is lent to it by a path file, so that no network is needed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from nnlab.cuda.sources import units

pytestmark = pytest.mark.slow


def _run(command: list[str | Path], cwd: Path, **environment: str) -> str:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "NNLAB_"))}
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**clean, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command} failed:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="hatchling builds the wheel (extra test)")
    folder = tmp_path_factory.mktemp("wheel")
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        folder,
    ]
    _run([*build, root], folder)
    (built,) = folder.glob("nnlab-*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the programs of an environment into which only the wheel is installed."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    places = {"base": str(folder), "platbase": str(folder)}
    purelib = Path(sysconfig.get_path("purelib", vars=places))
    install = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        programs / "python",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
    ]
    _run([*install, wheel], folder)
    # After the environment's own packages on the path, and path files in it are not followed: the checkout's editable
    # installation stays out.
    (purelib / "lent.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return programs


def test_kernel_sources_are_inside(wheel: Path, root: Path) -> None:
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("nnlab/kernels/")}
    sources = {
        f"nnlab/kernels/{path.relative_to(root / 'kernels').as_posix()}"
        for path in (root / "kernels").rglob("*")
        if path.suffix in (".cu", ".cuh", ".h", ".cpp")
    }
    assert "nnlab/kernels/dropout.cu" in sources
    assert sources == inside


def test_every_module_is_inside_and_nothing_else(wheel: Path, root: Path) -> None:
    inside = {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".py")}
    assert inside == {path.relative_to(root).as_posix() for path in (root / "nnlab").rglob("*.py")}


def test_help_and_doctor(environment: Path, tmp_path: Path) -> None:
    program = environment / "nnlab"
    for command in ("train", "eval", "predict", "summary", "doctor"):
        assert command in _run([program, "--help"], tmp_path)
    cache = str(tmp_path / "cache")
    found = json.loads(_run([program, "doctor", "--json"], tmp_path, NNLAB_CACHE_DIR=cache))
    assert found["kernels"]["files"] == [f"{unit}.cu" for unit in units()]
    installed = environment.parent.resolve()
    assert Path(found["kernels"]["folder"]).is_relative_to(installed)
    assert found["cache"]["folder"] == cache
    assert list(tmp_path.iterdir()) == []


def test_a_short_training_run(environment: Path, tmp_path: Path) -> None:
    pytest.importorskip("sklearn", reason="the default data come with scikit-learn (extra demo)")
    _run([environment / "nnlab", "train", "--fast-dev-run", "--device", "cpu", "--out", "run"], tmp_path)
    assert list((tmp_path / "run").rglob("*.safetensors"))
