"""Make the virtual environment and install nnlab into it (standard library only; called by the Makefile).

    python3 tools/install.py .venv demo,tensorboard

adds the extra ``cuda13`` or ``cuda12`` where an NVIDIA driver answers.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OLDEST_PYTHON = (3, 11)
FIRST_CARD_OF_CUDA13 = (7, 5)  # CUDA 13 compiles for Turing and newer; Volta and Pascal need CUDA 12
LIBRARIES = ("libcuda.so.1", "/usr/lib/wsl/lib/libcuda.so.1", "nvcuda.dll")
MAJOR, MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*


def ask_driver():
    """What the NVIDIA driver says: its CUDA version (13020 for 13.2) and each card's compute capability, or None."""
    for name in LIBRARIES:
        try:
            driver = ctypes.CDLL(name)
        except OSError:
            continue
        version, count = ctypes.c_int(), ctypes.c_int()
        if driver.cuInit(0) or driver.cuDriverGetVersion(ctypes.byref(version)):
            return None
        if driver.cuDeviceGetCount(ctypes.byref(count)):
            return None
        cards = []
        for index in range(count.value):
            major, minor = ctypes.c_int(), ctypes.c_int()
            driver.cuDeviceGetAttribute(ctypes.byref(major), MAJOR, index)
            driver.cuDeviceGetAttribute(ctypes.byref(minor), MINOR, index)
            cards.append((major.value, minor.value))
        return version.value, cards
    return None


def choose_extra(answer):
    """The CUDA extra for a driver's answer, and a sentence that says why: ``("cuda13", "...")`` or ``("", "...")``."""
    if answer is None or not answer[1]:
        return "", "no NVIDIA driver with a card answers: installing for the CPU"
    version, cards = answer
    name = f"{version // 1000}.{version % 1000 // 10}"
    if version < 12000:
        return "", f"the NVIDIA driver supports CUDA {name}, nnlab needs 12 or newer: installing for the CPU"
    oldest = ".".join(map(str, min(cards)))
    if version < 13000:
        return "cuda12", f"the NVIDIA driver supports CUDA {name}: installing with the extra cuda12"
    if min(cards) < FIRST_CARD_OF_CUDA13:
        return "cuda12", f"a card of compute capability {oldest} is not served by CUDA 13: installing with cuda12"
    return "cuda13", f"the NVIDIA driver supports CUDA {name}: installing with the extra cuda13"


def fail(message):
    sys.exit(f"nnlab: {message}")


def make_venv(folder):
    """The environment's Python; makes the environment where there is none or where it is broken."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if python.exists() and subprocess.run([python, "-m", "pip", "--version"], capture_output=True).returncode == 0:
        return python
    print(f"nnlab: making the environment {folder}", flush=True)
    try:
        venv.create(folder, with_pip=True, clear=True)
    except (OSError, subprocess.CalledProcessError) as error:
        fail(f"could not make {folder} ({error}). On Debian and Ubuntu the package python3-venv is needed.")
    return python


def main(folder, extras):
    if sys.version_info < OLDEST_PYTHON:
        found = ".".join(map(str, sys.version_info[:2]))
        fail(f"Python 3.11 or newer is needed, {sys.executable} is {found}. Name another: make PYTHON=python3.12 ...")
    python = make_venv(Path(folder))
    extra, reason = choose_extra(ask_driver())
    print(f"nnlab: {reason}", flush=True)
    names = [name for name in extras.split(",") if not (extra and name == "kernels")]  # the CUDA extras include it
    wanted = ",".join(filter(None, [*names, extra]))
    command = [python, "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "-e", f"{ROOT}[{wanted}]"]
    if subprocess.run(command).returncode != 0:
        fail(
            "pip could not install the packages; its message is above. Without a network, point pip at a folder of "
            "wheels: PIP_FIND_LINKS=/path make ..."
        )


if __name__ == "__main__":
    main(*sys.argv[1:])
